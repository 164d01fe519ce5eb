// Losses.
#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

// The class losses here: labels in in[1], class weights 0.5 + 0.25 c where asked for.
struct ClassLoss {
  bool weighted = false, probabilities = false;  // probabilities: logarithms of them are given
  double smoothing = 0;
  int64_t ignore = -100;
  Reduction reduction = Reduction::mean;
};

double class_weight(const ClassLoss& o, int64_t c) {
  return o.weighted ? 0.5 + 0.25 * static_cast<double>(c) : 1;
}
// The same as a tensor of stride 2.
Tensor class_weights(const ClassLoss& o, int64_t classes, DType dtype) {
  if (!o.weighted) return Tensor();
  const Tensor room = raw::empty({classes, 2}, dtype);
  for (int64_t c = 0; c < classes; ++c) raw::fill(raw::select(room, 0, c), class_weight(o, c));
  return raw::select(room, 1, 1);
}

Naive class_loss(ClassLoss o) {
  return [o](const Arrays& in) {
    const Array &x = in[0], &target = in[1];
    const int axis = x.shape.rank() == 1 ? 0 : 1;
    const int64_t classes = x.shape[axis];
    Array loss(target.shape);
    double divisor = 0;
    each(target.shape, [&](const Dims& i) {
      const auto label = static_cast<int64_t>(target[i]);
      if (label == o.ignore) return;
      Dims at = i;
      at.insert(axis, 0);
      const auto logit = [&](int64_t c) {
        at[axis] = c;
        return x[at];
      };
      double top = -1e300, sum = 0;
      for (int64_t c = 0; c < classes; ++c) top = std::max(top, logit(c));
      for (int64_t c = 0; c < classes; ++c) sum += std::exp(logit(c) - top);
      const double lse = o.probabilities ? 0 : top + std::log(sum);
      divisor += class_weight(o, label);
      loss[i] = (1 - o.smoothing) * class_weight(o, label) * (lse - logit(label));
      for (int64_t c = 0; c < classes; ++c)
        loss[i] +=
            o.smoothing / static_cast<double>(classes) * class_weight(o, c) * (lse - logit(c));
    });
    if (o.reduction == Reduction::none) return loss;
    Array y{Shape{}};
    for (double v : loss.v) y.v[0] += v;
    if (o.reduction == Reduction::mean) y.v[0] /= divisor;
    return y;
  };
}

// Logits (C), (N, C) and (N, C, d1, ...), a batch of one, one position.
const std::vector<std::vector<Shape>> kClasses{{{3, 4}, {3}},
                                               {{5}, {}},
                                               {{1, 4}, {1}},
                                               {{2, 3, 4}, {2, 4}},
                                               {{1, 3, 4}, {1, 4}},
                                               {{3, 4, 1}, {3, 1}},
                                               {{2, 3, 2, 2}, {2, 2, 2}}};
std::vector<std::vector<Shape>> with_empty() {
  std::vector<std::vector<Shape>> all = kClasses;
  all.push_back({{0, 3}, {0}});
  all.push_back({{2, 3, 0}, {2, 0}});
  return all;
}

OpCase class_case(std::string name, ClassLoss o) {
  OpCase c{.name = std::move(name),
           .shapes = o.reduction == Reduction::mean ? kClasses : with_empty(),
           .f =
               [o](const Tensors& x) {
                 const int64_t classes = x[0].size(x[0].dim() == 1 ? 0 : 1);
                 const Tensor w = class_weights(o, classes, x[0].dtype());
                 if (o.probabilities) return nll_loss(x[0], x[1], {w, o.ignore, o.reduction});
                 return cross_entropy(x[0], x[1], {w, o.ignore, o.reduction, o.smoothing});
               },
           .naive = class_loss(o),
           .draw = {Draw{}, labels(3)}};
  c.f32_tolerance = 1e-5;
  c.large = {{129, 67}, {129}};
  c.shift_invariant = !o.probabilities;
  return c;
}

