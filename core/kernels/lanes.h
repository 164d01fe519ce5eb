#pragma once
// Sums and maxima of a dense row inside simd(), in explicit lanes: one order at every instruction set, and vectors
// where g++ 12 would not vectorise a reduction.
#include <loupe/core/kernels/vmath.h>

#include <algorithm>

namespace loupe::kernels {

inline constexpr int64_t kSumLanes = 16;
inline constexpr int64_t kSumBlock = 2048;  // terms that are added in T before they go into a double

/// The sum of f(i) over i < n: 16 lanes in blocks, the blocks in double.
template <class T, class F> LOUPE_INLINE double lane_sum(int64_t n, const F& f) {
  double total = 0;
  for (int64_t block = 0; block < n; block += kSumBlock) {
    const int64_t end = block + kSumBlock < n ? block + kSumBlock : n;
    T lane[kSumLanes] = {};
    int64_t i = block;
    for (; i + kSumLanes <= end; i += kSumLanes) {
#pragma omp simd
      for (int64_t l = 0; l < kSumLanes; ++l) lane[l] += f(i + l);
    }
    for (int64_t l = 0; i + l < end; ++l) lane[l] += f(i + l);
    for (int64_t half = kSumLanes / 2; half > 0; half /= 2)
      for (int64_t l = 0; l < half; ++l) lane[l] += lane[l + half];
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
  for (int64_t l = 0; i + l < n; ++l) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
  T top = lane[0];
  for (int64_t l = 1; l < kSumLanes; ++l) top = lane[l] > top ? lane[l] : top;
  return top;
}

}  // namespace loupe::kernels
