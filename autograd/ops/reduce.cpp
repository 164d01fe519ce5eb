#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/autograd/ops/rule.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/vmath.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe {
namespace {

// dy with the reduced dimensions put back as size 1.
Tensor with_axes(const Tensor& dy, const Shape& input, const Dims& axes) {
  return dy.reshape(raw::reduced_shape(input, axes, true));
}

struct SumNode final : Node {
  Shape shape;
  Dims axes;
  bool keepdim = false;
  const char* name() const override { return "sum"; }
  Attributes attributes() const override { return {{"axes", axes}, {"keepdim", keepdim}}; }
  Tensors replay(const Tensors& x) const override { return {sum(x[0], axes, keepdim)}; }
  Tensors backward(const Tensors& dy) override {
    return {with_axes(dy[0], shape, axes).expand(shape)};
  }
};

// a[:n] and the rest of the last axis, of the same length: a 1 stands in for a missing last
// element.
struct Halves {
  Tensor left, right;
  explicit Halves(const Tensor& a) {
    const int64_t n = a.size(-1), half = (n + 1) / 2;
    left = slice(a, -1, 0, half);
    right = slice(a, -1, half);
    if (n % 2 != 0) right = pad(right, {0, 1}, 1);
  }
};

// For each element of the last axis, the product of the others. Pairs are multiplied up to one
// product; on the way back, each half takes what is outside its pair times its partner. Nothing is
// divided, so that zeros are like other numbers, and all of it is recorded.
//   a b c d -> ac bd -> others of (ac, bd) = (bd, ac) -> bd c, ac d, bd a, ac b
Tensor product_of_others(const Tensor& a) {
  const int64_t n = a.size(-1);
  if (n <= 1) return ones_like(a);
  const Halves h(a);
  const Tensor outside = product_of_others(h.left * h.right);
  const Tensor all = cat({outside * h.right, outside * h.left}, -1);
  return n % 2 == 0 ? all : slice(all, -1, 0, n);
}

struct ProdNode final : Node {
  SavedTensor a{this, "a"};
  Dims axes;
  bool keepdim = false;
  const char* name() const override { return "prod"; }
  Attributes attributes() const override { return {{"axes", axes}, {"keepdim", keepdim}}; }
  Tensors replay(const Tensors& x) const override { return {prod(x[0], axes, keepdim)}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get();
    if (x.dim() == 0 || x.numel() == 0) return {with_axes(dy[0], x.shape(), axes) * ones_like(x)};
    // The reduced axes go to the end and become one.
    Dims order, place = x.shape();
    Shape lines;
    for (int d = 0; d < x.dim(); ++d)
      if (std::find(axes.begin(), axes.end(), d) == axes.end()) order.push_back(d);
    for (const int64_t d : order) lines.push_back(x.shape()[static_cast<int>(d)]);
    lines.push_back(x.numel() / lines.numel());
    for (const int64_t d : axes) order.push_back(d);
    for (int i = 0; i < order.rank(); ++i) place[static_cast<int>(order[i])] = i;
    const Tensor turned = x.permute(order);
    const Tensor others = product_of_others(turned.reshape(lines));
    return {with_axes(dy[0], x.shape(), axes) * others.reshape(turned.shape()).permute(place)};
  }
};

// sum((a - mean)^2) / n; its gradient is 2 (a - mean) / n, exactly 0 where all elements are equal.
struct VarNode final : Node {
  SavedTensor a{this, "a"};
  Tensor center;
  Dims axes;
  int64_t correction = 1;
  bool keepdim = false;
  double n = 0;
  const char* name() const override { return "var"; }
  Attributes attributes() const override {
    return {{"axes", axes}, {"correction", correction}, {"keepdim", keepdim}};
  }
  Tensors replay(const Tensors& x) const override { return {var(x[0], axes, correction, keepdim)}; }
  Tensors backward(const Tensors& dy) override {
    // Of one element, unbiased, there is no variance: NaN, whatever the element.
    const Tensor x = n == 0 ? a.get().detach() : a.get();
    // Deviations from a number near the mean (none is near an infinite one), then from its rest,
    // which has the derivative.
    const Tensor near = x - masked_fill(center, logical_not(isfinite(center)), 0);
    return {with_axes(dy[0], x.shape(), axes) * (near - mean(near, axes, true)) * (2 / n)};
  }
};

// The root of a variance: gradient 0 at 0, where sqrt has none.
struct StdRule {
  static constexpr const char* kName = "std";
  static constexpr detail::Saves kSaves = detail::Saves::output;
  template <class T> T value(T x) const { return T(std::sqrt(x)); }
  template <class T> T grad(T up, T y) const { return y == T(0) ? T(0) : up / (y * T(2)); }
  Tensor grad_of(const Tensor& up, const Tensor& y) const {
    return masked_fill(up / (y * 2), eq(y, 0), 0);
  }
};

struct ExtremeNode final : Node {
  SavedTensor a{this, "a"}, y{this, "y"};
  Dims axes;
  bool keepdim = false, largest = true;
  const char* name() const override { return largest ? "max" : "min"; }
  Attributes attributes() const override { return {{"axes", axes}, {"keepdim", keepdim}}; }
  Tensors replay(const Tensors& x) const override {
    return {largest ? max(x[0], axes, keepdim) : min(x[0], axes, keepdim)};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach();
    const Tensor extreme = with_axes(y.get().detach(), x.shape(), axes);
    Tensor taken = eq(x, extreme);
    // A NaN equals nothing: where one is the result, all of them were taken.
    if (raw::has_nonfinite(extreme)) taken = where(ne(extreme, extreme), ne(x, x), taken);
    const Tensor count = taken.to(dy[0].dtype()).sum(axes, true);
    return {where(taken, with_axes(dy[0], x.shape(), axes) / count, zeros({}, dy[0].dtype()))};
  }
};

Tensor extreme(In a, const Dims& wanted, bool keepdim, bool largest) {
  const Dims axes = raw::normalize_axes(wanted, a->dim(), largest ? "max" : "min");
  Tensor y = raw::extremum(a, axes, keepdim, largest);
  if (auto n = record<ExtremeNode>({a}, y)) {
    n->a.input(a);
    n->y.output(y);
    n->axes = axes;
    n->keepdim = keepdim;
    n->largest = largest;
  }
  return y;
}

int64_t count(const Tensor& a, const Dims& axes) {
  int64_t n = 1;
  for (int64_t axis : axes) n *= a.shape()[static_cast<int>(axis)];
  return n;
}

// The axes of a reduction that only f32 and f64 have.
Dims averaged_axes(const Tensor& a, const Dims& axes, const char* op) {
  if (!is_floating(a.dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", op, a.dtype());
  return raw::normalize_axes(axes, a.dim(), op);
}

// -Inf and Inf give 0: e^(x - 0) then is 0 or Inf as it should be.
Tensor finite_maximum(const Tensor& a, const Dims& axes) {
  const Tensor top = raw::extremum(a, axes, true, true);
  const Tensor infinite = raw::test(raw::Test::infinite, top);
  return raw::where(infinite, raw::zeros({}, a.dtype()), top);
}

struct LogSumExpNode final : Node {
  SavedTensor a{this, "a"};
  Dims axes;
  bool keepdim = false;
  const char* name() const override { return "logsumexp"; }
  Attributes attributes() const override { return {{"axes", axes}, {"keepdim", keepdim}}; }
  Tensors replay(const Tensors& x) const override { return {logsumexp(x[0], axes, keepdim)}; }
  // softmax(a) from a itself: the result has lost the digits of log(sum) next to a large maximum.
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get();
    if (x.numel() == 0) return {zeros_like(x)};
    const Tensor e = exp(x - finite_maximum(x.detach(), axes));
    const Tensor total = e.sum(axes, true);
    const Tensor nothing = eq(total, 0.0).to(x.dtype());  // all are -Inf: 0 / 1
    return {with_axes(dy[0], x.shape(), axes) * (e / (total + nothing))};
  }
};

struct NormNode final : Node {
  SavedTensor a{this, "a"}, y{this, "y"};
  double p = 2;
  Dims axes;
  bool keepdim = false;
  const char* name() const override { return "norm"; }
  Attributes attributes() const override {
    return {{"p", p}, {"axes", axes}, {"keepdim", keepdim}};
  }
  Tensors replay(const Tensors& x) const override { return {norm(x[0], p, axes, keepdim)}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get();
    const Tensor g = with_axes(dy[0], x.shape(), axes);
    const Tensor length = with_axes(y.get(), x.shape(), axes);
    if (p == 0 || x.numel() == 0) return {zeros_like(x)};
    if (p == 1) return {sign(x) * g};
    if (p == 2) return {masked_fill(x / length, eq(length, 0.0), 0) * g};
    if (std::isinf(p)) return {of_extreme(x, length, g)};
    if (p < 1) {
      const Tensor power = masked_fill(pow(abs(x), p - 1), eq(x, 0.0), 0);
      return {sign(x) * power * g * pow(length, 1 - p)};
    }
    const Tensor scale = masked_fill(g / pow(length, p - 1), eq(length, 0.0), 0);
    if (p < 2) return {sign(x) * pow(abs(x), p - 1) * scale};
    return {x * pow(abs(x), p - 2) * scale};
  }

 private:
  // Equal sizes share the gradient; a NaN takes part where it is the result.
  Tensor of_extreme(const Tensor& x, const Tensor& length, const Tensor& g) const {
    const Tensor size = abs(x.detach());
    const Tensor taken =
        where(ne(size, size), ones_like(size).to(DType::boolean), eq(size, length.detach()));
    const Tensor hit = taken.to(x.dtype());
    return sign(x) * (g / hit.sum(axes, true)) * hit;
  }
};

Tensor position(In a, std::optional<int64_t> axis, bool keepdim, bool largest) {
  Tensor y;
  if (axis) {
    y = raw::arg_extremum(a, *axis, keepdim, largest);
  } else {
    y = raw::arg_extremum(raw::reshape(a, {a->numel()}), 0, false, largest);
    if (keepdim) y = raw::reshape(y, Shape(std::vector<int64_t>(a->shape().size(), 1)));
  }
  Attributes options{{"keepdim", keepdim}};
  if (axis) options.emplace_back("axis", *axis);
  note(largest ? "argmax" : "argmin", {a}, y, std::move(options));
  return y;
}

}  // namespace

Tensor sum(In a, const Dims& wanted, bool keepdim) {
  const Dims axes = raw::normalize_axes(wanted, a->dim(), "sum");
  Tensor y = raw::sum(a, axes, keepdim);
  if (auto n = record<SumNode>({a}, y)) {
    n->shape = a->shape();
    n->axes = axes;
    n->keepdim = keepdim;
  }
  return y;
}

Tensor prod(In a, const Dims& wanted, bool keepdim) {
  const Dims axes = raw::normalize_axes(wanted, a->dim(), "prod");
  Tensor y = raw::prod(a, axes, keepdim);
  if (auto n = record<ProdNode>({a}, y)) {
    n->a.input(a);
    n->axes = axes;
    n->keepdim = keepdim;
  }
  return y;
}

Tensor mean(In a, const Dims& wanted, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "mean");
  SiteScope site(a.here);
  return sum(a, axes, keepdim) / static_cast<double>(count(a, axes));
}

