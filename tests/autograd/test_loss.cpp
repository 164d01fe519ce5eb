#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace loupe;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

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
      StartsWith(
          "cross_entropy: the label of row 1 is 3, outside [0, 3) and not ignore_index -100"));
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

namespace {

// Logits (rows, classes) in memories that a reshape to rows does not copy.
struct Layout {
  const char* name;
  Tensor logits, labels;
};

std::vector<Layout> layouts(DType dtype) {
  Rng rng(7);
  const auto draw = [&](const Shape& shape) { return randn(rng, shape, DType::f64).to(dtype); };
  const auto pick = [&](const Shape& shape, int64_t classes) {
    return randint(rng, 0, classes, shape);
  };
  const Tensor wide = draw({5, 8}), gaps = full({5, 8}, std::nan(""), dtype);
  const Tensor every_other = gaps.slice(1, 0, 8, 2);
  raw::copy(draw({5, 4}), every_other);
  return {
      {"batch of one", draw({1, 3, 4}), pick({1, 4}, 3)},
      {"one position", draw({4, 3, 1}), pick({4, 1}, 3)},
      {"classes last in memory", draw({3, 4, 5}).transpose(1, 2), pick({3, 4}, 5)},
      {"channels last", raw::channels_last(draw({2, 3, 4, 5})), pick({2, 4, 5}, 3)},
      {"a column", draw({4, 2}).select(1, 0), pick({}, 4)},
      {"a row of columns", draw({4, 6}).select(1, 2).unsqueeze(0), pick({1}, 4)},
      {"transposed", draw({4, 6}).t(), pick({6}, 4)},
      {"stride 2, NaN between", every_other, pick({5}, 4)},
      {"expanded classes", draw({5, 1}).expand({5, 7}), pick({5}, 7)},
      {"expanded rows", draw({1, 7}).expand({5, 7}), pick({5}, 7)},
      {"expanded number", draw({}).expand({2000}), pick({}, 2000)},
      {"expanded positions", draw({2, 3, 1}).expand({2, 3, 4}), pick({2, 4}, 3)},
      {"an offset", wide.slice(1, 3, 7), pick({5}, 4)},
  };
}

}  // namespace

TEST_CASE("class losses of any memory equal those of rows") {
  for (const DType dtype : {DType::f64, DType::f32})
    for (const Layout& l : layouts(dtype)) {
      CAPTURE(loupe::name(dtype), l.name);
      const Tensor& x = l.logits;
      const int axis = x.dim() == 1 ? 0 : 1;
      const int64_t classes = x.size(axis);
      // Element by element, in f64.
      const auto v = x.to_vector<double>();
      const auto labels = l.labels.to_vector<int64_t>();
      const int64_t inner = x.dim() == 1 ? 1 : x.numel() / (x.size(0) * classes);
      std::vector<double> loss, slope(v.size());
      for (size_t r = 0; r < labels.size(); ++r) {
        const int64_t row = static_cast<int64_t>(r);
        const auto at = [&](int64_t c) {
          return static_cast<size_t>(row / inner * classes * inner + c * inner + row % inner);
        };
        double sum = 0;
        for (int64_t c = 0; c < classes; ++c) sum += std::exp(v[at(c)]);
        loss.push_back(std::log(sum) - v[at(labels[r])]);
        for (int64_t c = 0; c < classes; ++c)
          slope[at(c)] = std::exp(v[at(c)]) / sum - (c == labels[r]);
      }
      const double bound = dtype == DType::f64 ? 1e-12 : 1e-5;
      const auto check = [&](const char* name, const Tensor& y, const Tensor& leaf) {
        CAPTURE(name);
        const auto got = y.to_vector<double>();
        REQUIRE(got.size() == loss.size());
        for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == Approx(loss[i]).margin(bound));
        const auto g = grad({y.sum()}, {leaf})[0].to_vector<double>();
        for (size_t i = 0; i < g.size(); ++i) CHECK(g[i] == Approx(slope[i]).margin(bound));
      };
      const Tensor leaf = x.detach().requires_grad_();
      check("cross_entropy", cross_entropy(leaf, l.labels, {.reduction = Reduction::none}), leaf);
      check("nll_loss", nll_loss(log_softmax(leaf, axis), l.labels, {.reduction = Reduction::none}),
            leaf);
      Shape last = l.labels.shape();
      last.push_back(classes);
      const Tensor hot = one_hot(l.labels, classes, dtype);
      Dims order;
      for (int i = 0; i + 1 < hot.dim(); ++i) order.push_back(i);
      order.insert(axis, hot.dim() - 1);
      check("cross_entropy of probabilities",
            cross_entropy(leaf, hot.permute(order), {.reduction = Reduction::none}), leaf);
    }
  const Tensor x = arange(0, 12, 1, DType::f64).reshape({1, 3, 4}) * 0.5;
  CHECK(cross_entropy(x, zeros({1, 4}, DType::i64)).item() == Approx(4.142932));
}

