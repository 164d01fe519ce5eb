#pragma once
// Resampling of images in N, H, W, C memory by a table: each output row (column) is a weighted sum
// of two input rows (columns). Instances for float and double. The fast loops give the plain ones'
// bits.
//
//   4 columns to 6:   out[1] = 1/2 x[0] + 1/2 x[1]   is Mix{0, 1, 0.5, 0.5}
//                     out[0] = x[0]                  is Mix{0, 0, 1, 0}
#include <cstdint>
#include <vector>

namespace loupe::kernels {

/// One output position: first_weight x[first] + second_weight x[second].
struct Mix {
  int64_t first = 0, second = 0;
  double first_weight = 1, second_weight = 0;
};

struct InterpolateShape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  std::vector<Mix> rows, columns;  // one per output row and column

  int64_t out_h() const { return static_cast<int64_t>(rows.size()); }
  int64_t out_w() const { return static_cast<int64_t>(columns.size()); }
};

/// y (n, rows, columns, c) from x (n, h, w, c).
template <class T> void interpolate(const InterpolateShape& s, const T* x, T* y);
/// The transpose: dx = 0, then each dy is added to the pixels it came from.
template <class T> void interpolate_backward(const InterpolateShape& s, const T* dy, T* dx);

/// The same, output number after output number.
namespace plain {

template <class T> void interpolate(const InterpolateShape& s, const T* x, T* y);
template <class T> void interpolate_backward(const InterpolateShape& s, const T* dy, T* dx);

}  // namespace plain
}  // namespace loupe::kernels