// The target in in[1] holds a share for each class.
OpCase shares_case(std::string name, ClassLoss o) {
  OpCase c{.name = std::move(name),
           .shapes = {{{3, 4}, {3, 4}},
                      {{5}, {5}},
                      {{1, 3, 4}, {1, 3, 4}},
                      {{3, 4, 1}, {3, 4, 1}},
                      {{2, 3, 2, 2}, {2, 3, 2, 2}}},
           .f =
               [o](const Tensors& x) {
                 const int64_t classes = x[0].size(x[0].dim() == 1 ? 0 : 1);
                 const Tensor w = class_weights(o, classes, x[0].dtype());
                 return cross_entropy(x[0], x[1], {w, o.ignore, o.reduction, o.smoothing});
               },
           .naive =
               [o](const Arrays& in) {
                 const Array& x = in[0];
                 const int axis = x.shape.rank() == 1 ? 0 : 1;
                 const int64_t classes = x.shape[axis];
                 Array y{Shape{}};
                 each(x.shape, [&](const Dims& i) {
                   Dims at = i;
                   double sum = 0;
                   for (at[axis] = 0; at[axis] < classes; ++at[axis]) sum += std::exp(x[at]);
                   const double share =
                       in[1][i] * (1 - o.smoothing) + o.smoothing / static_cast<double>(classes);
                   y.v[0] += class_weight(o, i[axis]) * share * (std::log(sum) - x[i]);
                 });
                 y.v[0] /= static_cast<double>(x.shape.numel() / classes);
                 return y;
               },
           .draw = {Draw{}, within(0.1, 0.9)}};
  c.f32_tolerance = 1e-5;
  c.large = {{129, 67}, {129, 67}};
  c.shift_invariant = true;
  return c;
}

// Elementwise losses of x and a target.
template <class F> Naive pairwise(Reduction reduction, F f) {
  return [=](const Arrays& in) {
    Array y = in[0];
    for (size_t i = 0; i < y.v.size(); ++i) y.v[i] = f(in[0].v[i], in[1].v[i]);
    if (reduction == Reduction::none) return y;
    Array sum{Shape{}};
    for (double v : y.v) sum.v[0] += v;
    if (reduction == Reduction::mean) sum.v[0] /= static_cast<double>(y.v.size());
    return sum;
  };
}

template <class F, class N> std::vector<OpCase> pair_cases(const std::string& name, F f, N naive) {
  std::vector<OpCase> cases;
  for (const auto& [reduction, text] :
       {std::pair{Reduction::mean, ""}, {Reduction::none, "(none)"}, {Reduction::sum, "(sum)"}}) {
    OpCase c{.name = name + text,
             .shapes = {{{2, 3}, {2, 3}},
                        {{}, {}},
                        {{1}, {1}},
                        {{1, 4}, {1, 4}},
                        {{2, 3, 1, 2}, {2, 3, 1, 2}}},
             .f = [f, r = reduction](const Tensors& x) { return f(x[0], x[1], r); },
             .naive = pairwise(reduction, naive)};
    if (reduction != Reduction::mean) c.shapes.push_back({{0, 3}, {0, 3}});
    c.large = {{129, 67}, {129, 67}};
    cases.push_back(std::move(c));
  }
  return cases;
}

double soft(double x) { return std::log1p(std::exp(-std::abs(x))) + std::max(x, 0.0); }

OpCase weighted_bce() {
  return {
      .name = "binary_cross_entropy_with_logits(weights)",
      .shapes = {{{2, 3}, {2, 3}, {2, 3}, {3}}, {{2, 3}, {2, 3}, {3}, {}}, {{1}, {1}, {1}, {1}}},
      .f =
          [](const Tensors& x) {
            return binary_cross_entropy_with_logits(x[0], x[1],
                                                    {.weight = x[2], .pos_weight = x[3]});
          },
      .naive =
          [](const Arrays& in) {
            Array y{Shape{}};
            each(in[0].shape, [&](const Dims& i) {
              const double x = in[0][i], t = in[1][i];
              y.v[0] += in[2][i] * (in[3][i] * t * soft(-x) + (1 - t) * soft(x));
            });
            y.v[0] /= static_cast<double>(in[0].v.size());
            return y;
          },
      .draw = {Draw{}, within(0.1, 0.9), within(0.5, 2), within(0.5, 2)}};
}

