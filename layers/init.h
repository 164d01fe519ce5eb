#pragma once
// Initialisation of weights, in place, with PyTorch's names and formulas. fan_in is the number of
// inputs of one output: the product of all dimensions but the first; fan_out the first times the
// receptive field.
#include <loupe/core/tensor.h>

namespace loupe::init {

/// U(-b, b) with b = gain * sqrt(3 / fan_in), gain = sqrt(2 / (1 + a^2)). He et al., "Delving deep
/// into rectifiers", 2015. a = sqrt(5) is the default of PyTorch's Linear and Conv:
/// U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
void kaiming_uniform(const Tensor& weight, Rng& rng, double a = 2.2360679774997896964);
/// N(0, gain^2 / fan_in) with gain sqrt(2) (relu).
void kaiming_normal(const Tensor& weight, Rng& rng, double a = 0);
/// U(-b, b), b = gain * sqrt(6 / (fan_in + fan_out)). Glorot and Bengio, 2010.
void xavier_uniform(const Tensor& weight, Rng& rng, double gain = 1);
void normal(const Tensor& weight, Rng& rng, double mean = 0, double std = 1);
void uniform(const Tensor& weight, Rng& rng, double low, double high);
/// The bias that goes with kaiming_uniform: U(-1/sqrt(fan_in), 1/sqrt(fan_in)) of the weight.
void bias_for(const Tensor& bias, const Tensor& weight, Rng& rng);
int64_t fan_in(const Tensor& weight);
int64_t fan_out(const Tensor& weight);

}  // namespace loupe::init
