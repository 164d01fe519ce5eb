// What the softmax family owes: a constant added to a row changes nothing, a row of weights sums to
// 1, at every CPU level, in f32 and f64, forward and backward, from 0 to 1e30.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>

#include <cmath>
#include <functional>
#include <vector>

#include "catch.h"
#include "core/kernel_tests.h"
#include "op_cases.h"

using namespace loupe;

namespace {

using Function = std::function<Tensor(const Tensor&)>;

const double kOffsets[] = {0, 1e4, -1e4, 1e5, -1e5, 1e6, -1e6, 1e8, -1e8, 1e30, -1e30};

// Rows around `offset` that differ by a few of the numbers that `dtype` holds there, at least by a
// quarter: the differences are exact whatever the offset. At 1e30 all elements are equal.
Tensor rows_around(double offset, const Shape& shape, DType dtype) {
  const double size = std::max(std::abs(offset), 1.0);
  const double ulp = std::exp2(std::floor(std::log2(size)) - (dtype == DType::f32 ? 23 : 52));
  const double step = std::max(ulp, 0.25);
  Tensor x = full(shape, offset, DType::f64);
  if (std::abs(offset) < 1e20) {
    const Tensor base = full(shape, std::round(offset / step) * step, DType::f64);
    std::vector<double> v(static_cast<size_t>(shape.numel()));
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(i * 7 % 5) * step;
    x = base + from_data(v, shape);
  }
  return x.to(dtype);
}

// x less what its rows have in common, in f64: the same problem without an offset.
Tensor without_offset(const Tensor& x, int64_t axis) {
  const Tensor wide = x.to(DType::f64);
  return wide - max(wide, {axis}, true);
}

struct Pass {
  Tensor y, dx, again;
};
// Value, gradient for an uneven upstream gradient, and the gradient that create_graph gives.
Pass pass(const Function& f, const Tensor& at) {
  const Tensor x = at.detach().requires_grad_();
  const Tensor y = f(x);
  std::vector<double> uneven(static_cast<size_t>(y.numel()));
  for (size_t i = 0; i < uneven.size(); ++i)
    uneven[i] = static_cast<double>(i * 5 % 7) * 0.25 - 0.75;
  const Tensor up = from_data(uneven, y.shape());
  const Tensors upstream{up.to(x.dtype())};
  const Tensor dx = grad({y}, {x}, {.retain_graph = true}, upstream)[0];
  return {y, dx, grad({y}, {x}, {.create_graph = true}, upstream)[0]};
}

double distance(const Tensor& a, const Tensor& b) {
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  REQUIRE(x.size() == y.size());
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double d = x[i] == y[i] ? 0 : std::abs(x[i] - y[i]) / std::max(1.0, std::abs(y[i]));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

void check_offsets(const std::string& name, const Shape& shape, int64_t axis, const Function& f) {
  at_every_level([&] {
    for (const DType dtype : {DType::f32, DType::f64})
      for (const double offset : kOffsets) {
        CAPTURE(name, loupe::name(dtype), offset);
        const Tensor x = rows_around(offset, shape, dtype);
        const Pass got = pass(f, x), want = pass(f, without_offset(x, axis));
        const double bound = dtype == DType::f32 ? 2e-6 : 1e-13;
        CHECK(distance(got.y, want.y) < bound);
        CHECK(distance(got.dx, want.dx) < bound);
        CHECK(distance(got.again, want.dx) < bound);
      }
  });
}

Tensor cast(const Tensor& t, const Tensor& like) { return t.to(like.dtype()); }

}  // namespace

TEST_CASE("a constant added to a row changes no softmax, log_softmax or loss") {
  const Tensor labels = from_data<int64_t>({0, 2, -100, 4}), weight = tensor({0.5, 2, 1, 0.25, 3});
  const Tensor share =
      softmax(tensor({0, 1, 2, 1, 0, 1, 1, 1, 1, 1, 0, 3, 0, 0, 1, 2, 0, 0, 1, 0}).reshape({4, 5}));
  for (const Shape& shape : {Shape{4, 5}, Shape{3, 40}, Shape{2, 3000}}) {
    check_offsets("softmax", shape, 1, [](const Tensor& x) { return softmax(x, 1); });
    check_offsets("log_softmax", shape, 1, [](const Tensor& x) { return log_softmax(x, 1); });
  }
  for (const Shape& shape : {Shape{5, 4}, Shape{40, 3}}) {
    check_offsets("softmax of columns", shape, 0, [](const Tensor& x) { return softmax(x, 0); });
    check_offsets("log_softmax of columns", shape, 0,
                  [](const Tensor& x) { return log_softmax(x, 0); });
  }
  for (const double smoothing : {0.0, 0.1})
    for (const bool weighted : {false, true})
      for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
        const auto options = [=](const Tensor& x) {
          return CrossEntropyOptions{.weight = weighted ? cast(weight, x) : Tensor(),
                                     .reduction = reduction,
                                     .label_smoothing = smoothing};
        };
        check_offsets("cross_entropy", {4, 5}, 1,
                      [&](const Tensor& x) { return cross_entropy(x, labels, options(x)); });
        check_offsets("cross_entropy of probabilities", {4, 5}, 1, [&](const Tensor& x) {
          return cross_entropy(x, cast(share, x), options(x));
        });
      }
  check_offsets("nll_loss", {4, 5}, 1,
                [&](const Tensor& x) { return nll_loss(log_softmax(x, 1), labels); });
}

