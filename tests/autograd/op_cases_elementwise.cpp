#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

// Sizes of 0 and 1, a scalar, and enough elements for a vector's tail.
const std::vector<std::vector<Shape>> kOne{{{2, 3}},    {{}},   {{1}},         {{0}},
                                           {{2, 0, 3}}, {{37}}, {{2, 3, 1, 2}}};
// Broadcasting on either side, both, by rank, with zero sizes.
const std::vector<std::vector<Shape>> kTwo{{{2, 3}, {2, 3}},
                                           {{2, 3}, {3}},
                                           {{3}, {2, 3}},
                                           {{2, 1, 3}, {4, 1}},
                                           {{}, {2, 2}},
                                           {{3, 1}, {}},
                                           {{0, 3}, {1, 3}},
                                           {{1}, {0}},
                                           {{1, 1}, {1}},
                                           {{}, {}},
                                           {{2, 3, 2, 2}, {1, 3, 1, 1}}};
const Draw kPositive = within(0.3, 2);
const Draw kBetween = within(0.55, 0.95);  // between the steps of every rounding

template <class F, class N>
OpCase one(std::string name, F f, N naive, std::vector<Draw> draw = {}) {
  return {std::move(name), kOne, [f](const Tensors& x) { return f(x[0]); }, map1(naive),
          std::move(draw)};
}
template <class F, class N>
OpCase two(std::string name, F f, N naive, std::vector<Draw> draw = {}) {
  return {std::move(name), kTwo, [f](const Tensors& x) { return f(x[0], x[1]); }, map2(naive),
          std::move(draw)};
}
template <class F, class N> OpCase comparison(std::string name, F f, N naive) {
  OpCase c = two(std::move(name), f, naive);
  c.differentiable = false;
  return c;
}

// Of one tensor, without a gradient.
template <class F, class N> OpCase question(std::string name, F f, N naive) {
  OpCase c = one(std::move(name), f, naive);
  c.differentiable = false;
  return c;
}
// Between bool tensors.
template <class F, class N> OpCase of_masks(std::string name, F f, N naive) {
  OpCase c = comparison(std::move(name), f, naive);
  c.draw = {mask(), mask()};
  return c;
}

template <class Keep> Naive triangle(Keep keep) {
  return [keep](const Arrays& x) {
    Array y = x[0];
    each(y.shape, [&](const Dims& i) {
      if (!keep(i[i.rank() - 2], i.back())) y[i] = 0;
    });
    return y;
  };
}

const std::vector<std::vector<Shape>> kHalves{{{2, 6}}, {{4}}, {{0, 2}}, {{3, 0}}, {{2, 3, 1, 4}}};

// f of the first and the second half of the last dimension.
template <class F> Naive gated(F f) {
  return [f](const Arrays& x) {
    Shape shape = x[0].shape;
    const int last = shape.rank() - 1;
    shape[last] /= 2;
    Array y(shape);
    each(shape, [&](const Dims& i) {
      Dims other = i;
      other[last] += shape[last];
      y[i] = f(x[0][i], x[0][other]);
    });
    return y;
  };
}

