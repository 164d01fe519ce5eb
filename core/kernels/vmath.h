#pragma once
// exp, log, tanh, erf and friends as branch-free polynomials, for use in `#pragma omp simd` loops
// inside simd() (core/cpu.h): about 0.3 ns an element against 3 to 11 ns of the C library's scalar
// functions. Signed zeros, infinities and NaN come out as IEEE says. The bounds below hold for all
// finite inputs at every CPU level and are measured by tests/core/test_kernels_vmath.cpp against
// long double; an ulp is that of the exact result in f32. The overloads for double are those of
// core/dmath.h: they are the reference.
#include <loupe/core/cpu.h>
#include <loupe/core/dmath.h>

#include <cmath>
#include <cstdint>
#include <limits>

#define LOUPE_INLINE [[gnu::always_inline]] inline

namespace loupe::kernels {

namespace detail {
// x = n ln2 + r with |r| <= ln2/2: adding 1.5 * 2^23 rounds to an integer, which then sits in the
// low bits.
struct Reduced {
  float r;
  int n;
};
template <class Level> LOUPE_INLINE Reduced reduce_ln2(float x, Level level) {
  const float t = level.multiply_add(x, 1.44269504f, 12582912.0f);
  const float n = t - 12582912.0f;
  const float r = level.multiply_add(n, 2.12194440e-4f, level.multiply_add(n, -0.693359375f, x));
  return {r, static_cast<int>(__builtin_bit_cast(uint32_t, t) - 0x4B400000u)};
}
// exp(r) - 1 on [-ln2/2, ln2/2], minimax, 1.3e-8 relative.
template <class Level> LOUPE_INLINE float expm1_poly(float r, Level level) {
  float q = 0.00138825213f;
  q = level.multiply_add(q, r, 0.00836652052f);
  q = level.multiply_add(q, r, 0.0416672006f);
  q = level.multiply_add(q, r, 0.166665435f);
  q = level.multiply_add(q, r, 0.49999997f);
  return level.multiply_add(q, r * r, r);
}
LOUPE_INLINE float pow2(int n) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(n + 127) << 23);
}
LOUPE_INLINE float with_sign(float magnitude, float sign) {
  return __builtin_bit_cast(float, (__builtin_bit_cast(uint32_t, magnitude) & 0x7fffffffu) |
                                       (__builtin_bit_cast(uint32_t, sign) & 0x80000000u));
}
}  // namespace detail

/// |x|, by bits.
LOUPE_INLINE float vabs(float x) {
  return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, x) & 0x7fffffffu);
}
LOUPE_INLINE double vabs(double x) { return std::fabs(x); }

namespace detail {
// x between -most and most; NaN stays. One comparison: g++ 12 makes three masks of two that follow
// each other.
LOUPE_INLINE float within(float x, float most) { return vabs(x) > most ? with_sign(most, x) : x; }
LOUPE_INLINE double within(double x, double most) {
  return vabs(x) > most ? std::copysign(most, x) : x;
}
}  // namespace detail

/// e^x. 1.1 ulp; subnormal results are right to half of their last bit more. Above 88.73 Inf, below
/// -103.98 zero.
template <class Level = Separate> LOUPE_INLINE float vexp(float x, Level level = {}) {
  x = x < -104.0f ? -104.0f : x;  // a NaN fails both comparisons and stays
  x = x > 89.0f ? 89.0f : x;
  const auto [r, n] = detail::reduce_ln2(x, level);
  const int half = n >> 1;  // two factors: 2^n alone leaves the range before the product does
  return ((detail::expm1_poly(r, level) + 1.0f) * detail::pow2(half)) * detail::pow2(n - half);
}
template <class Level = Separate> LOUPE_INLINE double vexp(double x, Level = {}) {
  return dmath::exp(x);
}

/// e^x for x <= 0 only (softmax, after the maximum is subtracted): vexp that gives 0 below -87,
/// one step shorter.
template <class Level = Separate> LOUPE_INLINE float vexp_nonpositive(float x, Level level = {}) {
  const float clamped = x < -87.0f ? -87.0f : x;
  const auto [r, n] = detail::reduce_ln2(clamped, level);
  const float y = (detail::expm1_poly(r, level) + 1.0f) * detail::pow2(n);
  return x < -87.0f ? 0.0f : y;
}
template <class Level = Separate> LOUPE_INLINE double vexp_nonpositive(double x, Level = {}) {
  return dmath::exp(x);
}

