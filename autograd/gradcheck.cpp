#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace loupe {
namespace {

using Values = std::vector<double>;

constexpr const char* kRandomUpstream = "a random upstream gradient";

// A leaf with t's values and strides; a tensor whose elements share memory becomes dense.
Tensor leaf_like(const Tensor& t) {
  int64_t span = 1;
  for (int i = 0; i < t.dim(); ++i) {
    if (t.shape()[i] > 1 && t.strides()[i] == 0)
      return raw::clone(raw::row_major(t)).requires_grad_();
    span += (t.shape()[i] - 1) * t.strides()[i];
  }
  if (t.numel() == 0) return raw::zeros(t.shape(), t.dtype()).requires_grad_();
  Tensor copy = raw::view(raw::zeros({span}, t.dtype()), t.shape(), t.strides(), 0);
  raw::copy(t, copy);
  return copy.requires_grad_();
}

// The position of element i, in row-major order.
Dims position(const Shape& shape, int64_t i) {
  Dims at = shape;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    at[d] = i % shape[d];
    i /= shape[d];
  }
  return at;
}

double& element(const Tensor& t, int64_t i) {
  const Dims at = position(t.shape(), i);
  double* p = t.ptr<double>();
  for (int d = 0; d < t.dim(); ++d) p += at[d] * t.strides()[d];
  return *p;
}

class Check {
 public:
  Check(const GradFunction& f, const Tensors& inputs, const GradcheckOptions& options,
        const char* name)
      : f_(f), options_(options), rng_(options.seed), name_(name), label_(options.label) {
    if (!(options.tolerance > 0 && options.step > 0))
      fail<ValueError>("{}: tolerance {} and step {} must be above 0", name_, options.tolerance,
                       options.step);
    for (const Tensor& x : inputs) {
      if (x.dtype() == DType::f32)
        fail<DtypeError>(
            "{}: input {} is f32, whose rounding hides wrong gradients; convert with "
            "to(DType::f64)",
            name_, x_.size());
      x_.push_back(x.dtype() == DType::f64 ? leaf_like(x) : x);
      if (x.dtype() == DType::f64) checked_.push_back(x_.size() - 1);
    }
    if (checked_.empty()) fail<ValueError>("{}: no input is f64: nothing to check", name_);
  }

  GradcheckResult run() {
    GradMode recording(true);
    y_ = f_(x_);
    if (y_.empty()) fail<ValueError>("{}: the function gives no tensor", name_);
    Tensors differentiable;
    for (const Tensor& y : y_) {
      if (y.dtype() == DType::f32)
        fail<DtypeError>("{}: {} gave f32 for f64 inputs", name_, label_);
      if (y.requires_grad()) differentiable.push_back(y);
      if (label_.empty() && y.requires_grad() && y.grad_meta()->fn)
        label_ = y.grad_meta()->fn->name();
    }
    if (label_.empty()) label_ = "the function";
    same_unrecorded();

    size_t outputs = 0;
    for (const Tensor& y : y_)
      outputs += y.dtype() == DType::f64 ? static_cast<size_t>(y.numel()) : 0;
    Values projection(outputs);
    for (double& w : projection) w = rng_.normal();
    const std::vector<Values> g = gradients(projection);
    int64_t entries = 0;
    for (size_t k : checked_) entries += x_[k].numel() * static_cast<int64_t>(outputs);
    const bool jacobian = entries <= options_.max_jacobian;
    std::vector<std::vector<Values>> rows;  // by output element, then input
    if (jacobian)
      for (size_t o = 0; o < outputs; ++o) {
        Values one(outputs);
        one[o] = 1;
        rows.push_back(gradients(one));
      }

    for (size_t c = 0; c < checked_.size(); ++c) {
      const Tensor& x = x_[checked_[c]];
      const int64_t n = x.numel();
      const std::vector<int64_t> chosen = choose(n);
      std::vector<Values> columns;
      Values numeric, noise;
      for (int64_t i : chosen) {
        double& at = element(x, i);
        const double before = at, h = options_.step * std::max(1.0, std::abs(before));
        columns.push_back(
            difference([&](double side) { at = before + side * h; }, [&] { at = before; }, h));
        numeric.push_back(dot(columns.back(), projection));
        noise.push_back(rounding(projection, columns.back(), h));
      }
      const double mean = mean_size(numeric);
      for (size_t j = 0; j < chosen.size(); ++j)
        compare({.input = c,
                 .where = fmt::format("at {}", position(x.shape(), chosen[j])),
                 .upstream = kRandomUpstream,
                 .analytic = g[c][static_cast<size_t>(chosen[j])],
                 .numeric = numeric[j],
                 .mean = mean,
                 .noise = noise[j]});
      for (size_t o = 0; o < rows.size(); ++o) {
        Values row;
        for (const Values& column : columns) row.push_back(column[o]);
        const double row_mean = mean_size(row);
        Values one(outputs);
        one[o] = 1;
        for (size_t j = 0; j < chosen.size(); ++j)
          compare({.input = c,
                   .where = fmt::format("at {}", position(x.shape(), chosen[j])),
                   .upstream = output_name(o),
                   .analytic = rows[o][c][static_cast<size_t>(chosen[j])],
                   .numeric = row[j],
                   .mean = row_mean,
                   .noise = rounding(one, columns[j], options_.step)});
      }
      if (static_cast<int64_t>(chosen.size()) < n) along_direction(c, g[c], projection);
    }
    return result_;
  }

