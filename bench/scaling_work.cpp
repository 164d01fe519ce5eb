// What bench/scaling measures, run by it under mpirun: JSON lines on the first rank.
//
//   scaling_work sums SECONDS           time of one sum over all ranks, for several sizes
//   scaling_work steps SECONDS BATCH [sync]   time of one training step of the small CNN, BATCH samples
//                                       on all ranks together, and of its parts
#include <loupe/distributed/data_parallel.h>
#include <loupe/distributed/sync_batch_norm.h>
#include <loupe/loupe.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

using namespace loupe;
using Clock = std::chrono::steady_clock;

namespace {

double seconds_since(Clock::time_point t) {
  return std::chrono::duration<double>(Clock::now() - t).count();
}

// What a fifth of the repetitions stay below: a busy machine disturbs the others.
double fifth(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 5), v.end());
  return v[v.size() / 5];
}

// Seconds of f, repeated for about so long; all ranks repeat it equally often.
template <class F> double time_of(Communicator& comm, double seconds, const F& f) {
  std::vector<double> times;
  const Clock::time_point begin = Clock::now();
  do {
    comm.barrier();
    const Clock::time_point from = Clock::now();
    f();
    times.push_back(seconds_since(from));
  } while (!comm.any(seconds_since(begin) > seconds));
  return fifth(std::move(times));
}

void sums(Communicator& comm, double seconds) {
  for (const int64_t bytes : {8, 1024, 16384, 65536, 262144, 1048576, 4194304}) {
    const Tensor t = zeros({bytes / 4});
    // In a row: one alone may find the other rank's message there already.
    constexpr int kInARow = 10;
    const double time = time_of(comm, seconds,
                                [&] {
                                  for (int i = 0; i < kInARow; ++i) comm.all_reduce(t);
                                }) /
                        kInARow;
    if (comm.rank() == 0)
      std::printf("{\"bytes\": %lld, \"seconds\": %.9f}\n", static_cast<long long>(bytes), time);
  }
}

void steps(Communicator& comm, double seconds, int64_t batch, bool synchronised) {
  Rng rng(0), data(1);
  SmallCnn net(rng, {.dropouts = {0, 0, 0}});
  DataParallel parallel(net, comm);
  if (synchronised) convert_sync_batch_norm(net, comm);
  AdamW optimizer(net, {.lr = 1e-3});
  const ShareRange own = comm.share().of(batch);
  const Tensor x = randn(data, {batch, 1, 28, 28}).slice(0, own.first, own.last).contiguous();
  const Tensor y = randint(data, 0, 10, {batch}).slice(0, own.first, own.last).contiguous();
  const auto step = [&](bool exchanges) {
    const Tensor loss = cross_entropy(net(x), y);
    optimizer.zero_grad();
    if (exchanges) {
      parallel.mean_loss(loss, static_cast<double>(own.size())).share.backward();
    } else {
      const auto quiet = parallel.no_sync();
      loss.backward();
    }
    optimizer.step();
  };
  for (int i = 0; i < 5; ++i) step(true);
  const CommunicatorStats before = comm.stats();
  step(true);
  const CommunicatorStats one = comm.stats() - before;
  const double whole = time_of(comm, seconds, [&] { step(true); });
  const double alone = synchronised ? 0 : time_of(comm, seconds, [&] { step(false); });
  const int64_t gradient_bytes = 4 * parameter_count(net);
  // The same exchange with nothing to hide behind.
  std::vector<Tensor> buckets;
  for (const int64_t bytes : parallel.bucket_sizes()) buckets.push_back(zeros({bytes / 4}));
  const double exchange = time_of(comm, seconds, [&] {
    std::vector<PendingCollective> pending;
    for (const Tensor& t : buckets) pending.push_back(comm.all_reduce_begin(t));
    for (PendingCollective& p : pending) p.wait();
  });
  if (comm.rank() == 0)
    std::printf(
        "{\"ranks\": %d, \"threads\": %d, \"step\": %.6f, \"without_exchange\": %.6f, "
        "\"exchange_alone\": %.6f, \"first_bucket\": %lld, \"gradient_bytes\": %lld, "
        "\"bytes_sent\": %lld, "
        "\"collectives\": %lld}\n",
        comm.size(), thread_limit(), whole, alone, exchange,
        static_cast<long long>(parallel.bucket_sizes()[0]), static_cast<long long>(gradient_bytes),
        static_cast<long long>(one.bytes_sent), static_cast<long long>(one.collectives));
}

}  // namespace

int main(int argc, char** argv) {
  Communicator comm;
  const double seconds = argc > 2 ? std::atof(argv[2]) : 0;
  if (argc == 3 && std::strcmp(argv[1], "sums") == 0) {
    sums(comm, seconds);
  } else if (argc >= 4 && std::strcmp(argv[1], "steps") == 0) {
    steps(comm, seconds, std::atoll(argv[3]), argc > 4);
  } else {
    std::fprintf(stderr, "scaling_work sums SECONDS | steps SECONDS BATCH [sync]\n");
    return 2;
  }
  return 0;
}
