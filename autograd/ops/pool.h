#pragma once
// Pooling over (N, C, H, W), or (N, C, L) for the 1-d forms. As convolution, it works on
// channels-last memory and gives it. Window i covers [i stride - padding, i stride - padding +
// kernel); there are floor((size + 2 padding - kernel) / stride) + 1 (ceil_mode is not offered).
#include <loupe/autograd/ops/conv.h>

#include <optional>

namespace loupe {

/// No stride means the kernel's size: windows side by side. padding is at most half the kernel.
struct Pool1dArgs {
  std::optional<int64_t> stride = {};
  int64_t padding = 0;
  bool count_include_pad = true;
};
struct Pool2dArgs {
  std::optional<Size2> stride = {};
  Size2 padding = 0;
  bool count_include_pad = true;
};

/// Largest element of each window; positions of the padding never win, NaN does. The first of
/// equals gets the gradient.
Tensor max_pool1d(In x, int64_t kernel, Pool1dArgs args = {});
Tensor max_pool2d(In x, Size2 kernel, Pool2dArgs args = {});
/// Mean of each window. The padding counts as zeros; with count_include_pad = false it does not
/// count.
Tensor avg_pool1d(In x, int64_t kernel, Pool1dArgs args = {});
Tensor avg_pool2d(In x, Size2 kernel, Pool2dArgs args = {});
/// Means over a grid of `output` windows: [floor(i size / output), ceil((i + 1) size / output)). 1:
/// the mean over all.
Tensor adaptive_avg_pool1d(In x, int64_t output);
Tensor adaptive_avg_pool2d(In x, Size2 output);

}  // namespace loupe
