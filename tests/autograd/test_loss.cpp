#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

#include <cmath>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

const Reduction kReductions[] = {Reduction::none, Reduction::mean, Reduction::sum};

// PyTorch's definition, of ops.
Tensor plain_cross_entropy(const Tensor& x, const Tensor& target, const CrossEntropyOptions& o) {
  const int64_t classes = x.size(1);
  const Tensor logp = log_softmax(x, 1),
               w = o.weight.defined() ? o.weight : ones({classes}, x.dtype());
  const Tensor counts = ne(target, static_cast<double>(o.ignore_index)).to(x.dtype());
  const Tensor label =
      where(ne(target, static_cast<double>(o.ignore_index)), target, zeros({}, DType::i64));
  const Tensor own = one_hot(label, classes, x.dtype()) * w;
  const Tensor nll = -(logp * own).sum({1}) * counts, smooth = -(logp * w).sum({1}) * counts;
  const Tensor loss =
      nll * (1 - o.label_smoothing) + smooth * (o.label_smoothing / static_cast<double>(classes));
  if (o.reduction == Reduction::none) return loss;
  if (o.reduction == Reduction::sum) return loss.sum();
  return loss.sum() / (own.sum({1}) * counts).sum();
}

}  // namespace

TEST_CASE("cross_entropy equals its definition, with both derivatives, for every option") {
  Rng rng(1);
  const Tensor x = randn(rng, {5, 4}, DType::f64), target = from_data<int64_t>({3, 0, -100, 1, 3});
  const Tensor weight = uniform(rng, {4}, 0.2, 2, DType::f64);
  for (Reduction reduction : kReductions)
    for (double smoothing : {0.0, 0.15})
      for (bool weighted : {false, true}) {
        CrossEntropyOptions o;
        o.reduction = reduction;
        o.label_smoothing = smoothing;
        if (weighted) o.weight = weight;
        CAPTURE(static_cast<int>(reduction), smoothing, weighted);
        const auto f = [&](const Tensors& t) { return cross_entropy(t[0], target, o); };
        CHECK(allclose(f({x}), plain_cross_entropy(x, target, o), 1e-12, 1e-12));
        CHECK(gradcheck(f, {x}));
        CHECK(gradgradcheck(f, {x}, {.tolerance = 1e-5}));
        const Tensor narrow = x.to(DType::f32);
        CrossEntropyOptions of = o;
        if (weighted) of.weight = weight.to(DType::f32);
        CHECK(allclose(cross_entropy(narrow, target, of).to(DType::f64), f({x}), 1e-5, 1e-5));
        if (smoothing == 0) {
          const NllLossOptions n{o.weight, o.ignore_index, o.reduction};
          const auto g = [&](const Tensors& t) {
            return nll_loss(log_softmax(t[0], 1), target, n);
          };
          CHECK(allclose(g({x}), f({x}), 1e-12, 1e-12));
          CHECK(gradcheck(g, {x}));
        }
      }
}

TEST_CASE("cross_entropy of one position, of sequences and of images") {
  Rng rng(2);
  const Tensor one = randn(rng, {4}, DType::f64), label = from_data<int64_t>({2}).reshape({});
  CHECK(cross_entropy(one, label).item() == Approx(-log_softmax(one)[2].item()));
  CHECK(gradcheck([&](const Tensors& t) { return cross_entropy(t[0], label); }, {one}));
  const Tensor x = randn(rng, {2, 3, 2, 2}, DType::f64), target = randint(rng, 0, 3, {2, 2, 2});
  for (Reduction reduction : kReductions) {
    CrossEntropyOptions o;
    o.reduction = reduction;
    const Tensor rows = x.permute({0, 2, 3, 1}).reshape({8, 3});
    CHECK(allclose(cross_entropy(x, target, o).reshape({-1}),
                   cross_entropy(rows, target.reshape({8}), o).reshape({-1}), 1e-12, 1e-12));
    CHECK(gradcheck([&](const Tensors& t) { return cross_entropy(t[0], target, o); }, {x}));
  }
  CHECK(
      cross_entropy(zeros({0, 3}), zeros({0}, DType::i64), {.reduction = Reduction::sum}).item() ==
      0.0);
  CHECK(std::isnan(cross_entropy(zeros({1, 3}), from_data<int64_t>({-100})).item()));
}

TEST_CASE("cross_entropy says what does not fit") {
  const Tensor x = zeros({2, 3}), ok = from_data<int64_t>({0, 1});
  CHECK_THROWS_WITH(
      cross_entropy(x, from_data<int64_t>({0, 3})),
      "cross_entropy: the label of row 1 is 3, outside [0, 3) and not ignore_index -100");
  CHECK_THROWS_AS(cross_entropy(x, from_data<int64_t>({-1, 0})), IndexError);
  CHECK_THROWS_WITH(cross_entropy(x, zeros({2})), Contains("class indices in i64, got f32"));
  CHECK_THROWS_WITH(cross_entropy(x, zeros({3}, DType::i64)),
                    Contains("logits (2, 3) need a target of shape (2,), got (3,)"));
  CHECK_THROWS_AS(cross_entropy(x, ok, {.weight = zeros({2})}), ShapeError);
  CHECK_THROWS_AS(cross_entropy(x, ok, {.weight = zeros({3}, DType::f64)}), DtypeError);
  CHECK_THROWS_AS(cross_entropy(x, ok, {.weight = zeros({3}).requires_grad_()}), GradError);
  CHECK_THROWS_AS(cross_entropy(x, ok, {.label_smoothing = 2}), ValueError);
  CHECK_THROWS_AS(cross_entropy(arange(6).reshape({2, 3}), ok), DtypeError);
  CHECK_THROWS_AS(cross_entropy(scalar(1), ok), ShapeError);
}

