#include <loupe/layers/pool.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

TEST_CASE("pooling equals PyTorch's") {
  layer_case("max_pool2d", MaxPool2d({.kernel_size = 2}));
  layer_case("max_pool2d", MaxPool2d(2));
  layer_case("max_pool2d_pad", MaxPool2d({.kernel_size = 3, .stride = 2, .padding = 1}));
  layer_case("max_pool2d_uneven",
             MaxPool2d({.kernel_size = {2, 3}, .stride = Size2{1, 2}, .padding = {0, 1}}));
  layer_case("max_pool2d_overlap", MaxPool2d({.kernel_size = 3, .stride = 1}));
  layer_case("avg_pool2d", AvgPool2d({.kernel_size = 2}));
  layer_case("avg_pool2d_pad", AvgPool2d({.kernel_size = 3, .stride = 2, .padding = 1}));
  layer_case("avg_pool2d_exclude",
             AvgPool2d({.kernel_size = 3, .stride = 2, .padding = 1, .count_include_pad = false}));
  layer_case("adaptive_avg_pool2d_1", AdaptiveAvgPool2d(1));
  layer_case("adaptive_avg_pool2d_3x2", AdaptiveAvgPool2d({3, 2}));
  layer_case("max_pool1d", MaxPool1d({.kernel_size = 3, .stride = 2, .padding = 1}));
  layer_case("avg_pool1d", AvgPool1d({.kernel_size = 2}));
  layer_case("avg_pool1d", AvgPool1d(2));
  layer_case("adaptive_avg_pool1d", AdaptiveAvgPool1d(4));
}
