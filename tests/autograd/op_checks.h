#pragma once
// What the tests over the op table share.
#include "catch.h"

#include "op_cases.h"

#include <loupe/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

namespace loupe::testing {

inline std::string title(const OpCase& c, const std::vector<Shape>& shapes) {
  std::string text = c.name;
  for (const Shape& s : shapes) text += " " + to_string(s);
  return text;
}

/// Calls check(case, shapes) for the whole table.
template <class F> void for_cases(F check) {
  for (const OpCase& c : op_cases())
    for (const std::vector<Shape>& shapes : c.shapes) {
      INFO(title(c, shapes));
      check(c, shapes);
    }
}

/// The same, each row in a section of its own: one that fails does not hide the others.
template <class F> void for_rows(F check) {
  for (const OpCase& c : op_cases()) DYNAMIC_SECTION(c.name) {
      for (const std::vector<Shape>& shapes : c.shapes) {
        INFO(title(c, shapes));
        check(c, shapes);
      }
    }
}

inline Tensors converted(const Tensors& ts, DType dtype) {
  Tensors out;
  for (const Tensor& t : ts) out.push_back(is_floating(t.dtype()) ? t.to(dtype) : t);
  return out;
}

/// Leaves that need a gradient, where floating.
inline Tensors marked(const Tensors& ts) {
  Tensors out;
  for (const Tensor& t : ts)
    out.push_back(is_floating(t.dtype()) ? t.detach().requires_grad_() : t);
  return out;
}
/// Those of them that do.
inline Tensors needing_gradient(const Tensors& ts) {
  Tensors out;
  for (const Tensor& t : ts)
    if (t.requires_grad()) out.push_back(t);
  return out;
}

inline double mean_size(const std::vector<double>& v) {
  double s = 0;
  for (double x : v) s += std::abs(x);
  return v.empty() ? 0 : s / static_cast<double>(v.size());
}

/// The first number that is not within `tolerance`, relative to it or to their mean size; NaN and
/// infinities never are.
inline std::optional<size_t> first_apart(const std::vector<double>& got,
                                         const std::vector<double>& wanted, double tolerance) {
  const double mean = mean_size(wanted);
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(got[i] - wanted[i]) <= tolerance * std::max(mean, std::abs(wanted[i]))))
      return i;
  return {};
}
inline void require_close(const Tensor& got, const std::vector<double>& wanted, double tolerance) {
  const std::vector<double> g = got.to_vector<double>();
  REQUIRE(g.size() == wanted.size());
  if (const auto i = first_apart(g, wanted, tolerance)) {
    CAPTURE(*i, g[*i], wanted[*i], mean_size(wanted));
    FAIL("differs by more than " << tolerance);
  }
}

/// The same result from another run of the op: defined or not, of that shape, each number within
/// `tolerance`, relative to it, to the mean size of the finite ones, or to 0.1 (the inputs are of
/// size 1: what is 0 in theory may be rounding noise); NaN for NaN, an infinity for itself.
inline void require_same(const Tensor& got, const Tensor& wanted, double tolerance) {
  REQUIRE(got.defined() == wanted.defined());
  if (!wanted.defined()) return;
  REQUIRE(to_string(got.shape()) == to_string(wanted.shape()));
  const std::vector<double> g = got.to_vector<double>(), w = wanted.to_vector<double>();
  std::vector<double> finite;
  std::copy_if(w.begin(), w.end(), std::back_inserter(finite),
               [](double x) { return std::isfinite(x); });
  const double mean = std::max(mean_size(finite), 0.1);
  for (size_t i = 0; i < g.size(); ++i) {
    if (g[i] == w[i] || (std::isnan(g[i]) && std::isnan(w[i]))) continue;
    if (!(std::abs(g[i] - w[i]) <= tolerance * std::max(mean, std::abs(w[i])))) {
      CAPTURE(i, g[i], w[i], mean);
      FAIL("differs by more than " << tolerance);
    }
  }
}
inline void require_same(const Tensors& got, const Tensors& wanted, double tolerance) {
  REQUIRE(got.size() == wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("number " << i);
    require_same(got[i], wanted[i], tolerance);
  }
}

/// A random upstream gradient for every floating output.
inline Tensors upstreams(const Tensors& ys, DType dtype, uint64_t seed = 99) {
  Rng rng(seed);
  Tensors out;
  for (const Tensor& y : ys) out.push_back(randn(rng, y.shape(), DType::f64).to(dtype));
  return out;
}

/// The gradients of all floating inputs for a random upstream gradient.
inline Tensors gradients(const OpCase& c, const Tensors& inputs) {
  const Tensors x = marked(inputs), y = c.f(x);
  return grad(y, needing_gradient(x), {}, upstreams(y, y[0].dtype()));
}

// --- The checks of one row, for one list of shapes (op_checks.cpp) ---
/// The result is that of the plain loops, in f64.
void check_forward(const OpCase& c, const std::vector<Shape>& shapes);
/// gradcheck and gradgradcheck.
void check_gradient(const OpCase& c, const std::vector<Shape>& shapes);
void check_second_derivative(const OpCase& c, const std::vector<Shape>& shapes);
/// f32 gives what f64 gives, results and gradients.
void check_f32(const OpCase& c, const std::vector<Shape>& shapes);
/// In shadow mode the op has its f64 twin and stays close to it.
void check_shadow(const OpCase& c, const std::vector<Shape>& shapes);
/// The shapes of a row, the large ones too.
std::vector<std::vector<Shape>> all_shapes(const OpCase& c);

}  // namespace loupe::testing
