// Initialisations against PyTorch's formulas: bounds, moments and the matrices they promise.
#include "catch.h"

#include <loupe/autograd/ops.h>
#include <loupe/layers/init.h>

#include <algorithm>
#include <cmath>

using namespace loupe;

namespace {

struct Moments {
  double mean, std, low, high;
};

Moments moments(const Tensor& w) {
  const std::vector<double> v = w.to_vector<double>();
  const double n = static_cast<double>(v.size());
  double sum = 0, squares = 0;
  for (double x : v) sum += x;
  for (double x : v) squares += (x - sum / n) * (x - sum / n);
  return {sum / n, std::sqrt(squares / n), *std::min_element(v.begin(), v.end()),
          *std::max_element(v.begin(), v.end())};
}

// 60,000 numbers: 4 standard errors of the mean are 1.6 % of std, of std itself 1.2 % (normal).
Tensor weight() { return zeros({200, 100, 3}); }
constexpr double kFanIn = 300, kFanOut = 600;

void check_uniform(const Tensor& w, double bound) {
  const Moments m = moments(w);
  CHECK(std::abs(m.mean) < 0.017 * bound);
  CHECK(m.std == Approx(bound / std::sqrt(3.0)).epsilon(0.012));
  CHECK(m.high <= bound);
  CHECK(m.low >= -bound);
  CHECK(m.high > 0.999 * bound);
  CHECK(m.low < -0.999 * bound);
}

void check_normal(const Tensor& w, double std) {
  const Moments m = moments(w);
  CHECK(std::abs(m.mean) < 0.017 * std);
  CHECK(m.std == Approx(std).epsilon(0.013));
  CHECK(m.high > 3.3 * std);
}

}  // namespace

TEST_CASE("gains are PyTorch's") {
  using init::calculate_gain, init::Nonlinearity;
  CHECK(calculate_gain(Nonlinearity::linear) == 1);
  CHECK(calculate_gain(Nonlinearity::sigmoid) == 1);
  CHECK(calculate_gain(Nonlinearity::tanh) == 5.0 / 3);
  CHECK(calculate_gain(Nonlinearity::relu) == std::sqrt(2.0));
  CHECK(calculate_gain(Nonlinearity::leaky_relu) == Approx(1.4141428569978354));
  CHECK(calculate_gain(Nonlinearity::leaky_relu, 0.2) == Approx(1.3867504905630728));
  CHECK(calculate_gain(Nonlinearity::selu) == 0.75);
}

TEST_CASE("uniform and normal initialisations have the bounds and deviations of their formulas") {
  Rng rng(11);
  const Tensor w = weight();
  init::xavier_uniform_(w, rng, 2);
  check_uniform(w, 2 * std::sqrt(6 / (kFanIn + kFanOut)));
  init::xavier_normal_(w, rng, 2);
  check_normal(w, 2 * std::sqrt(2 / (kFanIn + kFanOut)));
  init::kaiming_uniform_(w, rng);
  check_uniform(w, std::sqrt(2.0) * std::sqrt(3 / kFanIn));
  init::kaiming_uniform_(w, rng, {.a = std::sqrt(5.0)});
  check_uniform(w, 1 / std::sqrt(kFanIn));
  init::kaiming_normal_(w, rng, {.mode = init::Fan::out, .nonlinearity = init::Nonlinearity::relu});
  check_normal(w, std::sqrt(2 / kFanOut));
  init::kaiming_normal_(w, rng, {.a = 0.5});
  check_normal(w, std::sqrt(2 / 1.25 / kFanIn));
  init::uniform_(w, rng, -0.3, 0.3);
  check_uniform(w, 0.3);
  init::normal_(w, rng, 0, 0.02);
  check_normal(w, 0.02);
}

TEST_CASE("trunc_normal_ stays within its bounds and has the moments of the cut distribution") {
  Rng rng(12);
  const Tensor w = weight();
  init::trunc_normal_(w, rng);
  Moments m = moments(w);
  CHECK(std::abs(m.mean) < 0.016);
  CHECK(m.std == Approx(0.87962566).epsilon(0.012));  // of N(0, 1) cut at 2
  CHECK((m.low >= -2 && m.low < -1.99));
  CHECK((m.high <= 2 && m.high > 1.99));
  init::trunc_normal_(w, rng, {.std = 0.02});  // a = -2 is a value: 100 deviations away
  check_normal(w, 0.02);
  init::trunc_normal_(w, rng, {.mean = 1, .std = 2, .a = 0, .b = 1.5});
  m = moments(w);
  CHECK(m.mean == Approx(0.761499).epsilon(0.01));
  CHECK((m.low >= 0 && m.high <= 1.5));
  // A far tail: the mean of N(0, 1) above 9 is phi(9) / Q(9).
  init::trunc_normal_(w, rng, {.a = 9, .b = 40});
  m = moments(w);
  CHECK(m.mean == Approx(9.108523).epsilon(0.0002));
  CHECK(m.low >= 9);
  init::trunc_normal_(w, rng, {.a = -40, .b = -9});
  CHECK(moments(w).mean == Approx(-9.108523).epsilon(0.0002));
}

TEST_CASE("constant, zeros, ones, eye and orthogonal") {
  Rng rng(13);
  const Tensor w = zeros({3, 5}).requires_grad_();
  init::constant_(w, 0.25);
  CHECK(equal(w.detach(), full({3, 5}, 0.25)));
  init::ones_(w);
  CHECK(equal(w.detach(), ones({3, 5})));
  init::zeros_(w);
  CHECK(equal(w.detach(), zeros({3, 5})));
  init::eye_(w);
  CHECK(equal(matmul(w.detach(), w.detach().t()), eye(3)));
  CHECK(w.detach().sum().item() == 3);

  const auto product = [](const Tensor& q) { return matmul(q, q.t()); };
  for (const Shape& shape : std::vector<Shape>{{6, 6}, {4, 9}, {9, 4}, {5, 2, 3}}) {
    const Tensor q = zeros(shape, DType::f64);
    init::orthogonal_(q, rng, 2);
    const Tensor flat = q.reshape({shape[0], -1});
    const bool wide = flat.size(0) <= flat.size(1);
    const Tensor unit = product(wide ? flat : flat.t());
    CHECK(allclose(unit, eye(unit.size(0), DType::f64) * 4, 0, 1e-13));
  }
  // Haar's distribution: an entry of a 6 x 6 matrix has mean 0 and variance 1 / 6.
  double sum = 0, squares = 0;
  for (int i = 0; i < 2000; ++i) {
    const Tensor q = zeros({6, 6}, DType::f64);
    init::orthogonal_(q, rng);
    const double x = q.to_vector<double>()[0];
    sum += x;
    squares += x * x;
  }
  CHECK(std::abs(sum / 2000) < 0.037);
  CHECK(squares / 2000 == Approx(1.0 / 6).epsilon(0.11));
}
