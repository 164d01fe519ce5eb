// One model trained by several processes, each on its share of every batch:
//   mpirun -n 2 build/release/example_13_data_parallel
// Without mpirun, or built without MPI, the same lines train it in one process, with the same
// losses.
#include <loupe/distributed/data_parallel.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/loupe.h>

#include <cstdio>

using namespace loupe;

int main() {
  Communicator comm;
  // Points of the plane, and whether they lie in the unit circle. Every rank has the whole data
  // set; its loader makes this rank's share of each batch.
  Rng data(1), order(2);
  const Tensor x = randn(data, {2010, 2});
  const Tensor y = lt(square(x).sum({1}), 1).to(DType::i64);
  DataLoader loader(TensorDataset(x, y), order, {.batch_size = 100, .share = comm.share()});

  Rng rng(static_cast<uint64_t>(comm.rank()));  // the ranks draw different weights,
  Sequential net(Linear(rng, 2, 32), BatchNorm1d(32), ReLU(), Linear(rng, 32, 2));
  DataParallel parallel(net, comm);    // and take those of rank 0
  convert_sync_batch_norm(net, comm);  // mean and variance of the whole batch
  AdamW optimizer(net, {.lr = 1e-2});
  for (int epoch = 1; epoch <= 5; ++epoch) {
    double sum = 0;
    for (const Batch& batch : loader) {
      const Tensor loss = cross_entropy(net(batch.x), batch.y);
      const MeanLoss mean = parallel.mean_loss(loss, static_cast<double>(batch.size()));
      optimizer.zero_grad();
      mean.share.backward();  // the gradients travel while the pass goes on
      optimizer.step();
      sum += mean.value;
    }
    const double loss = sum / static_cast<double>(loader.batches());
    if (comm.rank() == 0) std::printf("epoch %d  loss %.4f\n", epoch, loss);
  }

  // An evaluation in which every sample counts once.
  eval(net);
  NoGrad guard;
  const ShareRange own = comm.share().of(x.size(0));
  const Tensor best = argmax(net(x.slice(0, own.first, own.last)), 1);
  const Tensor hits = eq(best, y.slice(0, own.first, own.last)).to(DType::f64).sum();
  const double right = comm.sum({hits.item()})[0] / static_cast<double>(x.size(0));
  const CommunicatorStats stats = comm.stats();
  if (comm.rank() == 0)
    std::printf("%d ranks: %.1f %% right, %lld kB sent by this one\n", comm.size(), 100 * right,
                static_cast<long long>(stats.bytes_sent / 1000));
  return right > 0.95 ? 0 : 1;
}
