#include <loupe/autograd/grad_mode.h>
#include <loupe/core/dmath.h>
#include <loupe/layers/init.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace loupe::init {
namespace {

double root(int64_t n) { return std::sqrt(static_cast<double>(std::max<int64_t>(n, 1))); }

int64_t receptive_field(const Tensor& w) {
  if (w.dim() < 2)
    fail<ShapeError>("init: fan-in and fan-out need at least two dimensions, got shape {}",
                     w.shape());
  int64_t n = 1;
  for (int i = 2; i < w.dim(); ++i) n *= w.shape()[i];
  return n;
}

constexpr double kRootOfHalf = 0.70710678118654752440;     // sqrt(1 / 2)
constexpr double kDensityAtZero = 0.39894228040143267794;  // 1 / sqrt(2 pi)

double normal_cdf(double x) { return 0.5 * dmath::erfc(x * -kRootOfHalf); }

// The x with Phi(x) = p for 0 < p <= 1/2: a rational first guess (Abramowitz and Stegun, 26.2.23,
// good to 4.5e-4), then Halley's steps, each of which triples the digits.
double lower_quantile(double p) {
  const double t = std::sqrt(-2 * dmath::log(p));
  const double above = 2.515517 + t * (0.802853 + t * 0.010328);
  const double below = 1 + t * (1.432788 + t * (0.189269 + t * 0.001308));
  double x = above / below - t;
  for (int i = 0; i < 3; ++i) {
    const double density = kDensityAtZero * dmath::exp(-0.5 * x * x);
    const double step = (normal_cdf(x) - p) / density;
    x -= step / (1 + 0.5 * x * step);
  }
  return x;
}

// `n` columns of `size` numbers each, made orthonormal one after the other. Twice is enough: what
// rounding left of the earlier columns goes the second time.
void orthonormalize(std::vector<double>& columns, int64_t n, int64_t size) {
  const auto dot = [&](const double* x, const double* y) {
    double sum = 0;
    for (int64_t i = 0; i < size; ++i) sum += x[i] * y[i];
    return sum;
  };
  for (int64_t j = 0; j < n; ++j) {
    double* const column = columns.data() + j * size;
    for (int64_t k = 0; k < 2 * j; ++k) {
      const double* const earlier = columns.data() + k % j * size;
      const double part = dot(column, earlier);
      for (int64_t i = 0; i < size; ++i) column[i] -= part * earlier[i];
    }
    const double length = std::sqrt(dot(column, column));
    for (int64_t i = 0; i < size; ++i) column[i] /= length;
  }
}

double fan_root(Fan mode, const Tensor& w) {
  return root(mode == Fan::in ? fan_in(w) : fan_out(w));
}

}  // namespace

int64_t fan_in(const Tensor& w) { return receptive_field(w) * w.size(1); }
int64_t fan_out(const Tensor& w) { return receptive_field(w) * w.size(0); }

double calculate_gain(Nonlinearity nonlinearity, double slope) {
  switch (nonlinearity) {
    case Nonlinearity::tanh: return 5.0 / 3;
    case Nonlinearity::relu: return std::sqrt(2.0);
    case Nonlinearity::leaky_relu: return std::sqrt(2.0 / (1 + slope * slope));
    case Nonlinearity::selu: return 0.75;
    default: return 1;
  }
}

void constant_(const Tensor& w, double value) {
  NoGrad guard;
  w.fill_(value);
}
void zeros_(const Tensor& w) { constant_(w, 0); }
void ones_(const Tensor& w) { constant_(w, 1); }
void eye_(const Tensor& w) {
  if (w.dim() != 2) fail<ShapeError>("eye_: needs two dimensions, got shape {}", w.shape());
  constant_(w, 0);
  NoGrad guard;
  for (int64_t i = 0; i < std::min(w.size(0), w.size(1)); ++i) w.select(0, i).select(0, i).fill_(1);
}

