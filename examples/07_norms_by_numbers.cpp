// BatchNorm and LayerNorm on the same twelve numbers: what each subtracts, what each remembers, and
// who depends on whom. docs/guide/07_norms.md derives both backward passes.
#include <loupe/loupe.h>

#include <fmt/core.h>

#include <cmath>
#include <iostream>

using namespace loupe;

int main() {
  // Four samples with three features each.
  const Tensor x = tensor({1, 10, 3, 2, 30, 1, 3, 20, 2, 6, 20, 5}, Shape{4, 3});
  BatchNorm1d batch_norm(3);
  LayerNorm layer_norm(3);
  std::cout << "x = " << x << "\n\n";
  std::cout << "BatchNorm, mean 0 and variance 1 in each column: " << batch_norm(x).detach()
            << "\n\n";
  std::cout << "LayerNorm, mean 0 and variance 1 in each row: " << layer_norm(x).detach() << "\n\n";

  // BatchNorm remembers: a tenth of the way from (0, 1) to this batch.
  std::cout << "running_mean = " << batch_norm.running_mean
            << ", running_var = " << batch_norm.running_var << " (the unbiased variance)\n\n";

  // In eval mode it uses what it remembers, so one sample alone is no problem.
  eval(batch_norm);
  const Tensor alone = batch_norm(x.slice(0, 0, 1)), together = batch_norm(x).slice(0, 0, 1);
  fmt::print("in eval mode, sample 0 alone and among others: {}\n",
             equal(alone, together) ? "the same" : "different");
  train(batch_norm);

  // Who depends on whom: the gradient of sample 0's first output.
  const Tensor in = x.clone().requires_grad_();
  const Tensor by_batch = grad({batch_norm(in)[0][0]}, {in})[0];
  const Tensor by_layer = grad({layer_norm(in)[0][0]}, {in})[0];
  std::cout << "gradient through BatchNorm: " << by_batch << "\n";
  std::cout << "gradient through LayerNorm: " << by_layer << "\n";

  const bool others = std::abs(by_batch[1][0].item()) > 1e-3, none = by_layer[1][0].item() == 0;
  const bool remembered = std::abs(batch_norm.running_mean[0].item() - 0.1 * 3 * 1.9) < 1e-5;
  return equal(alone, together) && others && none && remembered ? 0 : 1;
}
