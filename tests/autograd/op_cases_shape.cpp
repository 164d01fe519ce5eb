// Reductions, views, and ops that move elements.
#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

// y[i] = fold of the elements along `axes` (all if empty).
template <class F> Naive reduction(std::vector<int> axes, bool keepdim, F fold) {
  return [=](const Arrays& x) {
    const Shape& shape = x[0].shape;
    bool reduced[kMaxRank] = {};
    for (int a : axes) reduced[a < 0 ? a + shape.rank() : a] = true;
    Shape kept = shape, out;
    for (int d = 0; d < shape.rank(); ++d) {
      if (axes.empty()) reduced[d] = true;
      if (reduced[d]) kept[d] = 1;
      if (!reduced[d] || keepdim) out.push_back(kept[d]);
    }
    std::vector<std::vector<double>> groups(static_cast<size_t>(kept.numel()));
    Array index(kept);
    for (size_t i = 0; i < index.v.size(); ++i) index.v[i] = static_cast<double>(i);
    each(shape, [&](const Dims& i) {
      groups[static_cast<size_t>(std::as_const(index)[i])].push_back(x[0][i]);
    });
    Array y(out);
    for (size_t i = 0; i < groups.size(); ++i) y.v[i] = fold(groups[i]);
    return y;
  };
}

double total(const std::vector<double>& v) {
  double s = 0;
  for (double e : v) s += e;
  return s;
}
double average(const std::vector<double>& v) { return total(v) / static_cast<double>(v.size()); }
double variance(const std::vector<double>& v, double correction) {
  double s = 0;
  for (double e : v) s += (e - average(v)) * (e - average(v));
  return s / (static_cast<double>(v.size()) - correction);
}
double largest(const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); }
double smallest(const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }

// y[i] = x[source(i)] for every position of `shape(x.shape)`.
template <class S, class F> Naive moved(S shape, F source) {
  return [=](const Arrays& x) {
    Array y(shape(x[0].shape));
    each(y.shape, [&](const Dims& i) { y[i] = x[0][source(i, x[0].shape)]; });
    return y;
  };
}
// The same elements in row-major order under another shape.
template <class S> Naive renamed(S shape) {
  return [=](const Arrays& x) {
    Array y = x[0];
    y.shape = shape(y.shape);
    return y;
  };
}
Dims swapped(Dims d, int i, int j) {
  std::swap(d[i], d[j]);
  return d;
}
Dims with(Dims d, int axis, int64_t value) {
  d[axis] = value;
  return d;
}

template <class F> OpCase one(std::string name, std::vector<Shape> shapes, F f, Naive naive) {
  OpCase c{std::move(name), {}, [f](const Tensors& x) { return f(x[0]); }, std::move(naive)};
  for (const Shape& s : shapes) c.shapes.push_back({s});
  return c;
}

const std::vector<Shape> kAny{{2, 3}, {}, {1}, {0}, {2, 0, 3}, {2, 3, 2, 2}, {5, 1}};
const std::vector<Shape> kFull{{2, 3}, {}, {1}, {2, 3, 2, 2}, {5, 1}};  // without empty ones
const std::vector<Shape> kMatrix{{2, 3}, {2, 3, 4}, {1, 1}, {3, 1, 2, 2}};

