#pragma once
// exp, log, tanh, erf and friends as branch-free polynomials, for use in `#pragma omp simd` loops
// inside simd() (core/cpu.h): about 0.3 ns an element against 3 to 11 ns of the C library's scalar
// functions. Signed zeros, infinities and NaN come out as IEEE says. The bounds below hold for all
// finite inputs at every CPU level and are measured by tests/core/test_kernels_vmath.cpp against
// long double; an ulp is that of the exact result in f32. The overloads for double are those of
// core/dmath.h: they are the reference.
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
LOUPE_INLINE Reduced reduce_ln2(float x) {
  const float t = x * 1.44269504f + 12582912.0f;
  const float n = t - 12582912.0f;
  const float r = x - n * 0.693359375f + n * 2.12194440e-4f;
  return {r, static_cast<int>(__builtin_bit_cast(uint32_t, t) - 0x4B400000u)};
}
// exp(r) - 1 on [-ln2/2, ln2/2], minimax, 1.3e-8 relative.
LOUPE_INLINE float expm1_poly(float r) {
  float q = 0.00138825213f;
  q = q * r + 0.00836652052f;
  q = q * r + 0.0416672006f;
  q = q * r + 0.166665435f;
  q = q * r + 0.49999997f;
  return q * (r * r) + r;
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
LOUPE_INLINE float vexp(float x) {
  x = x < -104.0f ? -104.0f : x;  // a NaN fails both comparisons and stays
  x = x > 89.0f ? 89.0f : x;
  const auto [r, n] = detail::reduce_ln2(x);
  const int half = n >> 1;  // two factors: 2^n alone leaves the range before the product does
  return ((detail::expm1_poly(r) + 1.0f) * detail::pow2(half)) * detail::pow2(n - half);
}
LOUPE_INLINE double vexp(double x) { return dmath::exp(x); }

/// e^x for x <= 0 only (softmax, after the maximum is subtracted): vexp that gives 0 below -87.3,
/// one step shorter.
LOUPE_INLINE float vexp_nonpositive(float x) {
  const float clamped = x < -87.0f ? -87.0f : x;
  const auto [r, n] = detail::reduce_ln2(clamped);
  const float y = (detail::expm1_poly(r) + 1.0f) * detail::pow2(n);
  return x < -87.0f ? 0.0f : y;
}
LOUPE_INLINE double vexp_nonpositive(double x) { return dmath::exp(x); }

/// e^x - 1. 1.7 ulp.
LOUPE_INLINE float vexpm1(float x) {
  const float sign = x;
  x = x < -25.0f ? -25.0f : x;
  x = x > 89.0f ? 89.0f : x;
  const auto [r, n] = detail::reduce_ln2(x);
  const float s = detail::pow2(n - 1);  // half of 2^n, which may be out of range
  return detail::with_sign(2.0f * (s * detail::expm1_poly(r) + (s - 0.5f)), sign);
}
LOUPE_INLINE double vexpm1(double x) { return dmath::expm1(x); }

/// Natural logarithm. 0.8 ulp. -Inf at 0, NaN below.
LOUPE_INLINE float vlog(float x) {
  const bool tiny = x < std::numeric_limits<float>::min();
  const uint32_t bits = __builtin_bit_cast(uint32_t, tiny ? x * 8388608.0f : x);
  // m in [sqrt(1/2), sqrt(2)): the exponent is counted from the bits of sqrt(1/2).
  const int e = static_cast<int>(bits - 0x3f3504f3u) >> 23;
  const float f = __builtin_bit_cast(float, bits - (static_cast<uint32_t>(e) << 23)) - 1.0f;
  const float scale = static_cast<float>(e) - (tiny ? 23.0f : 0.0f);
  float p = -0.0763449743f;
  p = p * f + 0.12761578f;
  p = p * f + -0.131601825f;
  p = p * f + 0.142017573f;
  p = p * f + -0.166233569f;
  p = p * f + 0.200012267f;
  p = p * f + -0.250008196f;
  p = p * f + 0.333333313f;
  const float z = f * f;
  float y = p * (z * f) - scale * 2.12194440e-4f;
  y = (y - 0.5f * z) + f + scale * 0.693359375f;
  y = x > std::numeric_limits<float>::max() ? x : y;
  y = x == 0.0f ? -std::numeric_limits<float>::infinity() : y;
  return x >= 0.0f ? y : std::numeric_limits<float>::quiet_NaN();
}
LOUPE_INLINE double vlog(double x) { return dmath::log(x); }

/// log(1 + x) without loss for small x. 1.5 ulp.
LOUPE_INLINE float vlog1p(float x) {
  const float u = 1.0f + x;
  const float lost = (x - (u - 1.0f)) / u;  // what rounding 1 + x dropped
  const float y = vlog(u);
  const bool inside = u > 0.0f && u <= std::numeric_limits<float>::max();
  return detail::with_sign(y + (inside ? lost : 0.0f), x);
}
LOUPE_INLINE double vlog1p(double x) { return dmath::log1p(x); }

/// Hyperbolic tangent as expm1(2|x|) / (expm1(2|x|) + 2). 2.5 ulp.
LOUPE_INLINE float vtanh(float x) {
  float a = 2.0f * vabs(x);
  a = a > 20.0f ? 20.0f : a;
  const auto [r, n] = detail::reduce_ln2(a);
  const float s = detail::pow2(n);
  const float em = s * detail::expm1_poly(r) + (s - 1.0f);
  return detail::with_sign(em / (em + 2.0f), x);
}
LOUPE_INLINE double vtanh(double x) { return dmath::tanh(x); }

/// 1 / (1 + e^-x). 2.5 ulp above -87; 0 below -88 (exact: under 6e-39).
LOUPE_INLINE float vsigmoid(float x) {
  const auto [r, n] = detail::reduce_ln2(-detail::within(x, 88.0f));
  const float y = 1.0f / ((detail::expm1_poly(r) + 1.0f) * detail::pow2(n) + 1.0f);
  return x < -88.0f ? 0.0f : y;
}
LOUPE_INLINE double vsigmoid(double x) { return 1.0 / (1.0 + dmath::exp(-x)); }

/// The standard normal distribution function and e^(-x^2/2), of which its density is 1/sqrt(2 pi)
/// times.
template <class T> struct Normal { T cdf, exp; };
/// cdf(-a) = e^(-a^2/2) t P(1 - t), t = 1/(1 + 0.34 a), P minimax, 3.4e-8 relative.
/// 5.5 ulp from -1 upwards (1.1 above 0); in the lower tail the relative error is at most 4e-7 +
/// 1e-7 x^2, down to -13.2, where both fall to 0 (exact: under 5e-40).
LOUPE_INLINE Normal<float> vnormal(float x) {
  const float a = vabs(x);
  const float t = 1.0f / (a * 0.34f + 1.0f);
  const float s = 1.0f - t;
  float p = -0.0258763637f;
  p = p * s + 0.0686541647f;
  p = p * s + -0.0269114114f;
  p = p * s + -0.0309096426f;
  p = p * s + -0.0764369071f;
  p = p * s + 0.0845393389f;
  p = p * s + 0.315923423f;
  p = p * s + -0.673361063f;
  p = p * s + 0.5f;
  const float e = vexp_nonpositive(a * a * -0.5f);
  const float tail = p * t * e;
  return {x < 0.0f ? tail : 1.0f - tail, e};
}
LOUPE_INLINE Normal<double> vnormal(double x) {
  return {0.5 * dmath::erfc(x * -0.70710678118654752440), dmath::exp(-0.5 * x * x)};
}

/// Error function: x P(x^2) below 1, through the normal tail above. 2.5 ulp.
LOUPE_INLINE float verf(float x) {
  const float z = x * x;
  float p = 7.85386073e-05f;
  p = p * z + -0.000801019371f;
  p = p * z + 0.00518832775f;
  p = p * z + -0.0268538129f;
  p = p * z + 0.112835854f;
  p = p * z + -0.37612626f;
  p = p * z + 1.12837911f;
  const float a = vabs(x);
  const float far = 1.0f - 2.0f * vnormal(a * -1.41421356f).cdf;
  return a < 1.0f ? x * p : detail::with_sign(far, x);
}
LOUPE_INLINE double verf(double x) { return dmath::erf(x); }

/// Up to here vsin_after keeps its bound: 2^20 quarter turns.
inline constexpr double kTurnLimit = 0x1.8p20;
/// sin(x + quarters * pi / 2): sin for 0, cos for 1. 0.6 ulp for |x| <= kTurnLimit; beyond, the caller
/// uses dmath. Reduced and summed in f64: n * 33 bits of pi / 2 is exact for n < 2^20.
LOUPE_INLINE float vsin_after(float x, uint64_t quarters) {
  const double d = static_cast<double>(x);
  const double t = d * 0.63661977236758134308 + 0x1.8p52;  // rounds; n sits in the low bits
  const double n = t - 0x1.8p52;
  const double r = (d - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34;
  const double z = r * r;
  double s = 0x1.6cd878c3b46a7p-19;
  s = s * z + -0x1.a00f9e2cae774p-13;
  s = s * z + 0x1.11110896efbb2p-7;
  s = s * z + -0x1.5555554cbac77p-3;
  s = r * (1.0 + z * s);
  double c = 0x1.99342e0ee5069p-16;
  c = c * z + -0x1.6c087e80f1e27p-10;
  c = c * z + 0x1.55553e1053a42p-5;
  c = c * z + -0x1.ffffffd0c5e81p-2;
  c = 1.0 + z * c;
  const uint64_t turned = __builtin_bit_cast(uint64_t, t) + quarters;
  const uint64_t y = __builtin_bit_cast(uint64_t, (turned & 1) != 0 ? c : s);
  return static_cast<float>(__builtin_bit_cast(double, y ^ ((turned & 2) << 62)));
}

}  // namespace loupe::kernels
