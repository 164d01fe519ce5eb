#pragma once
// Exercise 17: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

struct NormGradients {
  Tensor dx, dweight, dbias;
};

/// x (..., C), weight (C), bias (C): LayerNorm over the last dimension.
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);
/// x (..., C), weight (C), dy (..., C): its gradients.
NormGradients layer_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                  double eps);

}  // namespace mine
