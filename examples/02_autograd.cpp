// Gradients: backward(), grad(), second derivatives, hooks, no_grad, and anomaly mode.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <fmt/core.h>

#include <cmath>
#include <iostream>

using namespace loupe;

int main() {
  // A leaf asks for a gradient; what is computed from it is recorded.
  const Tensor x = tensor({1, 2, 3}, {}, DType::f64).requires_grad_();
  const Tensor y = (x * x * x).sum();
  y.backward();
  std::cout << "y = sum x^3 = " << y.item() << ", dy/dx = 3 x^2 = " << x.grad() << "\n";

  // Gradients add up until they are dropped.
  (x * 2).sum().backward();
  std::cout << "after another backward, of sum 2 x: " << x.grad() << "\n";
  x.zero_grad();

  // grad() returns gradients instead of storing them, and with create_graph they can be
  // differentiated again.
  const Tensor first = grad({exp(x).sum()}, {x}, {.create_graph = true})[0];
  const Tensor second = grad({first.sum()}, {x})[0];
  std::cout << "d2/dx2 of e^x = " << second << "\n";

  // A hook sees a gradient on its way, and may change it.
  const Tensor middle = x * 10;
  register_hook(middle, [](const Tensor& g) {
    std::cout << "the hook saw " << g << "\n";
    return clamp(g, -1, 1);
  });
  (middle * middle).sum().backward();
  std::cout << "clamped on the way, dx = " << x.grad() << "\n";

  // Nothing is recorded in here; detach() cuts one tensor off.
  const Tensor quiet = no_grad([&] { return x * 5; });
  fmt::print("recorded in no_grad: {}, after detach: {}\n", quiet.requires_grad(),
             (x * x).detach().requires_grad());

  // Anomaly mode stops at the op that first made a NaN or Inf, and says where it stands in this
  // file.
  bool found = false;
  try {
    AnomalyMode on;
    const Tensor risky = log(x - 2);
  } catch (const NumericError& e) {
    fmt::print("NumericError: {}\n", e.what());
    found = std::string(e.what()).find("02_autograd.cpp") != std::string::npos;
  }

  // A value that backward needs may not be changed behind its back.
  const Tensor c = tensor({4, 5, 6}, {}, DType::f64);
  const Tensor z = (x * c).sum();
  c.fill_(0);
  try {
    z.backward();
    found = false;
  } catch (const GradError& e) { fmt::print("GradError: {}\n", e.what()); }
  return found && std::abs(second[2].item() - std::exp(3.0)) < 1e-12 ? 0 : 1;
}
