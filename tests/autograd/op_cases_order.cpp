// Products, norms, running sums, orders, and elements chosen or put by position.
#include "op_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace loupe::testing {
namespace {

const double kInf = std::numeric_limits<double>::infinity();

Dims with(Dims d, int axis, int64_t value) {
  d[axis] = value;
  return d;
}

// y = f of each line of the last axis (all of it, for a scalar or `over_all`): one number.
template <class F> Naive line_to_number(F f, bool over_all = false) {
  return [=](const Arrays& x) {
    const bool all = over_all || x[0].shape.empty();
    Shape shape = all ? Shape{} : x[0].shape;
    if (!all) shape.erase(shape.rank() - 1);
    Array y(shape);
    const size_t n = y.v.empty() ? 0 : x[0].v.size() / y.v.size();
    for (size_t r = 0; r < y.v.size(); ++r)
      y.v[r] = f(std::vector<double>(x[0].v.begin() + static_cast<int64_t>(r * n),
                                     x[0].v.begin() + static_cast<int64_t>((r + 1) * n)));
    return y;
  };
}

// Each line of the last axis replaced by f of it, which may have another length.
template <class F> Naive line_to_line(F f) {
  return [=](const Arrays& x) {
    const int last = x[0].shape.rank() - 1;
    const size_t n = last < 0 ? 1 : static_cast<size_t>(x[0].shape[last]);
    Array y;
    for (size_t r = 0; n > 0 && r < x[0].v.size() / n; ++r) {
      const std::vector<double> line =
          f(std::vector<double>(x[0].v.begin() + static_cast<int64_t>(r * n),
                                x[0].v.begin() + static_cast<int64_t>((r + 1) * n)));
      y.v.insert(y.v.end(), line.begin(), line.end());
    }
    const int64_t length = static_cast<int64_t>(f(std::vector<double>(n)).size());
    y.shape = last < 0 ? Shape{} : with(x[0].shape, last, length);
    return y;
  };
}

std::vector<int64_t> order_of(const std::vector<double>& v, bool descending) {
  std::vector<int64_t> order(v.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
    const double a = v[static_cast<size_t>(i)], b = v[static_cast<size_t>(j)];
    return descending ? a > b : a < b;
  });
  return order;
}
std::vector<double> sorted(const std::vector<double>& v, bool descending, size_t k) {
  std::vector<double> out;
  for (const int64_t i : order_of(v, descending)) out.push_back(v[static_cast<size_t>(i)]);
  out.resize(k);
  return out;
}

double p_norm(const std::vector<double>& v, double p) {
  double s = 0;
  for (const double e : v)
    s = std::isinf(p) ? std::max(s, std::abs(e)) : s + std::pow(std::abs(e), p);
  return std::isinf(p) ? s : std::pow(s, 1 / p);
}

template <class F> OpCase one(std::string name, std::vector<Shape> shapes, F f, Naive naive) {
  OpCase c{std::move(name), {}, [f](const Tensors& x) { return f(x[0]); }, std::move(naive)};
  for (const Shape& s : shapes) c.shapes.push_back({s});
  return c;
}

const std::vector<Shape> kAny{{2, 3}, {}, {1}, {0}, {2, 0, 3}, {2, 3, 2, 2}, {5, 1}};
const std::vector<Shape> kFull{{2, 3}, {}, {1}, {2, 3, 2, 2}, {5, 1}};  // without empty ones