Tensor var(In a, const Dims& wanted, int64_t correction, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "var");
  const double n = static_cast<double>(std::max<int64_t>(count(a, axes) - correction, 0));
  auto [center, y] = raw::moments(a, axes, correction, keepdim);
  if (auto node = record<VarNode>({a}, y)) {
    node->a.input(a);
    node->center = center;
    node->axes = axes;
    node->correction = correction;
    node->keepdim = keepdim;
    node->n = n;
  }
  return y;
}

Tensor std(In a, const Dims& wanted, int64_t correction, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "std");
  SiteScope site(a.here);
  return detail::apply_rule(var(a, axes, correction, keepdim), StdRule{});
}

Tensor max(In a, const Dims& axes, bool keepdim) { return extreme(a, axes, keepdim, true); }
Tensor min(In a, const Dims& axes, bool keepdim) { return extreme(a, axes, keepdim, false); }

Tensor argmax(In a, std::optional<int64_t> axis, bool keepdim) {
  return position(a, axis, keepdim, true);
}
Tensor argmin(In a, std::optional<int64_t> axis, bool keepdim) {
  return position(a, axis, keepdim, false);
}

Tensor any(In a, const Dims& axes, bool keepdim) {
  Tensor y = raw::any(a, axes, keepdim);
  note("any", {a}, y, {{"axes", axes}, {"keepdim", keepdim}});
  return y;
}
Tensor all(In a, const Dims& axes, bool keepdim) {
  Tensor y = raw::all(a, axes, keepdim);
  note("all", {a}, y, {{"axes", axes}, {"keepdim", keepdim}});
  return y;
}