// Which channels are dropped is seen on ones; the others must be x / (1 - p).
template <class F>
OpCase channel_dropout(std::string name, std::vector<std::vector<Shape>> shapes, F f) {
  const auto dropped = [f](In x) {
    Rng rng(5);
    return f(x, rng, 0.4);
  };
  return {.name = std::move(name),
          .shapes = std::move(shapes),
          .f = [dropped](const Tensors& x) { return dropped(x[0]); },
          .naive =
              [dropped](const Arrays& x) {
                const Array kept(dropped(ones(x[0].shape, DType::f64)));
                Array y = x[0];
                each(y.shape, [&](const Dims& i) { y[i] = kept[i] == 0 ? 0 : y[i] / 0.6; });
                return y;
              }};
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases{
      two(
          "add", [](In a, In b) { return a + b; }, [](double a, double b) { return a + b; }),
      two(
          "sub", [](In a, In b) { return a - b; }, [](double a, double b) { return a - b; }),
      two(
          "mul", [](In a, In b) { return a * b; }, [](double a, double b) { return a * b; }),
      two(
          "div", [](In a, In b) { return a / b; }, [](double a, double b) { return a / b; }),
      two(
          "pow", [](In a, In b) { return pow(a, b); },
          [](double a, double b) { return std::pow(a, b); }, {kPositive}),
      one(
          "add(number)", [](In a) { return 1.5 + (a + 0.25); }, [](double a) { return a + 1.75; }),
      one(
          "sub(number)", [](In a) { return 1.5 - (a - 0.25); }, [](double a) { return 1.75 - a; }),
      one(
          "mul(number)", [](In a) { return 1.5 * (a * -0.5); }, [](double a) { return a * -0.75; }),
      one(
          "div(number)", [](In a) { return 1.5 / (a / 0.25); }, [](double a) { return 0.375 / a; }),
      one(
          "neg", [](In a) { return -a; }, [](double a) { return -a; }),
      one(
          "pow(0)", [](In a) { return pow(a, 0.0); }, [](double) { return 1.0; }),
      one(
          "pow(1)", [](In a) { return pow(a, 1.0); }, [](double a) { return a; }),
      one(
          "pow(3)", [](In a) { return pow(a, 3.0); }, [](double a) { return a * a * a; }),
      one(
          "pow(-2)", [](In a) { return pow(a, -2.0); }, [](double a) { return 1 / (a * a); }),
      one(
          "pow(0.7)", [](In a) { return pow(a, 0.7); }, [](double a) { return std::pow(a, 0.7); },
          {kPositive}),
      one(
          "square", [](In a) { return square(a); }, [](double a) { return a * a; }),
      one(
          "reciprocal", [](In a) { return reciprocal(a); }, [](double a) { return 1 / a; }),
      one(
          "sqrt", [](In a) { return sqrt(a); }, [](double a) { return std::sqrt(a); }, {kPositive}),
      one(
          "rsqrt", [](In a) { return rsqrt(a); }, [](double a) { return 1 / std::sqrt(a); },
          {kPositive}),
      one(
          "exp", [](In a) { return exp(a); }, [](double a) { return std::exp(a); }),
      one(
          "log", [](In a) { return log(a); }, [](double a) { return std::log(a); }, {kPositive}),
      one(
          "abs", [](In a) { return abs(a); }, [](double a) { return std::abs(a); }),
      one(
          "sign", [](In a) { return sign(a); }, [](double a) { return a > 0 ? 1.0 : -1.0; }),
      one(
          "clamp", [](In a) { return clamp(a, -0.7, 0.4); },
          [](double a) { return a < -0.7  ? -0.7
                                : a > 0.4 ? 0.4
                                          : a; }),
      one(
          "clamp(min)", [](In a) { return clamp(a, -0.7, {}); },
          [](double a) { return a < -0.7 ? -0.7 : a; }),
      one(
          "clamp(max)", [](In a) { return clamp(a, {}, 0.4); },
          [](double a) { return a > 0.4 ? 0.4 : a; }),
      one(
          "clamp(crossed)", [](In a) { return clamp(a, 0.4, -0.7); }, [](double) { return -0.7; }),
      {.name = "clamp(tensors)",
       .shapes = {{{2, 3}, {2, 3}, {2, 3}}, {{2, 3}, {3}, {2, 1}}, {{37}, {}, {}}, {{0}, {1}, {}}},
       .f = [](const Tensors& x) { return clamp(x[0], x[1], x[2]); },
       .naive =
           [](const Arrays& x) {
             Array y = x[0];
             each(y.shape,
                  [&](const Dims& i) { y[i] = std::min(std::max(x[0][i], x[1][i]), x[2][i]); });
             return y;
           },
       .draw = {Draw{}, within(-0.6, -0.2), within(0.2, 0.9)}},
      one(
          "expm1", [](In a) { return expm1(a); }, [](double a) { return std::expm1(a); }),
      one(
          "log1p", [](In a) { return log1p(a); }, [](double a) { return std::log1p(a); },
          {kPositive}),
      one(
          "sin", [](In a) { return sin(a); }, [](double a) { return std::sin(a); }),
      one(
          "cos", [](In a) { return cos(a); }, [](double a) { return std::cos(a); }),
      one(
          "floor", [](In a) { return floor(a); }, [](double a) { return std::floor(a); },
          {kBetween}),
      one(
          "ceil", [](In a) { return ceil(a); }, [](double a) { return std::ceil(a); }, {kBetween}),
      one(
          "round", [](In a) { return round(a); }, [](double a) { return std::nearbyint(a); },
          {kBetween}),
      one(
          "trunc", [](In a) { return trunc(a); }, [](double a) { return std::trunc(a); },
          {kBetween}),
      two(
          "remainder", [](In a, In b) { return remainder(a, b); },
          [](double a, double b) { return a - b * std::floor(a / b); },
          {within(2.1, 2.4), within(0.8, 1)}),
      one(
          "remainder(number)", [](In a) { return remainder(a, -3); },
          [](double a) { return a + 3 * std::floor(a / -3); }, {kBetween}),
      one(
          "pow(number, tensor)", [](In a) { return pow(2.5, a); },
          [](double a) { return std::pow(2.5, a); }),
      one(
          "maximum(number)", [](In a) { return maximum(0.25, a); },
          [](double a) { return a > 0.25 ? a : 0.25; }),
      one(
          "maximum(tensor, number)", [](In a) { return maximum(a, -0.05); },
          [](double a) { return a > -0.05 ? a : -0.05; }),
      one(
          "minimum(number, tensor)", [](In a) { return minimum(0.05, a); },
          [](double a) { return a < 0.05 ? a : 0.05; }),
      one(
          "minimum(number)", [](In a) { return minimum(a, 0.25); },
          [](double a) { return a < 0.25 ? a : 0.25; }),
      one(
          "where(tensor, number)", [](In a) { return where(a < 0, 2 * a, -0.5); },
          [](double a) { return a < 0 ? 2 * a : -0.5; }),
      one(
          "where(number, tensor)", [](In a) { return where(a < 0, -0.5, 2 * a); },
          [](double a) { return a < 0 ? -0.5 : 2 * a; }),
      question(
          "where(number, number)", [](In a) { return where(a < 0, -0.5, 2); },
          [](double a) { return a < 0 ? -0.5 : 2; }),
      two(
          "maximum", [](In a, In b) { return maximum(a, b); },
          [](double a, double b) { return a > b ? a : b; }),
      two(
          "minimum", [](In a, In b) { return minimum(a, b); },
          [](double a, double b) { return a < b ? a : b; }),
      one(
          "selu", [](In a) { return selu(a); },
          [](double a) {
            return 1.0507009873554805 * (a > 0 ? a : 1.6732632423543772 * std::expm1(a));
          }),
      one(
          "mish", [](In a) { return mish(a); },
          [](double a) { return a * std::tanh(std::log1p(std::exp(a))); }),
      one(
          "hardswish", [](In a) { return hardswish(a); },
          [](double a) { return a * std::clamp(a + 3, 0.0, 6.0) / 6; }),
      one(
          "hardsigmoid", [](In a) { return hardsigmoid(a); },
          [](double a) { return std::clamp(a + 3, 0.0, 6.0) / 6; }),
      one(
          "relu6", [](In a) { return relu6(a); }, [](double a) { return std::clamp(a, 0.0, 6.0); }),
      one(
          "log_sigmoid", [](In a) { return log_sigmoid(a); },
          [](double a) { return -std::log1p(std::exp(-a)); }),
      one(
          "celu", [](In a) { return celu(a, 0.6); },
          [](double a) { return a > 0 ? a : 0.6 * std::expm1(a / 0.6); }),
      one(
          "hardtanh", [](In a) { return hardtanh(a, -0.73, 0.61); },
          [](double a) { return std::clamp(a, -0.73, 0.61); }),
      channel_dropout("dropout1d", {{{2, 3}}, {{4, 3, 5}}, {{0, 3}}, {{2, 3, 0}}},
                      [](In x, Rng& rng, double p) { return dropout1d(x, rng, p); }),
      channel_dropout("dropout2d", {{{2, 3, 4}}, {{2, 3, 2, 2}}, {{0, 3, 1}}},
                      [](In x, Rng& rng, double p) { return dropout2d(x, rng, p); }),
      {.name = "glu",
       .shapes = kHalves,
       .f = [](const Tensors& x) { return glu(x[0]); },
       .naive = gated([](double a, double b) { return a / (1 + std::exp(-b)); })},
      {.name = "swiglu",
       .shapes = kHalves,
       .f = [](const Tensors& x) { return swiglu(x[0]); },
       .naive = gated([](double a, double b) { return a / (1 + std::exp(-a)) * b; })},
      comparison(
          "eq", [](In a, In b) { return eq(a, b); }, [](double a, double b) { return a == b; }),
      comparison(
          "ne", [](In a, In b) { return ne(a, b); }, [](double a, double b) { return a != b; }),
      comparison(
          "lt", [](In a, In b) { return a < b; }, [](double a, double b) { return a < b; }),
      comparison(
          "le", [](In a, In b) { return a <= b; }, [](double a, double b) { return a <= b; }),
      comparison(
          "gt", [](In a, In b) { return a > b; }, [](double a, double b) { return a > b; }),
      comparison(
          "ge", [](In a, In b) { return a >= b; }, [](double a, double b) { return a >= b; }),
      question(
          "eq(number)", [](In a) { return eq(trunc(a), 0); },
          [](double a) { return std::trunc(a) == 0; }),
      question(
          "ne(number)", [](In a) { return ne(trunc(a), 0); },
          [](double a) { return std::trunc(a) != 0; }),
      question(
          "lt(number)", [](In a) { return a < 0.05; }, [](double a) { return a < 0.05; }),
      question(
          "le(number)", [](In a) { return trunc(a) <= 0; },
          [](double a) { return std::trunc(a) <= 0; }),
      question(
          "gt(number)", [](In a) { return a > 0.05; }, [](double a) { return a > 0.05; }),
      question(
          "ge(number)", [](In a) { return trunc(a) >= 0; },
          [](double a) { return std::trunc(a) >= 0; }),
      of_masks(
          "logical_and(&)", [](In a, In b) { return a & b; },
          [](double a, double b) { return a != 0 && b != 0; }),
      of_masks(
          "logical_or(|)", [](In a, In b) { return a | b; },
          [](double a, double b) { return a != 0 || b != 0; }),
      of_masks(
          "logical_xor(^)", [](In a, In b) { return a ^ b; },
          [](double a, double b) { return a != b; }),
      comparison(
          "logical_and", [](In a, In b) { return logical_and(trunc(a.t), trunc(b.t)); },
          [](double a, double b) { return std::trunc(a) != 0 && std::trunc(b) != 0; }),
      comparison(
          "logical_or", [](In a, In b) { return logical_or(trunc(a.t), trunc(b.t)); },
          [](double a, double b) { return std::trunc(a) != 0 || std::trunc(b) != 0; }),
      comparison(
          "logical_xor", [](In a, In b) { return logical_xor(trunc(a.t), trunc(b.t)); },
          [](double a, double b) { return (std::trunc(a) != 0) != (std::trunc(b) != 0); }),
      comparison(
          "isnan", [](In a, In b) { return isnan(log(a.t + b.t)); },
          [](double a, double b) { return a + b < 0; }),
      comparison(
          "isinf", [](In a, In b) { return isinf((a.t - b.t) / 0.0); },
          [](double a, double b) { return a != b; }),
      comparison(
          "isfinite", [](In a, In b) { return isfinite(log(a.t + b.t)); },
          [](double a, double b) { return a + b > 0; }),
      {.name = "logical_not(~)",
       .shapes = kOne,
       .f = [](const Tensors& x) { return ~x[0]; },
       .naive = map1([](double a) { return a == 0; }),
       .draw = {mask()},
       .differentiable = false},
      {.name = "logical_not",
       .shapes = kOne,
       .f = [](const Tensors& x) { return logical_not(x[0]); },
       .naive = map1([](double a) { return a == 0; }),
       .draw = {mask()},
       .differentiable = false},
      {.name = "where",
       .shapes = {{{2, 3}, {2, 3}, {2, 3}},
                  {{3}, {2, 1}, {}},
                  {{2, 2, 1}, {3}, {2, 1, 3}},
                  {{0}, {1}, {0}},
                  {{}, {}, {}}},
       .f = [](const Tensors& x) { return where(x[0], x[1], x[2]); },
       .naive =
           [](const Arrays& x) {
             Array y(
                 broadcast_shapes(x[0].shape, broadcast_shapes(x[1].shape, x[2].shape, ""), ""));
             each(y.shape, [&](const Dims& i) { y[i] = x[0][i] != 0 ? x[1][i] : x[2][i]; });
             return y;
           },
       .draw = {mask()}},
      {.name = "masked_fill",
       .shapes = {{{2, 3}, {2, 3}},
                  {{2, 3}, {3}},
                  {{2, 3}, {}},
                  {{0, 3}, {1, 3}},
                  {{2, 2, 2, 3}, {2, 1, 1, 3}}},
       .f = [](const Tensors& x) { return masked_fill(x[0], x[1], -7); },
       .naive =
           [](const Arrays& x) {
             Array y = x[0];
             each(y.shape, [&](const Dims& i) {
               if (std::as_const(x[1])[i] != 0) y[i] = -7;
             });
             return y;
           },
       .draw = {Draw{}, mask()}},
      {"tril",
       {{{3, 3}}, {{2, 4, 2}}, {{1, 1}}, {{0, 3}}, {{3, 0}}, {{2, 1, 3, 4}}},
       [](const Tensors& x) { return tril(x[0]); },
       triangle([](int64_t i, int64_t j) { return j <= i; })},
      {"tril(1)",
       {{{3, 4}}, {{2, 4, 2}}},
       [](const Tensors& x) { return tril(x[0], 1); },
       triangle([](int64_t i, int64_t j) { return j <= i + 1; })},
      {"triu",
       {{{3, 3}}, {{2, 2, 4}}, {{1, 1}}, {{0, 3}}},
       [](const Tensors& x) { return triu(x[0]); },
       triangle([](int64_t i, int64_t j) { return j >= i; })},
      {"triu(-1)",
       {{{4, 3}}, {{2, 4, 4}}},
       [](const Tensors& x) { return triu(x[0], -1); },
       triangle([](int64_t i, int64_t j) { return j >= i - 1; })},
  };
  for (OpCase& c : cases) {
    if (c.name == "maximum" || c.name == "minimum") c.kink_at_equal = true;
    if (c.shapes.size() == kOne.size()) c.large = {{257, 65}};
    if (c.shapes.size() == kTwo.size()) c.large = {{257, 65}, {257, 65}};
  }
  return cases;
}

}  // namespace loupe::testing
