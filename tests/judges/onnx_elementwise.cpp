// ONNX's ops of single elements.
#include <cmath>
#include <limits>

#include "onnx_ops.h"

namespace judges {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

template <Tensor (*f)(In)> Tensors unary(const OnnxCall& c) { return {f(c.x[0])}; }
template <Tensor (*f)(In, In)> Tensors binary(const OnnxCall& c) {
  if (c.given("axis")) refuse("broadcasting along an axis, of opset 6");
  return {f(c.x[0], c.x[1])};
}
// Max, Min, Sum: any number of inputs.
template <Tensor (*f)(In, In)> Tensors folded(const OnnxCall& c) {
  Tensor y = c.x[0];
  for (size_t i = 1; i < c.x.size(); ++i) y = f(y, c.x[i]);
  return {y};
}
Tensor divided(In a, In b) {
  if (!is_floating(a->dtype())) refuse("division of integers (div takes f32 and f64)");
  return div(a, b);
}
Tensors mean_of(const OnnxCall& c) { return {folded<add>(c)[0] / static_cast<double>(c.x.size())}; }
Tensors power(const OnnxCall& c) {
  if (c.x[0].dtype() != c.x[1].dtype()) refuse("pow of two element types");
  return {pow(c.x[0], c.x[1])};
}
Tensors clip(const OnnxCall& c) {
  const auto limit = [&](size_t i, const char* name) -> std::optional<Number> {
    if (c.has(i)) return Number(c.x[i].item());
    return c.given(name) ? std::optional<Number>(Number(c.real(name, 0))) : std::nullopt;
  };
  const std::optional<Number> low = limit(1, "min"), high = limit(2, "max");
  if (!low && !high) return {c.x[0].clone()};
  return {clamp(c.x[0], low, high)};
}
Tensors leaky(const OnnxCall& c) { return {leaky_relu(c.x[0], c.real("alpha", 0.01))}; }
Tensors elu_of(const OnnxCall& c) { return {elu(c.x[0], c.real("alpha", 1))}; }
Tensors celu_of(const OnnxCall& c) { return {celu(c.x[0], c.real("alpha", 1))}; }
Tensors selu_of(const OnnxCall& c) {
  const double alpha = c.real("alpha", 1.67326319217681884765625);
  const double gamma = c.real("gamma", 1.05070102214813232421875);
  const bool usual = alpha == 1.67326319217681884765625 && gamma == 1.05070102214813232421875;
  return {usual ? selu(c.x[0]) : elu(c.x[0], alpha) * gamma};
}
Tensors gelu_of(const OnnxCall& c) {
  const bool tanh = c.word("approximate", "none") == "tanh";
  return {gelu(c.x[0], {tanh ? Approximate::tanh : Approximate::none})};
}
Tensors swish(const OnnxCall& c) {
  const double alpha = c.real("alpha", 1);
  return {silu(c.x[0] * alpha) / alpha};
}
Tensors softplus_of(const OnnxCall& c) { return {softplus(c.x[0])}; }
Tensors prelu(const OnnxCall& c) { return {where(lt(c.x[0], 0.0), c.x[0] * c.x[1], c.x[0])}; }
Tensors where_of(const OnnxCall& c) { return {where(c.x[0], c.x[1], c.x[2])}; }
Tensors cast(const OnnxCall& c) {
  switch (c.integer("to", 0)) {
    case 1: return {c.x[0].to(DType::f32)};
    case 2: return {c.x[0].to(DType::u8)};
    case 6:  // read as i64
    case 7: return {c.x[0].to(DType::i64)};
    case 9: return {c.x[0].to(DType::boolean)};
    case 11: return {c.x[0].to(DType::f64)};
    default: refuse("element type " + type_name(c.integer("to", 0)));
  }
}
Tensors cast_like(const OnnxCall& c) { return {c.x[0].to(c.x[1].dtype())}; }
Tensors trilu(const OnnxCall& c) {
  const int64_t k = c.has(1) ? c.x[1].item<int64_t>() : 0;
  return {c.integer("upper", 1) ? triu(c.x[0], k) : tril(c.x[0], k)};
}
Tensors identity(const OnnxCall& c) { return {c.x[0].clone()}; }
Tensors hard_sigmoid(const OnnxCall& c) {
  const bool usual = std::abs(c.real("alpha", 0.2) - 1.0 / 6) < 1e-7 && c.real("beta", 0.5) == 0.5;
  if (!usual) refuse("a hard sigmoid that is not clamp(x / 6 + 1 / 2, 0, 1)");
  return {hardsigmoid(c.x[0])};
}
Tensors is_inf(const OnnxCall& c) {
  const bool negative = c.integer("detect_negative", 1) != 0;
  const bool positive = c.integer("detect_positive", 1) != 0;
  if (negative && positive) return {isinf(c.x[0])};
  if (!negative && !positive) refuse("is_inf of no sign");
  return {eq(c.x[0], positive ? kInf : -kInf)};
}
// The sign is the divisor's, with fmod the dividend's: one divisor less where they differ.
Tensors modulo(const OnnxCall& c) {
  const Tensor r = remainder(c.x[0], c.x[1]);
  if (c.integer("fmod", 0) == 0) return {r};
  const Tensor differs = lt(c.x[0], 0.0) ^ lt(c.x[1], 0.0);
  return {where(differs & ne(r, 0.0), r - c.x[1], r)};
}
Tensors swiglu_of(const OnnxCall& c) {
  if (c.real("alpha", 1) != 1) refuse("swiglu with another slope");
  return {swiglu(cat({c.x[0], c.x[1]}, -1))};
}

}  // namespace

