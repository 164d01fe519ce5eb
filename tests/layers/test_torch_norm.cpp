#include <loupe/layers/norm.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

namespace {
// Where the mean is 1000 times the deviation, f32 cannot hold the mean to more than 3e-5 of the
// deviation.
constexpr double kOffsetBound32 = 1e-4;

template <class BN> void batch_norm_cases(const std::string& name, int64_t c) {
  layer_case(name, BN(c));
  layer_case(name + "_cumulative", BN(c, {.momentum = std::nullopt}));
  layer_case(name + "_momentum", BN(c, {.eps = 1e-3, .momentum = 0.4}));
  layer_case(name + "_plain", BN(c, {.affine = false}));
  layer_case(name + "_untracked", BN(c, {.track_running_stats = false}));
  layer_case(name + "_bare", BN(c, {.affine = false, .track_running_stats = false}));
}
}  // namespace

TEST_CASE(
    "BatchNorm equals PyTorch's through three training steps and eval: outputs, gradients, every "
    "buffer") {
  batch_norm_cases<BatchNorm1d>("batch_norm1d", 3);
  batch_norm_cases<BatchNorm2d>("batch_norm2d", 4);
  layer_case("batch_norm1d_ncl", BatchNorm1d(3));
  layer_case("batch_norm1d_offset", BatchNorm1d(3), kOffsetBound32);
}

TEST_CASE("LayerNorm, GroupNorm, InstanceNorm2d and RMSNorm equal PyTorch's") {
  layer_case("layer_norm", LayerNorm(6));
  layer_case("layer_norm_2axes", LayerNorm(Shape{3, 5}));
  layer_case("layer_norm_nobias", LayerNorm(6, {.bias = false}));
  layer_case("layer_norm_plain", LayerNorm(6, {.elementwise_affine = false}));
  layer_case("layer_norm_eps", LayerNorm(6, {.eps = 1e-12}));
  layer_case("layer_norm_offset", LayerNorm(16), kOffsetBound32);
  layer_case("group_norm", GroupNorm(2, 6));
  layer_case("group_norm_one", GroupNorm(1, 4));
  layer_case("group_norm_nc", GroupNorm(2, 8));
  layer_case("group_norm_plain", GroupNorm(3, 6, {.affine = false}));
  layer_case("instance_norm2d", InstanceNorm2d(3));
  layer_case("instance_norm2d_affine", InstanceNorm2d(3, {.affine = true}));
  layer_case("instance_norm2d_tracked",
             InstanceNorm2d(3, {.affine = true, .track_running_stats = true}));
  layer_case("rms_norm", RMSNorm(6));
  layer_case("rms_norm_eps", RMSNorm(6, {.eps = 1e-5}));
  layer_case("rms_norm_plain", RMSNorm(6, {.elementwise_affine = false}));
}
