#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/rule.h>
#include <loupe/core/kernels/vmath.h>

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
    // (a / d) / d, not a / (d * d): the square of a large or a small d leaves the range.
    return {needs(0) ? dy[0] / d : Tensor(), needs(1) ? -dy[0] * (a.get() / d / d) : Tensor()};
  }
};

struct PowNode final : Node {
  SavedTensor a{this}, b{this}, y{this};
  const char* name() const override { return "pow"; }
  Tensors replay(const Tensors& x) const override { return {pow(x[0], x[1])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor base = a.get(), e = b.get();
    Tensor da, db;
    const Tensor zero = zeros({}, base.dtype());
    // x^0 is 1 everywhere, at 0 too, where 0 * 0^-1 would give NaN.
    if (needs(0)) da = where(eq(e, 0), zero, dy[0] * (e * pow(base, e - 1)));
    // 0^e has the derivative 0 by e (e >= 0), where the logarithm would give NaN.
    if (needs(1)) {
      const Tensor flat = raw::logical(raw::Logical::and_, eq(base, 0), ge(e, 0));
      const Tensor safe = where(flat, ones({}, base.dtype()), base);
      db = where(flat, zero, dy[0] * (y.get() * log(safe)));
    }
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
    if (exponent == 0) return {zeros_like(dy[0])};
    if (exponent == 1) return {dy[0]};
    if (exponent == 2) return {dy[0] * (a.get() * 2.0)};
    return {dy[0] * (pow(a.get(), exponent - 1) * exponent)};
  }
};

// a op number, whose gradient is dy * factor.
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
    return {-dy[0] * (number / d / d)};
  }
};

struct RemainderNode final : Node {
  SavedTensor a{this}, b{this};
  const char* name() const override { return "remainder"; }
  Tensors replay(const Tensors& x) const override { return {remainder(x[0], x[1])}; }
  Tensors backward(const Tensors& dy) override {
    return {dy[0], needs(1) ? -dy[0] * raw::binary(Binary::floor_div, a.get(), b.get(), "remainder")
                            : Tensor()};
  }
};

struct SinNode final : Node {
  SavedTensor a{this};
  const char* name() const override { return "sin"; }
  Tensors replay(const Tensors& x) const override { return {sin(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * cos(a.get())}; }
};

struct CosNode final : Node {
  SavedTensor a{this};
  const char* name() const override { return "cos"; }
  Tensors replay(const Tensors& x) const override { return {cos(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * -sin(a.get())}; }
};

struct SqrtRule {
  static constexpr const char* kName = "sqrt";
  static constexpr bool kFromOutput = true;
  template <class T> T value(T x) const { return T(std::sqrt(x)); }
  template <class T> T grad(T up, T y) const { return up / (y * T(2)); }
  Tensor grad_of(const Tensor& up, const Tensor& y) const { return up / (y * 2); }
};

struct RsqrtRule {
  static constexpr const char* kName = "rsqrt";
  static constexpr bool kFromOutput = true;
  template <class T> T value(T x) const { return T(1) / T(std::sqrt(x)); }
  template <class T> T grad(T up, T y) const { return up * (y * y * y) * T(-0.5); }
  Tensor grad_of(const Tensor& up, const Tensor& y) const { return up * pow(y, 3) * -0.5; }
};

struct ExpRule {
  static constexpr const char* kName = "exp";
  static constexpr bool kFromOutput = true;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vexp(x, level);
  }
  template <class T> T slope(T y) const { return y; }
  Tensor slope_of(const Tensor& y) const { return y; }
};

struct Expm1Rule {
  static constexpr const char* kName = "expm1";
  static constexpr bool kFromOutput = true;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vexpm1(x, level);
  }
  template <class T> T slope(T y) const { return y + T(1); }
  Tensor slope_of(const Tensor& y) const { return y + 1; }
};

struct LogRule {
  static constexpr const char* kName = "log";
  static constexpr bool kFromOutput = false;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vlog(x, level);
  }
  template <class T> T grad(T up, T x) const { return up / x; }
  Tensor grad_of(const Tensor& up, const Tensor& x) const { return up / x; }
};

struct Log1pRule {
  static constexpr const char* kName = "log1p";
  static constexpr bool kFromOutput = false;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vlog1p(x, level);
  }
  template <class T> T grad(T up, T x) const { return up / (x + T(1)); }
  Tensor grad_of(const Tensor& up, const Tensor& x) const { return up / (x + 1); }
};

struct AbsNode final : Node {
  SavedTensor a{this};
  const char* name() const override { return "abs"; }
  Tensors replay(const Tensors& x) const override { return {abs(x[0])}; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * sign(a.get())}; }
};

