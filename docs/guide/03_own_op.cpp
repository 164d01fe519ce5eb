// Chapter 3: an op of one's own, from its formula to the proof of its gradient.
#include <loupe/loupe.h>

#include <cstdio>

using namespace loupe;

// [node]
// swish(x) = x * sigmoid(b x), with a learned number b.
struct SwishNode final : Node {
  SavedTensor x{this}, b{this};
  const char* name() const override { return "swish"; }
  Tensors backward(const Tensors& dy) override {
    const Tensor in = x.get(), factor = b.get();
    const Tensor s = sigmoid(factor * in);
    const Tensor slope = s * (1 - s);  // of the sigmoid
    Tensors dx(2);
    if (needs(0)) dx[0] = dy[0] * (s + factor * in * slope);
    if (needs(1)) dx[1] = dy[0] * in * in * slope;
    return dx;
  }
};
// [/node]

// [function]
Tensor swish(In x, In b) {
  if (b->numel() != 1) fail<ShapeError>("swish: b must be one number, got shape {}", b->shape());
  Tensor y = no_grad([&] { return x.t * sigmoid(b.t * x.t); });  // forward: any way you like
  if (auto node = record<SwishNode>({x, b}, y)) {                // nullptr if no gradient is wanted
    node->x.input(x);
    node->b.input(b);
  }
  return y;
}
// [/function]

// The same op with three mistakes that one makes.
struct HastyNode final : Node {
  enum class Mistake { forgotten_term, wrong_shape, no_gradient } mistake;
  SavedTensor x{this}, b{this};
  const char* name() const override { return "hasty_swish"; }
  Tensors backward(const Tensors& dy) override {
    const Tensor in = x.get(), factor = b.get();
    const Tensor s = sigmoid(factor * in), slope = s * (1 - s);
    if (mistake == Mistake::forgotten_term) return {dy[0] * s, dy[0] * in * in * slope};
    if (mistake == Mistake::wrong_shape)
      return {(dy[0] * (s + factor * in * slope)).sum({0}), dy[0] * in * in * slope};
    return {dy[0] * (s + factor * in * slope), Tensor()};
  }
};

int main() {
  std::printf("== use\n");
  // [use]
  const Tensor x = tensor({-1, 0, 2}).requires_grad_();
  const Tensor b = scalar(1).requires_grad_();
  const Tensor y = swish(x, b);
  y.sum().backward();
  std::printf("y  = %.4f %.4f %.4f\n", y[0].item(), y[1].item(), y[2].item());
  std::printf("dx = %.4f %.4f %.4f, db = %.4f\n", x.grad()[0].item(), x.grad()[1].item(),
              x.grad()[2].item(), b.grad().item());
  // [/use]

  std::printf("== proof\n");
  // [proof]
  Rng rng(0);
  const Tensors inputs = {randn(rng, {3, 4}, DType::f64), scalar(1.5, DType::f64)};
  const auto f = [](const Tensors& in) { return swish(in[0], in[1]); };
  const GradcheckResult first = gradcheck(f, inputs), second = gradgradcheck(f, inputs);
  std::printf("%lld first and %lld second derivatives agree with differences\n",
              static_cast<long long>(first.comparisons),
              static_cast<long long>(second.comparisons));
  // [/proof]

  std::printf("== mistakes\n");
  using Mistake = HastyNode::Mistake;
  for (Mistake mistake : {Mistake::forgotten_term, Mistake::wrong_shape, Mistake::no_gradient}) {
    const auto hasty = [&](const Tensors& in) {
      Tensor out = no_grad([&] { return swish(in[0], in[1]); });
      if (auto node = record<HastyNode>({In(in[0]), In(in[1])}, out)) {
        node->mistake = mistake;
        node->x.input(in[0]);
        node->b.input(in[1]);
      }
      return out;
    };
    try {
      gradcheck(hasty, inputs);
      std::printf("passed\n");
    } catch (const Error& error) { std::printf("%s\n", error.what()); }
  }
}
