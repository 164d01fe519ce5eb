#pragma once
// A dense tensor around one axis, as kernels see it.
//
//   shape (2, 3, 4), axis 1:  outer = 2, n = 3, inner = 4
//
//     a0 b0 c0 d0        a line is a0 a1 a2: n numbers, `inner` apart.
//     a1 b1 c1 d1        There are outer * inner lines. With inner = 1 (the last axis)
//     a2 b2 c2 d2        a line is a row.
#include <loupe/core/shape.h>

namespace loupe::kernels {

/// (outer, n, inner): n numbers along the axis, `inner` apart, for each of outer * inner lines.
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  int64_t count() const { return outer * inner; }
  /// Where line i begins.
  int64_t begin(int64_t i) const { return i / inner * n * inner + i % inner; }
};

/// The lines of a row-major tensor along an axis.
inline Lines lines_along(const Shape& shape, int axis) {
  Lines l;
  for (int d = 0; d < shape.rank(); ++d) {
    if (d < axis) l.outer *= shape[d];
    else if (d == axis) l.n = shape[d];
    else l.inner *= shape[d];
  }
  return l;
}

}  // namespace loupe::kernels
