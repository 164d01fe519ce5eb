#include <loupe/core/kernels/conv/conv.h>
#include <loupe/layers/conv.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

TEST_CASE("Conv1d and Conv2d equal PyTorch's: output, gradients of input, weight and bias") {
  Rng rng(1);
  layer_case("conv1d", Conv1d(rng, 3, 4, {.kernel_size = 3}));
  layer_case("conv1d_all", Conv1d(rng, 4, 6,
                                  {.kernel_size = 3,
                                   .stride = 2,
                                   .padding = 2,
                                   .dilation = 2,
                                   .groups = 2,
                                   .bias = false}));
  layer_case("conv2d", Conv2d(rng, 2, 3, {.kernel_size = 3}));
  layer_case("conv2d_pad", Conv2d(rng, 1, 4, {.kernel_size = 3, .padding = 1}));
  layer_case("conv2d_stride",
             Conv2d(rng, 3, 4, {.kernel_size = 3, .stride = 2, .padding = 1, .bias = false}));
  layer_case("conv2d_dilation", Conv2d(rng, 2, 3, {.kernel_size = 3, .padding = 2, .dilation = 2}));
  layer_case("conv2d_groups", Conv2d(rng, 4, 6, {.kernel_size = 3, .padding = 1, .groups = 2}));
  layer_case("conv2d_depthwise",
             Conv2d(rng, 4, 4, {.kernel_size = 3, .padding = 1, .groups = 4, .bias = false}));
  layer_case("conv2d_1x1", Conv2d(rng, 5, 3, {.kernel_size = 1}));
  layer_case("conv2d_1x1_stride",
             Conv2d(rng, 4, 6, {.kernel_size = 1, .stride = 2, .bias = false}));
  layer_case(
      "conv2d_uneven",
      Conv2d(rng, 2, 3,
             {.kernel_size = {3, 2}, .stride = {1, 2}, .padding = {2, 1}, .dilation = {2, 1}}));
  layer_case("conv2d_5x5", Conv2d(rng, 2, 3, {.kernel_size = 5, .stride = 3, .padding = 2}));
  // Wide enough for Winograd's algorithm, which has its own bound (core/kernels/conv/winograd.h);
  // without it the usual one.
  layer_case("conv2d_wide", Conv2d(rng, 16, 16, {.kernel_size = 3, .padding = 1, .bias = false}),
             4e-6);
  kernels::set_winograd_enabled(false);
  layer_case("conv2d_wide", Conv2d(rng, 16, 16, {.kernel_size = 3, .padding = 1, .bias = false}));
  kernels::set_winograd_enabled(true);
}
