// Random programs of random ops on random shapes (zero sizes, broadcasting, views, tensors used
// several times, in-place changes of constants), in f64: each is run by the library and by plain
// loops, and its gradient is checked.
#include "catch.h"
#include "op_cases.h"

#include <loupe/autograd/autograd.h>

#include <cmath>

namespace loupe::testing {
namespace {

// One instruction, twice: both take all values so far and give a new one.
struct Step {
  std::string text;
  std::function<Tensor(const Tensors&)> fast;
  std::function<Array(const Arrays&)> plain;
};

class Program {
 public:
  explicit Program(uint64_t seed) : rng_(seed) {
    Shape base;
    for (int64_t d = pick(5); d > 0; --d) base.push_back(pick(12) == 0 ? 0 : 1 + pick(3));
    for (int64_t n = 1 + pick(3); n > 0; --n) {
      Shape s = base;  // a relative of the base, so that the inputs broadcast
      for (int64_t& d : s)
        if (pick(4) == 0) d = 1;
      while (s.rank() > 0 && pick(5) == 0) s.erase(0);
      inputs_.push_back(randn(rng_, s, DType::f64));
      values_.emplace_back(inputs_.back());
      text_ += fmt::format("x{} {}\n", inputs_.size() - 1, s);
    }
    const int64_t length = 2 + pick(8);
    for (int tries = 0; static_cast<int64_t>(steps_.size()) < length && tries < 60; ++tries)
      append(draw());
  }

  const Tensors& inputs() const { return inputs_; }
  const std::string& text() const { return text_; }
  size_t size() const { return steps_.size(); }
  /// The last value, and the one before, so that there are several outputs.
  Tensors run(const Tensors& x) const {
    Tensors v = x;
    for (const Step& s : steps_) v.push_back(s.fast(v));
    return {v.back(), v[v.size() - 2]};
  }
  Arrays plain() const { return {values_.back(), values_[values_.size() - 2]}; }

 private:
  int64_t pick(int64_t n) { return rng_.integer(0, n); }

  // Keeps the step unless its values grow beyond what differences can resolve.
  void append(Step s) {
    if (!s.fast) return;
    Array y = s.plain(values_);
    if (y.v.size() > 200) return;
    for (double e : y.v)
      if (!(std::abs(e) < 20)) return;
    text_ += fmt::format("v{} = {}\n", values_.size(), s.text);
    values_.push_back(std::move(y));
    steps_.push_back(std::move(s));
  }

  template <class F, class N> Step unary(const char* name, F f, N n) {
    const size_t i = any();
    return {fmt::format("{} v{}", name, i), [=](const Tensors& v) { return f(v[i]); },
            [=](const Arrays& v) { return map1(n)({v[i]})[0]; }};
  }
  template <class F, class N> Step binary(const char* name, F f, N n) {
    const size_t i = any(), j = partner(i);
    return {fmt::format("{} v{} v{}", name, i, j), [=](const Tensors& v) { return f(v[i], v[j]); },
            [=](const Arrays& v) {
              return map2(n)({v[i], v[j]})[0];
            }};
  }
  // A view: y[at] = x[from(at)].
  template <class F, class M> Step moved(std::string text, size_t i, Shape shape, F f, M from) {
    return {std::move(text), [=](const Tensors& v) { return f(v[i]); },
            [=](const Arrays& v) {
              Array y(shape);
              each(shape, [&](const Dims& at) { y[at] = v[i][from(at)]; });
              return y;
            }};
  }
  template <class F> Step renamed(std::string text, size_t i, Shape shape, F f) {
    return {std::move(text), [=](const Tensors& v) { return f(v[i]); },
            [=](const Arrays& v) {
              Array y = v[i];
              y.shape = shape;
              return y;
            }};
  }

  // Recent values more often, so that programs grow deep; old ones too, so that tensors are used
  // several times.
  size_t any() {
    const size_t n = values_.size();
    return pick(2) ? n - 1 - static_cast<size_t>(pick(static_cast<int64_t>(std::min<size_t>(n, 2))))
                   : static_cast<size_t>(pick(static_cast<int64_t>(n)));
  }
  // A value that broadcasts with value i; i itself if luck fails.
  size_t partner(size_t i) {
    for (int tries = 0; tries < 6; ++tries) {
      const size_t j = any();
      const Shape &a = values_[i].shape, &b = values_[j].shape;
      bool fits = true;
      for (int d = 1; d <= std::min(a.rank(), b.rank()); ++d) {
        const int64_t m = a[a.rank() - d], n = b[b.rank() - d];
        fits = fits && (m == n || m == 1 || n == 1);
      }
      if (fits) return j;
    }
    return i;
  }