 private:
  Values flat(const Tensors& ys) const {
    Values all;
    for (const Tensor& y : ys)
      if (y.dtype() == DType::f64) {
        const Values v = y.to_vector<double>();
        all.insert(all.end(), v.begin(), v.end());
      }
    return all;
  }

  Values values() const {
    NoGrad off;
    return flat(f_(x_));
  }

  // The function must give the same numbers recorded, unrecorded, and again: no dropout, no kernel
  // of another mind.
  void same_unrecorded() {
    value_ = flat(y_);
    const Values again = values();
    if (again.size() != value_.size())
      fail<GradError>("{}: {} gives {} numbers when recorded and {} when not", name_, label_,
                      value_.size(), again.size());
    typical_ = mean_size(value_);
    for (size_t i = 0; i < again.size(); ++i)
      if (!(std::abs(again[i] - value_[i]) <= 1e-10 * std::max(typical_, std::abs(value_[i]))))
        fail<GradError>(
            "{}: {} is not finite, or not the same when called again without recording: {} gives "
            "{}, then {}",
            name_, label_, output_name(i), value_[i], again[i]);
  }

  // The gradient of every checked input for one upstream gradient; zeros where an input is unused
  // and may be.
  std::vector<Values> gradients(const Values& upstream) {
    Tensors outputs, upstreams, inputs;
    size_t at = 0;
    for (const Tensor& y : y_) {
      if (y.dtype() != DType::f64) continue;
      const size_t n = static_cast<size_t>(y.numel());
      if (y.requires_grad()) {
        outputs.push_back(y);
        upstreams.push_back(from_data(Values(upstream.begin() + static_cast<int64_t>(at),
                                             upstream.begin() + static_cast<int64_t>(at + n)),
                                      y.shape()));
      }
      at += n;
    }
    for (size_t k : checked_) inputs.push_back(x_[k]);
    Tensors g(inputs.size());
    if (!outputs.empty())
      g = grad(outputs, inputs, {.retain_graph = true, .allow_unused = true}, upstreams);
    std::vector<Values> result;
    for (size_t c = 0; c < g.size(); ++c) {
      if (!g[c].defined() && !options_.allow_unused)
        fail<GradError>("{}: {}: no gradient arrives at input {}, shape {}", name_, label_,
                        checked_[c], inputs[c].shape());
      if (g[c].defined() && (g[c].shape() != inputs[c].shape() || g[c].dtype() != DType::f64))
        fail<GradError>("{}: {}: the gradient of input {} is {} {}, the input f64 {}", name_,
                        label_, checked_[c], g[c].dtype(), g[c].shape(), inputs[c].shape());
      result.push_back(g[c].defined() ? g[c].to_vector<double>()
                                      : Values(static_cast<size_t>(inputs[c].numel())));
    }
    return result;
  }

  template <class Move, class Restore> Values difference(Move move, Restore restore, double h) {
    move(+1);
    Values plus = values();
    move(-1);
    const Values minus = values();
    restore();
    if (plus.size() != value_.size() || minus.size() != value_.size())
      fail<GradError>("{}: {} gives outputs of another size for nearby inputs", name_, label_);
    for (size_t i = 0; i < plus.size(); ++i) plus[i] = (plus[i] - minus[i]) / (2 * h);
    return plus;
  }

  void along_direction(size_t c, const Values& g, const Values& projection) {
    const Tensor& x = x_[checked_[c]];
    Values direction(g.size()), before = x.to_vector<double>();
    for (double& d : direction) d = rng_.normal();
    const auto move = [&](double side) {
      for (size_t i = 0; i < g.size(); ++i)
        element(x, static_cast<int64_t>(i)) = before[i] + side * options_.step * direction[i];
    };
    const Values column = difference(
        move, [&] { move(0); }, options_.step);
    compare({.input = c,
             .where = "along a random direction",
             .upstream = kRandomUpstream,
             .analytic = dot(g, direction),
             .numeric = dot(column, projection),
             .mean = std::sqrt(dot(g, g)),
             .noise = rounding(projection, column, options_.step)});
  }

