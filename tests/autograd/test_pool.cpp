#include "catch.h"
#include "core/kernel_tests.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <functional>
#include <tuple>

using namespace loupe;
using Catch::Matchers::StartsWith;

namespace {

// Each window by its definition, in f64: largest number (or NaN), and sum over the image.
struct Window {
  double largest = -INFINITY, sum = 0, count = 0;
};
Window window_of(const Tensor& x, int64_t n, int64_t c, int64_t top, int64_t bottom, int64_t left,
                 int64_t right) {
  Window w;
  for (int64_t i = std::max<int64_t>(top, 0); i < std::min(bottom, x.size(2)); ++i)
    for (int64_t j = std::max<int64_t>(left, 0); j < std::min(right, x.size(3)); ++j) {
      const double v = x[n][c][i][j].item();
      if (!(v <= w.largest) && !std::isnan(w.largest)) w.largest = v;
      w.sum += v;
      ++w.count;
    }
  return w;
}

void check(const Shape& shape, Size2 kernel, Size2 stride, Size2 padding, DType dtype) {
  CAPTURE(kernel.h, kernel.w, stride.h, stride.w, padding.h, padding.w);
  Rng rng(7);
  const Tensor x = randn(rng, shape, dtype);
  const Tensor largest = max_pool2d(x, kernel, {stride, padding});
  const Tensor with = avg_pool2d(x, kernel, {stride, padding}),
               without = avg_pool2d(x, kernel, {stride, padding, false});
  const int64_t oh = (shape[2] + 2 * padding.h - kernel.h) / stride.h + 1,
                ow = (shape[3] + 2 * padding.w - kernel.w) / stride.w + 1;
  REQUIRE(largest.shape() == Shape{shape[0], shape[1], oh, ow});
  REQUIRE(with.shape() == largest.shape());
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < shape[1]; ++c)
      for (int64_t i = 0; i < oh; ++i)
        for (int64_t j = 0; j < ow; ++j) {
          const int64_t top = i * stride.h - padding.h, left = j * stride.w - padding.w;
          const Window w = window_of(x, n, c, top, top + kernel.h, left, left + kernel.w);
          REQUIRE(largest[n][c][i][j].item() == w.largest);
          REQUIRE(with[n][c][i][j].item() ==
                  Approx(w.sum / static_cast<double>(kernel.h * kernel.w)).margin(1e-6));
          REQUIRE(without[n][c][i][j].item() == Approx(w.sum / w.count).margin(1e-6));
        }
}

}  // namespace

TEST_CASE("pooling equals its definition at every CPU level") {
  at_every_level([] {
    for (DType dtype : {DType::f32, DType::f64}) {
      check({2, 19, 6, 7}, 2, 2, 0, dtype);
      check({1, 3, 7, 5}, {3, 2}, {2, 1}, {1, 1}, dtype);
      check({2, 1, 4, 4}, 4, 1, 2, dtype);
    }
  });
}

TEST_CASE("adaptive average pooling") {
  Rng rng(8);
  const Tensor x = randn(rng, {2, 5, 7, 6});
  for (const Size2 size : {Size2(1), Size2(3, 4), Size2(7, 6), Size2(9, 2)}) {
    const Tensor y = adaptive_avg_pool2d(x, size);
    REQUIRE(y.shape() == Shape{2, 5, size.h, size.w});
    for (int64_t i = 0; i < size.h; ++i)
      for (int64_t j = 0; j < size.w; ++j) {
        const Window w = window_of(x, 1, 4, i * 7 / size.h, ((i + 1) * 7 + size.h - 1) / size.h,
                                   j * 6 / size.w, ((j + 1) * 6 + size.w - 1) / size.w);
        REQUIRE(y[1][4][i][j].item() == Approx(w.sum / w.count).margin(1e-6));
      }
  }
  REQUIRE(allclose(adaptive_avg_pool2d(x, 1).flatten(1), x.mean({2, 3}), 1e-5, 1e-6));
  REQUIRE(allclose(adaptive_avg_pool1d(x[0], 3),
                   adaptive_avg_pool2d(x[0].unsqueeze(2), {1, 3}).squeeze(2)));
}

