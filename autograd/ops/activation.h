#pragma once
// Activations, element by element, for f32 and f64.
#include <loupe/core/tensor.h>

namespace loupe {

/// max(x, 0); slope 0 at 0.
Tensor relu(In x);
/// x above 0, negative_slope * x below.
Tensor leaky_relu(In x, double negative_slope = 0.01);

enum class Approximate { none, tanh };
struct GeluOptions {
  Approximate approximate = Approximate::none;
};
/// x Phi(x), Phi the distribution function of the standard normal; tanh: x (1 + tanh(sqrt(2/pi) (x
/// + 0.044715 x^3))) / 2, which differs by up to 5e-4 (GPT-2 uses it). Hendrycks and Gimpel,
/// "Gaussian error linear units", 2016.
Tensor gelu(In x, GeluOptions options = {});
/// x sigmoid(x). Elfwing et al., "Sigmoid-weighted linear units", 2017.
Tensor silu(In x);
/// 1 / (1 + e^-x).
Tensor sigmoid(In x);
/// Hyperbolic tangent.
Tensor tanh(In x);
/// Error function.
Tensor erf(In x);

struct SoftplusOptions {
  double beta = 1;
  double threshold = 20;
};
/// log(1 + e^(beta x)) / beta; x itself where beta x > threshold. ValueError if beta is 0.
Tensor softplus(In x, SoftplusOptions options = {});
/// x above 0, alpha (e^x - 1) below. Clevert et al., "Exponential linear units", 2015.
Tensor elu(In x, double alpha = 1);

namespace detail {
/// Records y as relu(z), which it is already.
void record_relu(In z, Tensor& y);
}  // namespace detail

}  // namespace loupe