/// e^x - 1. 1.7 ulp.
template <class Level = Separate> LOUPE_INLINE float vexpm1(float x, Level level = {}) {
  const float sign = x;
  x = x < -25.0f ? -25.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const auto [r, n] = detail::reduce_ln2(x, level);
  const float s = detail::pow2(n - 1);  // half of 2^n, which may be out of range
  return detail::with_sign(2.0f * level.multiply_add(s, detail::expm1_poly(r, level), s - 0.5f),
                           sign);
}
template <class Level = Separate> LOUPE_INLINE double vexpm1(double x, Level = {}) {
  return dmath::expm1(x);
}

/// Natural logarithm. 0.8 ulp. -Inf at 0, NaN below.
template <class Level = Separate> LOUPE_INLINE float vlog(float x, Level level = {}) {
  const bool tiny = x < std::numeric_limits<float>::min();
  const uint32_t bits = __builtin_bit_cast(uint32_t, tiny ? x * 8388608.0f : x);
  // m in [sqrt(1/2), sqrt(2)): the exponent is counted from the bits of sqrt(1/2).
  const int e = static_cast<int>(bits - 0x3f3504f3u) >> 23;
  const float f = __builtin_bit_cast(float, bits - (static_cast<uint32_t>(e) << 23)) - 1.0f;
  const float scale = static_cast<float>(e) - (tiny ? 23.0f : 0.0f);
  float p = -0.0763449743f;
  p = level.multiply_add(p, f, 0.12761578f);
  p = level.multiply_add(p, f, -0.131601825f);
  p = level.multiply_add(p, f, 0.142017573f);
  p = level.multiply_add(p, f, -0.166233569f);
  p = level.multiply_add(p, f, 0.200012267f);
  p = level.multiply_add(p, f, -0.250008196f);
  p = level.multiply_add(p, f, 0.333333313f);
  const float z = f * f;
  float y = level.multiply_add(p, z * f, scale * -2.12194440e-4f);
  y = level.multiply_add(z, -0.5f, y) + f;
  y = level.multiply_add(scale, 0.693359375f, y);
  y = x > std::numeric_limits<float>::max() ? x : y;
  y = x == 0.0f ? -std::numeric_limits<float>::infinity() : y;
  return x >= 0.0f ? y : std::numeric_limits<float>::quiet_NaN();
}
template <class Level = Separate> LOUPE_INLINE double vlog(double x, Level = {}) {
  return dmath::log(x);
}

/// log(1 + x) without loss for small x. 1.5 ulp.
template <class Level = Separate> LOUPE_INLINE float vlog1p(float x, Level level = {}) {
  const float u = 1.0f + x;
  const float lost = (x - (u - 1.0f)) / u;  // what rounding 1 + x dropped
  const float y = vlog(u, level);
  const bool inside = u > 0.0f && u <= std::numeric_limits<float>::max();
  return detail::with_sign(y + (inside ? lost : 0.0f), x);
}
template <class Level = Separate> LOUPE_INLINE double vlog1p(double x, Level = {}) {
  return dmath::log1p(x);
}

/// Hyperbolic tangent as expm1(2|x|) / (expm1(2|x|) + 2). 2.5 ulp.
template <class Level = Separate> LOUPE_INLINE float vtanh(float x, Level level = {}) {
  float a = 2.0f * vabs(x);
  a = a > 20.0f ? 20.0f : a;
  const auto [r, n] = detail::reduce_ln2(a, level);
  const float s = detail::pow2(n);
  const float em = level.multiply_add(s, detail::expm1_poly(r, level), s - 1.0f);
  return detail::with_sign(em / (em + 2.0f), x);
}
template <class Level = Separate> LOUPE_INLINE double vtanh(double x, Level = {}) {
  return dmath::tanh(x);
}

/// 1 / (1 + e^-x). 2.5 ulp above -87; 0 below -88 (exact: under 6e-39).
template <class Level = Separate> LOUPE_INLINE float vsigmoid(float x, Level level = {}) {
  const auto [r, n] = detail::reduce_ln2(-detail::within(x, 88.0f), level);
  const float y =
      1.0f / level.multiply_add(detail::expm1_poly(r, level) + 1.0f, detail::pow2(n), 1.0f);
  return x < -88.0f ? 0.0f : y;
}
template <class Level = Separate> LOUPE_INLINE double vsigmoid(double x, Level = {}) {
  return 1.0 / (1.0 + dmath::exp(-x));
}

