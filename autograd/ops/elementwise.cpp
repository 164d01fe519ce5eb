#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>

#include <cmath>

namespace loupe {
namespace {

using raw::Binary;
using raw::Unary;

struct AddNode final : Node {
  const char* name() const override { return "add"; }
  Tensors replay(const Tensors& x) const override { return {x[0] + x[1]}; }
  Tensors backward(const Tensors& dy) override { return {dy[0], dy[0]}; }
};

struct SubNode final : Node {
  const char* name() const override { return "sub"; }
  Tensors replay(const Tensors& x) const override { return {x[0] - x[1]}; }
  Tensors backward(const Tensors& dy) override { return {dy[0], needs(1) ? -dy[0] : Tensor()}; }
};

struct MulNode final : Node {
  SavedTensor a{this}, b{this};
  const char* name() const override { return "mul"; }
  Tensors replay(const Tensors& x) const override { return {x[0] * x[1]}; }
  Tensors backward(const Tensors& dy) override {
    return {needs(0) ? dy[0] * b.get() : Tensor(), needs(1) ? dy[0] * a.get() : Tensor()};
  }
};

struct DivNode final : Node {
  SavedTensor a{this}, b{this};
  const char* name() const override { return "div"; }
  Tensors replay(const Tensors& x) const override { return {x[0] / x[1]}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor d = b.get();
    return {needs(0) ? dy[0] / d : Tensor(), needs(1) ? -dy[0] * a.get() / (d * d) : Tensor()};
  }
};

struct PowNode final : Node {
  SavedTensor a{this}, b{this}, y{this};
  const char* name() const override { return "pow"; }
  Tensors replay(const Tensors& x) const override { return {pow(x[0], x[1])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor base = a.get(), e = b.get();
    Tensor da, db;
    if (needs(0)) da = dy[0] * e * pow(base, e - 1.0);
    // 0^e has the derivative 0 by e (e > 0), where the logarithm would give NaN.
    if (needs(1))
      db =
          dy[0] * where(gt(base, 0.0), y.get() * log(maximum(base, full({}, 1e-300, base.dtype()))),
                        zeros_like(base));
    return {da, db};
  }
};

struct PowNumberNode final : Node {
  SavedTensor a{this};
  double exponent = 1;
  const char* name() const override { return "pow"; }
  Attributes attributes() const override { return {{"exponent", exponent}}; }
  Tensors replay(const Tensors& x) const override { return {pow(x[0], exponent)}; }
  Tensors backward(const Tensors& dy) override {
    if (exponent == 0) return {dy[0] * 0.0};
    if (exponent == 1) return {dy[0]};
    if (exponent == 2) return {dy[0] * (a.get() * 2.0)};
    return {dy[0] * (pow(a.get(), exponent - 1) * exponent)};
  }
};

// a op number, whose gradient is dy * factor or, for number / a, -number / a^2.
struct AffineNode final : Node {
  double factor = 1, shift = 0;  // y = factor * a + shift
  const char* label = "add";
  const char* name() const override { return label; }
  Attributes attributes() const override { return {{"factor", factor}, {"shift", shift}}; }
  Tensors replay(const Tensors& x) const override { return {x[0] * factor + shift}; }
  Tensors backward(const Tensors& dy) override { return {factor == 1 ? dy[0] : dy[0] * factor}; }
};

struct DivideNumberNode final : Node {
  SavedTensor a{this};
  double number = 1;
  const char* name() const override { return "div"; }
  Attributes attributes() const override { return {{"number", number}}; }
  Tensors replay(const Tensors& x) const override { return {number / x[0]}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor d = a.get();
    return {dy[0] * -number / (d * d)};
  }
};

struct SqrtNode final : Node {
  SavedTensor y{this};
  const char* name() const override { return "sqrt"; }
  Tensors replay(const Tensors& x) const override { return {sqrt(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] / (y.get() * 2.0)}; }
};

struct RsqrtNode final : Node {
  SavedTensor y{this};
  const char* name() const override { return "rsqrt"; }
  Tensors replay(const Tensors& x) const override { return {rsqrt(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * pow(y.get(), 3) * -0.5}; }
};

struct ExpNode final : Node {
  SavedTensor y{this};
  const char* name() const override { return "exp"; }
  Tensors replay(const Tensors& x) const override { return {exp(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * y.get()}; }
};

struct LogNode final : Node {
  SavedTensor a{this};
  const char* name() const override { return "log"; }
  Tensors replay(const Tensors& x) const override { return {log(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] / a.get()}; }
};

struct AbsNode final : Node {
  SavedTensor a{this};
  const char* name() const override { return "abs"; }
  Tensors replay(const Tensors& x) const override { return {abs(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * sign(a.get())}; }
};

struct ZeroGradNode final : Node {
  const char* label = "sign";
  const char* name() const override { return label; }
  Tensors replay(const Tensors& x) const override { return {sign(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {zeros_like(dy[0])}; }
};

struct ClampNode final : Node {
  SavedTensor inside{this};
  double low = 0, high = 0;
  const char* name() const override { return "clamp"; }
  Attributes attributes() const override { return {{"low", low}, {"high", high}}; }
  Tensors replay(const Tensors& x) const override { return {clamp(x[0], low, high)}; }
  Tensors backward(const Tensors& dy) override {
    return {where(inside.get(), dy[0], zeros({}, dy[0].dtype()))};
  }
};

struct ExtremumNode final : Node {
  SavedTensor a{this}, b{this};
  bool largest = true;
  const char* name() const override { return largest ? "maximum" : "minimum"; }
  Tensors replay(const Tensors& x) const override {
    return {largest ? maximum(x[0], x[1]) : minimum(x[0], x[1])};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach(), y = b.get().detach();
    // 1 where an operand was taken, a half where they are equal.
    const Tensor half = eq(x, y).to(dy[0].dtype()) * 0.5;
    const Tensor first = (largest ? gt(x, y) : lt(x, y)).to(dy[0].dtype()) + half;
    return {needs(0) ? dy[0] * first : Tensor(), needs(1) ? dy[0] * (1.0 - first) : Tensor()};
  }
};

struct WhereNode final : Node {
  SavedTensor cond{this};
  const char* name() const override { return "where"; }
  Tensors replay(const Tensors& x) const override { return {where(x[0], x[1], x[2])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor c = cond.get(), zero = zeros({}, dy[0].dtype());
    return {Tensor(), needs(1) ? where(c, dy[0], zero) : Tensor(),
            needs(2) ? where(c, zero, dy[0]) : Tensor()};
  }
};

struct TriangleNode final : Node {
  bool lower = true;
  int64_t diagonal = 0;
  const char* name() const override { return lower ? "tril" : "triu"; }
  Attributes attributes() const override { return {{"diagonal", diagonal}}; }
  Tensors replay(const Tensors& x) const override {
    return {lower ? tril(x[0], diagonal) : triu(x[0], diagonal)};
  }
  Tensors backward(const Tensors& dy) override {
    return {lower ? tril(dy[0], diagonal) : triu(dy[0], diagonal)};
  }
};

// An op whose Node keeps its input, or its output.
template <class N> Tensor keeping_input(Unary op, In a) {
  Tensor y = raw::unary(op, a);
  if (auto n = record<N>({a}, y)) n->a.input(a);
  return y;
}
template <class N> Tensor keeping_output(Unary op, In a) {
  Tensor y = raw::unary(op, a);
  if (auto n = record<N>({a}, y)) n->y.output(y);
  return y;
}

Tensor affine(In a, Binary op, double b, bool swapped, double factor, double shift,
              const char* label) {
  Tensor y = raw::binary(op, a, b, swapped);
  if (auto n = record<AffineNode>({a}, y)) {
    n->factor = factor;
    n->shift = shift;
    n->label = label;
  }
  return y;
}

Tensor triangle(In a, int64_t diagonal, bool lower) {
  if (a->dim() < 2)
    fail<ShapeError>("{}: needs at least two dimensions, got shape {}", lower ? "tril" : "triu",
                     a->shape());
  const Tensor row = raw::unsqueeze(arange(a->size(-2)), 1), column = arange(a->size(-1));
  const Tensor limit = raw::binary(Binary::add, row, static_cast<double>(diagonal));
  const Tensor keep = raw::compare(lower ? raw::Compare::le : raw::Compare::ge,
                                   raw::expand(column, {a->size(-2), a->size(-1)}), limit);
  Tensor y = raw::where(keep, a, raw::zeros({}, a->dtype()));
  if (auto n = record<TriangleNode>({a}, y)) {
    n->lower = lower;
    n->diagonal = diagonal;
  }
  return y;
}

Tensor extremum_of(In a, In b, bool largest) {
  Tensor y = raw::binary(largest ? Binary::maximum : Binary::minimum, a, b,
                         largest ? "maximum" : "minimum");
  if (auto n = record<ExtremumNode>({a, b}, y)) {
    n->largest = largest;
    n->a.input(a);
    n->b.input(b);
  }
  return y;
}

}  // namespace

Tensor add(In a, In b) {
  Tensor y = raw::binary(Binary::add, a, b, "add");
  record<AddNode>({a, b}, y);
  return y;
}

Tensor sub(In a, In b) {
  Tensor y = raw::binary(Binary::sub, a, b, "sub");
  record<SubNode>({a, b}, y);
  return y;
}

Tensor mul(In a, In b) {
  Tensor y = raw::binary(Binary::mul, a, b, "mul");
  if (auto n = record<MulNode>({a, b}, y)) {
    if (n->needs(1)) n->a.input(a);
    if (n->needs(0)) n->b.input(b);
  }
  return y;
}

Tensor div(In a, In b) {
  Tensor y = raw::binary(Binary::div, a, b, "div");
  if (auto n = record<DivNode>({a, b}, y)) {
    if (n->needs(1)) n->a.input(a);
    n->b.input(b);
  }
  return y;
}

Tensor neg(In a) {
  Tensor y = raw::unary(Unary::neg, a);
  if (auto n = record<AffineNode>({a}, y)) {
    n->factor = -1;
    n->label = "neg";
  }
  return y;
}

Tensor pow(In a, In b) {
  Tensor y = raw::binary(Binary::pow, a, b, "pow");
  if (auto n = record<PowNode>({a, b}, y)) {
    n->a.input(a);
    n->b.input(b);
    if (n->needs(1)) n->y.output(y);
  }
  return y;
}

Tensor pow(In a, double exponent) {
  Tensor y = raw::binary(Binary::pow, a, exponent);
  if (auto n = record<PowNumberNode>({a}, y)) {
    n->exponent = exponent;
    if (exponent != 0 && exponent != 1) n->a.input(a);
  }
  return y;
}

Tensor square(In a) { return pow(a, 2.0); }
Tensor reciprocal(In a) { return 1.0 / a; }
Tensor sqrt(In a) { return keeping_output<SqrtNode>(Unary::sqrt, a); }
Tensor rsqrt(In a) { return keeping_output<RsqrtNode>(Unary::rsqrt, a); }
Tensor exp(In a) { return keeping_output<ExpNode>(Unary::exp, a); }
Tensor log(In a) { return keeping_input<LogNode>(Unary::log, a); }
Tensor abs(In a) { return keeping_input<AbsNode>(Unary::abs, a); }

Tensor sign(In a) {
  Tensor y = raw::unary(Unary::sign, a);
  record<ZeroGradNode>({a}, y);
  return y;
}

Tensor clamp(In a, double low, double high) {
  if (!(low <= high)) fail<ValueError>("clamp: low {} is not below high {}", low, high);
  Tensor y = raw::clamp(a, low, high);
  if (auto n = record<ClampNode>({a}, y)) {
    n->inside.input(raw::compare(raw::Compare::eq, y, a));
    n->low = low;
    n->high = high;
  }
  return y;
}

Tensor maximum(In a, In b) { return extremum_of(a, b, true); }
Tensor minimum(In a, In b) { return extremum_of(a, b, false); }

Tensor where(In cond, In a, In b) {
  Tensor y = raw::where(cond, a, b);
  if (auto n = record<WhereNode>({cond, a, b}, y)) n->cond.input(cond);
  return y;
}

Tensor masked_fill(In a, In mask, double value) {
  if (mask->dtype() != DType::boolean)
    fail<DtypeError>("masked_fill: the mask must be bool, got {}", mask->dtype());
  if (broadcast_shapes(a->shape(), mask->shape(), "masked_fill") != a->shape())
    fail<ShapeError>("masked_fill: a mask of shape {} does not broadcast to {}", mask->shape(),
                     a->shape());
  SiteScope site(a.here);
  return where(mask, full({}, value, a->dtype()), a);
}

Tensor tril(In a, int64_t diagonal) { return triangle(a, diagonal, true); }
Tensor triu(In a, int64_t diagonal) { return triangle(a, diagonal, false); }

using raw::Compare;
namespace {

// A comparison has no gradient: only a trace hears of it.
Tensor compared(const char* name, Compare op, In a, In b) {
  Tensor y = raw::compare(op, a, b);
  note(name, {a, b}, y);
  return y;
}
Tensor compared(const char* name, Compare op, In a, double b) {
  Tensor y = raw::compare(op, a, b);
  note(name, {a}, y, {{"number", b}});
  return y;
}

}  // namespace

Tensor eq(In a, In b) { return compared("eq", Compare::eq, a, b); }
Tensor ne(In a, In b) { return compared("ne", Compare::ne, a, b); }
Tensor lt(In a, In b) { return compared("lt", Compare::lt, a, b); }
Tensor le(In a, In b) { return compared("le", Compare::le, a, b); }
Tensor gt(In a, In b) { return compared("gt", Compare::gt, a, b); }
Tensor ge(In a, In b) { return compared("ge", Compare::ge, a, b); }
Tensor eq(In a, double b) { return compared("eq", Compare::eq, a, b); }
Tensor ne(In a, double b) { return compared("ne", Compare::ne, a, b); }
Tensor lt(In a, double b) { return compared("lt", Compare::lt, a, b); }
Tensor le(In a, double b) { return compared("le", Compare::le, a, b); }
Tensor gt(In a, double b) { return compared("gt", Compare::gt, a, b); }
Tensor ge(In a, double b) { return compared("ge", Compare::ge, a, b); }
Tensor logical_not(In a) {
  Tensor y = raw::unary(Unary::logical_not, a);
  note("logical_not", {a}, y);
  return y;
}

bool equal(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  return raw::sum(raw::compare(Compare::ne, a, b), {}, false).item<int64_t>() == 0;
}

bool allclose(const Tensor& a, const Tensor& b, double rtol, double atol) {
  if (a.shape() != b.shape()) return false;
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != y[i] && !(std::abs(x[i] - y[i]) <= atol + rtol * std::abs(y[i]))) return false;
  return true;
}

Tensor operator+(In a, In b) { return add(a, b); }
Tensor operator+(In a, double b) { return affine(a, Binary::add, b, false, 1, b, "add"); }
Tensor operator+(double a, In b) { return affine(b, Binary::add, a, false, 1, a, "add"); }
Tensor operator-(In a, In b) { return sub(a, b); }
Tensor operator-(In a, double b) { return affine(a, Binary::sub, b, false, 1, -b, "sub"); }
Tensor operator-(double a, In b) { return affine(b, Binary::sub, a, true, -1, a, "sub"); }
Tensor operator*(In a, In b) { return mul(a, b); }
Tensor operator*(In a, double b) { return affine(a, Binary::mul, b, false, b, 0, "mul"); }
Tensor operator*(double a, In b) { return affine(b, Binary::mul, a, false, a, 0, "mul"); }
Tensor operator/(In a, In b) { return div(a, b); }
Tensor operator/(In a, double b) { return affine(a, Binary::div, b, false, 1 / b, 0, "div"); }
Tensor operator/(double a, In b) {
  Tensor y = raw::binary(Binary::div, b, a, true);
  if (auto n = record<DivideNumberNode>({b}, y)) {
    n->number = a;
    n->a.input(b);
  }
  return y;
}
Tensor operator-(In a) { return neg(a); }

}  // namespace loupe
