#include "op_cases.h"

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

template <class Keep> Naive triangle(Keep keep) {
  return [keep](const Arrays& x) {
    Array y = x[0];
    each(y.shape, [&](const Dims& i) {
      if (!keep(i[i.rank() - 2], i.back())) y[i] = 0;
    });
    return y;
  };
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
      two(
          "maximum", [](In a, In b) { return maximum(a, b); },
          [](double a, double b) { return a > b ? a : b; }),
      two(
          "minimum", [](In a, In b) { return minimum(a, b); },
          [](double a, double b) { return a < b ? a : b; }),
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
      comparison(
          "gt(number)", [](In a, In b) { return gt(a.t + b.t, 0.25); },
          [](double a, double b) { return a + b > 0.25; }),
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
