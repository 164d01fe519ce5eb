#include "exercise.h"

Tensor mine::batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        BatchNormState& state) {
  // >>> your part
  if (!state.training)
    return (x - state.running_mean) * rsqrt(state.running_var + state.eps) * weight + bias;
  const double n = static_cast<double>(x.size(0)), momentum = state.momentum;
  const Tensor mean = x.mean({0});
  const Tensor variance = square(x - mean).mean({0});
  const Tensor unbiased = variance * (n / (n - 1));
  state.running_mean = (1 - momentum) * state.running_mean + momentum * mean;
  state.running_var = (1 - momentum) * state.running_var + momentum * unbiased;
  return (x - mean) * rsqrt(variance + state.eps) * weight + bias;
  // <<<
}
