// Arithmetic, comparisons and activations, element by element.
#include <loupe/autograd/ops.h>

#include "case.h"

namespace judge {

namespace {

// A binary op whose other operand is a tensor (input 1), a number on the right ("other") or one on
// the left ("self").
template <class Both, class Right, class Left>
Tensors binary(const Tensors& x, const Args& a, Both both, Right right, Left left) {
  if (a.has("other")) return {right(x[0], a.number("other"))};
  if (a.has("self")) return {left(a.number("self"), x[0])};
  return {both(x[0], x[1])};
}

#define UNARY(op)                                                        \
  {                                                                      \
#op, [](const Tensors& x, const Args&) { return Tensors{op(x[0])}; } \
  }
#define ARITHMETIC(word, sign)                                                   \
  {                                                                              \
#word, [](const Tensors& x, const Args& a) {                                   \
      return binary(                                                               \
          x, a, [](const Tensor& l, const Tensor& r) { return l sign r; },         \
          [](const Tensor& l, double r) { return l sign r; },                      \
          [](double l, const Tensor& r) { return l sign r; });                     \
    } \
  }
#define COMPARISON(op)                                          \
  {                                                             \
#op, [](const Tensors& x, const Args& a) {                    \
      if (a.has("other")) return Tensors{op(x[0], a.number("other"))}; \
      return Tensors{op(x[0], x[1])};                             \
    } \
  }

