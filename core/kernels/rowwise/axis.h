#pragma once
// A dense tensor around one axis, as kernels see it.
#include <loupe/core/shape.h>

namespace loupe::kernels {

/// (outer, n, inner): n numbers along the axis, `inner` apart, for each of outer * inner lines.
struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
  Lines(const Shape& shape, int axis) {
    for (int d = 0; d < shape.rank(); ++d) {
      if (d < axis) outer *= shape[d];
      else if (d == axis) n = shape[d];
      else inner *= shape[d];
    }
  }
};

}  // namespace loupe::kernels
