#include <loupe/layers/linear.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

TEST_CASE("Linear equals PyTorch's: output, gradients of input, weight and bias") {
  Rng rng(1);
  layer_case("linear", Linear(rng, 5, 4));
  layer_case("linear_3d", Linear(rng, 5, 4));
  layer_case("linear_nobias", Linear(rng, 5, 4, {.bias = false}));
}