void uniform_(const Tensor& w, Rng& rng, double low, double high) {
  NoGrad guard;
  w.uniform_(rng, low, high);
}
void normal_(const Tensor& w, Rng& rng, double mean, double std) {
  NoGrad guard;
  w.normal_(rng, mean, std);
}

void trunc_normal_(const Tensor& w, Rng& rng, TruncNormalOptions o) {
  if (!(o.a < o.b)) fail<ValueError>("trunc_normal_: the range [{}, {}] is empty", o.a, o.b);
  if (!(o.std > 0)) fail<ValueError>("trunc_normal_: the deviation {} must be positive", o.std);
  const double low = normal_cdf((o.a - o.mean) / o.std), high = normal_cdf((o.b - o.mean) / o.std);
  // In the upper tail Phi is 1 to the last bit: there the mirrored tail is drawn from.
  const double low_up = normal_cdf((o.mean - o.b) / o.std),
               high_up = normal_cdf((o.mean - o.a) / o.std);
  const bool upper = low > 0.5;
  const Tensor u = loupe::uniform(rng, w.shape(), 0, 1, DType::f64);
  for (double& x : u.data<double>()) {
    const double p = upper ? low_up + (high_up - low_up) * x : low + (high - low) * x;
    const double tail = std::max(std::min(p, 1 - p), 1e-300);
    const double below = p <= 0.5 ? lower_quantile(tail) : -lower_quantile(tail);
    x = std::clamp(o.mean + o.std * (upper ? -below : below), o.a, o.b);
  }
  NoGrad guard;
  w.copy_(u);
}

void xavier_uniform_(const Tensor& w, Rng& rng, double gain) {
  const double b = gain * std::sqrt(6.0) / root(fan_in(w) + fan_out(w));
  uniform_(w, rng, -b, b);
}
void xavier_normal_(const Tensor& w, Rng& rng, double gain) {
  normal_(w, rng, 0, gain * std::sqrt(2.0) / root(fan_in(w) + fan_out(w)));
}
void kaiming_uniform_(const Tensor& w, Rng& rng, KaimingOptions options) {
  const double gain = calculate_gain(options.nonlinearity, options.a);
  const double b = gain * std::sqrt(3.0) / fan_root(options.mode, w);
  uniform_(w, rng, -b, b);
}
void kaiming_normal_(const Tensor& w, Rng& rng, KaimingOptions options) {
  const double gain = calculate_gain(options.nonlinearity, options.a);
  normal_(w, rng, 0, gain / fan_root(options.mode, w));
}

void fixup_(const std::vector<Tensor>& weights, int64_t branches) {
  if (weights.size() < 2 || branches < 1)
    fail<ValueError>("fixup_: needs two weights of a branch or more and a branch, got {} and {}",
                     weights.size(), branches);
  const double m = static_cast<double>(weights.size());
  const double factor = std::pow(static_cast<double>(branches), -1 / (2 * m - 2));
  NoGrad guard;
  for (size_t i = 0; i + 1 < weights.size(); ++i) weights[i].mul_(factor);
  weights.back().zero_();
}

void orthogonal_(const Tensor& w, Rng& rng, double gain) {
  if (w.dim() < 2)
    fail<ShapeError>("orthogonal_: needs at least two dimensions, got shape {}", w.shape());
  const int64_t rows = w.size(0), columns = rows == 0 ? 0 : w.numel() / rows;
  const int64_t fewer = std::min(rows, columns), more = std::max(rows, columns);
  std::vector<double> q = randn(rng, {fewer, more}, DType::f64).to_vector<double>();
  orthonormalize(q, fewer, more);
  for (double& x : q) x *= gain;
  Tensor matrix = from_data(q, Shape{fewer, more});
  NoGrad guard;
  if (rows > columns) matrix = matrix.t();
  w.copy_(matrix.reshape(w.shape()));
}

void bias_for(const Tensor& bias, const Tensor& weight, Rng& rng) {
  const double b = 1 / root(fan_in(weight));
  uniform_(bias, rng, -b, b);
}

}  // namespace loupe::init
