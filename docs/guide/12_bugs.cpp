// Chapter 12: four bugs, and the tool that finds each.
#include <loupe/loupe.h>

#include <cmath>
#include <cstdio>

using namespace loupe;

// [softplus]
// softplus(x) = log(1 + e^x), with a backward pass that has the wrong sign inside.
struct SoftplusNode final : Node {
  SavedTensor x{this};
  const char* name() const override { return "my_softplus"; }
  Tensors backward(const Tensors& dy) override {
    return {dy[0] / (1 + exp(x.get()))};  // should be exp(-x)
  }
};
Tensor my_softplus(In x) {
  Tensor y = no_grad([&] { return log1p(exp(x.t)); });
  if (auto node = record<SoftplusNode>({x}, y)) node->x.input(x);
  return y;
}
// [/softplus]

void wrong_gradient() {
  std::printf("== gradcheck\n");
  // [gradcheck]
  Rng rng(0);
  const Tensor x = randn(rng, {3, 4}, DType::f64);
  const auto f = [](const Tensors& in) { return my_softplus(in[0]); };
  try {
    gradcheck(f, {x});
  } catch (const GradError& error) { std::printf("%s\n", error.what()); }
  // [/gradcheck]

  std::printf("== at_zero\n");
  // [at_zero]
  // The same bug at x = 0, where exp(x) and exp(-x) are equal: a check at a special point.
  const GradcheckResult blind = gradcheck(f, {zeros({3}, DType::f64)});
  std::printf("at 0 the check passes: %lld comparisons, worst %.0e\n",
              static_cast<long long>(blind.comparisons), blind.worst);
  // [/at_zero]
}

void nan_somewhere() {
  std::printf("== nan\n");
  // [nan]
  Rng rng(1);
  Sequential net(Linear(rng, 4, 8), ReLU(), Linear(rng, 8, 2));
  const Tensor x = randn(rng, {16, 4});
  // The mean distance between two outputs, of all pairs.
  const auto loss_of = [&](const Tensor& in) {
    const Tensor y = net(in);
    const Tensor difference = y.unsqueeze(0) - y.unsqueeze(1);  // (16, 16, 2)
    const Tensor distance = sqrt(square(difference).sum({-1}));
    return distance.mean();
  };
  const Tensor loss = loss_of(x);
  loss.backward();
  std::printf(
      "loss %.4f, gradient of the first weight %s\n", loss.item(),
      std::isfinite(named_parameters(net)[0].tensor.grad()[0][0].item()) ? "finite" : "not finite");
  // [/nan]

  std::printf("== anomaly\n");
  // [anomaly]
  zero_grad(net);
  try {
    AnomalyMode on;
    loss_of(x).backward();
  } catch (const NumericError& error) { std::printf("%s\n", error.what()); }
  // [/anomaly]
}

// [fast_norm]
// A norm with the fast variance of chapter 7: right in f64, and in f32 for small means.
Tensor fast_norm(const Tensor& x) {
  const Tensor mean = x.mean({-1}, true);
  const Tensor variance = square(x).mean({-1}, true) - square(mean);
  return (x - mean) * rsqrt(variance + 1e-5);
}
// [/fast_norm]

// [norm_node]
// The same as one op of its own. replay() is its twin: shadow mode calls it in f64.
struct FastNormNode final : Node {
  SavedTensor x{this};
  const char* name() const override { return "fast_norm"; }
  Tensors replay(const Tensors& in) const override { return {fast_norm(in[0])}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor copy = x.get().detach().requires_grad_();
    GradMode on(true);
    return grad({fast_norm(copy)}, {copy}, {}, {dy[0]});
  }
};
Tensor fast_norm_op(In x) {
  Tensor y = no_grad([&] { return fast_norm(x.t); });
  if (auto node = record<FastNormNode>({x}, y)) node->x.input(x);
  return y;
}
// [/norm_node]

void imprecise() {
  std::printf("== shadow\n");
  // [shadow]
  Rng rng(2);
  for (double offset : {0.0, 1000.0}) {
    const Tensor x = (randn(rng, {4, 64}) + offset).detach().requires_grad_();
    try {
      ShadowGuard guard;
      const Tensor y = fast_norm_op(x);
      for (const ShadowRow& row : guard.rows())
        std::printf("offset %4.0f: %s is off by %.0e\n", offset, row.op.c_str(), row.forward);
    } catch (const NumericError& error) { std::printf("offset %4.0f: %s\n", offset, error.what()); }
  }
  // [/shadow]
}

void hooks() {
  std::printf("== hooks\n");
  // [hooks]
  // Gradients of a deep network of sigmoids, layer by layer.
  Rng rng(3);
  Sequential net(Linear(rng, 16, 16), Sigmoid(), Linear(rng, 16, 16), Sigmoid(),
                 Linear(rng, 16, 16), Sigmoid(), Linear(rng, 16, 16), Sigmoid(),
                 Linear(rng, 16, 1));
  const Tensor x = randn(rng, {32, 16});
  mse_loss(net(x), zeros({32, 1})).backward();
  for (const Named& p : named_parameters(net))
    if (p.tensor.dim() == 2)
      std::printf("%-9s gradient %.1e\n", p.name.c_str(), norm(p.tensor.grad()).item());
  // [/hooks]
}

void in_place() {
  std::printf("== in_place\n");
  // [in_place]
  const Tensor w = tensor({1, 2, 3}).requires_grad_();
  const Tensor table = tensor({4, 5, 6});
  const Tensor loss = (w * table).sum();
  table.mul_(0.5);  // somebody reuses the buffer before backward
  try {
    loss.backward();
  } catch (const GradError& error) { std::printf("%s\n", error.what()); }
  // [/in_place]
}

int main() {
  wrong_gradient();
  nan_somewhere();
  imprecise();
  hooks();
  in_place();
}
