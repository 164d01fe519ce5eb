#pragma once
// Exercise 18: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

/// x (..., C), weight (C): weight x / sqrt(mean(x^2) + eps), over the last dimension.
Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps);

struct RmsGradients {
  Tensor dx, dweight;
};
RmsGradients rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& dy, double eps);

}  // namespace mine