// sign and the roundings: steps, flat between them.
struct StepNode final : Node {
  Unary op = Unary::sign;
  const char* label = "sign";
  const char* name() const override { return label; }
  Tensors replay(const Tensors& x) const override { return {raw::unary(op, x[0])}; }
  Tensors backward(const Tensors& dy) override { return {zeros_like(dy[0])}; }
};

struct ClampNode final : Node {
  SavedTensor inside{this};
  std::optional<Number> low, high;
  const char* name() const override { return "clamp"; }
  Attributes attributes() const override {
    return {{"low", low ? low->real : -INFINITY}, {"high", high ? high->real : INFINITY}};
  }
  Tensors replay(const Tensors& x) const override { return {clamp(x[0], low, high)}; }
  Tensors backward(const Tensors& dy) override {
    return {where(inside.get(), dy[0], zeros({}, dy[0].dtype()))};
  }
};

// Bounds that are tensors. The element that was taken gets the gradient; a tie counts as inside.
struct ClampTensorsNode final : Node {
  SavedTensor a{this}, low{this}, high{this};
  const char* name() const override { return "clamp"; }
  Tensors replay(const Tensors& x) const override { return {clamp(x[0], x[1], x[2])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach(), zero = zeros({}, dy[0].dtype());
    const Tensor lo = low.defined() ? low.get().detach() : Tensor();
    const Tensor hi = high.defined() ? high.get().detach() : Tensor();
    const bool both = lo.defined() && hi.defined();
    const auto taken = [&](const Tensor& mask) { return where(mask, dy[0], zero); };
    const Tensor above = lo.defined() ? ge(x, lo) : Tensor(),
                 below = hi.defined() ? le(x, hi) : Tensor();
    Tensor dx, dlow, dhigh;
    if (needs(0)) dx = taken(both ? above & below : lo.defined() ? above : below);
    if (needs(1)) dlow = taken(both ? lt(x, lo) & lt(lo, hi) : lt(x, lo));
    if (needs(2)) dhigh = taken(both ? gt(x, hi) | lt(hi, lo) : gt(x, hi));
    return {dx, dlow, dhigh};
  }
};

struct ExtremumNode final : Node {
  SavedTensor a{this}, b{this};
  bool largest = true;
  const char* name() const override { return largest ? "maximum" : "minimum"; }
  Tensors replay(const Tensors& x) const override {
    return {largest ? maximum(x[0], x[1]) : minimum(x[0], x[1])};
  }
  // The one taken gets dy, equal ones a half each. A NaN is neither larger nor smaller: both get dy.
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach(), y = b.get().detach(), zero = zeros({}, dy[0].dtype());
    const Tensor tied = eq(x, y), below = lt(x, y), above = gt(x, y);
    const auto share = [&](size_t i, const Tensor& lost) {
      return needs(i) ? where(lost, zero, where(tied, dy[0] * 0.5, dy[0])) : Tensor();
    };
    return {share(0, largest ? below : above), share(1, largest ? above : below)};
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

Tensor step(Unary op, const char* label, In a) {
  Tensor y = raw::unary(op, a);
  if (auto n = record<StepNode>({a}, y)) {
    n->op = op;
    n->label = label;
  }
  return y;
}

Tensor affine(In a, Binary op, Number b, bool swapped, double factor, double shift,
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
  const Tensor limit = raw::binary(Binary::add, row, diagonal);
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

Tensor pow(In a, Number exponent) {
  Tensor y = raw::binary(Binary::pow, a, exponent);
  if (auto n = record<PowNumberNode>({a}, y)) {
    n->exponent = exponent.real;
    if (exponent.real != 0 && exponent.real != 1) n->a.input(a);
  }
  return y;
}

Tensor pow(Number base, In exponent) {
  SiteScope site(exponent.here);
  return pow(raw::number_like(exponent, base, "pow"), exponent);
}

Tensor remainder(In a, In b) {
  Tensor y = raw::binary(Binary::remainder, a, b, "remainder");
  if (auto n = record<RemainderNode>({a, b}, y)) {
    if (n->needs(1)) n->a.input(a);
    if (n->needs(1)) n->b.input(b);
  }
  return y;
}
Tensor remainder(In a, Number b) {
  SiteScope site(a.here);
  return remainder(a, raw::number_like(a, b, "remainder"));
}

Tensor square(In a) { return pow(a, 2); }
Tensor reciprocal(In a) { return 1 / a; }
Tensor sqrt(In a) { return detail::apply_rule(a, SqrtRule{}); }
Tensor rsqrt(In a) { return detail::apply_rule(a, RsqrtRule{}); }
Tensor exp(In a) { return detail::apply_rule(a, ExpRule{}); }
Tensor expm1(In a) { return detail::apply_rule(a, Expm1Rule{}); }
Tensor log(In a) { return detail::apply_rule(a, LogRule{}); }
Tensor log1p(In a) { return detail::apply_rule(a, Log1pRule{}); }

Tensor sin(In a) {
  Tensor y = raw::unary(Unary::sin, a);
  if (auto n = record<SinNode>({a}, y)) n->a.input(a);
  return y;
}
Tensor cos(In a) {
  Tensor y = raw::unary(Unary::cos, a);
  if (auto n = record<CosNode>({a}, y)) n->a.input(a);
  return y;
}
Tensor abs(In a) {
  Tensor y = raw::unary(Unary::abs, a);
  if (auto n = record<AbsNode>({a}, y)) n->a.input(a);
  return y;
}

Tensor sign(In a) { return step(Unary::sign, "sign", a); }
Tensor floor(In a) { return step(Unary::floor, "floor", a); }
Tensor ceil(In a) { return step(Unary::ceil, "ceil", a); }
Tensor round(In a) { return step(Unary::round, "round", a); }
Tensor trunc(In a) { return step(Unary::trunc, "trunc", a); }

Tensor clamp(In a, std::optional<Number> low, std::optional<Number> high) {
  if (!low && !high) fail<ValueError>("clamp: give a lower or an upper bound");
  for (const auto& bound : {low, high})
    if (bound && bound->real != bound->real) fail<ValueError>("clamp: a bound is NaN");
  Tensor y = raw::clamp(a, low, high);
  if (auto n = record<ClampNode>({a}, y)) {
    const bool crossed = low && high && low->real > high->real;
    n->inside.input(crossed ? raw::zeros(a->shape(), DType::boolean)
                            : raw::compare(raw::Compare::eq, y, a));
    n->low = low;
    n->high = high;
  }
  return y;
}

Tensor clamp(In a, In low, In high) {
  if (!low->defined() && !high->defined())
    fail<ValueError>("clamp: give a lower or an upper bound");
  Tensor y = low->defined() ? raw::binary(Binary::maximum, a, low, "clamp") : a.t;
  if (high->defined()) y = raw::binary(Binary::minimum, y, high, "clamp");
  if (auto n = record<ClampTensorsNode>({a, low, high}, y)) {
    n->a.input(a);
    if (low->defined()) n->low.input(low);
    if (high->defined()) n->high.input(high);
  }
  return y;
}

Tensor maximum(In a, In b) { return extremum_of(a, b, true); }
Tensor minimum(In a, In b) { return extremum_of(a, b, false); }
Tensor maximum(In a, Number b) {
  SiteScope site(a.here);
  return maximum(a, raw::number_like(a, b, "maximum"));
}
Tensor minimum(In a, Number b) {
  SiteScope site(a.here);
  return minimum(a, raw::number_like(a, b, "minimum"));
}

Tensor where(In cond, In a, In b) {
  Tensor y = raw::where(cond, a, b);
  if (auto n = record<WhereNode>({cond, a, b}, y)) n->cond.input(cond);
  return y;
}

Tensor where(In cond, In a, Number b) {
  SiteScope site(a.here);
  return where(cond, a, raw::number_like(a, b, "where"));
}
Tensor where(In cond, Number a, In b) {
  SiteScope site(b.here);
  return where(cond, raw::number_like(b, a, "where"), b);
}
Tensor where(In cond, Number a, Number b) {
  const DType dtype = a.exact && b.exact ? DType::i64 : DType::f32;
  SiteScope site(cond.here);
  return where(cond, full({}, a, dtype), full({}, b, dtype));
}

Tensor masked_fill(In a, In mask, Number value) {
  if (mask->dtype() != DType::boolean)
    fail<DtypeError>("masked_fill: the mask must be bool, got {}", mask->dtype());
  if (broadcast_shapes(a->shape(), mask->shape(), "masked_fill") != a->shape())
    fail<ShapeError>("masked_fill: a mask of shape {} does not broadcast to {}", mask->shape(),
                     a->shape());
  SiteScope site(a.here);
  // A bool becomes true for any number but 0, as a fill does.
  const bool truth = a->dtype() == DType::boolean;
  return where(mask,
               truth ? full({}, value, a->dtype()) : raw::number_like(a, value, "masked_fill"), a);
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
Tensor compared(const char* name, Compare op, In a, Number b) {
  Tensor y = raw::compare(op, a, b);
  note(name, {a}, y, {{"number", b.real}});
  return y;
}
Tensor combined(const char* name, raw::Logical op, In a, In b) {
  Tensor y = raw::logical(op, a, b);
  note(name, {a, b}, y);
  return y;
}
Tensor tested(const char* name, raw::Test what, In a) {
  Tensor y = raw::test(what, a);
  note(name, {a}, y);
  return y;
}
// & and its like mean the logical ones: only bool tensors have them.
void check_bool(const char* op, const Tensor& a) {
  if (a.dtype() != DType::boolean)
    fail<DtypeError>("{}: needs bool, got {}; compare it first, e.g. ne(a, 0)", op, a.dtype());
}

}  // namespace

Tensor eq(In a, In b) { return compared("eq", Compare::eq, a, b); }
Tensor ne(In a, In b) { return compared("ne", Compare::ne, a, b); }
Tensor lt(In a, In b) { return compared("lt", Compare::lt, a, b); }
Tensor le(In a, In b) { return compared("le", Compare::le, a, b); }
Tensor gt(In a, In b) { return compared("gt", Compare::gt, a, b); }
Tensor ge(In a, In b) { return compared("ge", Compare::ge, a, b); }
Tensor eq(In a, Number b) { return compared("eq", Compare::eq, a, b); }
Tensor ne(In a, Number b) { return compared("ne", Compare::ne, a, b); }
Tensor lt(In a, Number b) { return compared("lt", Compare::lt, a, b); }
Tensor le(In a, Number b) { return compared("le", Compare::le, a, b); }
Tensor gt(In a, Number b) { return compared("gt", Compare::gt, a, b); }
Tensor ge(In a, Number b) { return compared("ge", Compare::ge, a, b); }

Tensor logical_and(In a, In b) { return combined("logical_and", raw::Logical::and_, a, b); }
Tensor logical_or(In a, In b) { return combined("logical_or", raw::Logical::or_, a, b); }
Tensor logical_xor(In a, In b) { return combined("logical_xor", raw::Logical::xor_, a, b); }
Tensor logical_not(In a) {
  Tensor y = raw::logical_not(a);
  note("logical_not", {a}, y);
  return y;
}

Tensor operator&(In a, In b) {
  check_bool("&", a);
  check_bool("&", b);
  return logical_and(a, b);
}
Tensor operator|(In a, In b) {
  check_bool("|", a);
  check_bool("|", b);
  return logical_or(a, b);
}
Tensor operator^(In a, In b) {
  check_bool("^", a);
  check_bool("^", b);
  return logical_xor(a, b);
}
Tensor operator~(In a) {
  check_bool("~", a);
  return logical_not(a);
}

Tensor isnan(In a) { return tested("isnan", raw::Test::nan, a); }
Tensor isinf(In a) { return tested("isinf", raw::Test::infinite, a); }
Tensor isfinite(In a) { return tested("isfinite", raw::Test::finite, a); }

bool equal(In a, In b) {
  if (a->shape() != b->shape() || a->dtype() != b->dtype()) return false;
  return raw::sum(raw::compare(Compare::ne, a, b), {}, false).item<int64_t>() == 0;
}

bool allclose(In a, In b, double rtol, double atol) {
  if (a->shape() != b->shape()) return false;
  if (a->dtype() == DType::i64 && b->dtype() == DType::i64 && rtol == 0 && atol == 0)
    return equal(a, b);  // whole numbers above 2^53 are not those of a double
  const std::vector<double> x = a->to_vector<double>(), y = b->to_vector<double>();
  for (size_t i = 0; i < x.size(); ++i)
    if (x[i] != y[i] && !(std::abs(x[i] - y[i]) <= atol + rtol * std::abs(y[i]))) return false;
  return true;
}

Tensor operator+(In a, In b) { return add(a, b); }
Tensor operator+(In a, Number b) { return affine(a, Binary::add, b, false, 1, b.real, "add"); }
Tensor operator+(Number a, In b) { return affine(b, Binary::add, a, false, 1, a.real, "add"); }
Tensor operator-(In a, In b) { return sub(a, b); }
Tensor operator-(In a, Number b) { return affine(a, Binary::sub, b, false, 1, -b.real, "sub"); }
Tensor operator-(Number a, In b) { return affine(b, Binary::sub, a, true, -1, a.real, "sub"); }
Tensor operator*(In a, In b) { return mul(a, b); }
Tensor operator*(In a, Number b) { return affine(a, Binary::mul, b, false, b.real, 0, "mul"); }
Tensor operator*(Number a, In b) { return affine(b, Binary::mul, a, false, a.real, 0, "mul"); }
Tensor operator/(In a, In b) { return div(a, b); }
Tensor operator/(In a, Number b) { return affine(a, Binary::div, b, false, 1 / b.real, 0, "div"); }
Tensor operator/(Number a, In b) {
  Tensor y = raw::binary(Binary::div, b, a, true);
  if (auto n = record<DivideNumberNode>({b}, y)) {
    n->number = a.real;
    n->a.input(b);
  }
  return y;
}
Tensor operator-(In a) { return neg(a); }

}  // namespace loupe
