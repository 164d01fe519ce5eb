#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

bool has(const StateDict& found, const std::string& name) {
  return std::any_of(found.begin(), found.end(), [&](const Named& n) { return n.name == name; });
}

void names(Check& c, Module& layer) {
  const StateDict found = named_parameters(layer);
  std::string all;
  for (const Named& n : found) all += (all.empty() ? "" : ", ") + n.name;
  if (found.empty()) c.expect(false, "visit names nothing: no parameter would be trained or saved");
  c.expect(has(found, "weight") || has(found, "bias"),
           "visit gives the names \"" + all +
               "\": PyTorch's are weight and bias, and files are exchanged by name");
  c.expect(has(found, "bias"),
           "visit does not name bias: it would not be trained, saved or loaded");
  c.expect(has(found, "weight"),
           "visit does not name weight: it would not be trained, saved or loaded");
  c.expect(found.size() == 2, "visit names more than weight and bias: " + all);
  c.expect(found[0].name == "weight", "visit names bias before weight: the order is that of files");
}

void start(Check& c, const Tensor& weight, const Tensor& bias, int64_t in, int64_t out) {
  c.expect(weight.shape() != Shape{in, out} || in == out,
           "weight is (in, out): it is kept as (out, in), one row for each output");
  c.expect(weight.shape() == Shape{out, in},
           "weight has the shape " + to_string(weight.shape()) + ": it is (out, in)");
  c.expect(bias.shape() == Shape{out}, "bias has the shape " + to_string(bias.shape()) +
                                           ": it is (out), a number for an output");
  const double k = 1 / std::sqrt(static_cast<double>(in));
  const double largest = max(abs(weight)).item(), mean = weight.mean().item();
  const double wide = max(abs(bias)).item();
  c.expect(largest > 0, "weight starts from zeros: all outputs would stay alike for ever");
  c.expect(largest <= 1.001 * std::max(k, 0.0) || largest > 1,
           fmt::format("weight starts from numbers up to {:.3g}: the bound is 1/sqrt(in) = {:.3g}",
                       largest, k));
  c.expect(largest <= 1.001 * k,
           fmt::format("weight starts from numbers up to {:.3g}, as normal numbers do: they are "
                       "uniform in [-1/sqrt(in), 1/sqrt(in)), here {:.3g}",
                       largest, k));
  c.expect(std::abs(mean) < 0.2 * k,
           "the numbers of weight are all on one side of 0: they are uniform in [-k, k)");
  c.expect(
      largest > 0.8 * k,
      fmt::format("weight starts from numbers up to {:.3g}: too small, k is 1/sqrt(in) = {:.3g}, "
                  "not 1/in",
                  largest, k));
  c.expect(wide > 0 && wide <= 1.001 * k, "bias starts from uniform numbers in [-k, k), too");
}

void gradients(Check& c, Module& layer, const Tensor& weight, const Tensor& bias, const Tensor& x) {
  c.expect(weight.requires_grad(), "weight does not want a gradient: call requires_grad_()");
  c.expect(bias.requires_grad(), "bias does not want a gradient: call requires_grad_()");
  c.trying("the gradients of weight and bias");
  const Tensor y = layer.call(x), dy = randn(c.rng, y.shape());
  c.expect(y.requires_grad(), "no gradient arrives: the result of forward has no past");
  y.backward(dy);
  c.expect(weight.grad().defined(),
           "no gradient arrives at weight: forward used a copy without a "
           "past (detach?)");
  c.expect(bias.grad().defined(), "no gradient arrives at bias: forward did not use it");
  c.equal("weight.grad", weight.grad().to(DType::f64), matmul(dy.t(), x).detach().to(DType::f64),
          {}, 1e-5);
  c.equal("bias.grad", bias.grad().to(DType::f64), dy.sum({0}).to(DType::f64), {}, 1e-5);
}

}  // namespace

void run(Check& c) {
  const int64_t in = c.between(30, 40), out = c.between(10, 20), n = c.between(3, 5);
  c.trying(fmt::format("make_linear(rng, {}, {})", in, out));
  const std::unique_ptr<Module> layer = mine::make_linear(c.rng, in, out);
  names(c, *layer);
  const StateDict found = named_parameters(*layer);
  const Tensor weight = found[0].tensor, bias = found[1].tensor;
  start(c, weight, bias, in, out);
  c.trying(fmt::format("forward of x ({}, {})", n, in));
  const Tensor x = randn(c.rng, {n, in});
  const Tensor w = weight.detach(), b = bias.detach();
  const Tensor product = matmul(x, w.t());
  c.equal("y", layer->call(x).detach().to(DType::f64), (product + b).to(DType::f64),
          {{"the bias is missing", [&] { return product.to(DType::f64); }},
           {"the bias is subtracted", [&] { return (product - b).to(DType::f64); }}},
          1e-5);
  gradients(c, *layer, weight, bias, x);
}

}  // namespace loupe::exercises