Tensor logsumexp(In a, const Dims& wanted, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "logsumexp");
  Tensor y;
  if (count(a, axes) == 0) {
    y = full(raw::reduced_shape(a->shape(), axes, keepdim),
             -std::numeric_limits<double>::infinity(), a->dtype());
  } else {
    const Tensor top = finite_maximum(a, axes);
    const Tensor terms = raw::binary(raw::Binary::sub, a, top, "logsumexp");
    dispatch_floating(a->dtype(), "logsumexp", [&]<class T>(Type<T>) {
      raw::map1<T, T>(terms, terms, [](T x, auto level) { return kernels::vexp(x, level); });
    });
    const Tensor log_of_sum = raw::sum(terms, axes, true);
    dispatch_floating(a->dtype(), "logsumexp", [&]<class T>(Type<T>) {
      raw::map1<T, T>(log_of_sum, log_of_sum,
                      [](T x, auto level) { return kernels::vlog(x, level); });
    });
    y = raw::reshape(raw::binary(raw::Binary::add, log_of_sum, top, "logsumexp"),
                     raw::reduced_shape(a->shape(), axes, keepdim));
  }
  if (auto n = record<LogSumExpNode>({a}, y)) {
    n->a.input(a);
    n->axes = axes;
    n->keepdim = keepdim;
  }
  return y;
}

Tensor norm(In a, double p, const Dims& wanted, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "norm");
  if (std::isnan(p)) fail<ValueError>("norm: the exponent p must be a number, got {}", p);
  Tensor y = raw::norm(a, p, axes, keepdim);
  if (auto n = record<NormNode>({a}, y)) {
    n->a.input(a);
    n->y.output(y);
    n->p = p;
    n->axes = axes;
    n->keepdim = keepdim;
  }
  return y;
}

}  // namespace loupe
