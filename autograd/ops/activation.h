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
/// log(1 + e^(beta x)) / beta; x itself where beta x > threshold. ValueError if beta is 0 or NaN.
Tensor softplus(In x, SoftplusOptions options = {});
/// x above 0, alpha (e^x - 1) below. Clevert et al., "Exponential linear units", 2015.
Tensor elu(In x, double alpha = 1);

/// x above 0, alpha (e^(x / alpha) - 1) below. ValueError if alpha is 0 or NaN. Barron,
/// "Continuously differentiable exponential linear units", 2017.
Tensor celu(In x, double alpha = 1);
/// 1.0507 times elu(x, 1.6733), numbers that keep mean 0 and variance 1. Klambauer et al.,
/// "Self-normalizing neural networks", 2017.
Tensor selu(In x);
/// x tanh(log(1 + e^x)). Misra, "Mish: a self regularized non-monotonic activation function", 2019.
Tensor mish(In x);
/// min(max(x + 3, 0), 6) / 6, and x times that. The gradient is 0 outside of (-3, 3), but for
/// hardswish 1 from 3 on. Howard et al., "Searching for MobileNetV3", 2019.
Tensor hardsigmoid(In x);
Tensor hardswish(In x);
/// x limited to [min_val, max_val]; gradient 0 at the bounds too (clamp's is 1 there). ValueError
/// if min_val > max_val or one is NaN.
Tensor hardtanh(In x, double min_val = -1, double max_val = 1);
/// hardtanh(x, 0, 6).
Tensor relu6(In x);
/// log(1 / (1 + e^-x)), without overflow.
Tensor log_sigmoid(In x);
/// a sigmoid(b), where a and b are the first and the second half of x along `dim`. ShapeError
/// unless that size is even. Dauphin et al., "Language modeling with gated convolutional networks",
/// 2016.
Tensor glu(In x, int64_t dim = -1);
/// silu(a) b of the same halves. Shazeer, "GLU variants improve Transformer", 2020.
Tensor swiglu(In x, int64_t dim = -1);

namespace detail {
/// Records y as relu(z), which it is already.
void record_relu(In z, Tensor& y);
}  // namespace detail

}  // namespace loupe