TEST_CASE("cross_entropy with every label ignored: NaN, and no gradient of any order") {
  const Tensor x =
      tensor({1, 2, 3, kInfinity, 0, 1}).reshape({2, 3}).to(DType::f64).requires_grad_();
  const Tensor none = from_data<int64_t>({-100, -100}), some = from_data<int64_t>({1, -100});
  for (const double smoothing : {0.0, 0.1})
    for (const bool weighted : {false, true})
      for (const Reduction r : kReductions) {
        CAPTURE(smoothing, weighted, static_cast<int>(r));
        CrossEntropyOptions o{.reduction = r, .label_smoothing = smoothing};
        if (weighted) o.weight = tensor({1, 2, 3}).to(DType::f64);
        const Tensor y = cross_entropy(x, none, o);
        if (r == Reduction::mean) CHECK(std::isnan(y.item()));
        const Tensor up = ones(y.shape(), DType::f64);
        const Tensor dx = grad({y}, {x}, {.retain_graph = true}, {up})[0];
        const Tensor again = grad({y}, {x}, {.create_graph = true}, {up})[0];
        CHECK(dx.to_vector<double>() == std::vector<double>(6, 0.0));
        CHECK(again.to_vector<double>() == std::vector<double>(6, 0.0));
        CHECK(grad({again.sum()}, {x})[0].to_vector<double>() == std::vector<double>(6, 0.0));
        // One of two: the row that counts has PyTorch's gradient, the other none, though it is
        // infinite.
        const Tensor z = cross_entropy(x, some, o);
        const Tensors g = grad({z}, {x}, {.create_graph = true}, {ones(z.shape(), DType::f64)});
        CHECK(allclose(g[0], grad({z}, {x}, {}, {ones(z.shape(), DType::f64)})[0], 1e-12, 1e-12));
        CHECK(g[0].select(0, 1).to_vector<double>() == std::vector<double>(3, 0.0));
      }
}

TEST_CASE("cross_entropy of probabilities: PyTorch's values, derivatives by both") {
  // torch 2.13: cross_entropy(x, t, weight, label_smoothing)
  const Tensor x = tensor({0.5, -1, 2, 1, 0.25, -0.75}).reshape({2, 3}).to(DType::f64);
  const Tensor t = tensor({0.25, 0.5, 0.25, 0.125, 0, 0.875}).reshape({2, 3}).to(DType::f64);
  const Tensor w = tensor({0.5, 2, 1}).to(DType::f64);
  CHECK(cross_entropy(x, t).item() == Approx(2.072997376).epsilon(1e-9));
  for (const Reduction reduction : kReductions)
    for (const double smoothing : {0.0, 0.2})
      for (const bool weighted : {false, true}) {
        CAPTURE(static_cast<int>(reduction), smoothing, weighted);
        const CrossEntropyOptions o{.weight = weighted ? w : Tensor(),
                                    .reduction = reduction,
                                    .label_smoothing = smoothing};
        const auto f = [&](const Tensors& in) { return cross_entropy(in[0], in[1], o); };
        CHECK(gradcheck(f, {x, t}));
        CHECK(gradgradcheck(f, {x, t}, {.tolerance = 1e-5}));
        // One class with probability 1 is that class.
        const Tensor labels = from_data<int64_t>({2, 0});
        if (weighted && (smoothing > 0 || reduction == Reduction::mean)) continue;
        CHECK(allclose(f({x, one_hot(labels, 3, DType::f64)}), cross_entropy(x, labels, o), 1e-12,
                       1e-12));
      }
  CHECK_THROWS_AS(cross_entropy(x, t, {.ignore_index = 1}), ValueError);
  CHECK_THROWS_AS(cross_entropy(x, t.to(DType::f32)), DtypeError);
}

TEST_CASE("binary_cross_entropy: bounds at 0 and 1 as PyTorch's") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    // p, t, loss, slope
    const double cases[][4] = {{0, 0, 0, 0},
                               {0, 1, 100, -1e12},
                               {1, 0, 100, 1e12},
                               {1, 1, 0, 0},
                               {0.3, 0.2, 0.5261345, 0.4761905},
                               {1e-30, 1, 69.07755, -1e12}};
    for (const auto& c : cases) {
      CAPTURE(c[0], c[1]);
      const Tensor p = full({1}, c[0], dtype).requires_grad_(), t = full({1}, c[1], dtype);
      const Tensor y = binary_cross_entropy(p, t, {.reduction = Reduction::sum});
      CHECK(y.item() == Approx(c[2]).epsilon(1e-6).margin(1e-7));
      CHECK(grad({y}, {p})[0].item() == Approx(c[3]).epsilon(1e-6).margin(1e-7));
    }
  }
  CHECK(std::isnan(binary_cross_entropy(tensor({std::nan("")}), tensor({1})).item()));
}

