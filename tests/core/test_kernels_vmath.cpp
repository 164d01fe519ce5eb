// The vector math against long double: largest error in ulp over the whole range of f32, at every
// CPU level.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/vmath.h>

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "core/kernel_tests.h"

using namespace loupe;
using namespace loupe::kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

struct Worst {
  double ulp = 0;
  float x = 0, got = 0;
  double want = 0;
};

// Every `step`-th bit pattern of f32 between low and high, both finite.
template <class F, class Ref> Worst measure(F f, Ref ref, float low, float high, uint32_t step) {
  std::vector<float> x;
  for (uint64_t b = 0; b <= 0xffffffffu; b += step) {
    const float v = std::bit_cast<float>(static_cast<uint32_t>(b));
    if (v >= low && v <= high) x.push_back(v);
  }
  for (int i = 0; i < 40000; ++i) {
    const float v = -20.0f + 40.0f * static_cast<float>(i) / 40000.0f;
    if (v >= low && v <= high) x.push_back(v);
  }
  std::vector<float> y(x.size());
  const float* in = x.data();
  float* out = y.data();
  const size_t n = x.size();
  simd([=](auto level) {
#pragma omp simd
    for (size_t i = 0; i < n; ++i) out[i] = f(in[i], level);
  });
  Worst w;
  for (size_t i = 0; i < n; ++i) {
    const long double want = ref(static_cast<long double>(x[i]));
    const float rounded = static_cast<float>(want);
    double error;
    if (std::isinf(rounded) || std::isinf(y[i])) {
      // The threshold of overflow may move by one ulp of the largest float.
      const bool edge =
          std::fabs(static_cast<double>(want)) > 3.402823e38 && std::fabs(y[i]) > 3.402822e38f;
      error = edge ? 0 : 1e9;
    } else {
      int e;
      std::frexp(rounded, &e);
      const double ulp = std::ldexp(1.0, std::max(e - 24, -149));
      error = std::fabs(static_cast<double>(static_cast<long double>(y[i]) - want)) / ulp;
    }
    if (!(error <= w.ulp)) w = {error, x[i], y[i], static_cast<double>(want)};
  }
  return w;
}

void check(const char* what, const Worst& w, double bound) {
  CAPTURE(what, name(cpu_level()), w.x, w.got, w.want, w.ulp);
  CHECK(w.ulp <= bound);
  CHECK(w.ulp > 0.4);  // a bound that measures nothing would show here
}

void check_all(uint32_t step) {
  LevelGuard guard;
  for (auto cpu : cpu_levels()) {
    set_cpu_level(cpu);
    const float max = std::numeric_limits<float>::max();
    const auto run = [&](const char* what, auto f, auto ref, float low, float high, double bound) {
      check(what, measure(f, ref, low, high, step), bound);
    };
    using L = long double;
    run(
        "exp", [](float x, auto level) { return vexp(x, level); }, [](L x) { return std::exp(x); },
        -103.5f, 88.8f, 1.1);
    run(
        "exp_nonpositive", [](float x, auto level) { return vexp_nonpositive(x, level); },
        [](L x) { return std::exp(x); }, -87.0f, 0.0f, 1.1);
    run(
        "expm1", [](float x, auto level) { return vexpm1(x, level); },
        [](L x) { return std::expm1(x); }, -max, 88.8f, 1.7);
    run(
        "log", [](float x, auto level) { return vlog(x, level); }, [](L x) { return std::log(x); },
        1e-45f, max, 0.8);
    run(
        "log1p", [](float x, auto level) { return vlog1p(x, level); },
        [](L x) { return std::log1p(x); }, -0.99999f, max, 1.5);
    run(
        "tanh", [](float x, auto level) { return vtanh(x, level); },
        [](L x) { return std::tanh(x); }, -max, max, 2.5);
    run(
        "sigmoid", [](float x, auto level) { return vsigmoid(x, level); },
        [](L x) { return 1 / (1 + std::exp(-x)); }, -87.0f, max, 2.5);
    run(
        "erf", [](float x, auto level) { return verf(x, level); }, [](L x) { return std::erf(x); },
        -max, max, 2.5);
    const float limit = static_cast<float>(kTurnLimit);
    run(
        "sin", [](float x, auto level) { return vsin_after(x, 0, level); },
        [](L x) { return std::sin(x); }, -limit, limit, 0.6);
    run(
        "cos", [](float x, auto level) { return vsin_after(x, 1, level); },
        [](L x) { return std::cos(x); }, -limit, limit, 0.6);
    run(
        "normal", [](float x, auto level) { return vnormal(x, level).cdf; },
        [](L x) { return std::erfc(x * -0.707106781186547524400844362L) / 2; }, -1.0f, max, 5.5);
  }
}

}  // namespace

