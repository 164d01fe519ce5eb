#include <loupe/layers/norm.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

// Means of 1000: a float of that size is exact to 3e-5, which is what the offset cases lose in f32.
TEST_CASE("BatchNorm1d and BatchNorm2d equal PyTorch's over three steps and eval: output, gradients, buffers") {
  auto both = [](const std::string& name, int64_t c, auto make) { layer_case(name, make(c), 3e-6); };
  auto all = [&]<class Bn>(const std::string& name, int64_t c) {
    both(name, c, [](int64_t n) { return Bn(n); });
    both(name + "_cumulative", c, [](int64_t n) { return Bn(n, {.momentum = std::nullopt}); });
    both(name + "_momentum", c, [](int64_t n) { return Bn(n, {.eps = 1e-3, .momentum = 0.4}); });
    both(name + "_plain", c, [](int64_t n) { return Bn(n, {.affine = false}); });
    both(name + "_untracked", c, [](int64_t n) { return Bn(n, {.track_running_stats = false}); });
    both(name + "_bare", c, [](int64_t n) { return Bn(n, {.affine = false, .track_running_stats = false}); });
  };
  all.operator()<BatchNorm1d>("batch_norm1d", 3);
  all.operator()<BatchNorm2d>("batch_norm2d", 4);
  layer_case("batch_norm1d_ncl", BatchNorm1d(3), 3e-6);
  layer_case("batch_norm1d_offset", BatchNorm1d(3), 3e-6);
}

TEST_CASE("LayerNorm, GroupNorm, InstanceNorm2d and RMSNorm equal PyTorch's") {
  layer_case("layer_norm", LayerNorm(6), 3e-6);
  layer_case("layer_norm_2axes", LayerNorm({3, 5}), 3e-6);
  layer_case("layer_norm_nobias", LayerNorm(6, {.bias = false}), 3e-6);
  layer_case("layer_norm_plain", LayerNorm(6, {.elementwise_affine = false}), 3e-6);
  layer_case("layer_norm_eps", LayerNorm(6, {.eps = 1e-12}), 3e-6);
  layer_case("layer_norm_offset", LayerNorm(16), 1e-4);
  layer_case("group_norm", GroupNorm(2, 6), 3e-6);
  layer_case("group_norm_one", GroupNorm(1, 4), 3e-6);
  // Groups of two values: a gradient of nearly 0, the rest of numbers 10,000 times as large.
  layer_case("group_norm_nc", GroupNorm(3, 6), 3e-3);
  layer_case("group_norm_plain", GroupNorm(3, 6, {.affine = false}), 3e-6);
  layer_case("instance_norm2d", InstanceNorm2d(3), 3e-6);
  layer_case("instance_norm2d_affine", InstanceNorm2d(3, {.affine = true}), 3e-6);
  layer_case("instance_norm2d_tracked", InstanceNorm2d(3, {.affine = true, .track_running_stats = true}), 3e-6);
  layer_case("rms_norm", RMSNorm(6), 3e-6);
  layer_case("rms_norm_eps", RMSNorm(6, {.eps = 1e-5}), 3e-6);
  layer_case("rms_norm_plain", RMSNorm(6, {.elementwise_affine = false}), 3e-6);
}