std::vector<OpCase> reductions() {
  const auto product = [](const std::vector<double>& v) {
    return std::accumulate(v.begin(), v.end(), 1.0, std::multiplies<>());
  };
  const auto log_sum = [](const std::vector<double>& v) {
    double s = 0;
    for (const double e : v) s += std::exp(e);
    return std::log(s);
  };
  std::vector<OpCase> cases{
      one(
          "prod", kAny, [](In a) { return prod(a); }, line_to_number(product, true)),
      one(
          "prod(-1)", {{2, 5}, {3, 0}, {0, 3}, {2, 3, 2, 4}}, [](In a) { return prod(a, {-1}); },
          line_to_number(product)),
      one(
          "logsumexp", kFull, [](In a) { return logsumexp(a); }, line_to_number(log_sum, true)),
      one(
          "logsumexp(-1)", {{2, 5}, {0, 3}, {2, 3, 2, 4}}, [](In a) { return logsumexp(a, {-1}); },
          line_to_number(log_sum)),
      one(
          "cumsum", kAny, [](In a) { return cumsum(a, -1); },
          line_to_line([](std::vector<double> v) {
            std::partial_sum(v.begin(), v.end(), v.begin());
            return v;
          })),
      one(
          "cumprod", kAny, [](In a) { return cumprod(a, -1); },
          line_to_line([](std::vector<double> v) {
            std::partial_sum(v.begin(), v.end(), v.begin(), std::multiplies<>());
            return v;
          })),
      one(
          "argmin", kFull, [](In a) { return argmin(a); },
          line_to_number(
              [](const auto& v) {
                return static_cast<double>(std::min_element(v.begin(), v.end()) - v.begin());
              },
              true)),
      one(
          "any", kAny, [](In a) { return any(a); },
          line_to_number([](const auto& v) { return v.empty() ? 0.0 : 1.0; }, true)),
      one(
          "all", kAny, [](In a) { return all(a); },
          line_to_number([](const auto&) { return 1.0; }, true)),
  };
  for (const double p : {1.0, 2.0, 3.5, 0.5, kInf}) {
    const std::string text = p == 2 ? "norm" : "norm(" + std::to_string(p) + ")";
    cases.push_back(one(
        text, {{2, 5}, {0, 3}, {}, {2, 3, 2, 4}}, [p](In a) { return norm(a, p, {-1}); },
        line_to_number([p](const auto& v) { return p_norm(v, p); })));
  }
  for (OpCase& c : cases) {
    c.differentiable = c.name != "argmin" && c.name != "any" && c.name != "all";
    c.large = {{129, 67}};
    if (c.name == "prod" || c.name == "cumprod") c.large = {};  // would overflow
  }
  return cases;
}

