// An op of your own, outside the library, by the very mechanism of the built-in ones: a Node that
// says what it keeps and how gradients flow, a function that records it, and a check of both
// derivatives.
//
// The op: y = x / sqrt(1 + a x^2), a smooth squashing with a learnable sharpness a (one number).
//   r = 1 / sqrt(1 + a x^2)      dy/dx = r^3      dy/da = -x^3 r^3 / 2
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

#include <fmt/core.h>

#include <cmath>

using namespace loupe;

namespace {

struct SquashNode final : Node {
  SavedTensor x{this},
      a{this};  // kept for backward, guarded against in-place changes, freed after use
  const char* name() const override { return "squash"; }
  Tensors backward(const Tensors& dy) override {
    // Made of ops, so that it can be differentiated again.
    const Tensor t = x.get(), r = rsqrt(1 + a.get() * t * t), r3 = r * r * r;
    return {needs(0) ? dy[0] * r3 : Tensor(),
            needs(1) ? dy[0] * t * t * t * r3 * -0.5
                     : Tensor()};  // the engine sums it down to a's shape
  }
};

Tensor squash(In x, In a) {
  if (x->dtype() != DType::f32 && x->dtype() != DType::f64)
    fail<DtypeError>("squash: needs f32 or f64, got {}", x->dtype());
  if (a->numel() != 1)
    fail<ShapeError>("squash: the sharpness must be one number, got shape {}", a->shape());
  // The forward pass computes as it likes; here by ops that are not recorded.
  Tensor y = no_grad([&] { return x.t * rsqrt(1 + a.t * x.t * x.t); });
  if (auto node = record<SquashNode>({x, a}, y)) {  // nothing is kept when no gradient is wanted
    node->x.input(x);
    node->a.input(a);
  }
  return y;
}

}  // namespace

int main() {
  Rng rng(3);
  const Tensor x = randn(rng, {4, 5}, DType::f64), a = scalar(0.7, DType::f64);
  const auto f = [](const Tensors& in) { return squash(in[0], in[1]); };
  const GradcheckResult first = gradcheck(f, {x, a}), second = gradgradcheck(f, {x, a});
  fmt::print("gradcheck: {} comparisons, largest relative error {:.1e}\n", first.comparisons,
             first.worst);
  fmt::print("gradgradcheck: {} comparisons, largest relative error {:.1e}\n", second.comparisons,
             second.worst);

  // It takes part in everything: training, hooks, anomaly mode, errors that name it and this line.
  const Tensor sharpness = scalar(1).requires_grad_();
  const Tensor in = randn(rng, {256}), wanted = no_grad([&] { return squash(in, scalar(3)); });
  for (int step = 0; step < 300; ++step) {
    const Tensor loss = mse_loss(squash(in, sharpness), wanted);
    sharpness.zero_grad();
    loss.backward();
    no_grad([&] { sharpness.add_(sharpness.grad(), -20); });
  }
  fmt::print("learnt sharpness: {:.4f} (3 was used to make the data)\n", sharpness.item());
  return first && second && std::abs(sharpness.item() - 3) < 0.05 ? 0 : 1;
}
