#pragma once
// Convolution (cross-correlation). Memory of images is channels last (N, H, W, C) inside: another
// layout is copied, and the result has it. That is a matter of strides; shapes are (N, C, H, W) and
// (N, C, L) as in PyTorch.
#include <loupe/core/tensor.h>

namespace loupe {

/// A size for rows and columns: {3, 5}, or 3 for both.
struct Size2 {
  int64_t h, w;
  constexpr Size2(int64_t both) : h(both), w(both) {}
  constexpr Size2(int64_t rows, int64_t columns) : h(rows), w(columns) {}
  friend bool operator==(const Size2&, const Size2&) = default;
};

struct Conv1dArgs {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
};
struct Conv2dArgs {
  Size2 stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
};

/// y[n, o, i] = bias[o] + sum over c, a of x[n, c, i stride - padding + a dilation] w[o, c, a],
/// zero outside. x (N, C, L), weight (O, C/groups, K), bias (O) or undefined -> (N, O, (L + 2
/// padding - dilation (K - 1) - 1) / stride + 1). Output channel o sees the C/groups input channels
/// of its group.
Tensor conv1d(In x, In weight, In bias = Tensor(), Conv1dArgs args = {});

/// The same over rows and columns: x (N, C, H, W), weight (O, C/groups, KH, KW) -> (N, O, OH, OW).
/// f32 picks its kernel by shape (core/kernels/conv.h); Winograd's larger rounding is switched off
/// by LOUPE_WINOGRAD=0.
Tensor conv2d(In x, In weight, In bias = Tensor(), Conv2dArgs args = {});

}  // namespace loupe