std::vector<OpCase> reductions() {
  std::vector<OpCase> cases{
      one(
          "sum", kAny, [](In a) { return sum(a); }, reduction({}, false, total)),
      one(
          "sum(1)", {{2, 3}, {2, 0, 3}, {0, 3}, {2, 3, 2, 2}}, [](In a) { return sum(a, {1}); },
          reduction({1}, false, total)),
      one(
          "sum(0, -1, keepdim)", kMatrix,
          [](In a) {
            return sum(a, {0, -1}, true);
          },
          reduction({0, -1}, true, total)),
      one(
          "mean", kFull, [](In a) { return mean(a); }, reduction({}, false, average)),
      one(
          "mean(-1, keepdim)", kMatrix, [](In a) { return mean(a, {-1}, true); },
          reduction({-1}, true, average)),
      one(
          "mean(0, 2)", {{2, 3, 4}, {3, 0, 2}, {2, 3, 2, 2}},
          [](In a) {
            return mean(a, {0, 2});
          },
          reduction({0, 2}, false, average)),
      one(
          "var", {{2, 3}, {7}, {2, 3, 2, 2}}, [](In a) { return var(a); },
          reduction({}, false, [](const auto& v) { return variance(v, 1); })),
      one(
          "var(-1, biased)", kMatrix, [](In a) { return var(a, {-1}, 0, true); },
          reduction({-1}, true, [](const auto& v) { return variance(v, 0); })),
      one(
          "std", {{2, 3}, {7}}, [](In a) { return loupe::std(a); },
          reduction({}, false, [](const auto& v) { return std::sqrt(variance(v, 1)); })),
      one(
          "std(0)", {{4, 3}, {3, 2, 2, 2}}, [](In a) { return loupe::std(a, {0}, 0, true); },
          reduction({0}, true, [](const auto& v) { return std::sqrt(variance(v, 0)); })),
      one(
          "max", kFull, [](In a) { return max(a); }, reduction({}, false, largest)),
      one(
          "max(-1)", {{2, 3}, {0, 3}, {2, 3, 2, 2}}, [](In a) { return max(a, {-1}); },
          reduction({-1}, false, largest)),
      one(
          "min", kFull, [](In a) { return min(a); }, reduction({}, false, smallest)),
      one(
          "min(0, keepdim)", {{2, 3}, {3, 0}, {2, 3, 2, 2}}, [](In a) { return min(a, {0}, true); },
          reduction({0}, true, smallest)),
      one(
          "argmax(-1)", kMatrix, [](In a) { return argmax(a, -1); },
          reduction({-1}, false,
                    [](const auto& v) {
                      return static_cast<double>(std::max_element(v.begin(), v.end()) - v.begin());
                    })),
      one(
          "topk", {{2, 4}, {5}, {2, 2, 3}, {0, 3}}, [](In a) { return topk(a, 2).values; },
          [](const Arrays& x) {
            const int64_t n = x[0].size(-1);
            Array y(with(x[0].shape, x[0].shape.rank() - 1, 2));
            for (int64_t r = 0; r < x[0].shape.numel() / n; ++r) {
              std::vector<double> row(x[0].v.begin() + r * n, x[0].v.begin() + (r + 1) * n);
              std::sort(row.rbegin(), row.rend());
              std::copy_n(row.begin(), 2, y.v.begin() + 2 * r);
            }
            return y;
          }),
  };
  for (OpCase& c : cases) {
    c.differentiable = !c.name.starts_with("argmax");
    if (c.name != "mean(0, 2)") c.large = {{129, 67}};
  }
  return cases;
}

