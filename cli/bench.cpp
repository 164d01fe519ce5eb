// `loupe bench`: times pieces of work and relates them to OpenBLAS' speed on a large product in the
// same run.
#include <loupe/cli/bench_work.h>
#include <loupe/cli/commands.h>
#include <loupe/cli/console.h>
#include <loupe/core/blas.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>
#include <loupe/view/profile.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace loupe::cli {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t n = v.size();
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

// Seconds of sgemm, 1024 cubed, its rows shared out to the threads; some runs before the work and
// some after it.
void time_peak(int threads, std::vector<double>& seconds) {
  constexpr int64_t n = 1024;
  Rng rng(1);
  const Tensor a = randn(rng, {n, n}), b = randn(rng, {n, n}), c = empty({n, n});
  for (int run = 0; run < 7; ++run) {
    const double start = now();
    parallel_pieces(threads, [&](int64_t piece) {
      const int64_t first = n * piece / threads, rows = n * (piece + 1) / threads - first;
      blas::gemm(false, false, rows, n, n, 1.0f, a.ptr<float>() + first * n, n, b.ptr<float>(), n,
                 0.0f, c.ptr<float>() + first * n, n);
    });
    if (run > 1) seconds.push_back(now() - start);
  }
}

struct Timing {
  double seconds;  // median of one step
  int64_t steps;
};

// Blocks of steps, each block at least 2 ms long, after a few steps to warm up.
Timing time_work(Work& work, double seconds) {
  int64_t block = 1;
  if (!work.whole) {
    for (int i = 0; i < 3; ++i) work.step();
    const double start = now();
    for (int i = 0; i < 2; ++i) work.step();
    block = std::max<int64_t>(1, static_cast<int64_t>(0.002 / std::max((now() - start) / 2, 1e-9)));
  }
  std::vector<double> times;
  const double begin = now();
  while (times.empty() || (now() - begin < seconds && !work.whole)) {
    const double start = now();
    for (int64_t i = 0; i < block; ++i) work.step();
    times.push_back((now() - start) / static_cast<double>(block));
  }
  return {median(times), block * static_cast<int64_t>(times.size())};
}

// Some steps under the profiler, after the timing: it does not touch the figures above.
void profile(Work& work, const std::string& path, double peak, Console& console) {
  constexpr int kSteps = 20;
  Profile profile;
  for (int i = 0; i < (work.whole ? 1 : kSteps); ++i) work.step();
  profile.save_trace(path);
  console.say(profile.table(peak) + "trace written to " + path);
}

}  // namespace

int bench(const BenchOptions& options) {
  const int threads =
      options.threads > 0 ? options.threads : static_cast<int>(std::thread::hardware_concurrency());
  const ThreadLimit limit(threads);
  Console console(options.json);
  if (!options.profile.empty() && options.work.size() != 1)
    fail<ValueError>("bench: --profile measures one row: name it with --work");
  const auto& names = options.work.empty() ? work_names() : options.work;
  console.say(
      fmt::format("{} thread{}; ms a step, GFLOP/s of the plain algorithm, share of OpenBLAS' "
                  "sgemm 1024 x 1024 x 1024",
                  threads, threads == 1 ? "" : "s"));
  for (const std::string& name : names) {
    const auto work = make_work(name, options.data);
    Json result("bench");
    result.set("work", name).set("threads", threads);
    if (!options.check.empty()) {
      work->load(load_safetensors(options.check).tensors);
      result.set("check", work->check());
      console.event(result);
      continue;
    }
    std::vector<double> peak;
    time_peak(threads, peak);
    const Timing t = time_work(*work, options.seconds);
    time_peak(threads, peak);
    const double peak_speed = 2 * 1024.0 * 1024 * 1024 / median(peak) * 1e-9,
                 speed = work->flop / t.seconds * 1e-9;
    result.set("ms", 1e3 * t.seconds / work->units)
        .set("steps", t.steps)
        .set("peak_gflops", peak_speed);
    if (work->flop > 0) {
      result.set("gflop", work->flop * 1e-9 / work->units)
          .set("gflops", speed)
          .set("peak_share", speed / peak_speed);
    }
    console.event(result);
    const std::string rate =
        work->flop > 0 ? fmt::format("{:8.1f} GFLOP/s {:4.0f} %", speed, 100 * speed / peak_speed)
                       : "";
    console.say(fmt::format("{:24} {:10.4f} ms {}", name, 1e3 * t.seconds / work->units, rate));
    if (!options.profile.empty()) profile(*work, options.profile, peak_speed, console);
  }
  return 0;
}

}  // namespace loupe::cli
