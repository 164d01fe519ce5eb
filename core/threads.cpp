#include <loupe/core/blas.h>
#include <loupe/core/error.h>
#include <loupe/core/place.h>
#include <loupe/core/stretch.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace loupe {
namespace {

constexpr long kMostThreads = 4096;

int default_threads() {
  if (const char* text = std::getenv("LOUPE_NUM_THREADS"); text && *text) {
    char* end = nullptr;
    const long n = std::strtol(text, &end, 10);
    if (*end != '\0' || n < 1 || n > kMostThreads)
      fail<ValueError>("LOUPE_NUM_THREADS={}: expected a whole number from 1 to {}", text,
                       kMostThreads);
    return static_cast<int>(n);
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

thread_local int t_limit = 0;        // 0: not set yet
thread_local bool t_inside = false;  // a piece is running on this thread
thread_local double t_helped = 0;    // helped_seconds()

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// fetch_add, which the standard library of the web's compiler does not have for double.
void add(std::atomic<double>& sum, double x) {
  double before = sum.load(std::memory_order_relaxed);
  while (!sum.compare_exchange_weak(before, before + x, std::memory_order_relaxed)) {}
}

// One job at a time. A thread owns a share of the pieces (a cursor on its own cache line); when its
// share is done it takes from the shares of the others.
class Pool {
 public:
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (auto& w : workers_) w.join();
  }

  bool try_run(int threads, int64_t pieces, void (*run)(const void*, int64_t),
               const void* context) {
    std::unique_lock owner(owner_, std::try_to_lock);
    if (!owner) return false;
    const int n = static_cast<int>(std::min<int64_t>({threads, pieces, kMaxThreads}));
    if (workers_.empty()) blas::stop_threads();
    while (static_cast<int>(workers_.size()) < n - 1) {
      const int index = static_cast<int>(workers_.size()) + 1;
      workers_.emplace_back([this, index] { work(index); });
    }
    for (int i = 0; i < n; ++i) {
      shares_[i].next.store(pieces * i / n, std::memory_order_relaxed);
      shares_[i].end = pieces * (i + 1) / n;
    }
    run_ = run;
    context_ = context;
    place_ = detail::t_place;
    timed_ = detail::stretch_listener() != nullptr;
    error_ = nullptr;
    failed_.store(false, std::memory_order_relaxed);
    helped_.store(0, std::memory_order_relaxed);
    pending_.store(n - 1, std::memory_order_relaxed);
    {
      // The lock orders the epoch against a worker that is about to sleep.
      std::lock_guard lock(mutex_);
      epoch_.store(++job_ << 16 | static_cast<uint64_t>(n), std::memory_order_release);
    }
    if (sleepers_.load(std::memory_order_relaxed) > 0) wake_.notify_all();
    run_share(0, n);
    const double done = timed_ ? clock_seconds() : 0;
    wait_for_workers();
    if (timed_) t_helped += helped_.load(std::memory_order_relaxed) - (clock_seconds() - done);
    if (failed_.load(std::memory_order_relaxed)) std::rethrow_exception(error_);
    return true;
  }

 private:
  static constexpr int kMaxThreads = 256;
  // About 50 us before a thread sleeps. Yielding instead would hand a busy core to others for whole
  // time slices.
  static constexpr int kSpin = 4000;

  struct alignas(128) Share {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  void wait_for_workers() {
    for (int spin = 0; spin < kSpin && pending_.load(std::memory_order_acquire) != 0; ++spin)
      pause();
    for (int left; (left = pending_.load(std::memory_order_acquire)) != 0;)
      pending_.wait(left, std::memory_order_acquire);
  }

  void run_share(int self, int threads) {
    t_inside = true;
    try {
      for (int k = 0; k < threads; ++k) {
        Share& share = shares_[(self + k) % threads];
        for (;;) {
          if (failed_.load(std::memory_order_relaxed)) break;
          const int64_t piece = share.next.fetch_add(1, std::memory_order_relaxed);
          if (piece >= share.end) break;
          run_(context_, piece);
        }
      }
    } catch (...) {
      std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
    t_inside = false;
  }

  void work(int self) {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; epoch_.load(std::memory_order_acquire) == seen && spin < kSpin; ++spin)
        pause();
      if (epoch_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_relaxed);
        wake_.wait(lock, [&] { return stop_ || epoch_.load(std::memory_order_acquire) != seen; });
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
        if (stop_) return;
      }
      // The epoch carries the job's number of threads: one read tells both, and a worker that the
      // job does not count never touches it (the job may be over by then).
      seen = epoch_.load(std::memory_order_acquire);
      const int threads = static_cast<int>(seen & 0xffff);
      if (self >= threads) continue;
      detail::t_place = place_;  // an error says whose call it was
      const double begin = timed_ ? clock_seconds() : 0;
      run_share(self, threads);
      if (timed_) add(helped_, clock_seconds() - begin);
      detail::t_place = {};
      if (pending_.fetch_sub(1, std::memory_order_release) == 1) pending_.notify_one();
    }
  }

  std::mutex owner_, mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;
  Share shares_[kMaxThreads];
  std::atomic<uint64_t> epoch_{0};  // job number << 16 | threads of the job
  uint64_t job_ = 0;
  std::atomic<int> sleepers_{0}, pending_{0};
  std::atomic<bool> failed_{false};
  std::atomic<double> helped_{0};  // seconds of the workers, where the job is timed
  std::exception_ptr error_;
  bool stop_ = false;
  void (*run_)(const void*, int64_t) = nullptr;
  const void* context_ = nullptr;
  detail::Place place_;  // of the thread whose job it is
  bool timed_ = false;   // a Watch lives on that thread
};

Pool& pool() {
  static Pool p;
  return p;
}

}  // namespace

int thread_limit() {
  if (t_limit == 0) t_limit = default_threads();
  return t_limit;
}

void set_thread_limit(int threads) {
  if (threads < 1) fail<ValueError>("set_thread_limit: expected at least 1, got {}", threads);
  t_limit = threads;
}

void detail::bad_grain(int64_t grain) {
  fail<ValueError>("parallel_ranges: the grain must be at least 1, got {}", grain);
}

double detail::helped_seconds() { return t_helped; }

void detail::run_pieces(int64_t pieces, void (*run)(const void*, int64_t), const void* context) {
  const int threads = thread_limit();
  if (pieces > 1 && threads > 1 && !t_inside && pool().try_run(threads, pieces, run, context))
    return;
  for (int64_t piece = 0; piece < pieces; ++piece) run(context, piece);
}

}  // namespace loupe