const Functions& elementwise() {
  static const Functions table{
      {"Abs", unary<abs>},
      {"Add", binary<add>},
      {"And", binary<logical_and>},
      {"Cast", cast},
      {"CastLike", cast_like},
      {"Ceil", unary<ceil>},
      {"Celu", celu_of},
      {"Clip", clip},
      {"Cos", unary<cos>},
      {"Div", binary<divided>},
      {"Elu", elu_of},
      {"Equal", binary<eq>},
      {"Erf", unary<erf>},
      {"Exp", unary<exp>},
      {"Floor", unary<floor>},
      {"Gelu", gelu_of},
      {"Greater", binary<gt>},
      {"GreaterOrEqual", binary<ge>},
      {"HardSigmoid", hard_sigmoid},
      {"HardSwish", unary<hardswish>},
      {"Identity", identity},
      {"IsInf", is_inf},
      {"IsNaN", unary<isnan>},
      {"LeakyRelu", leaky},
      {"Less", binary<lt>},
      {"LessOrEqual", binary<le>},
      {"Log", unary<log>},
      {"Max", folded<maximum>},
      {"Mean", mean_of},
      {"Min", folded<minimum>},
      {"Mish", unary<mish>},
      {"Mod", modulo},
      {"Mul", binary<mul>},
      {"Neg", unary<neg>},
      {"Not", unary<logical_not>},
      {"Or", binary<logical_or>},
      {"PRelu", prelu},
      {"Pow", power},
      {"Reciprocal", unary<reciprocal>},
      {"Relu", unary<relu>},
      {"Round", unary<round>},
      {"Selu", selu_of},
      {"Sigmoid", unary<sigmoid>},
      {"Sign", unary<sign>},
      {"Sin", unary<sin>},
      {"Softplus", softplus_of},
      {"Sqrt", unary<sqrt>},
      {"Sub", binary<sub>},
      {"Sum", folded<add>},
      {"SwiGLU", swiglu_of},
      {"Swish", swish},
      {"Tanh", unary<tanh>},
      {"Trilu", trilu},
      {"Where", where_of},
      {"Xor", binary<logical_xor>},
  };
  return table;
}

}  // namespace judges
