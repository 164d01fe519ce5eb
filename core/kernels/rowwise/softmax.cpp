#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/lanes.h>
#include <loupe/core/kernels/rowwise/softmax.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a piece

template <class T, class Level>
LOUPE_INLINE void softmax_row(bool log, int64_t n, const T* x, T* y, Level level) {
  if (log) {
    const ExpSum<T> e = exp_sum(n, x, level);
    const T shift = e.shift;
    const T log_sum = e.sum == 0 ? T(0) : vlog(e.sum, level);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] = (x[i] - shift) - log_sum;
  } else {
    const T shift = finite_max(n, x);
    const T sum = static_cast<T>(
        lane_sum<T>(n, [=](int64_t i) { return y[i] = vexp_nonpositive(x[i] - shift, level); }));
    const T by = sum == 0 ? T(0) : T(1) / sum;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) y[i] *= by;
  }
}

template <class T, class Level>
LOUPE_INLINE void backward_row(bool log, int64_t n, const T* y, const T* dy, T* dx, Level level) {
  if (log) {
    const T sum = static_cast<T>(lane_sum<T>(n, [=](int64_t i) { return dy[i]; }));
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dx[i] = dy[i] - vexp(y[i], level) * sum;
  } else {
    const T sum = static_cast<T>(lane_sum<T>(n, [=](int64_t i) { return dy[i] * y[i]; }));
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) dx[i] = y[i] * (dy[i] - sum);
  }
}

// Calls f(begin, end) over ranges of rows, on all threads.
template <class F> void for_ranges(const Lines& l, const F& f) {
  if (l.n == 0) return;
  parallel_ranges(l.outer, std::max<int64_t>(1, kGrain / l.n), f);
}

}  // namespace

template <class T> void softmax(bool log, const Lines& lines, const T* x, T* y) {
  if (lines.inner != 1) return plain::softmax(log, lines, x, y);
  for_ranges(lines, [=, n = lines.n](int64_t begin, int64_t end) {
    simd<T>([=](auto level) {
      for (int64_t i = begin; i < end; ++i) softmax_row(log, n, x + i * n, y + i * n, level);
    });
  });
}

template <class T>
void softmax_backward(bool log, const Lines& lines, const T* y, const T* dy, T* dx) {
  if (lines.inner != 1) return plain::softmax_backward(log, lines, y, dy, dx);
  for_ranges(lines, [=, n = lines.n](int64_t begin, int64_t end) {
    simd<T>([=](auto level) {
      for (int64_t i = begin; i < end; ++i)
        backward_row(log, n, y + i * n, dy + i * n, dx + i * n, level);
    });
  });
}

template void softmax<float>(bool, const Lines&, const float*, float*);
template void softmax<double>(bool, const Lines&, const double*, double*);
template void softmax_backward<float>(bool, const Lines&, const float*, const float*, float*);
template void softmax_backward<double>(bool, const Lines&, const double*, const double*, double*);

}  // namespace loupe::kernels