TEST_CASE("the examples that one stored number got wrong") {
  for (const double offset : {0.0, 1e4, 1e6, 1e8}) {
    const Tensor x = full({1, 3}, offset), label = from_data<int64_t>({1});
    CHECK(cross_entropy(x, label).item() == Approx(std::log(3.0)).epsilon(1e-6));
    CHECK(cross_entropy(x, label, {.label_smoothing = 0.1}).item() ==
          Approx(std::log(3.0)).epsilon(1e-6));
  }
  const Tensor y = log_softmax(tensor({-1e5, -1e5, -1e5 - 1}));
  CHECK(y[0].item() == Approx(-0.8619948).epsilon(1e-6));
  CHECK(y[2].item() == Approx(-1.8619948).epsilon(1e-6));
}

TEST_CASE("a constant added to the scores of a query changes no attention; weights sum to 1",
          "[heavy]") {
  // 6 keys: backward from the weights. 150: from the row's maximum and sum. 5 queries: two tiles'
  // worth of masks.
  at_every_level([&] {
    for (const DType dtype : {DType::f32, DType::f64})
      for (const int64_t keys : {6, 150})
        for (const bool causal : {false, true})
          for (const double offset : kOffsets) {
            CAPTURE(loupe::name(dtype), keys, causal, offset);
            const int64_t queries = causal ? keys : 5;
            Rng rng(3);
            // All scores are 0 but for the mask, so that the offset can be exact.
            const Tensor q = zeros({1, 2, queries, 4}, dtype).requires_grad_();
            const Tensor k = randn(rng, {1, 2, keys, 4}, DType::f64).to(dtype).requires_grad_();
            const Tensor v = randn(rng, {1, 2, keys, 3}, DType::f64).to(dtype).requires_grad_();
            const Tensor mask = rows_around(offset, {queries, keys}, dtype);
            const Tensor up = randn(rng, {1, 2, queries, 3}, DType::f64);
            const Tensor y =
                scaled_dot_product_attention(q, k, v, {.attn_mask = mask, .is_causal = causal});
            const Tensors g = grad({y}, {q, k, v}, {}, {up.to(dtype)});

            const auto wide = [](const Tensor& t) {
              return t.detach().to(DType::f64).requires_grad_();
            };
            const Tensors x{wide(q), wide(k), wide(v)};
            const Tensor want =
                attention_with_weights(x[0], x[1], x[2],
                                       {.attn_mask = without_offset(mask, 1), .is_causal = causal})
                    .output;
            const Tensors wanted = grad({want}, x, {}, {up});
            const double bound = dtype == DType::f32 ? 3e-6 : 1e-13;
            CHECK(distance(y, want) < bound);
            for (size_t i = 0; i < 3; ++i) {
              CAPTURE(i);
              CHECK(distance(g[i], wanted[i]) < bound * 10);
            }
            // Each query's weights sum to 1: values of 1 come out as 1, and their gradients, summed
            // over the keys, as the upstream gradient's sum.
            const Tensor one = ones({1, 2, keys, 3}, dtype).requires_grad_();
            const Tensor sums = scaled_dot_product_attention(
                q.detach(), k.detach(), one, {.attn_mask = mask, .is_causal = causal});
            CHECK(distance(sums, ones(sums.shape(), DType::f64)) < bound);
            const Tensor dv = grad({sums.sum()}, {one})[0];
            CHECK(dv.sum().item() == Approx(static_cast<double>(sums.numel())).epsilon(10 * bound));
          }
  });
}

