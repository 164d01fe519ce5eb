#pragma once
// Initialisation of weights, in place, with PyTorch's names and formulas (torch.nn.init). fan_in is
// the number of inputs of one output: the product of all dimensions but the first; fan_out the
// first times the receptive field.
#include <loupe/core/tensor.h>

#include <vector>

namespace loupe::init {

/// What follows the weights, for the gain that keeps the variance.
enum class Nonlinearity { linear, sigmoid, tanh, relu, leaky_relu, selu };
/// 1, 1, 5/3, sqrt(2), sqrt(2 / (1 + slope^2)), 3/4; `slope` is that of leaky_relu below 0.
double calculate_gain(Nonlinearity nonlinearity, double slope = 0.01);

enum class Fan { in, out };
struct KaimingOptions {
  double a = 0;  // the slope below 0, for leaky_relu
  Fan mode = Fan::in;
  Nonlinearity nonlinearity = Nonlinearity::leaky_relu;
};

/// Every element the same number, 0 or 1.
void constant_(const Tensor& weight, double value);
void zeros_(const Tensor& weight);
void ones_(const Tensor& weight);
/// Ones on the diagonal of two dimensions, else zeros: y = x. ShapeError for other ranks.
void eye_(const Tensor& weight);
/// U(low, high) and N(mean, std^2).
void uniform_(const Tensor& weight, Rng& rng, double low = 0, double high = 1);
void normal_(const Tensor& weight, Rng& rng, double mean = 0, double std = 1);

struct TruncNormalOptions {
  double mean = 0;
  double std = 1;
  double a = -2;
  double b = 2;
};
/// N(mean, std^2) under the condition a <= w <= b, which are values, not multiples of std. By the
/// inverse of the distribution function. ValueError unless a < b and std > 0.
void trunc_normal_(const Tensor& weight, Rng& rng, TruncNormalOptions options = {});

/// U(-b, b) with b = gain * sqrt(6 / (fan_in + fan_out)); N(0, gain^2 2 / (fan_in + fan_out)).
/// Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
/// 2010.
void xavier_uniform_(const Tensor& weight, Rng& rng, double gain = 1);
void xavier_normal_(const Tensor& weight, Rng& rng, double gain = 1);
/// U(-b, b) with b = gain * sqrt(3 / fan); N(0, gain^2 / fan). He et al., "Delving deep into
/// rectifiers", 2015. With a = kLayerSlope b is 1 / sqrt(fan_in): so PyTorch's Linear and
/// convolutions begin, and this library's.
inline constexpr double kLayerSlope = 2.2360679774997896964;  // sqrt(5)
void kaiming_uniform_(const Tensor& weight, Rng& rng, KaimingOptions options = {});
void kaiming_normal_(const Tensor& weight, Rng& rng, KaimingOptions options = {});
/// gain times a matrix with orthonormal rows or columns, whichever are fewer: the first dimension
/// by all others. ShapeError below two dimensions. Saxe et al., "Exact solutions to the nonlinear
/// dynamics of learning in deep linear neural networks", 2013.
void orthogonal_(const Tensor& weight, Rng& rng, double gain = 1);
/// Fixup (Zhang et al. 2019, Fixup Initialization): the weights of one residual branch, in order,
/// in a network of so many branches. All but the last are multiplied by branches^(-1 / (2 m - 2)),
/// m being their number, and the last becomes 0. ValueError for fewer than two weights or no
/// branches.
void fixup_(const std::vector<Tensor>& weights, int64_t branches);
/// The bias of such a layer: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in being the weight's.
void bias_for(const Tensor& bias, const Tensor& weight, Rng& rng);
/// ShapeError below two dimensions.
int64_t fan_in(const Tensor& weight);
int64_t fan_out(const Tensor& weight);

}  // namespace loupe::init
