// Chapter 13: one model, several processes.
#include <loupe/distributed/data_parallel.h>
#include <loupe/distributed/sharded_sampler.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/loupe.h>

#include <cstdio>

using namespace loupe;

namespace {

// [gradient]
// The gradient of the mean loss over some rows.
Tensor gradient(const Tensor& x, const Tensor& y, int64_t first, int64_t last) {
  Tensor w = full({3}, 0.5, DType::f64);
  w.requires_grad_();
  const Tensor error = matmul(x.slice(0, first, last), w) - y.slice(0, first, last);
  square(error).mean().backward();
  return w.grad();
}
// [/gradient]

void print(const char* name, const Tensor& t) {
  std::printf("%-26s", name);
  for (const double v : t.to_vector<double>()) std::printf(" %9.5f", v);
  std::printf("\n");
}

}  // namespace

int main() {
  Rng rng(3);
  const Tensor x = randn(rng, {8, 3}, DType::f64), y = randn(rng, {8}, DType::f64);

  std::printf("== shares\n");
  // [shares]
  const Tensor whole = gradient(x, y, 0, 8);
  const Tensor one = gradient(x, y, 0, 1), seven = gradient(x, y, 1, 8);
  print("one process", whole);
  print("mean of the two", (one + seven) / 2.0);
  print("weighted by their samples", (one * 1.0 + seven * 7.0) / 8.0);
  // [/shares]

  std::printf("== order\n");
  // [order]
  const float a = 0.1F, b = 1e7F, c = -1e7F;
  std::printf("(a + b) + c = %.4f\n", double((a + b) + c));
  std::printf("a + (b + c) = %.4f\n", double(a + (b + c)));
  // [/order]

  std::printf("== norm\n");
  // [norm]
  const Tensor column = x.select(1, 0);
  const Tensor left = column.slice(0, 0, 2), right = column.slice(0, 2, 8);
  const auto spread = [](const Tensor& t) { return square(t - t.mean()).mean().item(); };
  const double n1 = 2, n2 = 6, n = n1 + n2;
  const double gap = right.mean().item() - left.mean().item();
  std::printf("variance of 2 samples, of 6        %.5f  %.5f\n", spread(left), spread(right));
  std::printf("their mean                         %.5f\n", (spread(left) + spread(right)) / 2);
  std::printf("merged by counts                   %.5f\n",
              (n1 * spread(left) + n2 * spread(right) + gap * gap * n1 * n2 / n) / n);
  std::printf("variance of all 8                  %.5f\n", spread(column));
  // [/norm]

  std::printf("== sampler\n");
  // [sampler]
  for (int64_t rank = 0; rank < 3; ++rank) {
    ShardedSampler sampler(10, {rank, 3}, {.batch_size = 4, .seed = 1});
    std::printf("rank %d:", static_cast<int>(rank));
    for (const auto& batch : sampler.next_epoch()) {
      std::printf("  |");
      for (const int64_t i : batch) std::printf(" %d", static_cast<int>(i));
    }
    std::printf("\n");
  }
  // [/sampler]

  std::printf("== loop\n");
  // [loop]
  Communicator comm;  // the processes that mpirun started; one without it
  Rng weights(0), data(1), order(2);
  const Tensor points = randn(data, {1000, 2});
  const Tensor inside = lt(square(points).sum({1}), 1).to(DType::i64);
  DataLoader loader(TensorDataset(points, inside), order,
                    {.batch_size = 100, .share = comm.share()});
  Sequential net(Linear(weights, 2, 16), BatchNorm1d(16), ReLU(), Linear(weights, 16, 2));
  DataParallel parallel(net, comm);    // everybody starts with rank 0's weights
  convert_sync_batch_norm(net, comm);  // statistics of the whole batch
  Adam optimizer(net, {.lr = 1e-2});
  for (int epoch = 1; epoch <= 3; ++epoch) {
    double last = 0;
    for (const Batch& batch : loader) {
      const Tensor loss = cross_entropy(net(batch.x), batch.y);
      const MeanLoss mean = parallel.mean_loss(loss, static_cast<double>(batch.size()));
      optimizer.zero_grad();
      mean.share.backward();  // leaves the same gradients everywhere
      optimizer.step();
      last = mean.value;
    }
    if (comm.rank() == 0) std::printf("epoch %d: loss %.3f\n", epoch, last);
  }
  // [/loop]

  std::printf("== overlap\n");
  // [overlap]
  Tensor w1 = full({2}, 1), w2 = full({2}, 1);
  w1.requires_grad_();
  w2.requires_grad_();
  const auto tell = [](const char* name) {
    return [name](const Tensor&) { std::printf("gradient of %s is complete\n", name); };
  };
  register_post_accumulate_grad_hook(w1, tell("the first layer"));
  register_post_accumulate_grad_hook(w2, tell("the second layer"));
  const Tensor hidden = tanh(w1 * 0.5);
  register_hook(hidden, [](const Tensor& g) {
    std::printf("backward comes to tanh\n");
    return g;
  });
  (hidden * w2).sum().backward();
  // [/overlap]
  return 0;
}