TEST_CASE("attention of large scores: every path is as exact as its scores") {
  // q k^T up to 1e5 in steps that f32 holds: plain and fast, from weights and from the row's sums.
  at_every_level([&] {
    for (const int64_t keys : {7, 140}) {
      CAPTURE(keys);
      Rng rng(5);
      const Tensor q = (randint(rng, -3, 4, {1, 1, 20, 4}).to(DType::f64) * 64.0),
                   k = (randint(rng, -3, 4, {1, 1, keys, 4}).to(DType::f64) * 64.0),
                   v = randn(rng, {1, 1, keys, 3}, DType::f64),
                   up = randn(rng, {1, 1, 20, 3}, DType::f64);
      const auto run = [&](DType dtype) {
        const auto leaf = [&](const Tensor& t) { return t.to(dtype).detach().requires_grad_(); };
        const Tensors x{leaf(q), leaf(k), leaf(v)};
        const Tensor y = scaled_dot_product_attention(x[0], x[1], x[2], {.scale = 1});
        Tensors all{y};
        for (const Tensor& g : grad({y}, x, {}, {up.to(dtype)})) all.push_back(g);
        return all;
      };
      const Tensors got = run(DType::f32), want = run(DType::f64);
      for (size_t i = 0; i < got.size(); ++i) {
        CAPTURE(i);
        const double scale = std::max(1.0, max(abs(want[i])).item());
        CHECK(distance(got[i] / scale, want[i] / scale) < 1e-5);
      }
    }
  });
}

namespace {

using loupe::testing::OpCase;

// Inputs whose first holds multiples of 1/1024, plus an offset: exact up to 2^13 in f32 and 2^40 in
// f64.
Tensors shifted(const OpCase& c, const std::vector<Shape>& shapes, DType dtype, double offset) {
  Tensors x = loupe::testing::draw_inputs(c, shapes, 11);
  for (double& e : x[0].data<double>()) e = std::round(e * 1024) / 1024 + offset;
  for (Tensor& t : x)
    if (is_floating(t.dtype())) t = t.to(dtype);
  return x;
}

// How far values and gradients move with the offset.
double moved_by(const OpCase& c, const std::vector<Shape>& shapes, DType dtype, double offset) {
  const auto run = [&](double at) {
    Tensors x = shifted(c, shapes, dtype, at), leaves;
    for (Tensor& t : x)
      if (is_floating(t.dtype())) leaves.push_back(t.requires_grad_());
    Tensors all = c.f(x), upstream;
    Rng rng(12);
    for (const Tensor& y : all) upstream.push_back(randn(rng, y.shape(), DType::f64).to(dtype));
    for (const Tensor& g : grad(all, leaves, {}, upstream)) all.push_back(g);
    return all;
  };
  const Tensors still = run(0), moved = run(offset);
  double worst = 0;
  for (size_t i = 0; i < still.size(); ++i) worst = std::max(worst, distance(moved[i], still[i]));
  return worst;
}

// gradcheck where a double holds multiples of 2^-12: half the difference is 2^-10.
GradcheckResult far_gradcheck(const OpCase& c, const std::vector<Shape>& shapes) {
  Tensors x = shifted(c, shapes, DType::f64, 0x1p40);
  const Tensors rest(x.begin() + 1, x.end());
  const auto f = [&](const Tensors& in) {
    Tensors all{in[0]};
    all.insert(all.end(), rest.begin(), rest.end());
    return c.f(all);
  };
  return gradcheck(f, {x[0]}, {.label = c.name, .tolerance = 1e-5, .step = 0x1p-50});
}

}  // namespace

TEST_CASE("op table: what a constant does not change stays so far out") {
  int checked = 0;
  for (const OpCase& c : loupe::testing::op_cases()) {
    if (!c.shift_invariant) continue;
    for (const auto& shapes : c.shapes) {
      CAPTURE(c.name, checked);
      CHECK(moved_by(c, shapes, DType::f64, 0x1p40) < 1e-12);
      CHECK(moved_by(c, shapes, DType::f64, -0x1p40) < 1e-12);
      CHECK(moved_by(c, shapes, DType::f32, 0x1p13) < 2e-6);
      CHECK(moved_by(c, shapes, DType::f32, -0x1p13) < 2e-6);
      if (shapes[0].numel() > 0) CHECK(far_gradcheck(c, shapes));
      ++checked;
    }
  }
  CHECK(checked >= 20);

  // One number for maximum and logarithm: both checks see it.
  const OpCase wrong{.name = "one number",
                     .shapes = {},
                     .f =
                         [](const Tensors& x) {
                           const Tensor top = max(x[0], {1}, true).detach();
                           return x[0] - (top + log(exp(x[0] - top).sum({1}, true)));
                         },
                     .naive = {}};
  const std::vector<Shape> shapes{Shape{3, 4}};
  CHECK(moved_by(wrong, shapes, DType::f64, 0x1p40) > 1e-6);
  CHECK(moved_by(wrong, shapes, DType::f32, 0x1p13) > 1e-5);
  CHECK_THROWS_AS(far_gradcheck(wrong, shapes), GradError);
}
