#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

using namespace loupe;
using Catch::Matchers::StartsWith;

TEST_CASE("convolutions say what does not fit") {
  const Tensor x = zeros({2, 4, 5, 6}), w = zeros({6, 4, 3, 3});
  REQUIRE(conv2d(x, w).shape() == Shape{2, 6, 3, 4});
  REQUIRE_THROWS_WITH(
      conv2d(zeros({5, 6}), w),
      StartsWith("conv2d: expected an input of shape (N, C, H, W) or (C, H, W), got (5, 6)"));
  REQUIRE(conv2d(zeros({4, 5, 6}), w).shape() == Shape{6, 3, 4});
  REQUIRE_THROWS_WITH(
      conv2d(x, zeros({6, 3, 3, 3})),
      StartsWith("conv2d: a weight of shape (6, 3, 3, 3) with groups=1 takes 3 input "
                 "channels, the input has 4"));
  REQUIRE_THROWS_AS(conv2d(x, zeros({6, 4, 3})), ShapeError);
  REQUIRE_THROWS_WITH(
      conv2d(x, zeros({6, 1, 3, 3}), Tensor(), {.groups = 4}),
      StartsWith("conv2d: 4 input and 6 output channels cannot be divided into 4 groups"));
  REQUIRE_THROWS_WITH(
      conv2d(x, zeros({6, 4, 7, 3})),
      StartsWith("conv2d: the kernel spans 7 x 3, more than the padded input of 5 x 6"));
  REQUIRE_THROWS_AS(conv2d(x, w, Tensor(), {.dilation = 3}), ShapeError);
  REQUIRE_THROWS_AS(conv2d(x, w, zeros({4})), ShapeError);
  REQUIRE_THROWS_AS(conv2d(x, w, Tensor(), {.stride = 0}), ValueError);
  REQUIRE_THROWS_AS(conv2d(x, w, Tensor(), {.padding = {0, -1}}), ValueError);
  REQUIRE_THROWS_AS(conv2d(x, w, Tensor(), {.groups = 0}), ValueError);
  REQUIRE_THROWS_AS(conv2d(x, zeros({6, 4, 0, 3})), ShapeError);
  REQUIRE_THROWS_AS(conv2d(x, zeros({6, 4, 3, 3}, DType::f64)), DtypeError);
  REQUIRE_THROWS_AS(conv2d(zeros({1, 1, 3, 3}, DType::i64), zeros({1, 1, 3, 3}, DType::i64)),
                    DtypeError);
  REQUIRE_THROWS_AS(conv1d(zeros({2, 3}), zeros({1, 3, 1})), ShapeError);
  REQUIRE_THROWS_WITH(
      conv1d(zeros({1, 3, 4}), zeros({2, 3, 5})),
      StartsWith("conv1d: the kernel spans 1 x 5, more than the padded input of 1 x 4"));
}

TEST_CASE("a convolution takes any layout and gives channels last") {
  Rng rng(3);
  const Tensor x = randn(rng, {2, 3, 6, 5}), w = randn(rng, {4, 3, 3, 3}), b = randn(rng, {4});
  const Tensor y = conv2d(x, w, b, {.stride = {2, 1}, .padding = 1});
  REQUIRE(y.shape() == Shape{2, 4, 3, 5});
  REQUIRE(raw::is_channels_last(y));
  REQUIRE(equal(y, conv2d(raw::channels_last(x), w, b, {.stride = {2, 1}, .padding = 1})));
  REQUIRE(equal(
      y, conv2d(x.t().clone().t(), w.t().contiguous().t(), b, {.stride = {2, 1}, .padding = 1})));
  const Tensor line = randn(rng, {2, 3, 7}), filter = randn(rng, {4, 3, 2});
  const Tensor out = conv1d(line, filter, b, {.stride = 2, .padding = 1, .dilation = 2});
  REQUIRE(out.shape() == Shape{2, 4, 4});
  REQUIRE(equal(out, conv2d(line.unsqueeze(2), filter.unsqueeze(2), b,
                            {.stride = {1, 2}, .padding = {0, 1}, .dilation = {1, 2}})
                         .squeeze(2)));
}

