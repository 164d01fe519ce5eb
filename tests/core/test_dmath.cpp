#include "catch.h"
#include "worst.h"

#include <loupe/core/dmath.h>
#include <loupe/core/random.h>

#include <cmath>
#include <random>

using namespace loupe;

namespace {

// Largest relative error of f against g over numbers drawn by `draw`.
template <class F, class G, class D> double worst(F f, G g, D draw) {
  Rng rng(9);
  double w = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = draw(rng);
    const long double want = g(static_cast<long double>(x));
    const double got = f(x);
    if (want == 0 || std::fabs(want) < 1e-300L) continue;
    w = worst_of(w, static_cast<double>(std::fabs((got - want) / want)));
  }
  return w;
}
double between(Rng& r, double a, double b) { return a + (b - a) * r.uniform(); }

}  // namespace

TEST_CASE("double-precision functions keep the error bounds of their header") {
  REQUIRE(worst(
              dmath::exp, [](long double x) { return std::exp(x); },
              [](Rng& r) { return between(r, -700, 700); }) < 4e-16);
  REQUIRE(worst(
              dmath::exp, [](long double x) { return std::exp(x); },
              [](Rng& r) { return between(r, -1, 1); }) < 4e-16);
  REQUIRE(worst(
              dmath::expm1, [](long double x) { return std::expm1(x); },
              [](Rng& r) { return between(r, -3, 3); }) < 6e-16);
  REQUIRE(worst(
              dmath::log, [](long double x) { return std::log(x); },
              [](Rng& r) { return between(r, 1e-9, 4); }) < 4e-16);
  REQUIRE(worst(
              dmath::log, [](long double x) { return std::log(x); },
              [](Rng& r) { return std::exp(between(r, -740, 700)); }) < 4e-16);
  REQUIRE(worst(
              dmath::log1p, [](long double x) { return std::log1p(x); },
              [](Rng& r) { return between(r, -0.9, 3); }) < 4e-16);
  REQUIRE(worst(
              dmath::tanh, [](long double x) { return std::tanh(x); },
              [](Rng& r) { return between(r, -5, 5); }) < 8e-16);
  REQUIRE(worst(
              dmath::erf, [](long double x) { return std::erf(x); },
              [](Rng& r) { return between(r, -7, 7); }) < 1e-15);
  // Far out, a rounding of x^2 alone moves e^(-x^2) by x^2 epsilon.
  REQUIRE(worst(
              dmath::erfc, [](long double x) { return std::erfc(x); },
              [](Rng& r) { return between(r, -3, 2); }) < 3e-15);
  REQUIRE(worst(
              dmath::erfc, [](long double x) { return std::erfc(x); },
              [](Rng& r) { return between(r, 2, 10); }) < 3e-14);
  double angle = 0;
  Rng rng(3);
  for (int i = 0; i < 100000; ++i) {
    const double v = between(rng, -2, 2);
    const long double a = 6.283185307179586476925286766559L * v;
    const auto [s, c] = dmath::sincos_turns(v);
    angle = worst_of(angle, static_cast<double>(std::fabs(s - std::sin(a))));
    angle = worst_of(angle, static_cast<double>(std::fabs(c - std::cos(a))));
  }
  REQUIRE(angle < 3e-16);
  REQUIRE(dmath::cos_pi(1) == -1);
  REQUIRE(dmath::cos_pi(0.5) == 0);
  REQUIRE(worst([](double x) { return dmath::pow(x, 2.5); },
                [](long double x) { return std::pow(x, 2.5L); },
                [](Rng& r) { return between(r, 0.01, 100); }) < 5e-15);
  REQUIRE(
      worst([](double x) { return dmath::pow(0.999, std::floor(x)); },
            [](long double x) { return std::pow(static_cast<long double>(0.999), std::floor(x)); },
            [](Rng& r) { return between(r, 1, 20000); }) < 2e-14);
}

TEST_CASE("double-precision functions at the edges") {
  const double inf = dmath::kInf, nan = std::nan("");
  REQUIRE(dmath::exp(inf) == inf);
  REQUIRE(dmath::exp(-inf) == 0);
  REQUIRE(std::isnan(dmath::exp(nan)));
  REQUIRE(dmath::exp(-744) > 0);
  REQUIRE(dmath::log(0) == -inf);
  REQUIRE(dmath::log(inf) == inf);
  REQUIRE(std::isnan(dmath::log(-1)));
  REQUIRE(std::abs(dmath::log(5e-324) / std::log(5e-324) - 1) < 1e-15);
  REQUIRE(dmath::tanh(100) == 1);
  REQUIRE(std::isnan(dmath::tanh(nan)));
  REQUIRE(dmath::erf(inf) == 1);
  REQUIRE(dmath::erfc(-inf) == 2);
  REQUIRE(dmath::pow(-2, 3) == -8);
  REQUIRE(dmath::pow(-8, -1) == -0.125);
  REQUIRE(std::isnan(dmath::pow(-8, 0.5)));
  REQUIRE(dmath::pow(0, 0.5) == 0);
  REQUIRE(dmath::pow(0, -0.5) == inf);
  REQUIRE(dmath::pow(2, inf) == inf);
  REQUIRE(dmath::pow(0.5, inf) == 0);
  REQUIRE(std::isnan(dmath::pow(nan, 2)));
  REQUIRE(dmath::pow(nan, 0) == 1);
  REQUIRE(std::abs(dmath::pow(-1.5, 65) / -std::pow(1.5, 65) - 1) < 1e-14);
}

TEST_CASE("dmath: sine and cosine of any size, next to the multiples of pi / 2 too") {
  std::mt19937_64 bits(5);
  double sin_worst = 0, cos_worst = 0;
  const auto measure = [&](double x) {
    const long double s = std::sin(static_cast<long double>(x));
    const long double c = std::cos(static_cast<long double>(x));
    if (s != 0)
      sin_worst = worst_of(sin_worst, static_cast<double>(std::fabs((dmath::sin(x) - s) / s)));
    cos_worst = worst_of(cos_worst, static_cast<double>(std::fabs((dmath::cos(x) - c) / c)));
  };
  for (int i = 0; i < 20000; ++i) {
    const double unit = static_cast<double>(bits() >> 11) * 0x1p-53;
    measure(unit * 1e6 - 5e5);
    measure(std::nearbyint(unit * 1e6) * 1.57079632679489661923);
    measure(std::ldexp(unit, static_cast<int>(bits() % 2040) - 1020));
  }
  measure(6381956970095103.0 * 0x1p797);  // the double nearest to a multiple of pi / 2
  CAPTURE(sin_worst, cos_worst);
  REQUIRE(sin_worst < 4e-16);
  REQUIRE(cos_worst < 4e-16);
  REQUIRE(sin_worst > 1e-16);
  REQUIRE(std::isnan(dmath::sin(dmath::kInf)));
  REQUIRE(std::isnan(dmath::cos(-dmath::kInf)));
  REQUIRE(std::signbit(dmath::sin(-0.0)));
  REQUIRE(dmath::cos(0) == 1);
}

TEST_CASE("dmath: a whole power by multiplication, near 1") {
  REQUIRE(worst([](double x) { return dmath::pow(x, 63); },
                [](long double x) { return std::pow(x, 63.0L); },
                [](Rng& r) { return between(r, 0.9, 1.1); }) < 8e-15);
}
