#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/lanes.h>
#include <loupe/core/kernels/rowwise/softmax.h>
#include <loupe/core/threads.h>

#include <limits>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a piece

template <class T, class Level>
LOUPE_INLINE void softmax_row(bool log, int64_t n, const T* x, T* y, Level level) {
  if (log) {
    const ExpSum<T> e = exp_sum(n, x, level);
    const T shift = e.shift, log_sum = e.sum == 0 ? T(0) : vlog(e.sum, level);
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

// One index of the inner axis: a column of stride `inner`. Plain: such axes are rare.
template <class T> void softmax_column(bool log, int64_t n, int64_t inner, const T* x, T* y) {
  T shift = -std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < n; ++i) shift = x[i * inner] > shift ? x[i * inner] : shift;
  if (shift == -std::numeric_limits<T>::infinity()) shift = 0;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(vexp(x[i * inner] - shift));
  const T log_sum = sum == 0 ? T(0) : static_cast<T>(vlog(sum)),
          by = sum == 0 ? T(0) : static_cast<T>(1 / sum);
  for (int64_t i = 0; i < n; ++i) {
    const T below = x[i * inner] - shift;
    y[i * inner] = log ? below - log_sum : vexp(below) * by;
  }
}

template <class T>
void backward_column(bool log, int64_t n, int64_t inner, const T* y, const T* dy, T* dx) {
  double sum = 0;
  for (int64_t i = 0; i < n * inner; i += inner)
    sum += static_cast<double>(log ? dy[i] : dy[i] * y[i]);
  const T s = static_cast<T>(sum);
  for (int64_t i = 0; i < n * inner; i += inner)
    dx[i] = log ? dy[i] - vexp(y[i]) * s : y[i] * (dy[i] - s);
}

}  // namespace

template <class T>
void softmax(bool log, int64_t outer, int64_t n, int64_t inner, const T* x, T* y) {
  if (n == 0) return;
  parallel_ranges(outer * inner, std::max<int64_t>(1, kGrain / n), [=](int64_t begin, int64_t end) {
    if (inner == 1)
      return simd<T>([=](auto level) {
        for (int64_t i = begin; i < end; ++i) softmax_row(log, n, x + i * n, y + i * n, level);
      });
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i / inner * n * inner + i % inner;
      softmax_column(log, n, inner, x + at, y + at);
    }
  });
}

template <class T>
void softmax_backward(bool log, int64_t outer, int64_t n, int64_t inner, const T* y, const T* dy,
                      T* dx) {
  if (n == 0) return;
  parallel_ranges(outer * inner, std::max<int64_t>(1, kGrain / n), [=](int64_t begin, int64_t end) {
    if (inner == 1)
      return simd<T>([=](auto level) {
        for (int64_t i = begin; i < end; ++i)
          backward_row(log, n, y + i * n, dy + i * n, dx + i * n, level);
      });
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i / inner * n * inner + i % inner;
      backward_column(log, n, inner, y + at, dy + at, dx + at);
    }
  });
}

template void softmax<float>(bool, int64_t, int64_t, int64_t, const float*, float*);
template void softmax<double>(bool, int64_t, int64_t, int64_t, const double*, double*);
template void softmax_backward<float>(bool, int64_t, int64_t, int64_t, const float*, const float*,
                                      float*);
template void softmax_backward<double>(bool, int64_t, int64_t, int64_t, const double*,
                                       const double*, double*);

}  // namespace loupe::kernels