  Step draw() {
    const size_t i = any();
    const Shape shape = values_[i].shape;
    const int r = shape.rank();
    const int axis = r > 0 ? static_cast<int>(pick(r)) : 0;
    const int64_t n = r > 0 ? shape[axis] : 1;
    switch (pick(25)) {
      case 0:
        return unary(
            "neg", [](In a) { return -a; }, [](double a) { return -a; });
      case 1:
        return unary(
            "tanh", [](In a) { return loupe::tanh(a); }, [](double a) { return std::tanh(a); });
      case 2:
        return unary(
            "sigmoid", [](In a) { return sigmoid(a); },
            [](double a) { return 1 / (1 + std::exp(-a)); });
      case 3:
        return unary(
            "square", [](In a) { return square(a); }, [](double a) { return a * a; });
      case 4:
        return unary(
            "exp half", [](In a) { return exp(a.t * 0.5); },
            [](double a) { return std::exp(a / 2); });
      case 5:
        return unary(
            "rsqrt(1 + a^2)", [](In a) { return rsqrt(a.t * a.t + 1); },
            [](double a) { return 1 / std::sqrt(a * a + 1); });
      case 6:
        return unary(
            "2 - a/3", [](In a) { return 2 - a.t / 3; }, [](double a) { return 2 - a / 3; });
      case 7:
        return binary(
            "add", [](In a, In b) { return a + b; }, [](double a, double b) { return a + b; });
      case 8:
        return binary(
            "sub", [](In a, In b) { return a - b; }, [](double a, double b) { return a - b; });
      case 9:
      case 10:
        return binary(
            "mul", [](In a, In b) { return a * b; }, [](double a, double b) { return a * b; });
      case 11:
        return binary(
            "div by 1 + b^2", [](In a, In b) { return a.t / (b.t * b.t + 1); },
            [](double a, double b) { return a / (b * b + 1); });
      case 12: {
        const bool keepdim = pick(2) == 1;
        Shape out = shape, full_rank = shape;
        if (r > 0) {
          full_rank[axis] = 1;
          out = full_rank;
          if (!keepdim) out.erase(axis);
        }
        const bool all = r == 0;
        return {fmt::format("sum v{} axis {} {}", i, axis, keepdim ? "keepdim" : ""),
                [=](const Tensors& v) { return all ? v[i].sum() : v[i].sum({axis}, keepdim); },
                [=](const Arrays& v) {
                  Array y(full_rank);
                  each(shape, [&](Dims at) {
                    const double e = v[i][at];
                    if (!all) at[axis] = 0;
                    y[at] += e;
                  });
                  y.shape = out;
                  return y;
                }};
      }
      case 13:
        if (values_[i].v.empty()) return {};
        return {fmt::format("mean v{}", i), [=](const Tensors& v) { return v[i].mean(); },
                [=](const Arrays& v) {
                  Array y(Shape{});
                  for (double e : v[i].v) y.v[0] += e / static_cast<double>(v[i].v.size());
                  return y;
                }};
      case 14: {
        if (r < 2) return {};
        const int other = static_cast<int>(pick(r));
        Shape out = shape;
        std::swap(out[axis], out[other]);
        return moved(
            fmt::format("transpose v{} {} {}", i, axis, other), i, out,
            [=](In a) { return a->transpose(axis, other); },
            [=](Dims at) {
              std::swap(at[axis], at[other]);
              return at;
            });
      }
      case 15: {
        if (r == 0 || n == 0) return {};
        const int64_t start = pick(n), step = 1 + pick(2);
        Shape out = shape;
        out[axis] = (n - start + step - 1) / step;
        return moved(
            fmt::format("slice v{} {} {}:: {}", i, axis, start, step), i, out,
            [=](In a) { return a->slice(axis, start, INT64_MAX, step); },
            [=](Dims at) {
              at[axis] = start + at[axis] * step;
              return at;
            });
      }
      case 16: {
        if (r == 0 || n == 0) return {};
        const int64_t index = pick(n);
        Shape out = shape;
        out.erase(axis);
        return moved(
            fmt::format("select v{} {} {}", i, axis, index), i, out,
            [=](In a) { return a->select(axis, index - n); },
            [=](Dims at) {
              at.insert(axis, index);
              return at;
            });
      }
      case 17: {
        if (r >= 5) return {};
        Shape out = shape;
        out.insert(axis, 1);
        return renamed(fmt::format("unsqueeze v{} {}", i, axis), i, out,
                       [=](In a) { return a->unsqueeze(axis); });
      }
      case 18:
        return renamed(fmt::format("flatten v{}", i), i, Shape{shape.numel()},
                       [](In a) { return a->reshape({a->numel()}); });
      case 19: {
        if (r >= 5) return {};
        Shape out = shape;
        out.insert(0, pick(3));
        for (int64_t& d : out)
          if (d == 1) d = 1 + pick(3);
        return {fmt::format("expand v{}", i), [=](const Tensors& v) { return v[i].expand(out); },
                [=](const Arrays& v) {
                  Array y(out);
                  each(out, [&](const Dims& at) { y[at] = v[i][at]; });
                  return y;
                }};
      }
      case 20: {
        if (r == 0) return {};
        // One after the other with itself, through a view: the same tensor twice in one op.
        Shape out = shape;
        out[axis] = 2 * n;
        return moved(
            fmt::format("cat v{} twice, axis {}", i, axis), i, out,
            [=](In a) {
              return cat({a.t, a->contiguous()}, axis);
            },
            [=](Dims at) {
              at[axis] %= n;
              return at;
            });
      }
      case 21: {
        if (r == 0 || n == 0) return {};
        const int64_t count = pick(4);
        std::vector<int64_t> index;
        for (int64_t k = 0; k < count; ++k) index.push_back(pick(n));
        Shape out = shape;
        out[axis] = count;
        return moved(
            fmt::format("index_select v{} axis {}, {} positions", i, axis, count), i, out,
            [=](In a) { return index_select(a, axis, from_data(index)); },
            [=](Dims at) {
              at[axis] = index[static_cast<size_t>(at[axis])];
              return at;
            });
      }
      case 22: {
        // A constant that is changed in place, through views, before it is used.
        return {fmt::format("v{} times a constant made in place", i),
                [=](const Tensors& v) {
                  Tensor c = ones(shape, DType::f64);
                  c.mul_(0.5).add_(c, 2);
                  if (r > 0 && n > 0) c.select(axis, n - 1).fill_(-0.25);
                  if (r > 1) c.transpose(0, 1).mul_(full({}, 2, DType::f64));
                  return v[i] * c;
                },
                [=](const Arrays& v) {
                  Array y = v[i];
                  each(shape, [&](const Dims& at) {
                    double c = r > 0 && at[axis] == n - 1 ? -0.25 : 1.5;
                    if (r > 1) c *= 2;
                    y[at] *= c;
                  });
                  return y;
                }};
      }
      case 23: {
        if (r < 2) return {};
        const int64_t m = shape[r - 2], k = shape[r - 1];
        Shape out = shape;
        out[r - 1] = m;
        return {fmt::format("v{} times its transpose", i),
                [=](const Tensors& v) { return matmul(v[i], v[i].transpose(-1, -2)); },
                [=](const Arrays& v) {
                  Array y(out);
                  each(out, [&](const Dims& at) {
                    Dims p = at, q = at;
                    q[r - 2] = at[r - 1];
                    for (int64_t l = 0; l < k; ++l) {
                      p[r - 1] = q[r - 1] = l;
                      y[at] += v[i][p] * v[i][q];
                    }
                  });
                  return y;
                }};
      }
      default: {
        if (r == 0 || n == 0) return {};
        return {fmt::format("softmax v{} axis {}", i, axis),
                [=](const Tensors& v) { return softmax(v[i], axis); },
                [=](const Arrays& v) {
                  Array sum(shape), y = v[i];
                  for (double& e : y.v) e = std::exp(e);
                  each(shape, [&](Dims at) {
                    const double e = std::as_const(y)[at];
                    at[axis] = 0;
                    sum[at] += e;
                  });
                  each(shape, [&](const Dims& at) {
                    Dims first = at;
                    first[axis] = 0;
                    y[at] /= sum[first];
                  });
                  return y;
                }};
      }
    }
  }

