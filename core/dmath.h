#pragma once
// Elementary functions in double precision from +, -, *, /, rounding to a whole number, fmod and
// integer arithmetic. The C library chooses other code, with other last bits, on other CPUs; these
// give the same bits on every x86-64 machine. Relative errors, measured by
// tests/core/test_dmath.cpp against long double:
//   exp, log, log1p, sin, cos   4e-16
//   expm1                       6e-16
//   tanh                        8e-16
//   erf                         1e-15
//   erfc                        3e-15 up to 2, 3e-14 up to 10
//   pow                         4e-16 (1 + |y log x|); 8e-15 for a whole y of at most 64
//   sincos_turns                3e-16, absolute
#include <cmath>
#include <cstdint>
#include <limits>

namespace loupe::dmath {

inline constexpr double kLn2High = 0x1.62e42fee00000p-1, kLn2Low = 0x1.a39ef35793c76p-33;
inline constexpr double kPi = 3.14159265358979323846,
                        kInf = std::numeric_limits<double>::infinity();

inline double pow2(int64_t n) {
  return __builtin_bit_cast(double, static_cast<uint64_t>(n + 1023) << 52);
}

/// e^r - 1 for |r| <= 1/2 by its Taylor series (the next term is below 1e-17 of the sum).
inline double expm1_small(double r) {
  double q = 1;
  for (int i = 16; i >= 2; --i) q = 1 + r * q / i;
  return r * q;
}

inline double exp(double x) {
  if (x != x) return x;
  if (x > 709.8) return kInf;
  if (x < -745.2) return 0;
  const double k = std::nearbyint(x * 1.44269504088896340736);
  const double r = (x - k * kLn2High) - k * kLn2Low;
  const int64_t n = static_cast<int64_t>(k), half = n / 2;
  return (1 + expm1_small(r)) * pow2(half) * pow2(n - half);
}

inline double expm1(double x) { return std::fabs(x) <= 0.5 ? expm1_small(x) : exp(x) - 1; }

/// log((1 + s) / (1 - s)) = 2 (s + s^3/3 + s^5/5 + ...) for |s| <= 1/3.
inline double log_series(double s) {
  const double z = s * s;
  double q = 0;
#pragma GCC unroll 16
  for (int i = 33; i >= 3; i -= 2) q = (q + 1.0 / i) * z;
  return 2 * (s + s * q);
}

inline double log(double x) {
  if (x != x || x == kInf) return x;
  if (x <= 0) return x == 0 ? -kInf : std::numeric_limits<double>::quiet_NaN();
  int64_t e = x < 0x1p-1022 ? -54 : 0;
  if (e) x *= 0x1p54;
  const uint64_t bits = __builtin_bit_cast(uint64_t, x);
  e += static_cast<int64_t>(bits >> 52) - 1023;
  double m =
      __builtin_bit_cast(double, (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);  // [1, 2)
  if (m > 1.41421356237309514547) {
    m *= 0.5;
    ++e;
  }
  const double k = static_cast<double>(e);
  return k * kLn2High + (log_series((m - 1) / (m + 1)) + k * kLn2Low);
}

/// log(1 + x).
inline double log1p(double x) { return std::fabs(x) <= 0.5 ? log_series(x / (2 + x)) : log(1 + x); }

/// Coefficients of a^(2i + 1) in sin(a) and of a^(2i) in cos(a): (-1)^i / (2i + 1)! and (-1)^i /
/// (2i)!.
struct Factorials {
  double terms[11];
  constexpr explicit Factorials(int shift) : terms{} {
    double term = 1;
    for (int i = 0; i <= 10; ++i) {
      terms[i] = term;
      term /= -static_cast<double>((2 * i + 1 + shift) * (2 * i + 2 + shift));
    }
  }
  constexpr double operator[](int i) const { return terms[i]; }
};
inline constexpr Factorials kSinTerms(1), kCosTerms(0);

struct SinCos {
  double sin, cos;
};
/// sin and cos of a + quarter * pi / 2, for |a| <= pi / 4.
inline SinCos sincos_quarter(double a, int64_t quarter) {
  const double z = a * a;
  double s = 0, c = 0;  // the Taylor series, from the highest power down
#pragma GCC unroll 10
  for (int i = 10; i >= 1; --i) {
    s = (s + kSinTerms[i]) * z;
    c = (c + kCosTerms[i]) * z;
  }
  s = a + a * s;
  c += 1;
  // Each quarter turn maps (s, c) to (c, -s).
  const double sin = quarter & 1 ? c : s;
  const double cos = quarter & 1 ? s : c;
  return {quarter & 2 ? -sin : sin, (quarter + 1) & 2 ? -cos : cos};
}
/// sin and cos of `turns` * 2 pi.
inline SinCos sincos_turns(double turns) {
  const double quarter = std::nearbyint(4 * turns);
  const double a = (turns - quarter / 4) * (2 * kPi);  // |a| <= pi / 4
  return sincos_quarter(a, static_cast<int64_t>(quarter));
}
/// cos(pi * x), for schedules.
inline double cos_pi(double x) { return sincos_turns(x / 2).cos; }

/// 64 zeros, then 2 / pi in binary.
inline constexpr uint64_t kTwoOverPi[21] = {
    0x0000000000000000, 0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041,
    0xfe5163abdebbc561, 0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e,
    0xe88235f52ebb4484, 0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b,
    0x1ff897ffde05980f, 0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d,
    0x7527bac7ebe5f17b, 0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab,
    0xf0cfbc209af4361d};

/// x as quarters of a turn: x = quarter * pi / 2 + rest, modulo 2 pi.
struct Quarters {
  double rest;
  int64_t quarter;
};
/// For a finite x >= 0.5, however large. x = m 2^e with a whole m. Of 2 / pi the bits whose product
/// with x is a multiple of 4 do not matter; 192 bits from there on leave an error below 2^-137,
/// while no double comes nearer to a multiple of pi / 2 than 2^-62 (Payne and Hanek, "Radian
/// reduction for trigonometric functions", 1983).
inline Quarters reduce_quarters(double x) {
  const uint64_t bits = __builtin_bit_cast(uint64_t, x);
  const int e = static_cast<int>(bits >> 52) - 1075;
  const uint64_t m = (bits & 0xfffffffffffffull) | 0x10000000000000ull;
  const int first = e + 62;  // in kTwoOverPi: the bit that 2^e turns into a 2
  const int word = first / 64, shift = first % 64;
  const auto part = [=](int i) {
    const uint64_t high = kTwoOverPi[word + i] << shift;
    return shift == 0 ? high : high | kTwoOverPi[word + i + 1] >> (64 - shift);
  };
  using Wide = unsigned __int128;
  const Wide low = Wide{m} * part(2);
  const Wide middle = Wide{m} * part(1) + static_cast<uint64_t>(low >> 64);
  const uint64_t top = m * part(0) + static_cast<uint64_t>(middle >> 64);
  // Two bits before the point, 128 behind it.
  const Wide joined = (Wide{top} << 64) | static_cast<uint64_t>(middle);
  const Wide fraction = (joined << 2) | (static_cast<uint64_t>(low) >> 62);
  const bool up = (fraction >> 127) != 0;  // a half or more: the next quarter is nearer
  const double rest = static_cast<double>(static_cast<__int128>(fraction)) * 0x1p-128;
  return {rest * (kPi / 2), static_cast<int64_t>(top >> 62) + (up ? 1 : 0)};
}

/// Sine and cosine of any x; NaN at the infinities.
inline double sin(double x) {
  const double a = std::fabs(x);
  if (a < 0x1p-27) return x;  // -0 too
  if (a <= kPi / 4) return sincos_quarter(x, 0).sin;
  if (!(a < kInf)) return std::numeric_limits<double>::quiet_NaN();
  const Quarters q = reduce_quarters(a);
  const double s = sincos_quarter(q.rest, q.quarter).sin;
  return x < 0 ? -s : s;
}
inline double cos(double x) {
  const double a = std::fabs(x);
  if (a <= kPi / 4) return sincos_quarter(x, 0).cos;
  if (!(a < kInf)) return std::numeric_limits<double>::quiet_NaN();
  const Quarters q = reduce_quarters(a);
  return sincos_quarter(q.rest, q.quarter).cos;
}

inline double tanh(double x) {
  if (x != x) return x;
  const double a = std::fabs(x);
  if (a > 22) return std::copysign(1.0, x);
  const double t = expm1(2 * a);
  return std::copysign(t / (t + 2), x);
}

/// erfc(x) for x >= 1 by its continued fraction, from the inside out.
inline double erfc_tail(double x) {
  double f = 0;
  for (int i = x < 2 ? 240 : 60; i >= 1; --i) f = i / (2 * (x + f));
  return exp(-x * x) / ((x + f) * 1.77245385090551602730);
}

/// erf(x) for |x| < 2: 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1)), all terms of one
/// sign.
inline double erf_series(double x) {
  const double z = 2 * x * x;
  double q = 1;
  for (int i = 101; i >= 3; i -= 2) q = 1 + z * q / i;
  return 1.12837916709551257390 * x * exp(-x * x) * q;
}

inline double erf(double x) {
  if (x != x) return x;
  const double a = std::fabs(x);
  if (a < 2) return erf_series(x);
  return std::copysign(a > 6 ? 1.0 : 1 - erfc_tail(a), x);
}
inline double erfc(double x) {
  if (x != x) return x;
  if (x < 1) return x < -6 ? 2 : 1 - erf(x);
  return x > 27.3 ? 0 : erfc_tail(x);
}

/// x^y. Whole y up to 64 by multiplication; a negative x needs a whole y, else NaN.
inline double pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  if (x != x || y != y) return x + y;
  const bool whole = y == std::nearbyint(y);
  if (whole && std::fabs(y) <= 64) {
    double base = x, r = 1;
    for (int n = static_cast<int>(std::fabs(y)); n > 0; n /= 2, base *= base)
      if (n % 2) r *= base;
    // 1 / r is 0 where r overflows; x^y may be subnormal still.
    if (y > 0 || std::fabs(r) < kInf || std::fabs(x) == kInf) return y < 0 ? 1 / r : r;
  }
  const double a = std::fabs(x);
  if (x < 0 && !whole && a != kInf && std::fabs(y) != kInf)
    return std::numeric_limits<double>::quiet_NaN();
  const bool odd = whole && std::fabs(y) < 0x1p53 && std::fmod(y, 2.0) != 0;
  double r;
  if (a == 1) r = 1;
  else if (std::fabs(y) == kInf) r = (a > 1) == (y > 0) ? kInf : 0;
  else if (a == 0) r = y > 0 ? 0 : kInf;
  else if (a == kInf) r = y > 0 ? kInf : 0;
  else r = exp(y * log(a));
  return std::signbit(x) && odd ? -r : r;
}

}  // namespace loupe::dmath