TEST_CASE("losses of pairs: value and derivatives") {
  Rng rng(3);
  const Tensor x = randn(rng, {3, 4}, DType::f64) * 2.0, y = randn(rng, {3, 4}, DType::f64);
  const Tensor p = uniform(rng, {3, 4}, 0, 1, DType::f64),
               pos = uniform(rng, {4}, 0.5, 3, DType::f64);
  const auto xs = x.to_vector<double>(), ys = y.to_vector<double>(), ps = p.to_vector<double>(),
             ws = pos.to_vector<double>();
  const auto check = [&](auto f, const Tensor& second, auto plain) {
    for (Reduction reduction : kReductions) {
      const Tensor got = f(x, second, reduction);
      double sum = 0;
      for (size_t i = 0; i < 12; ++i) {
        const double want = plain(i);
        sum += want;
        if (reduction == Reduction::none)
          CHECK(got.to_vector<double>()[i] == Approx(want).epsilon(1e-10));
      }
      if (reduction == Reduction::sum) CHECK(got.item() == Approx(sum));
      if (reduction == Reduction::mean) CHECK(got.item() == Approx(sum / 12));
      const auto g = [&](const Tensors& t) { return f(t[0], t[1], reduction); };
      CHECK(gradcheck(g, {x, second}));
      CHECK(gradgradcheck(g, {x, second}, {.tolerance = 1e-5}));
    }
  };
  const auto d = [&](size_t i) { return std::fabs(xs[i] - ys[i]); };
  check([](const Tensor& a, const Tensor& b, Reduction r) { return mse_loss(a, b, {r}); }, y,
        [&](size_t i) { return d(i) * d(i); });
  check([](const Tensor& a, const Tensor& b, Reduction r) { return l1_loss(a, b, {r}); }, y, d);
  check(
      [](const Tensor& a, const Tensor& b, Reduction r) {
        return smooth_l1_loss(a, b, {0.7, r});
      },
      y, [&](size_t i) { return d(i) < 0.7 ? d(i) * d(i) / 1.4 : d(i) - 0.35; });
  check(
      [](const Tensor& a, const Tensor& b, Reduction r) {
        return smooth_l1_loss(a, b, {0, r});
      },
      y, d);
  check(
      [](const Tensor& a, const Tensor& b, Reduction r) {
        return huber_loss(a, b, {0.7, r});
      },
      y, [&](size_t i) { return d(i) < 0.7 ? d(i) * d(i) / 2 : 0.7 * (d(i) - 0.35); });
  check(
      [&](const Tensor& a, const Tensor& b, Reduction r) {
        return binary_cross_entropy_with_logits(a, b, {.pos_weight = pos, .reduction = r});
      },
      p,
      [&](size_t i) {
        const double s = 1 / (1 + std::exp(-xs[i]));
        return -(ws[i % 4] * ps[i] * std::log(s) + (1 - ps[i]) * std::log(1 - s));
      });
  check(
      [&](const Tensor& a, const Tensor& b, Reduction r) {
        return binary_cross_entropy_with_logits(a, b, {.weight = pos, .reduction = r});
      },
      p,
      [&](size_t i) {
        const double s = 1 / (1 + std::exp(-xs[i]));
        return -ws[i % 4] * (ps[i] * std::log(s) + (1 - ps[i]) * std::log(1 - s));
      });
  // No overflow far out.
  CHECK(binary_cross_entropy_with_logits(tensor({1000, -1000}), tensor({0, 1})).item() == 1000.0);
  CHECK(binary_cross_entropy_with_logits(tensor({1000, -1000}), tensor({1, 0})).item() == 0.0);
}

TEST_CASE("losses of pairs say what does not fit") {
  const Tensor x = zeros({2, 3});
  CHECK_THROWS_WITH(mse_loss(x, zeros({3})),
                    Contains("mse_loss: prediction (2, 3) and target (3,) must have one shape"));
  CHECK_THROWS_AS(l1_loss(x, zeros({2, 3}, DType::f64)), DtypeError);
  CHECK_THROWS_AS(mse_loss(zeros({2}, DType::i64), zeros({2}, DType::i64)), DtypeError);
  CHECK_THROWS_AS(huber_loss(x, x, {.delta = 0}), ValueError);
  CHECK_THROWS_AS(smooth_l1_loss(x, x, {.beta = -1}), ValueError);
  CHECK_THROWS_AS(binary_cross_entropy_with_logits(x, x, {.weight = zeros({5, 2, 3})}), ShapeError);
}
