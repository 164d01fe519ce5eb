#include "catch.h"

#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

using namespace loupe;
using Catch::Matchers::StartsWith;

TEST_CASE("matmul follows PyTorch's rules for one dimension and for batches") {
  Rng rng(1);
  const auto shape = [&](const Shape& a, const Shape& b) {
    return matmul(randn(rng, a), randn(rng, b)).shape();
  };
  REQUIRE(shape({3}, {3}) == Shape{});
  REQUIRE(shape({3}, {3, 4}) == Shape{4});
  REQUIRE(shape({2, 3}, {3}) == Shape{2});
  REQUIRE(shape({5, 2, 3}, {3}) == Shape{5, 2});
  REQUIRE(shape({3}, {5, 3, 4}) == Shape{5, 4});
  REQUIRE(shape({7, 1, 2, 3}, {5, 3, 4}) == Shape{7, 5, 2, 4});
  REQUIRE(shape({0, 3}, {3, 4}) == Shape{0, 4});
  REQUIRE(shape({0, 2, 3}, {3, 4}) == Shape{0, 2, 4});
  REQUIRE(equal(matmul(zeros({2, 0}), zeros({0, 3})), zeros({2, 3})));
}

TEST_CASE("matmul reads transposed, sliced, expanded and permuted operands") {
  Rng rng(2);
  const Tensor a = randn(rng, {2, 3, 4, 5}, DType::f64), b = randn(rng, {2, 3, 5, 6}, DType::f64);
  const auto plain = [](const Tensor& x, const Tensor& y) {  // by broadcasting
    return (x.unsqueeze(-1) * y.unsqueeze(-3)).sum({-2});
  };
  const auto check = [&](const Tensor& x, const Tensor& y) {
    REQUIRE(allclose(matmul(x, y), plain(x, y), 1e-12, 1e-12));
    REQUIRE(allclose(matmul(x.to(DType::f32), y.to(DType::f32)).to(DType::f64), plain(x, y), 1e-5,
                     1e-5));
  };
  check(a, b);
  check(a, b.select(0, 1));
  check(a.select(0, 0), b);
  check(a, b[0][0]);
  check(a[0][0], b);
  check(b.t(), a.t());
  check(a.slice(3, 0, 5, 2), b.slice(2, 0, 5, 2));
  check(a.slice(1, 0, 1), b.slice(0, 1, 2));
  check(a.permute({1, 0, 2, 3}), b.permute({1, 0, 2, 3}));
  check(a[0][0].slice(0, 0, 1).expand({4, 5}), b[0][0]);
  check(b[0][0].t(), a[0][0].t());
}

// The stride of a dimension of size 1 says nothing: here it is that of the whole sequence.
TEST_CASE("matmul of one sequence, seen as steps of a batch of one") {
  Rng rng(5);
  for (const DType dtype : {DType::f32, DType::f64})
    for (const int64_t steps : {2, 3, 17})
      for (const int64_t width : {1, 2, 9}) {
        CAPTURE(steps, width);
        const Tensor x = randn(rng, {1, steps, width}, dtype), w = randn(rng, {width, 4}, dtype);
        const Tensor turned = x.transpose(0, 1);
        REQUIRE(equal(matmul(turned, w), matmul(raw::clone(turned), w)));
        REQUIRE(equal(matmul(turned, w).transpose(0, 1), matmul(x, w)));
        const Tensor column = randn(rng, {steps, width, 1}, dtype);
        REQUIRE(allclose(matmul(turned, column).reshape({steps}),
                         sum(x[0] * column.reshape({steps, width}), {1}), 1e-5, 1e-6));
      }
}

