// Tensors: making them, computing, views that share memory, layouts, printing.
#include <loupe/autograd/ops.h>

#include <fmt/core.h>

#include <iostream>

using namespace loupe;

int main() {
  // A tensor has a shape and an element type (f32 unless said otherwise).
  const Tensor a = tensor({1, 2, 3, 4, 5, 6}, Shape{2, 3});
  std::cout << "a = " << a << "\n\n";

  // Shapes broadcast as in NumPy; a number takes the tensor's type.
  const Tensor row = tensor({10, 20, 30});
  std::cout << "a * 2 + row = " << a * 2 + row << "\n\n";
  std::cout << "row sums = " << a.sum({1}) << ", mean of all = " << a.mean().item() << "\n\n";
  std::cout << "a times its transpose = " << matmul(a, a.t()) << "\n\n";

  // Views share memory: a write through one is seen through all.
  const Tensor corner = a.slice(1, 1, 3);  // columns 1 and 2
  corner.fill_(0);
  std::cout << "after corner.fill_(0), a = " << a << "\n\n";
  fmt::print("a.t() has shape {} and strides {}: no element moved\n\n", to_string(a.t().shape()),
             to_string(a.t().strides()));

  // Copies of a Tensor are the same tensor; clone() has memory of its own.
  const Tensor same = a, copy = a.clone();
  same.fill_(7);
  fmt::print("a[0][0] is {}, its clone's is {}\n\n", a[0][0].item(), copy[0][0].item());

  // Randomness is an Rng that is passed in; its state can be saved and put back.
  Rng rng(42);
  const Rng::State before = rng.state();
  const Tensor noise = randn(rng, {1000, 1000});
  rng.set_state(before);
  fmt::print("drawn again from the same state, the same bits: {}\n",
             equal(noise, randn(rng, {1000, 1000})));
  std::cout << "large tensors are shortened: " << noise << "\n\n";

  // Misuse throws a typed error with a sentence.
  try {
    matmul(a, a);
  } catch (const ShapeError& e) { fmt::print("ShapeError: {}\n", e.what()); }

  const bool right = a[0][0].item() == 7 && copy[0][0].item() == 1 && copy[1][2].item() == 0;
  return right ? 0 : 1;
}
