// Chapter 5: gradient descent, momentum and Adam, by hand and from the library.
#include <loupe/loupe.h>

#include <cmath>
#include <cstdio>
#include <functional>

using namespace loupe;

// [valley]
// A long valley: its floor rises slowly along x, its sides rise 50 times as fast along y.
Tensor valley(const Tensor& p) {
  const Tensor steepness = tensor({1, 50}, {}, DType::f64);
  return (steepness * square(p)).sum() * 0.5;
}
// [/valley]

// [run]
// The value after some steps from (4, 1), with an optimizer of the library.
template <class O> double after(int steps, typename O::Options options) {
  const Tensor p = tensor({4, 1}, {}, DType::f64).requires_grad_();
  O optimizer({{.params = {{"p", p}}}}, options);
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    valley(p).backward();
    optimizer.step();
  }
  return valley(p).item();
}
// [/run]

void rates() {
  std::printf("== rates\n");
  // [rates]
  for (double lr : {0.01, 0.03, 0.039, 0.041})
    std::printf("SGD, lr %.3f: value after 100 steps %.3g\n", lr, after<SGD>(100, {.lr = lr}));
  // [/rates]

  std::printf("== momentum\n");
  // [momentum]
  std::printf("SGD                %.1e\n", after<SGD>(100, {.lr = 0.039}));
  std::printf("SGD, momentum 0.75 %.1e\n", after<SGD>(100, {.lr = 0.06, .momentum = 0.75}));
  std::printf("Adam, lr 0.1       %.1e\n", after<Adam>(100, {.lr = 0.1}));
  // [/momentum]
}

void adam() {
  std::printf("== adam\n");
  // [adam]
  // Adam by hand, beside the library's.
  double p = 4, m = 0, v = 0;
  const double lr = 0.1, beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  const Tensor q = tensor({4}, {}, DType::f64).requires_grad_();
  Adam optimizer({{.params = {{"q", q}}}}, {.lr = lr});
  for (int t = 1; t <= 5; ++t) {
    const double g = 3 * p * p;  // the gradient of p^3
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, t));
    const double v_hat = v / (1 - std::pow(beta2, t));
    p -= lr * m_hat / (std::sqrt(v_hat) + eps);

    optimizer.zero_grad();
    pow(q, 3).sum().backward();
    optimizer.step();
    std::printf("step %d: by hand %.6f, library %.6f\n", t, p, q.item());
  }
  // [/adam]

  std::printf("== scale\n");
  // [scale]
  // The size of the gradient does not matter to Adam's first step.
  for (double factor : {1e-3, 1.0, 1e3}) {
    const Tensor x = tensor({1, 1}, {}, DType::f64).requires_grad_();
    Adam one({{.params = {{"x", x}}}}, {.lr = 0.1});
    (tensor({2, -3}, {}, DType::f64) * x * factor).sum().backward();
    one.step();
    std::printf("gradient (%g, %g): moved by (%.4f, %.4f)\n", 2 * factor, -3 * factor,
                x[0].item() - 1, x[1].item() - 1);
  }
  // [/scale]

  std::printf("== decay\n");
  // [decay]
  // Two weights of 1. One has gradients of +-10, the other of +-0.1; both are 0 on average.
  for (bool decoupled : {false, true}) {
    const Tensor w = tensor({1, 1}, {}, DType::f64).requires_grad_();
    std::unique_ptr<Optimizer> optimizer_of_w;
    const std::vector<ParamGroup> group = {{.params = {{"w", w}}}};
    if (decoupled)
      optimizer_of_w =
          std::make_unique<AdamW>(group, AdamW::Options{.lr = 1e-3, .weight_decay = 0.1});
    else
      optimizer_of_w =
          std::make_unique<Adam>(group, Adam::Options{.lr = 1e-3, .weight_decay = 0.1});
    for (int i = 0; i < 2000; ++i) {
      w.set_grad(tensor({10, 0.1}, {}, DType::f64) * (i % 2 ? -1 : 1));
      optimizer_of_w->step();
    }
    std::printf("%-5s weights after 2000 steps: %.2f and %.2f\n", decoupled ? "AdamW" : "Adam",
                w[0].item(), w[1].item());
  }
  // [/decay]
}

void zero_grad_forgotten() {
  std::printf("== forgotten\n");
  // [forgotten]
  for (bool zero : {true, false}) {
    const Tensor p = tensor({4, 1}, {}, DType::f64).requires_grad_();
    SGD optimizer({{.params = {{"p", p}}}}, {.lr = 0.01});
    for (int i = 0; i < 60; ++i) {
      if (zero) optimizer.zero_grad();
      valley(p).backward();
      optimizer.step();
    }
    std::printf("%s zero_grad(): value after 60 steps %.3f\n", zero ? "with   " : "without",
                valley(p).item());
  }
  // [/forgotten]
}

void noise() {
  std::printf("== noise\n");
  // [noise]
  // A bias in front of a BatchNorm has a gradient of 0 in theory: the mean takes it away again.
  for (bool adam_moves : {false, true}) {
    Rng rng(0);
    Sequential net(Linear(rng, 8, 8), BatchNorm1d(8), ReLU(), Linear(rng, 8, 1));
    const StateDict names = named_parameters(net);
    const Tensor bias = names[1].tensor;  // "0.bias"
    const Tensor before = bias.clone();
    std::unique_ptr<Optimizer> optimizer;
    if (adam_moves)
      optimizer =
          std::make_unique<Adam>(std::vector<ParamGroup>{{names}}, Adam::Options{.lr = 0.01});
    else
      optimizer = std::make_unique<SGD>(std::vector<ParamGroup>{{names}}, SGD::Options{.lr = 0.01});
    double largest = 0;
    for (int i = 0; i < 20; ++i) {
      const Tensor x = randn(rng, {16, 8});
      optimizer->zero_grad();
      mse_loss(net(x), x.slice(1, 0, 1)).backward();
      largest = std::max(largest, max(abs(bias.grad())).item());
      optimizer->step();
    }
    std::printf("%-4s the gradient was at most %.0e, the bias moved by up to %.0e\n",
                adam_moves ? "Adam" : "SGD", largest, max(abs(bias.detach() - before)).item());
  }
  // [/noise]
}

void schedule() {
  std::printf("== schedule\n");
  // [schedule]
  Rng rng(0);
  Linear layer(rng, 4, 4);
  SGD optimizer(layer, {.momentum = 0.9});
  OneCycleLR schedule(optimizer, {.max_lr = 1.0, .total_steps = 10});
  for (int step = 0; step < 10; ++step) {
    std::printf("%.3f ", optimizer.lr());
    if (step < 9) schedule.step();  // after optimizer.step(), which is left out here
  }
  std::printf("\n");
  // [/schedule]
}

int main() {
  rates();
  adam();
  zero_grad_forgotten();
  noise();
  schedule();
}