TEST_CASE(
    "max pooling: NaN wins, the first of equals gets the gradient, minus infinity has a place") {
  const Tensor x = tensor({1, NAN, 3, 3, 2, 0, 3, 3}, Shape{1, 1, 2, 4}).requires_grad_();
  const Tensor y = max_pool2d(x, 2);
  REQUIRE(std::isnan(y[0][0][0][0].item()));
  REQUIRE(y[0][0][0][1].item() == 3);
  y.backward(tensor({5, 7}, Shape{1, 1, 1, 2}));
  REQUIRE(equal(x.grad(), tensor({0, 5, 7, 0, 0, 0, 0, 0}, Shape{1, 1, 2, 4})));
  const Tensor low = full({1, 1, 2, 2}, -INFINITY).requires_grad_();
  max_pool2d(low, 2).backward(ones({1, 1, 1, 1}));
  REQUIRE(equal(low.grad(), tensor({1, 0, 0, 0}, Shape{1, 1, 2, 2})));
}

TEST_CASE("pooling has the same bits at any thread limit", "[threads]") {
  Rng rng(9);
  const Tensor x = randn(rng, {3, 64, 33, 31}).requires_grad_(), up = randn(rng, {3, 64, 17, 16});
  Tensor y, dx, z, dz;
  for (int limit : {1, 2, 3, 8}) {
    ThreadLimit scope(limit);
    const Tensor a = max_pool2d(x, 3, {.stride = 2, .padding = 1}),
                 b = avg_pool2d(x, 3, {.stride = 2, .padding = 1});
    const Tensor da = grad({a}, {x}, {}, {up})[0], db = grad({b}, {x}, {}, {up})[0];
    if (limit == 1) std::tie(y, dx, z, dz) = std::tie(a, da, b, db);
    REQUIRE((equal(y, a) && equal(dx, da) && equal(z, b) && equal(dz, db)));
  }
}

TEST_CASE("pooling says what does not fit") {
  const Tensor x = zeros({2, 3, 4, 5});
  REQUIRE_THROWS_WITH(
      max_pool2d(zeros({4, 5}), 2),
      StartsWith("max_pool2d: expected an input of shape (N, C, H, W) or (C, H, W), got (4, 5)"));
  REQUIRE_THROWS_AS(max_pool1d(x, 2), ShapeError);
  REQUIRE_THROWS_WITH(
      max_pool2d(x, 5),
      StartsWith("max_pool2d: the window is (5, 5), larger than the padded input of (4, 5)"));
  REQUIRE_THROWS_AS(max_pool2d(x, 0), ValueError);
  REQUIRE_THROWS_AS(avg_pool2d(x, 2, {.stride = Size2(0)}), ValueError);
  REQUIRE_THROWS_WITH(
      avg_pool2d(x, 2, {.padding = 2}),
      StartsWith("avg_pool2d: padding must be between 0 and half the window (2, 2), got (2, 2)"));
  REQUIRE_THROWS_AS(adaptive_avg_pool2d(x, 0), ValueError);
  REQUIRE_THROWS_AS(adaptive_avg_pool2d(zeros({1, 1, 0, 1}), 1), ShapeError);
  REQUIRE_THROWS_AS(max_pool2d(zeros({1, 1, 2, 2}, DType::i64), 2), DtypeError);
  REQUIRE(max_pool2d(zeros({0, 3, 4, 4}), 2).shape() == Shape{0, 3, 2, 2});
  REQUIRE(avg_pool1d(zeros({2, 0, 4}), 2).shape() == Shape{2, 0, 2});
}

TEST_CASE("pooling passes gradcheck and gradgradcheck") {
  Rng rng(10);
  // Distinct numbers, far apart: no two of a window change places within a step.
  const Tensor x = (permutation(rng, 2 * 3 * 6 * 5).to(DType::f64) * 0.1).reshape({2, 3, 6, 5});
  const std::function<Tensor(const Tensors&)> cases[] = {
      [](const Tensors& t) { return max_pool2d(t[0], 2); },
      [](const Tensors& t) { return max_pool2d(t[0], 3, {.stride = Size2(1, 2), .padding = 1}); },
      [](const Tensors& t) {
        return avg_pool2d(t[0], {2, 3}, {.stride = 1, .padding = 1});
      },
      [](const Tensors& t) {
        return avg_pool2d(t[0], 3, {.stride = 2, .padding = 1, .count_include_pad = false});
      },
      [](const Tensors& t) {
        return adaptive_avg_pool2d(t[0], {4, 2});
      },
      [](const Tensors& t) { return max_pool1d(t[0].flatten(2), 4, {.stride = 3, .padding = 2}); },
      [](const Tensors& t) { return avg_pool1d(t[0].flatten(2), 4); },
      [](const Tensors& t) { return adaptive_avg_pool1d(t[0].flatten(2), 7); },
  };
  for (const auto& f : cases) {
    REQUIRE(gradcheck(f, {x}));
    REQUIRE(gradgradcheck(f, {x}));
  }
}
