#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/interpolate.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>

#include "torch_case.h"

using namespace loupe;

namespace {

template <class M> void one(const std::string& name, M m) {
  fixture::layer_case<M>(
      name, std::move(m), fixture::kBound32,
      [](M& layer, const Tensors& xs) { return Tensors{layer(xs[0])}; }, "images.safetensors");
}

}  // namespace

TEST_CASE("convolutions with padding kSame and without a batch equal PyTorch's") {
  Rng rng(1);
  one("conv2d_same", Conv2d(rng, 2, 3, {.kernel_size = 3, .padding = kSame}));
  one("conv2d_same_even",
      Conv2d(rng, 2, 3, {.kernel_size = {4, 2}, .padding = kSame, .dilation = {1, 3}}));
  one("conv1d_same_even", Conv1d(rng, 2, 3, {.kernel_size = 4, .padding = kSame}));
  one("conv2d_unbatched", Conv2d(rng, 2, 3, {.kernel_size = 3, .padding = 1}));
  one("conv1d_unbatched", Conv1d(rng, 2, 3, {.kernel_size = 3, .padding = 1}));
}

TEST_CASE("transposed convolutions equal PyTorch's") {
  Rng rng(1);
  using CT = ConvTranspose2d;
  one("conv_transpose2d", CT(rng, 3, 4, {.kernel_size = 3}));
  one("conv_transpose2d_stride",
      CT(rng, 3, 4, {.kernel_size = 3, .stride = 2, .padding = 1, .output_padding = 1}));
  one("conv_transpose2d_groups",
      CT(rng, 4, 6, {.kernel_size = 3, .stride = 2, .padding = 1, .groups = 2, .bias = false}));
  one("conv_transpose2d_dilation",
      CT(rng, 2, 3,
         {.kernel_size = {2, 3}, .stride = {1, 2}, .padding = {0, 1}, .dilation = {2, 1}}));
  one("conv_transpose2d_wide",
      CT(rng, 2, 3, {.kernel_size = 3, .output_padding = 2, .dilation = 3}));
  one("conv_transpose2d_patch", CT(rng, 3, 2, {.kernel_size = 2, .stride = 2}));
  one("conv_transpose2d_unbatched", CT(rng, 3, 4, {.kernel_size = 3}));
  one("conv_transpose1d",
      ConvTranspose1d(rng, 3, 4,
                      {.kernel_size = 4, .stride = 3, .padding = 2, .output_padding = 1}));
  one("conv_transpose1d_unbatched", ConvTranspose1d(rng, 3, 4, {.kernel_size = 3}));
}

TEST_CASE("norm layers without a bias equal PyTorch's") {
  one("batch_norm2d_nobias", BatchNorm2d(3, {.bias = false}));
  one("group_norm_nobias", GroupNorm(2, 6, {.bias = false}));
  one("instance_norm2d_nobias", InstanceNorm2d(3, {.affine = true, .bias = false}));
}

TEST_CASE("pools with ceil_mode, dilation and without a batch equal PyTorch's") {
  one("max_pool2d_ceil", MaxPool2d({.kernel_size = 3, .stride = 2, .ceil_mode = true}));
  one("max_pool2d_ceil_pad",
      MaxPool2d({.kernel_size = {2, 3}, .stride = Size2(3, 2), .padding = 1, .ceil_mode = true}));
  one("max_pool2d_dilation", MaxPool2d({.kernel_size = 3, .stride = 1, .dilation = 2}));
  one("max_pool2d_dilation_pad",
      MaxPool2d(
          {.kernel_size = 2, .stride = 2, .padding = 1, .ceil_mode = true, .dilation = {3, 2}}));
  one("max_pool2d_unbatched", MaxPool2d({.kernel_size = 2}));
  one("max_pool1d_all",
      MaxPool1d({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true, .dilation = 2}));
  one("max_pool1d_unbatched", MaxPool1d({.kernel_size = 3}));
  one("avg_pool2d_ceil", AvgPool2d({.kernel_size = 3, .stride = 2, .ceil_mode = true}));
  one("avg_pool2d_ceil_pad",
      AvgPool2d({.kernel_size = {2, 3}, .stride = Size2(3, 2), .padding = 1, .ceil_mode = true}));
  one("avg_pool2d_ceil_exclude", AvgPool2d({.kernel_size = {2, 3},
                                            .stride = Size2(3, 2),
                                            .padding = 1,
                                            .count_include_pad = false,
                                            .ceil_mode = true}));
  one("avg_pool1d_ceil",
      AvgPool1d({.kernel_size = 4, .stride = 3, .padding = 2, .ceil_mode = true}));
  one("avg_pool2d_unbatched", AvgPool2d({.kernel_size = 2}));
  one("adaptive_avg_pool2d_unbatched", AdaptiveAvgPool2d({3, 2}));
  one("adaptive_avg_pool1d_unbatched", AdaptiveAvgPool1d(4));
}