std::vector<OpCase> orders() {
  const std::vector<Shape> lines{{2, 4}, {5}, {2, 2, 3}, {0, 3}, {2, 3, 2, 4}};
  std::vector<OpCase> cases{
      one(
          "sort", lines, [](In a) { return sort(a).values; },
          line_to_line([](const auto& v) { return sorted(v, false, v.size()); })),
      one(
          "sort(descending)", lines, [](In a) { return sort(a, -1, true).values; },
          line_to_line([](const auto& v) { return sorted(v, true, v.size()); })),
      one(
          "argsort", lines, [](In a) { return argsort(a); }, line_to_line([](const auto& v) {
            const std::vector<int64_t> order = order_of(v, false);
            return std::vector<double>(order.begin(), order.end());
          })),
      one(
          "topk(smallest)", lines, [](In a) { return topk(a, 2, -1, false).values; },
          line_to_line([](const auto& v) { return sorted(v, false, 2); })),
      one(
          "flip", kAny, [](In a) { return flip(a, {-1}); }, line_to_line([](std::vector<double> v) {
            std::reverse(v.begin(), v.end());
            return v;
          })),
      one(
          "roll", {{2, 5}, {4}, {}, {2, 0}, {2, 3, 2, 4}}, [](In a) { return roll(a, {3}, {-1}); },
          line_to_line([](std::vector<double> v) {
            if (!v.empty())
              std::rotate(v.begin(), v.end() - 3 % static_cast<int64_t>(v.size()), v.end());
            return v;
          })),
      one(
          "tile", {{2, 3}, {4}, {2, 0}, {2, 3, 2, 4}}, [](In a) { return tile(a, {2}); },
          line_to_line([](std::vector<double> v) {
            const std::vector<double> once = v;
            v.insert(v.end(), once.begin(), once.end());
            return v;
          })),
      one(
          "repeat", {{2, 3}, {3}, {}, {0, 2}},
          [](In a) {
            return repeat(a, {2, 3});
          },
          [](const Arrays& x) {
            Shape s = x[0].shape;
            while (s.rank() < 2) s.insert(0, 1);
            Array from = x[0], y(Shape{2 * s[0], 3 * s[1]});
            from.shape = s;
            each(y.shape, [&](const Dims& i) { y[i] = from(i[0] % s[0], i[1] % s[1]); });
            return y;
          }),
      one(
          "movedim", {{2, 3, 4}, {1, 0, 2}}, [](In a) { return movedim(a, {0}, {-1}); },
          [](const Arrays& x) {
            const Shape& s = x[0].shape;
            Array y(Shape{s[1], s[2], s[0]});
            each(y.shape, [&](const Dims& i) { y[i] = x[0](i[2], i[0], i[1]); });
            return y;
          }),
      one(
          "narrow", {{2, 5}, {0, 4}, {3, 4, 2, 2}}, [](In a) { return narrow(a, 1, 1, 2); },
          [](const Arrays& x) {
            Array y(with(x[0].shape, 1, 2));
            each(y.shape, [&](const Dims& i) { y[i] = x[0][with(i, 1, 1 + i[1])]; });
            return y;
          }),
      one(
          "unbind", {{2, 3}, {2}, {2, 0}, {2, 3, 2, 2}}, [](In a) { return unbind(a); },
          [](const Arrays& x) {
            Shape s = x[0].shape;
            s.erase(0);
            Arrays parts(2, Array(s));
            for (size_t k = 0; k < 2; ++k)
              std::copy_n(x[0].v.begin() + static_cast<int64_t>(k) * s.numel(), s.numel(),
                          parts[k].v.begin());
            return parts;
          }),
      one(
          "diagonal", {{3, 4}, {2, 5}, {1, 2}}, [](In a) { return diagonal(a, 1); },
          [](const Arrays& x) {
            Array y(Shape{std::min(x[0].size(0), x[0].size(1) - 1)});
            for (int64_t i = 0; i < y.size(0); ++i) y(i) = x[0](i, i + 1);
            return y;
          }),
      {.name = "meshgrid",
       .shapes = {{{2}, {3}}, {{1}, {0}}, {{}, {2}}},
       .f = [](const Tensors& x) { return meshgrid(x); },
       .naive =
           [](const Arrays& x) {
             const int64_t n = x[0].shape.numel(), m = x[1].shape.numel();
             Arrays y(2, Array(Shape{n, m}));
             each(y[0].shape, [&](const Dims& i) {
               y[0][i] = x[0].v[static_cast<size_t>(i[0])];
               y[1][i] = x[1].v[static_cast<size_t>(i[1])];
             });
             return y;
           }},
  };
  for (OpCase& c : cases) {
    c.differentiable = c.name != "argsort";
    if (c.name.starts_with("sort") || c.name == "topk(smallest)") c.large = {{3, 2100}};
  }
  return cases;
}

