#pragma once
// Exercise 3: what you write, and what you may use.
#include <loupe/exercises/taught/ops.h>

using namespace loupe;

namespace mine {

struct MatmulGradients {
  Tensor da, db;
};

/// a (n, k), b (k, m), dy (n, m): the gradient of y = a b. Gives those of a and b.
MatmulGradients matmul_backward(const Tensor& a, const Tensor& b, const Tensor& dy);

}  // namespace mine