TEST_CASE("vector math keeps its error bounds at every CPU level") { check_all(200003); }
TEST_CASE("vector math keeps its error bounds on a dense scan", "[.full]") { check_all(1009); }

TEST_CASE("vector math at zeros, infinities and NaN") {
  LevelGuard guard;
  for (auto cpu : cpu_levels()) {
    set_cpu_level(cpu);
    CAPTURE(name(cpu));
    const std::vector<float> x = {0.0f, -0.0f, kInf, -kInf, kNan, -kNan, -1.0f, -2.0f};
    const size_t n = x.size();
    std::vector<std::vector<float>> y(9, std::vector<float>(n));
    const float* in = x.data();
    float* out[9];
    for (size_t k = 0; k < 9; ++k) out[k] = y[k].data();
    float** o = out;
    simd([=](auto level) {
#pragma omp simd
      for (size_t i = 0; i < n; ++i) {
        o[0][i] = vexp(in[i], level);
        o[1][i] = vexpm1(in[i], level);
        o[2][i] = vlog(in[i], level);
        o[3][i] = vlog1p(in[i], level);
        o[4][i] = vtanh(in[i], level);
        o[5][i] = vsigmoid(in[i], level);
        o[6][i] = verf(in[i], level);
        o[7][i] = vnormal(in[i], level).cdf;
        o[8][i] = vexp_nonpositive(in[i], level);
      }
    });
    for (size_t k = 0; k < 9; ++k) {
      CAPTURE(k);
      CHECK(std::isnan(y[k][4]));
      CHECK(std::isnan(y[k][5]));
    }
    using std::signbit;
    CHECK(y[0][0] == 1.0f);
    CHECK(y[0][1] == 1.0f);
    CHECK(y[0][2] == kInf);
    CHECK(y[0][3] == 0.0f);
    for (size_t k : {1u, 3u, 4u, 6u}) {  // odd at zero: the sign stays
      CHECK((y[k][0] == 0.0f && !signbit(y[k][0])));
      CHECK((y[k][1] == 0.0f && signbit(y[k][1])));
    }
    CHECK(y[1][2] == kInf);
    CHECK(y[1][3] == -1.0f);
    CHECK(y[2][0] == -kInf);
    CHECK(y[2][1] == -kInf);
    CHECK(y[2][2] == kInf);
    CHECK(std::isnan(y[2][3]));
    CHECK(std::isnan(y[2][6]));
    CHECK(y[3][2] == kInf);
    CHECK(y[3][6] == -kInf);
    CHECK(std::isnan(y[3][7]));
    CHECK(y[4][2] == 1.0f);
    CHECK(y[4][3] == -1.0f);
    CHECK(y[5][2] == 1.0f);
    CHECK(y[5][3] == 0.0f);
    CHECK(y[5][0] == 0.5f);
    CHECK(y[6][2] == 1.0f);
    CHECK(y[6][3] == -1.0f);
    CHECK(y[7][2] == 1.0f);
    CHECK(y[7][3] == 0.0f);
    CHECK(y[8][0] == 1.0f);
    CHECK(y[8][3] == 0.0f);
  }
}

TEST_CASE("the normal distribution inside simd: the lower tail, and 3 ulp above 0") {
  at_every_level([] {
    std::vector<float> x(1320), y(1320);
    for (size_t i = 0; i < x.size(); ++i) x[i] = -0.01f * static_cast<float>(i);
    const float* in = x.data();
    float* out = y.data();
    simd([=](auto level) {
#pragma omp simd
      for (int i = 0; i < 1320; ++i) out[i] = vnormal(in[i], level).cdf;
    });
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = static_cast<double>(x[i]);
      const double want = 0.5 * std::erfc(v * -0.70710678118654752440);
      CAPTURE(v, y[i], want);
      CHECK(std::fabs(static_cast<double>(y[i]) - want) <= (4e-7 + 1e-7 * v * v) * want);
    }
    const Worst above =
        measure([](float v, auto level) { return vnormal(v, level).cdf; },
                [](long double v) { return std::erfc(v * -0.707106781186547524400844362L) / 2; },
                0.0f, std::numeric_limits<float>::max(), 200003);
    check("normal above 0", above, 3);
  });
}

TEST_CASE("exponentials of very negative numbers are 0 from where the header says") {
  CHECK(vexp_nonpositive(-87.0f) > 0.0f);
  CHECK(vexp_nonpositive(-87.01f) == 0.0f);
}
