#include <loupe/autograd/grad_mode.h>
#include <loupe/layers/init.h>

#include <cmath>

namespace loupe::init {
namespace {

double gain(double a) { return std::sqrt(2.0 / (1 + a * a)); }
double root(int64_t n) { return std::sqrt(static_cast<double>(std::max<int64_t>(n, 1))); }

int64_t receptive_field(const Tensor& w) {
  if (w.dim() < 2)
    fail<ShapeError>("init: fan-in and fan-out need at least two dimensions, got shape {}",
                     w.shape());
  int64_t n = 1;
  for (int i = 2; i < w.dim(); ++i) n *= w.shape()[i];
  return n;
}

}  // namespace

int64_t fan_in(const Tensor& w) { return receptive_field(w) * w.size(1); }
int64_t fan_out(const Tensor& w) { return receptive_field(w) * w.size(0); }

void uniform(const Tensor& w, Rng& rng, double low, double high) {
  NoGrad guard;
  w.uniform_(rng, low, high);
}
void normal(const Tensor& w, Rng& rng, double mean, double std) {
  NoGrad guard;
  w.normal_(rng, mean, std);
}
void kaiming_uniform(const Tensor& w, Rng& rng, double a) {
  const double b = gain(a) * std::sqrt(3.0) / root(fan_in(w));
  uniform(w, rng, -b, b);
}
void kaiming_normal(const Tensor& w, Rng& rng, double a) {
  normal(w, rng, 0, gain(a) / root(fan_in(w)));
}
void xavier_uniform(const Tensor& w, Rng& rng, double g) {
  const double b = g * std::sqrt(6.0) / root(fan_in(w) + fan_out(w));
  uniform(w, rng, -b, b);
}
void bias_for(const Tensor& bias, const Tensor& weight, Rng& rng) {
  const double b = 1 / root(fan_in(weight));
  uniform(bias, rng, -b, b);
}

}  // namespace loupe::init
