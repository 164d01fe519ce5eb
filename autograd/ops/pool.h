#pragma once
// Pooling over (N, C, H, W) or (C, H, W), or (N, C, L) or (C, L) for the 1-d forms. As convolution,
// it works on channels-last memory and gives it. Window i covers the positions i stride - padding +
// j dilation, j < kernel; there are floor((size + 2 padding - dilation (kernel - 1) - 1) / stride)
// + 1. With ceil_mode the division rounds up, and a window that would begin beyond the image and
// its left padding is dropped.
#include <loupe/autograd/ops/conv.h>

#include <optional>

namespace loupe {

/// No stride means the kernel's size: windows side by side. padding is at most half the window.
/// dilation is for max pooling, count_include_pad for averages.
struct Pool1dArgs {
  std::optional<int64_t> stride = {};
  int64_t padding = 0;
  bool count_include_pad = true;
  bool ceil_mode = false;
  int64_t dilation = 1;
};
struct Pool2dArgs {
  std::optional<Size2> stride = {};
  Size2 padding = 0;
  bool count_include_pad = true;
  bool ceil_mode = false;
  Size2 dilation = 1;
};

/// Largest element of each window; positions of the padding never win, NaN does. The first of
/// equals gets the gradient.
Tensor max_pool1d(In x, int64_t kernel, Pool1dArgs args = {});
Tensor max_pool2d(In x, Size2 kernel, Pool2dArgs args = {});

struct PoolResult {
  Tensor values;
  Tensor indices;  // i64, of values' shape: row * W + column of each maximum in its image
};
/// max_pool with the places of the maxima.
PoolResult max_pool1d_with_indices(In x, int64_t kernel, Pool1dArgs args = {});
PoolResult max_pool2d_with_indices(In x, Size2 kernel, Pool2dArgs args = {});
/// Mean of each window. The padding counts as zeros; with count_include_pad = false it does not
/// count. With ceil_mode a window can reach past the padding: those places are never counted.
Tensor avg_pool1d(In x, int64_t kernel, Pool1dArgs args = {});
Tensor avg_pool2d(In x, Size2 kernel, Pool2dArgs args = {});
/// Means over a grid of `output` windows: [floor(i size / output), ceil((i + 1) size / output)). 1:
/// the mean over all.
Tensor adaptive_avg_pool1d(In x, int64_t output);
Tensor adaptive_avg_pool2d(In x, Size2 output);

}  // namespace loupe