TEST_CASE("matmul and linear say what does not fit") {
  REQUIRE_THROWS_WITH(matmul(zeros({2, 4}), zeros({3, 2})),
                      StartsWith("matmul: inner dimensions differ: (2, 4) x (3, 2)"));
  REQUIRE_THROWS_AS(matmul(zeros({2, 2, 4}), zeros({3, 4, 2})), ShapeError);
  REQUIRE_THROWS_AS(matmul(scalar(1), zeros({3, 2})), ShapeError);
  REQUIRE_THROWS_AS(matmul(zeros({2, 3}), zeros({3, 2}, DType::f64)), DtypeError);
  REQUIRE_THROWS_AS(matmul(zeros({2, 3}, DType::i64), zeros({3, 2}, DType::i64)), DtypeError);
  REQUIRE_THROWS_WITH(
      linear(zeros({2, 4}), zeros({3, 5})),
      StartsWith(
          "linear: expected an input of shape (..., 5) for a weight of shape (3, 5), got (2, 4)"));
  REQUIRE_THROWS_AS(linear(zeros({2, 5}), zeros({3, 5}), zeros({5})), ShapeError);
  REQUIRE_THROWS_AS(linear(zeros({2, 5}), zeros({5})), ShapeError);
  REQUIRE_THROWS_AS(linear(zeros({2, 5}), zeros({3, 5}, DType::f64)), DtypeError);
  REQUIRE_THROWS_AS(linear(zeros({2, 5}), zeros({3, 5}), zeros({3}, DType::f64)), DtypeError);
}

TEST_CASE("matmul and linear pass gradcheck and gradgradcheck") {
  Rng rng(4);
  const std::pair<Shape, Shape> cases[] = {{{3}, {3}},
                                           {{3}, {3, 4}},
                                           {{2, 3}, {3}},
                                           {{2, 3}, {3, 4}},
                                           {{5, 2, 3}, {3, 4}},
                                           {{2, 3}, {5, 3, 2}},
                                           {{2, 1, 2, 3}, {4, 3, 2}},
                                           {{3, 2, 3}, {1, 3, 2}},
                                           {{3}, {2, 3, 2}},
                                           {{4, 1, 3}, {3, 2}},
                                           {{4, 3, 1}, {1, 2}}};
  const auto f = [](const Tensors& t) { return matmul(t[0], t[1]); };
  for (const auto& [a, b] : cases) {
    CAPTURE(to_string(a), to_string(b));
    const Tensors inputs{randn(rng, a, DType::f64), randn(rng, b, DType::f64)};
    REQUIRE(gradcheck(f, inputs));
    REQUIRE(gradgradcheck(f, inputs));
  }
  const Tensors turned{randn(rng, {2, 3, 4}, DType::f64).t(), randn(rng, {5, 3}, DType::f64).t()};
  REQUIRE(gradcheck(f, turned));
  const Tensor square = randn(rng, {3, 3}, DType::f64);
  REQUIRE(gradcheck([](const Tensors& t) { return matmul(t[0], t[0]); }, {square}));

  const Tensors full{randn(rng, {2, 3, 5}, DType::f64), randn(rng, {4, 5}, DType::f64),
                     randn(rng, {4}, DType::f64)};
  const auto g = [](const Tensors& t) { return linear(t[0], t[1], t[2]); };
  REQUIRE(gradcheck(g, full));
  REQUIRE(gradgradcheck(g, full));
  REQUIRE(gradcheck([](const Tensors& t) { return linear(t[0], t[1]); },
                    {full[0].select(0, 0).select(0, 0), full[1]}));
  // Each input alone needs a gradient.
  for (size_t i = 0; i < 3; ++i)
    REQUIRE(gradcheck(
        [&](const Tensors& t) {
          return linear(i == 0 ? t[0] : full[0], i == 1 ? t[0] : full[1], i == 2 ? t[0] : full[2]);
        },
        {full[i]}));
}

TEST_CASE("matmul of matrices with sizes of 1 whose memory is channels last") {
  Rng rng(71);
  for (const int64_t n : {1, 3})
    for (const int64_t c : {1, 4})
      for (const int64_t h : {1, 2})
        for (const int64_t w : {1, 2}) {
          INFO(n << " x " << c << " x " << h << " x " << w);
          const Tensor rows = randn(rng, {n, c, h, w}), image = raw::channels_last(rows.clone());
          const Tensor moved = rows.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2});
          const Tensor right = randn(rng, {w, 3}), left = randn(rng, {3, h});
          for (const Tensor* x : {&image, &moved}) {
            CHECK(allclose(matmul(*x, right), matmul(rows, right)));
            CHECK(allclose(matmul(left, *x), matmul(left, rows)));
            CHECK(allclose(linear(*x, right.t()), matmul(rows, right)));
          }
          const Tensor naive = sum(rows.unsqueeze(-1) * right, {3});
          CHECK(allclose(matmul(moved, right), naive));
        }
}