TEST_CASE("convolutions of nothing have a shape") {
  REQUIRE(conv2d(zeros({0, 3, 5, 5}), zeros({4, 3, 3, 3})).shape() == Shape{0, 4, 3, 3});
  REQUIRE(equal(conv2d(zeros({2, 0, 5, 5}), zeros({4, 0, 3, 3}), ones({4})), ones({2, 4, 3, 3})));
  const Tensor w = zeros({4, 3, 3, 3}).requires_grad_();
  conv2d(zeros({0, 3, 5, 5}), w).sum().backward();
  REQUIRE(equal(w.grad(), zeros({4, 3, 3, 3})));
}

TEST_CASE("convolutions pass gradcheck and gradgradcheck") {
  Rng rng(5);
  struct Case {
    Shape x, w;
    Conv2dArgs args;
  };
  const Case cases[] = {
      {{2, 3, 5, 4}, {4, 3, 3, 3}, {.padding = 1}},
      {{2, 3, 6, 7}, {2, 3, 3, 2}, {.stride = {2, 3}, .padding = {1, 0}}},
      {{1, 2, 7, 6}, {3, 2, 2, 3}, {.stride = {1, 2}, .padding = {2, 3}, .dilation = {3, 2}}},
      {{2, 4, 5, 5}, {6, 2, 3, 3}, {.padding = 1, .groups = 2}},
      {{2, 3, 5, 4}, {3, 1, 3, 3}, {.stride = 2, .padding = 1, .groups = 3}},
      {{2, 3, 3, 3}, {4, 3, 1, 1}, {}},
      {{1, 1, 1, 1}, {1, 1, 3, 3}, {.padding = 1}},
  };
  for (const Case& c : cases) {
    CAPTURE(to_string(c.x), to_string(c.w));
    const Tensors inputs{randn(rng, c.x, DType::f64), randn(rng, c.w, DType::f64),
                         randn(rng, {c.w[0]}, DType::f64)};
    const auto f = [&](const Tensors& t) { return conv2d(t[0], t[1], t[2], c.args); };
    REQUIRE(gradcheck(f, inputs));
    REQUIRE(gradgradcheck(f, inputs));
  }
  const Tensors line{randn(rng, {2, 3, 8}, DType::f64), randn(rng, {4, 3, 3}, DType::f64),
                     randn(rng, {4}, DType::f64)};
  const auto f = [](const Tensors& t) {
    return conv1d(t[0], t[1], t[2], {.stride = 2, .padding = 2, .dilation = 2});
  };
  REQUIRE(gradcheck(f, line));
  REQUIRE(gradgradcheck(f, line));
}

TEST_CASE("f32 convolutions have the gradients of f64, first and second") {
  Rng rng(6);
  const auto gradients = [](const Tensors& in, DType dtype) {
    Tensors t;
    for (const Tensor& x : in) t.push_back(x.to(dtype).clone().requires_grad_());
    const Tensor y = conv2d(t[0], t[1], t[2], {.stride = 2, .padding = 1});
    Tensors all = grad({(y * y * y).sum()}, t, {.create_graph = true});
    for (const Tensor& g : grad({(all[0] * all[0]).sum() + (all[1] * all[1]).sum()}, t))
      all.push_back(g);
    return all;
  };
  const Tensors in{randn(rng, {9, 16, 8, 9}), randn(rng, {20, 16, 3, 3}) * 0.1, randn(rng, {20})};
  const Tensors fast = gradients(in, DType::f32), truth = gradients(in, DType::f64);
  for (size_t i = 0; i < truth.size(); ++i) {
    const double scale = max(abs(truth[i])).item();
    REQUIRE(max(abs(fast[i].to(DType::f64) - truth[i])).item() <= 3e-6 * scale);
  }
}