std::vector<OpCase> pairs() {
  std::vector<OpCase> all;
  const auto add = [&](std::vector<OpCase> part) {
    all.insert(all.end(), part.begin(), part.end());
  };
  add(pair_cases(
      "mse_loss", [](In x, In y, Reduction r) { return mse_loss(x, y, {r}); },
      [](double x, double y) { return (x - y) * (x - y); }));
  add(pair_cases(
      "l1_loss", [](In x, In y, Reduction r) { return l1_loss(x, y, {r}); },
      [](double x, double y) { return std::abs(x - y); }));
  for (OpCase& c : all) c.kink_at_equal = c.name.rfind("l1", 0) == 0;
  add(pair_cases(
      "smooth_l1_loss",
      [](In x, In y, Reduction r) {
        return smooth_l1_loss(x, y, {0.7, r});
      },
      [](double x, double y) {
        const double d = std::abs(x - y);
        return d < 0.7 ? d * d / 1.4 : d - 0.35;
      }));
  add(pair_cases(
      "huber_loss",
      [](In x, In y, Reduction r) {
        return huber_loss(x, y, {0.7, r});
      },
      [](double x, double y) {
        const double d = std::abs(x - y);
        return d < 0.7 ? d * d / 2 : 0.7 * (d - 0.35);
      }));
  std::vector<OpCase> bce = pair_cases(
      "binary_cross_entropy_with_logits",
      [](In x, In y, Reduction r) {
        return binary_cross_entropy_with_logits(x, y, {.reduction = r});
      },
      [](double x, double y) { return y * soft(-x) + (1 - y) * soft(x); });
  for (OpCase& c : bce) c.draw = {Draw{}, within(0.1, 0.9)};
  add(bce);
  all.push_back(weighted_bce());
  std::vector<OpCase> unit = pair_cases(
      "binary_cross_entropy",
      [](In p, In t, Reduction r) { return binary_cross_entropy(p, t, {.reduction = r}); },
      [](double p, double t) { return -t * std::log(p) - (1 - t) * std::log(1 - p); });
  for (OpCase& c : pair_cases(
           "kl_div", [](In p, In t, Reduction r) { return kl_div(p, t, {.reduction = r}); },
           [](double p, double t) { return t * (std::log(t) - p); }))
    unit.push_back(std::move(c));
  for (OpCase& c : unit) c.draw = {within(0.1, 0.9), within(0.1, 0.9)};
  add(unit);
  std::vector<OpCase> logs = pair_cases(
      "kl_div",
      [](In p, In t, Reduction r) { return kl_div(p, t, {.reduction = r, .log_target = true}); },
      [](double p, double t) { return std::exp(t) * (t - p); });
  for (OpCase& c : logs) c.name += "(log_target)";
  add(logs);
  return all;
}

}  // namespace

std::vector<OpCase> loss_cases() {
  std::vector<OpCase> cases{
      class_case("cross_entropy", {}),
      class_case("cross_entropy(none)", {.reduction = Reduction::none}),
      class_case("cross_entropy(sum, ignored)", {.ignore = 1, .reduction = Reduction::sum}),
      class_case("cross_entropy(smoothing)", {.smoothing = 0.2}),
      class_case("cross_entropy(weight)", {.weighted = true}),
      class_case("cross_entropy(weight, smoothing, none)",
                 {.weighted = true, .smoothing = 0.3, .reduction = Reduction::none}),
      shares_case("cross_entropy(shares)", {}),
      shares_case("cross_entropy(shares, weight, smoothing)", {.weighted = true, .smoothing = 0.3}),
      class_case("nll_loss", {.probabilities = true}),
      class_case(
          "nll_loss(weight, ignored, none)",
          {.weighted = true, .probabilities = true, .ignore = 2, .reduction = Reduction::none}),
      class_case("nll_loss(sum)", {.probabilities = true, .reduction = Reduction::sum}),
  };
  for (const OpCase& c : pairs()) cases.push_back(c);
  return cases;
}

}  // namespace loupe::testing