  std::vector<int64_t> choose(int64_t n) {
    std::vector<int64_t> all(static_cast<size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    if (n <= options_.max_elements) return all;
    for (int64_t i = 0; i < options_.max_elements; ++i)
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(rng_.integer(i, n))]);
    all.resize(static_cast<size_t>(options_.max_elements));
    return all;
  }

  static double dot(const Values& a, const Values& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  }
  static double mean_size(const Values& v) {
    double sum = 0;
    for (double x : v) sum += std::abs(x);
    return v.empty() ? 0 : sum / static_cast<double>(v.size());
  }
  // What rounding in f alone can make of a difference: some units in the last place of the outputs
  // that moved, over h.
  double rounding(const Values& weights, const Values& column, double h) const {
    double size = 0;
    for (size_t i = 0; i < value_.size(); ++i)
      if (column[i] != 0) size += std::abs(weights[i]) * std::max(std::abs(value_[i]), typical_);
    return 1e-10 +
           20 * 2.3e-16 * size / h;  // the first for gradients that are zero but for rounding
  }

  std::string output_name(size_t o) const {
    size_t k = 0;
    for (const Tensor& y : y_) {
      const size_t n = y.dtype() == DType::f64 ? static_cast<size_t>(y.numel()) : 0;
      if (o < n)
        return fmt::format("output {} at {}", k, position(y.shape(), static_cast<int64_t>(o)));
      o -= n;
      ++k;
    }
    return "an output";
  }

  // One number of the gradient, and what the difference quotient says.
  struct Comparison {
    size_t input;          // among the checked ones
    std::string where;     // the element, or direction
    std::string upstream;  // for which upstream gradient
    double analytic;
    double numeric;
    double mean;   // size of that input's gradient
    double noise;  // rounding of the quotient itself
  };
  void compare(const Comparison& c) {
    const double scale = std::max({std::abs(c.analytic), std::abs(c.numeric), c.mean});
    const double excess = std::max(0.0, std::abs(c.analytic - c.numeric) - c.noise);
    if (!(excess <= options_.tolerance * scale))
      fail<GradError>(
          "{}: {}: the gradient of input {} {}, for {}, is {:.12g}, but the difference quotient is "
          "{:.12g}",
          name_, label_, checked_[c.input], c.where, c.upstream, c.analytic, c.numeric);
    if (scale > 0) result_.worst = std::max(result_.worst, excess / scale);
    ++result_.comparisons;
  }

  const GradFunction& f_;
  const GradcheckOptions& options_;
  Rng rng_;
  const char* name_;
  std::string label_;
  Tensors x_, y_;
  std::vector<size_t> checked_;  // the f64 inputs
  Values value_;                 // the outputs, one after the other
  double typical_ = 0;           // their mean size
  GradcheckResult result_;
};

}  // namespace

GradcheckResult gradcheck(const GradFunction& f, const Tensors& inputs,
                          const GradcheckOptions& options) {
  return Check(f, inputs, options, "gradcheck").run();
}

GradcheckResult gradgradcheck(const GradFunction& f, const Tensors& inputs,
                              const GradcheckOptions& options) {
  GradcheckOptions second = options;
  second.allow_unused = true;
  Rng rng(options.seed + 1);
  Tensors all = inputs, leaves;
  for (const Tensor& x : inputs)
    leaves.push_back(x.dtype() == DType::f64 ? x.detach().requires_grad_() : x);
  GradMode on(true);
  for (const Tensor& y : f(leaves)) {
    if (y.dtype() == DType::f64) all.push_back(randn(rng, y.shape(), DType::f64));
    if (second.label.empty() && y.requires_grad() && y.grad_meta()->fn)
      second.label = y.grad_meta()->fn->name();
  }
  second.label += "_backward";
  const size_t n = inputs.size();
  const auto gradient = [&](const Tensors& x) {
    const bool recorded = grad_enabled();
    GradMode recording(true);
    const Tensors in(x.begin(), x.begin() + static_cast<int64_t>(n));
    Tensors outputs, upstream, from, result;
    size_t at = n;
    for (const Tensor& y : f(in)) {
      if (y.dtype() != DType::f64) continue;
      const Tensor& w = x[at++];
      if (!y.requires_grad()) continue;
      outputs.push_back(y);
      upstream.push_back(w);
    }
    for (const Tensor& t : in)
      if (t.requires_grad()) from.push_back(t);
    if (outputs.empty()) fail<GradError>("gradgradcheck: no output needs a gradient");
    for (const Tensor& g :
         grad(outputs, from, {.create_graph = recorded, .allow_unused = true}, upstream))
      if (g.defined()) result.push_back(g);
    return result;
  };
  return Check(gradient, all, second, "gradgradcheck").run();
}

}  // namespace loupe