TEST_CASE("binary_cross_entropy and kl_div: value, derivatives, reductions, memory") {
  Rng rng(4);
  const Tensor p = uniform(rng, {3, 4}, 0.1, 0.9, DType::f64),
               t = uniform(rng, {3, 4}, 0.1, 0.9, DType::f64),
               w = uniform(rng, {4}, 0.5, 2, DType::f64), logp = log(p);
  const auto ps = p.to_vector<double>(), ts = t.to_vector<double>(), ws = w.to_vector<double>();
  const auto check = [&](const Tensors& x, auto f, auto plain) {
    for (const Reduction reduction :
         {Reduction::none, Reduction::mean, Reduction::sum, Reduction::batchmean}) {
      const auto g = [&](const Tensors& in) { return f(in[0], in[1], reduction); };
      const Tensor got = g(x);
      double sum = 0;
      for (size_t i = 0; i < 12; ++i) sum += plain(i);
      if (reduction == Reduction::none)
        for (size_t i = 0; i < 12; ++i) CHECK(got.to_vector<double>()[i] == Approx(plain(i)));
      if (reduction == Reduction::mean) CHECK(got.item() == Approx(sum / 12));
      if (reduction == Reduction::sum) CHECK(got.item() == Approx(sum));
      if (reduction == Reduction::batchmean) CHECK(got.item() == Approx(sum / 3));
      CHECK(gradcheck(g, x));
      CHECK(gradgradcheck(g, x, {.tolerance = 1e-5}));
      const Tensors turned{x[0].t().contiguous().t(), x[1].expand({3, 4})};
      CHECK(allclose(g(turned), got, 1e-12, 1e-12));
    }
  };
  check(
      {p, t},
      [&](const Tensor& a, const Tensor& b, Reduction r) {
        // batchmean is kl_div's own: here it stands for a weight that broadcasts.
        if (r != Reduction::batchmean) return binary_cross_entropy(a, b, {.reduction = r});
        return binary_cross_entropy(a, b, {.weight = w / w, .reduction = Reduction::sum}) / 3.0;
      },
      [&](size_t i) { return -ts[i] * std::log(ps[i]) - (1 - ts[i]) * std::log(1 - ps[i]); });
  check(
      {logp, t},
      [](const Tensor& a, const Tensor& b, Reduction r) { return kl_div(a, b, {.reduction = r}); },
      [&](size_t i) { return ts[i] * (std::log(ts[i]) - std::log(ps[i])); });
  check(
      {logp, log(t)},
      [](const Tensor& a, const Tensor& b, Reduction r) {
        return kl_div(a, b, {.reduction = r, .log_target = true});
      },
      [&](size_t i) { return ts[i] * (std::log(ts[i]) - std::log(ps[i])); });
  // A target of 0 costs nothing, whatever the prediction.
  const Tensor zero = kl_div(tensor({-1, -2}), tensor({0, 1}), {.reduction = Reduction::none});
  CHECK(zero.to_vector<double>() == std::vector<double>{0, 2});
  CHECK(kl_div(scalar(0.5), scalar(0.25), {.reduction = Reduction::batchmean}).dim() == 0);
  for (const Reduction r : {Reduction::batchmean}) {
    const Tensor labels = from_data<int64_t>({0, 1, 1});
    CHECK_THROWS_AS(mse_loss(p, t, {r}), ValueError);
    CHECK_THROWS_AS(l1_loss(p, t, {r}), ValueError);
    CHECK_THROWS_AS(huber_loss(p, t, {.reduction = r}), ValueError);
    CHECK_THROWS_AS(smooth_l1_loss(p, t, {.reduction = r}), ValueError);
    CHECK_THROWS_AS(binary_cross_entropy(p, t, {.reduction = r}), ValueError);
    CHECK_THROWS_AS(binary_cross_entropy_with_logits(p, t, {.reduction = r}), ValueError);
    CHECK_THROWS_AS(cross_entropy(p, labels, {.reduction = r}), ValueError);
    CHECK_THROWS_AS(nll_loss(logp, labels, {.reduction = r}), ValueError);
  }
}