std::vector<OpCase> views() {
  using C = const Dims&;
  return {
      one(
          "reshape", {{2, 6}, {12}, {3, 1, 4}, {2, 3, 2, 1}},
          [](In a) {
            return a->reshape({4, -1});
          },
          renamed([](C) {
            return Shape{4, 3};
          })),
      one(
          "reshape(0)", {{0, 3}, {2, 0}},
          [](In a) {
            return a->reshape({5, 0, 2});
          },
          renamed([](C) {
            return Shape{5, 0, 2};
          })),
      one(
          "flatten", {{2, 3, 4}, {2, 3, 2, 2}, {0, 2, 3}}, [](In a) { return a->flatten(1, 2); },
          renamed([](C s) {
            Shape out = with(s, 1, s[1] * s[2]);
            out.erase(2);
            return out;
          })),
      one(
          "transpose", {{2, 3, 4}, {1, 0, 2}, {2, 3, 2, 2}},
          [](In a) { return a->transpose(0, 2); },
          moved([](C s) { return swapped(s, 0, 2); }, [](C i, C) { return swapped(i, 0, 2); })),
      one(
          "t", {{2, 3}, {0, 1}}, [](In a) { return a->t(); },
          moved([](C s) { return swapped(s, 0, 1); }, [](C i, C) { return swapped(i, 0, 1); })),
      one(
          "permute", {{2, 3, 4}, {1, 2, 0}},
          [](In a) {
            return a->permute({2, 0, -2});
          },
          moved(
              [](C s) {
                return Shape{s[2], s[0], s[1]};
              },
              [](C i, C) {
                return Dims{i[1], i[2], i[0]};
              })),
      one(
          "slice", {{2, 7}, {0, 6}, {2, 5, 2, 2}}, [](In a) { return a->slice(1, 1, -1, 2); },
          moved([](C s) { return with(s, 1, (s[1] - 1) / 2); },
                [](C i, C) { return with(i, 1, 1 + 2 * i[1]); })),
      one(
          "slice(empty)", {{2, 3}}, [](In a) { return a->slice(0, 1, 1); },
          moved([](C s) { return with(s, 0, 0); }, [](C i, C) { return i; })),
      one(
          "select", {{2, 3, 4}, {0, 2}, {2, 3, 2, 2}}, [](In a) { return a->select(1, -1); },
          moved(
              [](C s) {
                Dims d = s;
                d.erase(1);
                return d;
              },
              [](C i, C s) {
                Dims d = i;
                d.insert(1, s[1] - 1);
                return d;
              })),
      one(
          "expand", {{2, 1}, {1}, {}, {3, 2, 1}},
          [](In a) {
            return a->expand({3, 2, 4});
          },
          [](const Arrays& x) {
            Array y(Shape{3, 2, 4});
            each(y.shape, [&](C i) { y[i] = x[0][i]; });
            return y;
          }),
      one(
          "expand(0)", {{1, 1}, {}},
          [](In a) {
            return a->expand({0, 2});
          },
          [](const Arrays&) {
            return Array(Shape{0, 2});
          }),
      one(
          "squeeze", {{1, 3, 1}, {1}, {}, {0, 1}}, [](In a) { return a->squeeze(); },
          renamed([](C s) {
            Shape out;
            for (int64_t d : s)
              if (d != 1) out.push_back(d);
            return out;
          })),
      one(
          "squeeze(1)", {{2, 1, 3}, {2, 3}}, [](In a) { return a->squeeze(1); }, renamed([](C s) {
            return s[1] == 1 ? Shape{s[0], s[2]} : s;
          })),
      one(
          "unsqueeze", {{2, 3}, {0}, {}}, [](In a) { return a->unsqueeze(-1); }, renamed([](C s) {
            Shape d = s;
            d.push_back(1);
            return d;
          })),
      one(
          "contiguous", {{2, 3}, {0}, {}, {2, 3, 2, 2}}, [](In a) { return a->contiguous(); },
          renamed([](C s) { return s; })),
      one(
          "contiguous(of a view)", {{2, 3}, {1, 0}, {4, 4}},
          [](In a) { return a->t().contiguous(); },
          moved([](C s) { return swapped(s, 0, 1); }, [](C i, C) { return swapped(i, 0, 1); })),
      one(
          "clone", kAny, [](In a) { return a->clone(); }, renamed([](C s) { return s; })),
      // In f32 a rounding to itself; in f64 there is nothing to convert: the change of type has its
      // own test.
      one(
          "to", kAny, [](In a) { return a->to(DType::f64); }, renamed([](C s) { return s; })),
  };
}