TEST_CASE("the places of the maxima equal PyTorch's, and gather gives the maxima") {
  const fixture::Fixture f("images.safetensors");
  const auto same_places = [&](const std::string& name, const PoolResult& r, const Tensor& x) {
    INFO(name);
    REQUIRE(equal(r.values.contiguous(), f.get(name + "/y")));
    REQUIRE(equal(r.indices.contiguous(), f.get(name + "/indices")));
    const int64_t n = x.size(0), c = x.size(1);
    const Tensor places = r.indices.reshape({n, c, -1});
    REQUIRE(equal(gather(x.reshape({n, c, -1}), 2, places), r.values.reshape({n, c, -1})));
  };
  const Tensor image = f.get("indices2d/x0"), line = f.get("indices1d/x0");
  same_places("indices2d",
              max_pool2d_with_indices(image, 3, {.stride = 2, .padding = 1, .ceil_mode = true}),
              image);
  same_places("indices1d",
              max_pool1d_with_indices(line, 3, {.stride = 2, .padding = 1, .dilation = 2}), line);
}

TEST_CASE("Upsample equals PyTorch's: every mode, up and down, sizes and factors") {
  using I = Interpolation;
  for (const auto& [tag, size] :
       {std::pair<std::string, Size2>{"up", {9, 11}}, {"down", {3, 2}}, {"one", {1, 1}}}) {
    one("upsample_nearest_" + tag, Upsample({.size = size}));
    one("upsample_exact_" + tag, Upsample({.size = size, .mode = I::nearest_exact}));
    one("upsample_linear_" + tag, Upsample({.size = size, .mode = I::linear}));
    one("upsample_corners_" + tag,
        Upsample({.size = size, .mode = I::linear, .align_corners = true}));
  }
  for (const auto& [tag, factor] :
       {std::pair<std::string, double>{"2", 2.0}, {"17", 1.7}, {"06", 0.6}}) {
    one("upsample_nearest_by_" + tag, Upsample({.scale_factor = factor}));
    one("upsample_linear_by_" + tag, Upsample({.scale_factor = factor, .mode = I::linear}));
    one("upsample_line_by_" + tag, Upsample({.scale_factor = factor, .mode = I::linear}));
  }
  one("upsample_line_nearest", Upsample({.size = 10}));
}

TEST_CASE("second derivatives of transposed convolutions and of resampling") {
  Rng rng(2);
  const Tensor x = randn(rng, {2, 2, 3, 4}, DType::f64), w = randn(rng, {2, 3, 3, 2}, DType::f64),
               b = randn(rng, {3}, DType::f64);
  const auto transposed = [](const Tensors& t) {
    return conv_transpose2d(t[0], t[1], t[2], {.stride = 2, .padding = 1, .output_padding = 1});
  };
  REQUIRE_NOTHROW(gradcheck(transposed, {x, w, b}, {.label = "conv_transpose2d"}));
  REQUIRE_NOTHROW(gradgradcheck(transposed, {x, w, b}, {.label = "conv_transpose2d"}));
  const auto linear = [](const Tensors& t) {
    return interpolate(t[0], {.size = Size2(5, 3), .mode = Interpolation::linear}) *
           interpolate(t[0], {.size = Size2(5, 3)});
  };
  REQUIRE_NOTHROW(gradcheck(linear, {x}, {.label = "interpolate"}));
  REQUIRE_NOTHROW(gradgradcheck(linear, {x}, {.label = "interpolate"}));
}

TEST_CASE("a pool with ceil_mode or dilation is not fused into a halving one") {
  Rng rng(3);
  const Tensor x = randn(rng, {2, 4, 5, 5});
  for (const Pool2dOptions& o : {Pool2dOptions{.kernel_size = 2, .ceil_mode = true},
                                 Pool2dOptions{.kernel_size = 2, .stride = 2, .dilation = 2}}) {
    Sequential net(BatchNorm2d(4), ReLU(), MaxPool2d(o));
    BatchNorm2d bn(4);
    REQUIRE(equal(net(x), max_pool2d(relu(bn(x)), 2, o.args())));
  }
}
