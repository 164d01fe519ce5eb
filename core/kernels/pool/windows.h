#pragma once
// One window of a pooling, for the plain loops and the fast ones.
#include <loupe/core/kernels/pool/pool.h>

#include <algorithm>

namespace loupe::kernels {

/// The pixels of one output pixel.
struct Window {
  Range rows, columns;
};
inline Window window_of(const PoolShape& s, int64_t i, int64_t j) {
  return {s.rows[static_cast<size_t>(i)], s.columns[static_cast<size_t>(j)]};
}

/// Calls f(row * width + column) for the pixels of a window, in that order.
template <class F> inline void for_pixels(const Window& v, int64_t width, const F& f) {
  for (int64_t row = v.rows.begin; row < v.rows.end; row += v.rows.step)
    for (int64_t column = v.columns.begin; column < v.columns.end; column += v.columns.step)
      f(row * width + column);
}

/// What an average divides by.
inline int64_t divisor(const PoolShape& s, const Window& v) {
  if (s.divisor > 0) return s.divisor;
  return std::max<int64_t>(1, v.rows.counted * v.columns.counted);
}

}  // namespace loupe::kernels