/// The standard normal distribution function and e^(-x^2/2), of which its density is 1/sqrt(2 pi)
/// times.
template <class T> struct Normal { T cdf, exp; };
/// cdf(-a) = e^(-a^2/2) t P(1 - t), t = 1/(1 + 0.34 a), P minimax, 3.4e-8 relative.
/// 5.5 ulp from -1 upwards (3 above 0); in the lower tail the relative error is at most 4e-7 +
/// 1e-7 x^2, down to -13.2, where both fall to 0 (exact: under 5e-40).
template <class Level = Separate> LOUPE_INLINE Normal<float> vnormal(float x, Level level = {}) {
  const float a = vabs(x);
  const float t = 1.0f / level.multiply_add(a, 0.34f, 1.0f);
  const float s = 1.0f - t;
  float p = -0.0258763637f;
  p = level.multiply_add(p, s, 0.0686541647f);
  p = level.multiply_add(p, s, -0.0269114114f);
  p = level.multiply_add(p, s, -0.0309096426f);
  p = level.multiply_add(p, s, -0.0764369071f);
  p = level.multiply_add(p, s, 0.0845393389f);
  p = level.multiply_add(p, s, 0.315923423f);
  p = level.multiply_add(p, s, -0.673361063f);
  p = level.multiply_add(p, s, 0.5f);
  const float e = vexp_nonpositive(a * a * -0.5f, level);
  const float tail = p * t * e;
  return {x < 0.0f ? tail : 1.0f - tail, e};
}
template <class Level = Separate> LOUPE_INLINE Normal<double> vnormal(double x, Level = {}) {
  return {0.5 * dmath::erfc(x * -0.70710678118654752440), dmath::exp(-0.5 * x * x)};
}

/// Error function: x P(x^2) below 1, through the normal tail above. 2.5 ulp.
template <class Level = Separate> LOUPE_INLINE float verf(float x, Level level = {}) {
  const float z = x * x;
  float p = 7.85386073e-05f;
  p = level.multiply_add(p, z, -0.000801019371f);
  p = level.multiply_add(p, z, 0.00518832775f);
  p = level.multiply_add(p, z, -0.0268538129f);
  p = level.multiply_add(p, z, 0.112835854f);
  p = level.multiply_add(p, z, -0.37612626f);
  p = level.multiply_add(p, z, 1.12837911f);
  const float a = vabs(x);
  const float far = 1.0f - 2.0f * vnormal(a * -1.41421356f, level).cdf;
  return a < 1.0f ? x * p : detail::with_sign(far, x);
}
template <class Level = Separate> LOUPE_INLINE double verf(double x, Level = {}) {
  return dmath::erf(x);
}

/// Up to here vsin_after keeps its bound: 2^20 quarter turns.
inline constexpr double kTurnLimit = 0x1.8p20;
/// sin(x + quarters * pi / 2): sin for 0, cos for 1. 0.6 ulp for |x| <= kTurnLimit; beyond, the
/// caller uses dmath. Reduced and summed in f64: n * 33 bits of pi / 2 is exact for n < 2^20.
template <class Level = Separate>
LOUPE_INLINE float vsin_after(float x, uint64_t quarters, Level level = {}) {
  const double d = static_cast<double>(x);
  const double t =
      level.multiply_add(d, 0.63661977236758134308, 0x1.8p52);  // rounds; n sits in the low bits
  const double n = t - 0x1.8p52;
  const double r = level.multiply_add(n, -0x1.0b4611a626331p-34, d - n * 0x1.921fb544p0);
  const double z = r * r;
  double s = 0x1.6cd878c3b46a7p-19;
  s = level.multiply_add(s, z, -0x1.a00f9e2cae774p-13);
  s = level.multiply_add(s, z, 0x1.11110896efbb2p-7);
  s = level.multiply_add(s, z, -0x1.5555554cbac77p-3);
  s = r * level.multiply_add(z, s, 1.0);
  double c = 0x1.99342e0ee5069p-16;
  c = level.multiply_add(c, z, -0x1.6c087e80f1e27p-10);
  c = level.multiply_add(c, z, 0x1.55553e1053a42p-5);
  c = level.multiply_add(c, z, -0x1.ffffffd0c5e81p-2);
  c = level.multiply_add(z, c, 1.0);
  const uint64_t turned = __builtin_bit_cast(uint64_t, t) + quarters;
  const uint64_t y = __builtin_bit_cast(uint64_t, (turned & 1) != 0 ? c : s);
  return static_cast<float>(__builtin_bit_cast(double, y ^ ((turned & 2) << 62)));
}

}  // namespace loupe::kernels
