#pragma once
// Activations of one number and their slopes, for the loops of core/elementwise.h. f32 through
// vmath.h, f64 through dmath.h. Infinities give the limit (gelu(-Inf) = -0), NaN stays.
#include <loupe/core/kernels/vmath.h>

namespace loupe::kernels {

namespace detail {
template <class T> LOUPE_INLINE T at_least(T x, T low) { return x < low ? low : x; }
template <class T> LOUPE_INLINE T at_most(T x, T high) { return x > high ? high : x; }
}  // namespace detail

/// x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel, "Gaussian error linear
/// units", 2016).
template <class T, class Level = Separate> LOUPE_INLINE T gelu(T x, Level level = {}) {
  return detail::at_least(x, T(-40)) * vnormal(x, level).cdf;
}
/// Phi(x) + x phi(x).
template <class T, class Level = Separate> LOUPE_INLINE T gelu_slope(T x, Level level = {}) {
  const Normal<T> n = vnormal(x, level);
  return n.cdf + detail::within(x, T(40)) * n.exp * T(0.39894228040143267794);
}

/// x (1 + tanh(u)) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), written as x sigmoid(2u).
template <class T, class Level = Separate> LOUPE_INLINE T gelu_tanh(T x, Level level = {}) {
  const T two_u = T(1.59576912160573071) * (x + T(0.044715) * x * x * x);
  return detail::at_least(x, T(-40)) * vsigmoid(two_u, level);
}
template <class T, class Level = Separate> LOUPE_INLINE T gelu_tanh_slope(T x, Level level = {}) {
  x = detail::within(x, T(40));
  const T z = x * x;
  const T s = vsigmoid(T(1.59576912160573071) * x * (T(1) + T(0.044715) * z), level);
  return s + s * (T(1) - s) * x * T(1.59576912160573071) * (T(1) + T(0.134145) * z);
}

/// x sigmoid(x).
template <class T, class Level = Separate> LOUPE_INLINE T silu(T x, Level level = {}) {
  return detail::at_least(x, T(-1000)) * vsigmoid(x, level);
}
template <class T, class Level = Separate> LOUPE_INLINE T silu_slope(T x, Level level = {}) {
  const T s = vsigmoid(x, level);
  return s + detail::within(x, T(1000)) * s * (T(1) - s);
}

/// log(1 + e^(beta x)) / beta, and x itself where beta x > threshold.
template <class T, class Level = Separate>
LOUPE_INLINE T softplus(T x, T beta, T threshold, Level level = {}) {
  const T z = beta * x, positive = detail::at_least(z, T(0));
  const T y = (positive + vlog1p(vexp(-vabs(z), level), level)) / beta;
  return z > threshold ? x : y;
}
template <class T, class Level = Separate>
LOUPE_INLINE T softplus_slope(T x, T beta, T threshold, Level level = {}) {
  const T z = beta * x, s = vsigmoid(z, level);
  return z > threshold ? T(1) : s;
}

/// x above 0, alpha (e^x - 1) below.
template <class T, class Level = Separate> LOUPE_INLINE T elu(T x, T alpha, Level level = {}) {
  const T below = alpha * vexpm1(detail::at_most(x, T(0)), level);
  return x > T(0) ? x : below;
}
template <class T, class Level = Separate>
LOUPE_INLINE T elu_slope(T x, T alpha, Level level = {}) {
  const T below = alpha * vexp(detail::at_most(x, T(0)), level);
  return x > T(0) ? T(1) : below;
}

/// alpha (e^(x / alpha) - 1) below 0 (Barron, "Continuously differentiable exponential linear
/// units", 2017).
template <class T, class Level = Separate> LOUPE_INLINE T celu(T x, T alpha, Level level = {}) {
  const T below = alpha * vexpm1(detail::at_most(x, T(0)) / alpha, level);
  return x > T(0) ? x : below;
}
template <class T, class Level = Separate>
LOUPE_INLINE T celu_slope(T x, T alpha, Level level = {}) {
  const T below = vexp(detail::at_most(x, T(0)) / alpha, level);
  return x > T(0) ? T(1) : below;
}

/// x tanh(softplus(x)). With e = e^x and n = e (e + 2) that is x n / (n + 2); from 22 on it is x.
template <class T, class Level = Separate> LOUPE_INLINE T mish(T x, Level level = {}) {
  const T e = vexp(detail::at_most(x, T(22)), level);
  const T n = e * (e + T(2));
  return detail::at_least(x, T(-1000)) * (n / (n + T(2)));
}
template <class T, class Level = Separate> LOUPE_INLINE T mish_slope(T x, Level level = {}) {
  const T e = vexp(detail::at_most(x, T(22)), level);
  const T n = e * (e + T(2)), d = n + T(2);
  // 1 - tanh^2 = 4 (n + 1) / d^2, without the difference.
  const T falling = T(4) * (n + T(1)) / d / d;
  return n / d + detail::within(x, T(1000)) * (e / (e + T(1))) * falling;
}

/// log(sigmoid(x)).
template <class T, class Level = Separate> LOUPE_INLINE T log_sigmoid(T x, Level level = {}) {
  return detail::at_most(x, T(0)) - vlog1p(vexp(-vabs(x), level), level);
}

}  // namespace loupe::kernels