std::vector<OpCase> joins() {
  const auto pieces = [](const Array& x, int axis, std::vector<int64_t> sizes) {
    Arrays out;
    int64_t start = 0;
    for (int64_t n : sizes) {
      out.emplace_back(with(x.shape, axis, n));
      each(out.back().shape,
           [&](const Dims& i) { out.back()[i] = x[with(i, axis, start + i[axis])]; });
      start += n;
    }
    return out;
  };
  std::vector<OpCase> cases{
      {.name = "cat",
       .shapes = {{{2, 3}, {2, 1}, {2, 2}},
                  {{0, 2}, {0, 1}, {0, 0}},
                  {{2, 0}, {2, 3}, {2, 1}},
                  {{1, 2, 2, 2}, {1, 1, 2, 2}, {1, 2, 2, 2}}},
       .f = [](const Tensors& x) { return cat(x, 1); },
       .naive =
           [](const Arrays& x) {
             Array y(with(x[0].shape, 1, x[0].size(1) + x[1].size(1) + x[2].size(1)));
             int64_t start = 0;
             for (const Array& a : x) {
               each(a.shape, [&](const Dims& i) { y[with(i, 1, start + i[1])] = a[i]; });
               start += a.size(1);
             }
             return y;
           }},
      {.name = "stack",
       .shapes = {{{2, 3}, {2, 3}}, {{}, {}}, {{0, 2}, {0, 2}}, {{2, 1, 2}, {2, 1, 2}}},
       .f =
           [](const Tensors& x) {
             return stack({x[0], x[1], x[0]}, -1);
           },
       .naive =
           [](const Arrays& x) {
             Shape s = x[0].shape;
             s.push_back(3);
             Array y(s);
             each(s, [&](const Dims& i) {
               Dims from = i;
               from.erase(i.rank() - 1);
               y[i] = x[static_cast<size_t>(i.back() % 2)][from];
             });
             return y;
           }},
      {.name = "split",
       .shapes = {{{2, 6}}, {{0, 6}}, {{2, 6, 1, 2}}},
       .f =
           [](const Tensors& x) {
             return split(x[0], {1, 3, 0, 2}, 1);
           },
       .naive =
           [pieces](const Arrays& x) {
             return pieces(x[0], 1, {1, 3, 0, 2});
           }},
      {.name = "split(2)",
       .shapes = {{{5, 2}}, {{5, 0}}},
       .f = [](const Tensors& x) { return split(x[0], 2); },
       .naive =
           [pieces](const Arrays& x) {
             return pieces(x[0], 0, {2, 2, 1});
           }},
      // Only one of the outputs is used: the others' gradients are zero.
      {.name = "split(one used)",
       .shapes = {{{5, 2}}},
       .f = [](const Tensors& x) { return split(x[0], 2)[1]; },
       .naive =
           [pieces](const Arrays& x) {
             return pieces(x[0], 0, {2, 2, 1})[1];
           }},
      {.name = "chunk",
       .shapes = {{{2, 7}}, {{0, 7}}},
       .f = [](const Tensors& x) { return chunk(x[0], 3, 1); },
       .naive =
           [pieces](const Arrays& x) {
             return pieces(x[0], 1, {3, 3, 1});
           }},
      {.name = "pad",
       .shapes = {{{2, 3}}, {{0, 2}}, {{1, 2, 3, 2}}},
       .f =
           [](const Tensors& x) {
             return pad(x[0], {1, 2, 0, 3}, 0.5);
           },
       .naive =
           [](const Arrays& x) {
             const int r = x[0].shape.rank();
             Array y(with(with(x[0].shape, r - 1, x[0].size(-1) + 3), r - 2, x[0].size(-2) + 3),
                     0.5);
             each(x[0].shape, [&](const Dims& i) { y[with(i, r - 1, i.back() + 1)] = x[0][i]; });
             return y;
           }},
      {.name = "index_select",
       .shapes =
           {{{2, 4}, {3}}, {{2, 4, 2}, {5}}, {{0, 4}, {2}}, {{2, 4}, {0}}, {{1, 4, 2, 2}, {1}}},
       .f = [](const Tensors& x) { return index_select(x[0], 1, x[1]); },
       .naive =
           [](const Arrays& x) {
             Array y(with(x[0].shape, 1, x[1].shape[0]));
             each(y.shape, [&](const Dims& i) {
               y[i] = x[0][with(i, 1, static_cast<int64_t>(x[1](i[1])))];
             });
             return y;
           },
       .draw = {Draw{}, labels(4)}},
      {.name = "gather",
       .shapes = {{{3, 4}, {3, 5}}, {{3, 4, 2}, {2, 6, 1}}, {{0, 4}, {0, 2}}, {{2, 4}, {2, 0}}},
       .f = [](const Tensors& x) { return gather(x[0], 1, x[1]); },
       .naive =
           [](const Arrays& x) {
             Array y(x[1].shape);
             each(y.shape,
                  [&](const Dims& i) { y[i] = x[0][with(i, 1, static_cast<int64_t>(x[1][i]))]; });
             return y;
           },
       .draw = {Draw{}, labels(4)}},
      {.name = "scatter_add",
       .shapes = {{{3, 5}, {3, 5}}, {{2, 2}, {2, 2}}, {{0, 5}, {0, 5}}, {{1, 1}, {1, 1}}},
       .f =
           [](const Tensors& x) {
             return scatter_add(x[0], 1, x[1], {3, 4});
           },
       .naive =
           [](const Arrays& x) {
             Array y(Shape{3, 4});
             each(x[0].shape,
                  [&](const Dims& i) { y[with(i, 1, static_cast<int64_t>(x[1][i]))] += x[0][i]; });
             return y;
           },
       .draw = {Draw{}, labels(4)}},
      {.name = "one_hot",
       .shapes = {{{3}}, {{2, 2}}, {{0}}, {{}}},
       .f = [](const Tensors& x) { return one_hot(x[0], 5, DType::f64); },
       .naive =
           [](const Arrays& x) {
             Shape s = x[0].shape;
             s.push_back(5);
             Array y(s);
             each(x[0].shape, [&](const Dims& i) {
               Dims at = i;
               at.push_back(static_cast<int64_t>(x[0][i]));
               y[at] = 1;
             });
             return y;
           },
       .draw = {labels(5)},
       .differentiable = false},
  };
  return cases;
}

}  // namespace

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> all = reductions();
  for (auto part : {views(), joins()}) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace loupe::testing
