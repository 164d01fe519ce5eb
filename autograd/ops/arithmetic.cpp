// Arithmetic of two operands: + - * /, pow, remainder. With a number on one side too.
#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>

namespace loupe {

namespace {

using raw::Binary;

struct AddNode final : Node {
  const char* name() const override { return "add"; }
  Tensors replay(const Tensors& x) const override { return {x[0] + x[1]}; }
  Tensors backward(const Tensors& dy) override { return {dy[0], dy[0]}; }
};

}  // namespace

Tensor add(In a, In b) {
  Tensor y = raw::binary(Binary::add, a, b, "add");
  record<AddNode>({a, b}, y);
  return y;
}

namespace {

struct SubNode final : Node {
  const char* name() const override { return "sub"; }
  Tensors replay(const Tensors& x) const override { return {x[0] - x[1]}; }
  Tensors backward(const Tensors& dy) override { return {dy[0], needs(1) ? -dy[0] : Tensor()}; }
};

}  // namespace

Tensor sub(In a, In b) {
  Tensor y = raw::binary(Binary::sub, a, b, "sub");
  record<SubNode>({a, b}, y);
  return y;
}

namespace {

struct MulNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"};
  const char* name() const override { return "mul"; }
  Tensors replay(const Tensors& x) const override { return {x[0] * x[1]}; }
  Tensors backward(const Tensors& dy) override {
    return {needs(0) ? dy[0] * b.get() : Tensor(), needs(1) ? dy[0] * a.get() : Tensor()};
  }
};

}  // namespace

Tensor mul(In a, In b) {
  Tensor y = raw::binary(Binary::mul, a, b, "mul");
  if (auto n = record<MulNode>({a, b}, y)) {
    if (n->needs(1)) n->a.input(a);
    if (n->needs(0)) n->b.input(b);
  }
  return y;
}

namespace {

struct DivNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"};
  const char* name() const override { return "div"; }
  Tensors replay(const Tensors& x) const override { return {x[0] / x[1]}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor d = b.get();
    // (a / d) / d, not a / (d * d): the square of a large or a small d leaves the range.
    return {needs(0) ? dy[0] / d : Tensor(), needs(1) ? -dy[0] * (a.get() / d / d) : Tensor()};
  }
};

}  // namespace

Tensor div(In a, In b) {
  Tensor y = raw::binary(Binary::div, a, b, "div");
  if (auto n = record<DivNode>({a, b}, y)) {
    if (n->needs(1)) n->a.input(a);
    n->b.input(b);
  }
  return y;
}

namespace {

// y = factor * a + shift: + - * / with a number.
struct AffineNode final : Node {
  double factor = 1, shift = 0;
  const char* label = "add";
  const char* name() const override { return label; }
  Attributes attributes() const override { return {{"factor", factor}, {"shift", shift}}; }
  Tensors replay(const Tensors& x) const override { return {x[0] * factor + shift}; }
  Tensors backward(const Tensors& dy) override { return {factor == 1 ? dy[0] : dy[0] * factor}; }
};

// One operand is a number: `a op number`, or `number op a` if it stands on the left.
struct WithNumber {
  Binary op;
  Number number;
  bool on_the_left = false;
  // The same as factor * a + shift.
  double factor = 1;
  double shift = 0;
};

Tensor affine(const char* label, In a, WithNumber call) {
  Tensor y = raw::binary(call.op, a, call.number, call.on_the_left);
  if (auto n = record<AffineNode>({a}, y)) {
    n->factor = call.factor;
    n->shift = call.shift;
    n->label = label;
  }
  return y;
}

// number / a
struct DivideNumberNode final : Node {
  SavedTensor a{this, "a"};
  double number = 1;
  const char* name() const override { return "div"; }
  Attributes attributes() const override { return {{"number", number}}; }
  Tensors replay(const Tensors& x) const override { return {number / x[0]}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor d = a.get();
    return {-dy[0] * (number / d / d)};
  }
};

}  // namespace

Tensor operator+(In a, In b) { return add(a, b); }
Tensor operator+(In a, Number b) {
  return affine("add", a, {.op = Binary::add, .number = b, .shift = b.real});
}
Tensor operator+(Number a, In b) {
  return affine("add", b, {.op = Binary::add, .number = a, .shift = a.real});
}
Tensor operator-(In a, In b) { return sub(a, b); }
Tensor operator-(In a, Number b) {
  return affine("sub", a, {.op = Binary::sub, .number = b, .shift = -b.real});
}
Tensor operator-(Number a, In b) {
  return affine(
      "sub", b,
      {.op = Binary::sub, .number = a, .on_the_left = true, .factor = -1, .shift = a.real});
}
Tensor operator*(In a, In b) { return mul(a, b); }
Tensor operator*(In a, Number b) {
  return affine("mul", a, {.op = Binary::mul, .number = b, .factor = b.real});
}
Tensor operator*(Number a, In b) {
  return affine("mul", b, {.op = Binary::mul, .number = a, .factor = a.real});
}
Tensor operator/(In a, In b) { return div(a, b); }
Tensor operator/(In a, Number b) {
  return affine("div", a, {.op = Binary::div, .number = b, .factor = 1 / b.real});
}
Tensor operator/(Number a, In b) {
  Tensor y = raw::binary(Binary::div, b, a, true);
  if (auto n = record<DivideNumberNode>({b}, y)) {
    n->number = a.real;
    n->a.input(b);
  }
  return y;
}
Tensor reciprocal(In a) { return 1 / a; }

namespace {

struct PowNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"}, y{this, "y"};
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

}  // namespace

Tensor pow(In a, In b) {
  Tensor y = raw::binary(Binary::pow, a, b, "pow");
  if (auto n = record<PowNode>({a, b}, y)) {
    n->a.input(a);
    n->b.input(b);
    if (n->needs(1)) n->y.output(y);
  }
  return y;
}

namespace {

struct PowNumberNode final : Node {
  SavedTensor a{this, "a"};
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

}  // namespace

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
Tensor square(In a) { return pow(a, 2); }

namespace {

struct RemainderNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"};
  const char* name() const override { return "remainder"; }
  Tensors replay(const Tensors& x) const override { return {remainder(x[0], x[1])}; }
  Tensors backward(const Tensors& dy) override {
    if (!needs(1)) return {dy[0], Tensor()};
    const Tensor quotient = raw::binary(Binary::floor_div, a.get(), b.get(), "remainder");
    return {dy[0], -dy[0] * quotient};
  }
};

}  // namespace

Tensor remainder(In a, In b) {
  Tensor y = raw::binary(Binary::remainder, a, b, "remainder");
  if (auto n = record<RemainderNode>({a, b}, y); n && n->needs(1)) {
    n->a.input(a);
    n->b.input(b);
  }
  return y;
}
Tensor remainder(In a, Number b) {
  SiteScope site(a.here);
  return remainder(a, raw::number_like(a, b, "remainder"));
}

}  // namespace loupe
