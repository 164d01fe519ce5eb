// Writers of ops of single elements: arithmetic, comparisons, activations.
#include <loupe/io/onnx_writers.h>

#include <cmath>

namespace loupe::onnx {
namespace {

// --- Arithmetic with numbers. An op with a number is a step with one input. ---

// y = factor x + shift.
void affine(Step& s) {
  const double factor = s.get<double>("factor"), shift = s.get<double>("shift");
  const auto number = [&](double v) { return s.out.number(v, s.dtype()); };
  if (factor == -1) {
    s.give(shift == 0 ? s.out.add("Neg", {s.in(0)}) : s.out.add("Sub", {number(shift), s.in(0)}));
    return;
  }
  std::string y = s.in(0);
  if (factor != 1) y = s.out.add("Mul", {y, number(factor)});
  if (shift != 0) y = s.out.add("Add", {y, number(shift)});
  s.give(y);
}
void add(Step& s) { s.inputs.size() == 2 ? renamed(s, "Add") : affine(s); }
void sub(Step& s) { s.inputs.size() == 2 ? renamed(s, "Sub") : affine(s); }
void mul(Step& s) { s.inputs.size() == 2 ? renamed(s, "Mul") : affine(s); }

void div(Step& s) {
  if (s.inputs.size() == 2) return renamed(s, "Div");
  const double number = s.get<double>("number", std::nan(""));
  if (std::isnan(number)) return affine(s);
  s.give(s.out.add("Div", {s.out.number(number, s.dtype()), s.in(0)}));
}

void pow(Step& s) {
  const std::string exponent =
      s.inputs.size() == 2 ? s.in(1) : s.out.number(s.get<double>("exponent"), s.dtype());
  s.give(s.out.add("Pow", {s.in(0), exponent}));
}
void rsqrt(Step& s) { s.give(s.out.add("Reciprocal", {s.out.add("Sqrt", {s.in(0)})})); }
void expm1(Step& s) {
  s.give(s.out.add("Sub", {s.out.add("Exp", {s.in(0)}), s.out.number(1, s.dtype())}));
}
void log1p(Step& s) {
  s.give(s.out.add("Log", {s.out.add("Add", {s.in(0), s.out.number(1, s.dtype())})}));
}
void trunc(Step& s) {
  const std::string size = s.out.add("Floor", {s.out.add("Abs", {s.in(0)})});
  s.give(s.out.add("Mul", {s.out.add("Sign", {s.in(0)}), size}));
}
// The remainder of fmod has the dividend's sign; where that is not the divisor's, one divisor more.
void remainder(Step& s) {
  const std::string r = s.out.add("Mod", {s.in(0), s.in(1)}, {{"fmod", int64_t{1}}});
  const std::string zero = s.out.number(0, s.dtype());
  const std::string differs =
      s.out.add("Xor", {s.out.add("Less", {r, zero}), s.out.add("Less", {s.in(1), zero})});
  const std::string nonzero = s.out.add("Not", {s.out.add("Equal", {r, zero})});
  const std::string turn = s.out.add("And", {differs, nonzero});
  s.give(s.out.add("Where", {turn, s.out.add("Add", {r, s.in(1)}), r}));
}
void isfinite(Step& s) {
  const std::string infinite = s.out.add("IsInf", {s.in(0)}), nan = s.out.add("IsNaN", {s.in(0)});
  s.give(s.out.add("Not", {s.out.add("Or", {infinite, nan})}));
}

// Between numbers, or tensors of which one may be absent.
void clamp(Step& s) {
  if (s.inputs.size() == 3) {
    const std::string low = s.has(1) ? s.out.add("Max", {s.in(0), s.in(1)}) : s.in(0);
    s.give(s.has(2) ? s.out.add("Min", {low, s.in(2)}) : low);
    return;
  }
  const auto limit = [&](const char* name) { return s.out.number(s.get<double>(name), s.dtype()); };
  s.give(s.out.add("Clip", {s.in(0), limit("low"), limit("high")}));
}
// Comparisons: with a tensor, or a number.
std::string compared(Step& s, const char* op) {
  const std::string right =
      s.inputs.size() == 2 ? s.in(1) : s.out.number(s.get<double>("number"), s.dtype());
  return s.out.add(op, {s.in(0), right});
}
void eq(Step& s) { s.give(compared(s, "Equal")); }
void ne(Step& s) { s.give(s.out.add("Not", {compared(s, "Equal")})); }
void lt(Step& s) { s.give(compared(s, "Less")); }
void le(Step& s) { s.give(compared(s, "LessOrEqual")); }
void gt(Step& s) { s.give(compared(s, "Greater")); }
void ge(Step& s) { s.give(compared(s, "GreaterOrEqual")); }

// --- Activations ---

void leaky_relu(Step& s) {
  s.give(s.out.add("LeakyRelu", {s.in(0)}, {{"alpha", s.get<double>("negative_slope")}}));
}
void elu(Step& s) { s.give(s.out.add("Elu", {s.in(0)}, {{"alpha", s.get<double>("alpha")}})); }
void gelu(Step& s) {
  s.give(s.out.add("Gelu", {s.in(0)}, {{"approximate", s.get<std::string>("approximate")}}));
}
void celu(Step& s) { s.give(s.out.add("Celu", {s.in(0)}, {{"alpha", s.get<double>("alpha")}})); }
void hardsigmoid(Step& s) {
  s.give(s.out.add("HardSigmoid", {s.in(0)}, {{"alpha", 1.0 / 6}, {"beta", 0.5}}));
}
void log_sigmoid(Step& s) {
  s.give(s.out.add("Neg", {s.out.add("Softplus", {s.out.add("Neg", {s.in(0)})})}));
}
void silu(Step& s) { s.give(s.out.add("Mul", {s.in(0), s.out.add("Sigmoid", {s.in(0)})})); }
// log(1 + e^(beta x)) / beta, and x where beta x is above the threshold.
void softplus(Step& s) {
  const double beta = s.get<double>("beta");
  const std::string factor = s.out.number(beta, s.dtype());
  const std::string z = beta == 1 ? s.in(0) : s.out.add("Mul", {s.in(0), factor});
  std::string y = s.out.add("Softplus", {z});
  if (beta != 1) y = s.out.add("Div", {y, factor});
  const std::string limit = s.out.number(s.get<double>("threshold"), s.dtype());
  s.give(s.out.add("Where", {s.out.add("Greater", {z, limit}), s.in(0), y}));
}
void softmax(Step& s) {
  const bool log = std::string_view(s.node.name()) == "log_softmax";
  s.give(s.out.add(log ? "LogSoftmax" : "Softmax", {s.in(0)}, {{"axis", s.get<int64_t>("axis")}}));
}

}  // namespace

const Writers& elementwise_writers() {
  static const Writers table{
      {"add", add},
      {"sub", sub},
      {"mul", mul},
      {"div", div},
      {"neg", same("Neg")},
      {"pow", pow},
      {"sqrt", same("Sqrt")},
      {"rsqrt", rsqrt},
      {"exp", same("Exp")},
      {"log", same("Log")},
      {"abs", same("Abs")},
      {"sign", same("Sign")},
      {"clamp", clamp},
      {"maximum", same("Max")},
      {"minimum", same("Min")},
      {"where", same("Where")},
      {"eq", eq},
      {"ne", ne},
      {"lt", lt},
      {"le", le},
      {"gt", gt},
      {"ge", ge},
      {"logical_not", same("Not")},
      {"logical_and", same("And")},
      {"logical_or", same("Or")},
      {"logical_xor", same("Xor")},
      {"isnan", same("IsNaN")},
      {"isinf", same("IsInf")},
      {"sin", same("Sin")},
      {"cos", same("Cos")},
      {"floor", same("Floor")},
      {"ceil", same("Ceil")},
      {"round", same("Round")},
      {"relu", same("Relu")},
      {"leaky_relu", leaky_relu},
      {"gelu", gelu},
      {"silu", silu},
      {"sigmoid", same("Sigmoid")},
      {"tanh", same("Tanh")},
      {"erf", same("Erf")},
      {"softplus", softplus},
      {"elu", elu},
      {"celu", celu},
      {"selu", same("Selu")},
      {"mish", same("Mish")},
      {"hardsigmoid", hardsigmoid},
      {"hardswish", same("HardSwish")},
      {"hardtanh", clamp},
      {"log_sigmoid", log_sigmoid},
      {"softmax", softmax},
      {"log_softmax", softmax},
      {"expm1", expm1},
      {"log1p", log1p},
      {"trunc", trunc},
      {"remainder", remainder},
      {"isfinite", isfinite},
  };
  return table;
}

}  // namespace loupe::onnx
