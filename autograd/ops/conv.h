#pragma once
// Convolution (cross-correlation). Shapes are (N, C, H, W) and (N, C, L), as in PyTorch. Memory
// runs channels last (N, H, W, C): an input of another layout is copied, and the result is channels
// last. Strides hide it from the user.
#include <loupe/core/tensor.h>

namespace loupe {

/// A size for rows and columns: {3, 5}, or 3 for both.
struct Size2 {
  int64_t h, w;
  constexpr Size2(int64_t both) : h(both), w(both) {}
  constexpr Size2(int64_t rows, int64_t columns) : h(rows), w(columns) {}
  friend bool operator==(const Size2&, const Size2&) = default;
};

/// Zeros around an image: a number of rows and columns on both sides, or kSame: as many as keep the
/// output's size at the input's (stride 1 only). Where that is an odd number, the bottom and the
/// right side get one more, as in PyTorch.
struct Same {};
inline constexpr Same kSame{};
struct ConvPadding {
  int64_t h = 0, w = 0;
  bool same = false;
  constexpr ConvPadding() = default;
  constexpr ConvPadding(int64_t both) : h(both), w(both) {}
  constexpr ConvPadding(int64_t rows, int64_t columns) : h(rows), w(columns) {}
  constexpr ConvPadding(Size2 size) : h(size.h), w(size.w) {}
  constexpr ConvPadding(Same) : same(true) {}
  friend bool operator==(const ConvPadding&, const ConvPadding&) = default;
};

struct Conv1dArgs {
  int64_t stride = 1;
  ConvPadding padding = 0;
  int64_t dilation = 1, groups = 1;
};
struct Conv2dArgs {
  Size2 stride = 1;
  ConvPadding padding = 0;
  Size2 dilation = 1;
  int64_t groups = 1;
};

/// y[n, o, i] = bias[o] + sum over c, a of x[n, c, i stride - padding + a dilation] w[o, c, a],
/// zero outside. x (N, C, L), weight (O, C/groups, K), bias (O) or undefined -> (N, O, (L + 2
/// padding - dilation (K - 1) - 1) / stride + 1). Output channel o sees the C/groups input channels
/// of its group. N may be absent: (C, L) -> (O, L').
Tensor conv1d(In x, In weight, In bias = Tensor(), Conv1dArgs args = {});

/// The same over rows and columns: x (N, C, H, W), weight (O, C/groups, KH, KW) -> (N, O, OH, OW).
/// f32 picks its kernel by shape (core/kernels/conv/conv.h); Winograd's larger rounding is switched
/// off by LOUPE_WINOGRAD=0.
Tensor conv2d(In x, In weight, In bias = Tensor(), Conv2dArgs args = {});

struct ConvTranspose1dArgs {
  int64_t stride = 1, padding = 0, output_padding = 0, groups = 1, dilation = 1;
};
struct ConvTranspose2dArgs {
  Size2 stride = 1, padding = 0, output_padding = 0;
  int64_t groups = 1;
  Size2 dilation = 1;
};

/// Transposed convolution: the gradient of conv1d by its input, as an op of its own. Each x[n, c,
/// i] adds x w[c, o, a] to y[n, o, i stride - padding + a dilation]. x (N, C, L) or (C, L), weight
/// (C, O/groups, K), bias (O) or undefined -> (N, O, (L - 1) stride - 2 padding + dilation (K - 1)
/// + output_padding + 1). output_padding must be smaller than the stride or the dilation.
/// Below the stride it chooses among the sizes that the convolution would shrink to L. Zeiler et
/// al., "Deconvolutional networks", 2010.
Tensor conv_transpose1d(In x, In weight, In bias = Tensor(), ConvTranspose1dArgs args = {});
/// The same over rows and columns: x (N, C, H, W), weight (C, O/groups, KH, KW).
Tensor conv_transpose2d(In x, In weight, In bias = Tensor(), ConvTranspose2dArgs args = {});

}  // namespace loupe
