// A complete training: a small network learns which of three spiral arms a point of the plane
// belongs to.
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/optim/optimizer.h>

#include <fmt/core.h>

#include <cmath>

using namespace loupe;

// `n` points (n, 2) on three arms with some noise, and their arms (n).
struct Points {
  Tensor x, arm;
};
Points spirals(Rng& rng, int64_t n) {
  Points p{zeros({n, 2}), randint(rng, 0, 3, {n})};
  const auto x = p.x.data<float>();
  const auto arm = p.arm.data<int64_t>();
  for (size_t i = 0; i < arm.size(); ++i) {
    const double radius = rng.uniform();
    const double angle = 4 * radius + 2.0944 * static_cast<double>(arm[i]) + 0.15 * rng.normal();
    x[2 * i] = static_cast<float>(radius * std::cos(angle));
    x[2 * i + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return p;
}

double accuracy(Sequential& net, const Points& p) {
  NoGrad off;
  return eq(argmax(net(p.x), -1), p.arm).to(DType::f32).mean().item();
}

int main() {
  Rng rng(1);
  const Points train = spirals(rng, 1500), test = spirals(rng, 500);
  Sequential net(Linear(rng, 2, 64), ReLU(), Linear(rng, 64, 64), ReLU(), Linear(rng, 64, 3));
  AdamW optimizer(net, {.lr = 5e-3});
  fmt::print("accuracy of the untrained network: {:.3f}\n", accuracy(net, test));

  const int64_t batch = 100;
  for (int epoch = 1; epoch <= 20; ++epoch) {
    const Tensor order = permutation(rng, train.arm.numel());
    double sum = 0;
    for (int64_t at = 0; at < order.numel(); at += batch) {
      const Tensor index = order.slice(0, at, at + batch);
      const Tensor loss =
          cross_entropy(net(index_select(train.x, 0, index)), index_select(train.arm, 0, index));
      optimizer.zero_grad();
      loss.backward();
      optimizer.step();
      sum += loss.item() * static_cast<double>(index.numel());
    }
    if (epoch % 5 == 0)
      fmt::print("epoch {:2}  loss {:.4f}  test accuracy {:.3f}\n", epoch,
                 sum / static_cast<double>(order.numel()), accuracy(net, test));
  }
  return accuracy(net, test) > 0.9 ? 0 : 1;
}