  Rng rng_;
  Tensors inputs_;
  Arrays values_;
  std::vector<Step> steps_;
  std::string text_;
};

void run_programs(uint64_t first, uint64_t count) {
  const int64_t before = memory_stats().live_storages;
  size_t steps = 0;
  int64_t compared = 0;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    const Program program(seed);
    if (program.size() < 2) continue;
    INFO("seed " << seed << "\n" << program.text());
    const Tensors got = program.run(program.inputs());
    const Arrays wanted = program.plain();
    for (size_t k = 0; k < got.size(); ++k) {
      REQUIRE(got[k].shape() == wanted[k].shape);
      const std::vector<double> v = got[k].to_vector<double>();
      for (size_t i = 0; i < v.size(); ++i)
        if (!(std::abs(v[i] - wanted[k].v[i]) <= 1e-11 * std::max(1.0, std::abs(wanted[k].v[i])))) {
          CAPTURE(k, i, v[i], wanted[k].v[i]);
          FAIL("the library and the plain loops differ");
        }
    }
    steps += program.size();
    const auto f = [&](const Tensors& x) { return program.run(x); };
    const GradcheckOptions options{.label = "random program",
                                   .max_elements = 6,
                                   .max_jacobian = 0,
                                   .allow_unused = true,
                                   .seed = seed};
    try {
      compared += gradcheck(f, program.inputs(), options).comparisons;
      if (seed % 8 == 0) compared += gradgradcheck(f, program.inputs(), options).comparisons;
    } catch (const Error& e) { FAIL(e.what()); }
  }
  REQUIRE(steps > 3 * count);
  REQUIRE(compared > static_cast<int64_t>(3 * count));
  REQUIRE(memory_stats().live_storages == before);
}

}  // namespace

TEST_CASE("random programs give what plain loops give, and right gradients") {
  run_programs(0, 2000);
}

TEST_CASE("random programs, many", "[.long]") { run_programs(1000000, 200000); }

}  // namespace loupe::testing
