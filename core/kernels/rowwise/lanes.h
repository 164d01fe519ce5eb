#pragma once
// Sums and maxima of a dense row inside simd(), in explicit lanes: one order at every instruction
// set, and vectors where g++ 12 would not vectorise a reduction.
//
//   terms   0 1 2 .. 15 | 16 17 .. 31 | ...    lane l adds the terms l, l + 16, l + 32, ...
//   lanes   0 1 2 .. 15                        then 0 + 8, 1 + 9, ..., 7 + 15
//           0 1 .. 7                           then 0 + 4, ..., 3 + 7
//           0 1 2 3                            and so on: the result is in lane 0
#include <loupe/core/kernels/vmath.h>

#include <limits>

namespace loupe::kernels {

inline constexpr int64_t kSumLanes = 16;    // floats of the widest vector
inline constexpr int64_t kSumChunk = 2048;  // terms that are added in T, then go into a double

/// Joins lanes by halves, op(lane[l], lane[l + Half]); the result is in lane[0].
template <int64_t Half = kSumLanes / 2, class T, class Op>
LOUPE_INLINE void join_lanes(T* lane, const Op& op) {
#pragma omp simd
  for (int64_t l = 0; l < Half; ++l) lane[l] = op(lane[l], lane[l + Half]);
  if constexpr (Half > 1) join_lanes<Half / 2>(lane, op);
}

/// The sum of f(i) over i < n: 16 lanes in chunks, the chunks in double. f may be called twice for
/// some i.
template <class T, class F> LOUPE_INLINE double lane_sum(int64_t n, const F& f) {
  double total = 0;
  for (int64_t chunk = 0; chunk < n; chunk += kSumChunk) {
    const int64_t end = chunk + kSumChunk < n ? chunk + kSumChunk : n;
    T lane[kSumLanes] = {};
    int64_t i = chunk;
    for (; i + kSumLanes <= end; i += kSumLanes) {
#pragma omp simd
      for (int64_t l = 0; l < kSumLanes; ++l) lane[l] += f(i + l);
    }
    if (i < end && n >= kSumLanes) {
      // The last 16 terms once more, without those that are in already.
      const int64_t last = end - kSumLanes;
#pragma omp simd
      for (int64_t l = 0; l < kSumLanes; ++l) {
        const T term = f(last + l);
        lane[l] += last + l < i ? T(0) : term;
      }
    } else {
      for (int64_t l = 0; i + l < end; ++l) lane[l] += f(i + l);
    }
    join_lanes(lane, [](T a, T b) { return a + b; });
    total += static_cast<double>(lane[0]);
  }
  return total;
}

/// The largest of `start` and x[0..n); NaN is passed over.
template <class T> LOUPE_INLINE T lane_max(int64_t n, const T* x, T start) {
  T lane[kSumLanes];
  for (int64_t l = 0; l < kSumLanes; ++l) lane[l] = start;
  int64_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
#pragma omp simd
    for (int64_t l = 0; l < kSumLanes; ++l) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
  }
  if (i < n && n >= kSumLanes) {
    const T* last = x + n - kSumLanes;
#pragma omp simd
    for (int64_t l = 0; l < kSumLanes; ++l) lane[l] = last[l] > lane[l] ? last[l] : lane[l];
  } else {
    for (int64_t l = 0; i + l < n; ++l) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
  }
  join_lanes(lane, [](T a, T b) { return b > a ? b : a; });
  return lane[0];
}

/// The maximum, or 0 where all is -Inf: then e^(x - it) is 0 rather than NaN.
template <class T> LOUPE_INLINE T finite_max(int64_t n, const T* x) {
  const T top = lane_max(n, x, -std::numeric_limits<T>::infinity());
  return top == -std::numeric_limits<T>::infinity() ? T(0) : top;
}

/// sum e^x = e^shift * sum. The two are kept apart: shift + log(sum) in one T loses log(sum) where
/// the shift is large (at 1e8 a float holds multiples of 8).
template <class T> struct ExpSum { T shift, sum; };

/// Of a row; sum 0 if all is -Inf.
template <class T, class Level> LOUPE_INLINE ExpSum<T> exp_sum(int64_t n, const T* x, Level level) {
  T few[kSumLanes];  // a row shorter than the lanes is filled up with -Inf, whose exponential is 0
  if (sizeof(T) == 4 && n < kSumLanes) {
    for (int64_t i = 0; i < kSumLanes; ++i)
      few[i] = i < n ? x[i] : -std::numeric_limits<T>::infinity();
    x = few;
    n = kSumLanes;
  }
  const T shift = finite_max(n, x);
  const T sum = static_cast<T>(
      lane_sum<T>(n, [=](int64_t i) { return vexp_nonpositive(x[i] - shift, level); }));
  return {shift, sum};
}

}  // namespace loupe::kernels