const Row kRows[] = {
    ARITHMETIC(add, +),
    ARITHMETIC(sub, -),
    ARITHMETIC(mul, *),
    ARITHMETIC(div, /),
    UNARY(neg),
    UNARY(square),
    UNARY(reciprocal),
    UNARY(sqrt),
    UNARY(rsqrt),
    UNARY(exp),
    UNARY(log),
    UNARY(abs),
    UNARY(sign),
    UNARY(erf),
    UNARY(relu),
    UNARY(silu),
    UNARY(sigmoid),
    UNARY(tanh),
    UNARY(logical_not),
    UNARY(expm1),
    UNARY(log1p),
    UNARY(sin),
    UNARY(cos),
    UNARY(floor),
    UNARY(ceil),
    UNARY(round),
    UNARY(trunc),
    UNARY(isnan),
    UNARY(isinf),
    UNARY(isfinite),
    UNARY(selu),
    UNARY(mish),
    UNARY(hardswish),
    UNARY(hardsigmoid),
    UNARY(relu6),
    UNARY(log_sigmoid),
    COMPARISON(eq),
    COMPARISON(ne),
    COMPARISON(lt),
    COMPARISON(le),
    COMPARISON(gt),
    COMPARISON(ge),
    {"logical_and", [](const Tensors& x, const Args&) { return Tensors{logical_and(x[0], x[1])}; }},
    {"logical_or", [](const Tensors& x, const Args&) { return Tensors{logical_or(x[0], x[1])}; }},
    {"logical_xor", [](const Tensors& x, const Args&) { return Tensors{logical_xor(x[0], x[1])}; }},
    {"pow",
     [](const Tensors& x, const Args& a) {
       return binary(
           x, a, [](const Tensor& l, const Tensor& r) { return pow(l, r); },
           [](const Tensor& l, double r) { return pow(l, r); },
           [](double l, const Tensor& r) { return pow(l, r); });
     }},
    {"remainder",
     [](const Tensors& x, const Args& a) {
       if (a.has("other")) return Tensors{remainder(x[0], a.number("other"))};
       return Tensors{remainder(x[0], x[1])};
     }},
    {"maximum", [](const Tensors& x, const Args&) { return Tensors{maximum(x[0], x[1])}; }},
    {"minimum", [](const Tensors& x, const Args&) { return Tensors{minimum(x[0], x[1])}; }},
    {"clamp",
     [](const Tensors& x, const Args& a) {
       if (x.size() > 1) return Tensors{clamp(x[0], x[1], optional_input(x, 2))};
       std::optional<Number> low, high;
       if (a.has("min")) low = a.number("min");
       if (a.has("max")) high = a.number("max");
       return Tensors{clamp(x[0], low, high)};
     }},
    {"where",
     [](const Tensors& x, const Args& a) {
       if (a.has("other")) return Tensors{where(x[0], x[1], a.number("other"))};
       if (a.has("self")) return Tensors{where(x[0], a.number("self"), x[1])};
       return Tensors{where(x[0], x[1], x[2])};
     }},
    {"masked_fill",
     [](const Tensors& x, const Args& a) {
       return Tensors{masked_fill(x[0], x[1], a.number("value"))};
     }},
    {"tril",
     [](const Tensors& x, const Args& a) { return Tensors{tril(x[0], a.integer("diagonal"))}; }},
    {"triu",
     [](const Tensors& x, const Args& a) { return Tensors{triu(x[0], a.integer("diagonal"))}; }},
    {"equal",
     [](const Tensors& x, const Args&) {
       return Tensors{scalar(equal(x[0], x[1]) ? 1 : 0, DType::boolean)};
     }},
    {"allclose",
     [](const Tensors& x, const Args& a) {
       const bool close = allclose(x[0], x[1], a.number("rtol", 1e-5), a.number("atol", 1e-8));
       return Tensors{scalar(close ? 1 : 0, DType::boolean)};
     }},
    {"leaky_relu",
     [](const Tensors& x, const Args& a) {
       return Tensors{leaky_relu(x[0], a.number("negative_slope", 0.01))};
     }},
    {"gelu",
     [](const Tensors& x, const Args& a) {
       const bool tanh = a.text("approximate") == "tanh";
       return Tensors{gelu(x[0], {tanh ? Approximate::tanh : Approximate::none})};
     }},
    {"softplus",
     [](const Tensors& x, const Args& a) {
       return Tensors{
           softplus(x[0], {.beta = a.number("beta", 1), .threshold = a.number("threshold", 20)})};
     }},
    {"elu",
     [](const Tensors& x, const Args& a) { return Tensors{elu(x[0], a.number("alpha", 1))}; }},
    {"celu",
     [](const Tensors& x, const Args& a) { return Tensors{celu(x[0], a.number("alpha", 1))}; }},
    {"hardtanh",
     [](const Tensors& x, const Args& a) {
       return Tensors{hardtanh(x[0], a.number("min_val", -1), a.number("max_val", 1))};
     }},
    {"glu",
     [](const Tensors& x, const Args& a) { return Tensors{glu(x[0], a.integer("dim", -1))}; }},
    {"softmax",
     [](const Tensors& x, const Args& a) { return Tensors{softmax(x[0], a.integer("dim"))}; }},
    {"log_softmax",
     [](const Tensors& x, const Args& a) { return Tensors{log_softmax(x[0], a.integer("dim"))}; }},

    // In place: the case compares the whole memory behind x[0].
    {"add_",
     [](const Tensors& x, const Args& a) {
       const Tensor other = x.size() > 1 ? x[1] : scalar(a.number("other"), x[0].dtype());
       x[0].add_(other, a.number("alpha", 1));
       return Tensors{};
     }},
    {"mul_",
     [](const Tensors& x, const Args& a) {
       if (x.size() > 1) x[0].mul_(x[1]);
       else x[0].mul_(a.number("other"));
       return Tensors{};
     }},
    {"fill_",
     [](const Tensors& x, const Args& a) {
       x[0].fill_(a.number("value"));
       return Tensors{};
     }},
    {"zero_",
     [](const Tensors& x, const Args&) {
       x[0].zero_();
       return Tensors{};
     }},
    {"copy_",
     [](const Tensors& x, const Args&) {
       x[0].copy_(x[1]);
       return Tensors{};
     }},
};

}  // namespace

std::span<const Row> elementwise_rows() { return kRows; }

}  // namespace judge
