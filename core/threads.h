#pragma once
// The thread pool. Work is cut into pieces by its shape, never by the number of threads, and
// partial sums are combined in a fixed order by the caller: so a result has the same bits whoever
// ran the pieces.
#include <loupe/core/pinned.h>

#include <cstdint>
#include <memory>
#include <type_traits>

namespace loupe {

/// How many threads parallel_pieces called from this thread may use, itself included. Starts as the
/// number of cores (LOUPE_NUM_THREADS overrides); set to 1 in each of many one-thread trainings
/// that share a process.
int thread_limit();
/// Sets the limit for the calling thread; ValueError below 1. May exceed the number of cores; more
/// than 256 threads are not used.
void set_thread_limit(int threads);

/// Sets the calling thread's limit for a scope.
class ThreadLimit : Pinned {
 public:
  explicit ThreadLimit(int threads) : before_(thread_limit()) { set_thread_limit(threads); }
  ~ThreadLimit() { set_thread_limit(before_); }

 private:
  int before_;
};

namespace detail {
void run_pieces(int64_t pieces, void (*run)(const void*, int64_t), const void* context);
/// Seconds that other threads have worked on the calling thread's pieces, less the seconds that it
/// waited for them at the end. Counted only while a Watch (autograd/watch.h) lives on this thread.
double helped_seconds();
// Throws parallel_ranges' error.
[[noreturn]] void bad_grain(int64_t grain);
}  // namespace detail

/// Calls f(piece) for each piece in [0, pieces). Each thread starts on its own contiguous share,
/// the same one every time, so that a core meets again what it wrote; who is done early takes from
/// the others. A call from a piece that the pool runs, and a call while another thread uses the
/// pool, run serially. The first exception is rethrown once all have stopped.
template <class F> void parallel_pieces(int64_t pieces, const F& f) {
  detail::run_pieces(
      pieces, [](const void* context, int64_t piece) { (*static_cast<const F*>(context))(piece); },
      std::addressof(f));
}

/// Calls f(begin, end) over [0, n) cut into ranges of `grain` (the last may be shorter): pieces
/// depend on n and grain. ValueError for a grain below 1.
template <class F> void parallel_ranges(int64_t n, int64_t grain, const F& f) {
  if (grain < 1) detail::bad_grain(grain);
  if (n <= 0) return;
  parallel_pieces((n + grain - 1) / grain, [&](int64_t piece) {
    const int64_t begin = piece * grain;
    f(begin, begin + grain < n ? begin + grain : n);
  });
}

}  // namespace loupe