std::vector<OpCase> places() {
  return {
      {.name = "scatter",
       .shapes = {{{3, 4}, {3, 5}, {3, 5}}, {{2, 4}, {2, 2}, {3, 2}}, {{0, 4}, {0, 2}, {0, 2}}},
       .f = [](const Tensors& x) { return scatter(x[0], 1, x[1], x[2]); },
       .naive =
           [](const Arrays& x) {
             Array y = x[0];
             each(x[1].shape,
                  [&](const Dims& i) { y[with(i, 1, static_cast<int64_t>(x[1][i]))] = x[2][i]; });
             return y;
           },
       .draw = {Draw{}, labels(4)}},
      {.name = "scatter(number)",
       .shapes = {{{3, 4}, {2, 5}}, {{4, 4}, {0, 4}}},
       .f = [](const Tensors& x) { return scatter(x[0], 1, x[1], 0.5); },
       .naive =
           [](const Arrays& x) {
             Array y = x[0];
             each(x[1].shape,
                  [&](const Dims& i) { y[with(i, 1, static_cast<int64_t>(x[1][i]))] = 0.5; });
             return y;
           },
       .draw = {Draw{}, labels(4)}},
      {.name = "scatter_add(to a tensor)",
       .shapes = {{{4, 3}, {5, 3}, {5, 3}}, {{4, 4}, {2, 2}, {3, 2}}, {{4, 0}, {2, 0}, {2, 0}}},
       .f = [](const Tensors& x) { return scatter_add(x[0], 0, x[1], x[2]); },
       .naive =
           [](const Arrays& x) {
             Array y = x[0];
             each(x[1].shape,
                  [&](const Dims& i) { y[with(i, 0, static_cast<int64_t>(x[1][i]))] += x[2][i]; });
             return y;
           },
       .draw = {Draw{}, labels(4)}},
      {.name = "masked_select",
       .shapes = {{{3, 4}, {3, 4}}, {{3, 1}, {4}}, {{2}, {3, 1}}, {{0, 2}, {2}}, {{}, {}}},
       .f = [](const Tensors& x) { return masked_select(x[0], x[1]); },
       .naive =
           [](const Arrays& x) {
             std::vector<double> kept;
             each(broadcast_shapes(x[0].shape, x[1].shape, "test"), [&](const Dims& i) {
               if (x[1][i] != 0) kept.push_back(x[0][i]);
             });
             Array y(Shape{static_cast<int64_t>(kept.size())});
             y.v = kept;
             return y;
           },
       .draw = {Draw{}, mask()}},
      {.name = "nonzero",
       .shapes = {{{3, 4}}, {{2, 0}}, {{5}}},
       .f = [](const Tensors& x) { return nonzero(x[0]); },
       .naive =
           [](const Arrays& x) {
             std::vector<double> found;
             each(x[0].shape, [&](const Dims& i) {
               if (x[0][i] != 0) found.insert(found.end(), i.begin(), i.end());
             });
             const int64_t rank = x[0].shape.rank();
             Array y(Shape{static_cast<int64_t>(found.size()) / rank, rank});
             y.v = found;
             return y;
           },
       .draw = {mask()},
       .differentiable = false},
      {.name = "index",
       .shapes = {{{4, 3, 4}, {2, 2}, {2}}, {{4, 1, 4}, {3}, {1}}, {{4, 2, 4}, {0}, {0}}},
       .f =
           [](const Tensors& x) {
             return x[0].index({x[1], Slice(None, None, 2), x[2]});
           },
       .naive =
           [](const Arrays& x) {
             Shape s = broadcast_shapes(x[1].shape, x[2].shape, "test");
             const int rank = s.rank();
             s.push_back((x[0].size(1) + 1) / 2);
             Array y(s);
             each(s, [&](const Dims& i) {
               Dims at = i;
               at.erase(rank);
               y[i] = x[0](static_cast<int64_t>(x[1][at]), 2 * i[rank],
                           static_cast<int64_t>(x[2][at]));
             });
             return y;
           },
       .draw = {Draw{}, labels(4), labels(4)}},
      {.name = "index(mask)",
       .shapes = {{{3, 4, 2}, {3, 4}}, {{2, 1, 1}, {2, 1}}},
       .f = [](const Tensors& x) { return x[0].index({x[1]}); },
       .naive =
           [](const Arrays& x) {
             std::vector<double> kept;
             each(x[1].shape, [&](const Dims& i) {
               for (int64_t k = 0; x[1][i] != 0 && k < x[0].size(-1); ++k)
                 kept.push_back(x[0](i[0], i[1], k));
             });
             Array y(Shape{static_cast<int64_t>(kept.size()) / x[0].size(-1), x[0].size(-1)});
             y.v = kept;
             return y;
           },
       .draw = {Draw{}, mask()}},
  };
}

}  // namespace

std::vector<OpCase> order_cases() {
  std::vector<OpCase> all = reductions();
  for (auto part : {orders(), places()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace loupe::testing
