#pragma once
// The normalization kernels as plain loops, sums in double: the f64 path, and the reference of the
// fast f32 one.
#include <loupe/core/kernels/norm/norm.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace loupe::kernels::plain {

/// Calls f(i, c, group) for every element of every row: i its place in memory, c the channel, group
/// into mean and rstd.
template <class F> void each(const NormShape& s, const F& f) {
  const int64_t size = s.groups ? s.channels / s.groups : 1;
  for (int64_t row = 0, i = 0; row < s.images * s.rows; ++row)
    for (int64_t c = 0; c < s.channels; ++c, ++i) f(i, c, row / s.rows * s.groups + c / size);
}
inline bool counts(const NormShape& s, int64_t i) { return !s.mask || s.mask[i / s.channels]; }

template <class T>
double norm_moments(const T* x, const NormShape& s, double extra, double* mean, double* var) {
  int64_t rows = s.rows;
  if (s.mask) rows -= std::count(s.mask, s.mask + s.rows, uint8_t(0));
  const double n = s.groups ? static_cast<double>(rows * (s.channels / s.groups)) : 0;
  const int64_t all = s.images * s.groups;
  std::fill_n(mean, all, 0.0), std::fill_n(var, all, 0.0);
  if (n == 0) return 0;
  each(s, [&](int64_t i, int64_t, int64_t g) { mean[g] += counts(s, i) ? double(x[i]) : 0; });
  for (int64_t g = 0; g < all; ++g) mean[g] /= n + extra;
  // What the rounded mean leaves over corrects it: of equal elements it is then that element.
  each(s, [&](int64_t i, int64_t, int64_t g) { var[g] += counts(s, i) ? x[i] - mean[g] : 0; });
  for (int64_t g = 0; g < all; ++g) {
    const double rest = (var[g] - extra * mean[g]) / (n + extra);
    if (std::isfinite(rest)) mean[g] += rest;
    var[g] = 0;
  }
  each(s, [&](int64_t i, int64_t, int64_t g) {
    var[g] += counts(s, i) ? (double(x[i]) - mean[g]) * (double(x[i]) - mean[g]) : 0;
  });
  for (int64_t g = 0; g < all; ++g) var[g] /= n + extra;
  return n;
}

template <class T>
void norm_apply(const T* x, T* y, const NormShape& s, const NormStats& st, const T* gamma,
                const T* beta, bool relu) {
  each(s, [&](int64_t i, int64_t c, int64_t g) {
    const double v = (double(x[i]) - st.mean[g]) * st.rstd[g] * (gamma ? double(gamma[c]) : 1) +
                     (beta ? double(beta[c]) : 0);
    y[i] = static_cast<T>(relu && v < 0 ? 0 : v);
  });
}

template <class T>
void norm_backward(const T* x, const T* dy, T* dx, T* dgamma, T* dbeta, const NormShape& s,
                   const NormStats& st, const T* gamma, const T* beta, bool relu) {
  const auto all = static_cast<size_t>(s.images * s.groups),
             channels = static_cast<size_t>(s.channels);
  std::vector<double> sum_g(all), sum_gx(all), dg(channels), db(channels);
  auto weight = [&](int64_t c) { return gamma ? double(gamma[c]) : 1.0; };
  auto centred = [&](int64_t i, int64_t g) { return double(x[i]) - st.mean[g]; };
  auto upstream = [&](int64_t i, int64_t c, int64_t g) {
    if (!relu) return double(dy[i]);
    return centred(i, g) * st.rstd[g] * weight(c) + (beta ? double(beta[c]) : 0) <= 0
               ? 0
               : double(dy[i]);
  };
  each(s, [&](int64_t i, int64_t c, int64_t group) {
    const auto g = static_cast<size_t>(group), k = static_cast<size_t>(c);
    const double d = upstream(i, c, group), xhat = centred(i, group) * st.rstd[g];
    sum_g[g] += weight(c) * d, sum_gx[g] += weight(c) * d * xhat, dg[k] += d * xhat, db[k] += d;
  });
  for (size_t c = 0; c < channels; ++c) {
    if (dgamma) dgamma[c] = static_cast<T>(dg[c]);
    if (dbeta) dbeta[c] = static_cast<T>(db[c]);
  }
  if (!dx) return;
  const double n = st.count + st.extra;
  each(s, [&](int64_t i, int64_t c, int64_t group) {
    const auto g = static_cast<size_t>(group);
    const double r = st.rstd[g], direct = r * weight(c) * upstream(i, c, group);
    // With extra > 0 the deviations about the mean do not add up to 0: the variance depends on the
    // mean a little.
    const double shift = sum_g[g] - r * sum_gx[g] * st.mean[g] * st.extra / n;
    const bool flows = !st.constant && counts(s, i);
    dx[i] =
        static_cast<T>(direct - (flows ? r * (shift + centred(i, group) * r * sum_gx[g]) / n : 0));
  });
}

/// Calls f(window, c, best) for every window of 2 x 2: `best` is the place in memory of its first
/// largest relu input.
template <class T, class F>
void each_window(const T* x, const NormShape& s, int64_t height, int64_t width, const NormStats& st,
                 const T* gamma, const T* beta, const F& f) {
  const int64_t oh = height / 2, ow = width / 2, C = s.channels,
                images = s.rows / std::max<int64_t>(height * width, 1);
  auto value = [&](int64_t i, int64_t c) {
    const double v = (double(x[i]) - st.mean[c]) * st.rstd[c] * (gamma ? double(gamma[c]) : 1) +
                     (beta ? double(beta[c]) : 0);
    return v < 0 ? 0 : v;
  };
  for (int64_t w = 0; w < images * oh * ow; ++w)
    for (int64_t c = 0; c < C; ++c) {
      const int64_t n = w / (oh * ow), oy = w / ow % oh, ox = w % ow;
      int64_t best = -1;
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t i = ((n * height + 2 * oy + k / 2) * width + 2 * ox + k % 2) * C + c;
        if (best < 0 || value(i, c) > value(best, c) || std::isnan(value(i, c))) best = i;
      }
      f(w * C + c, best, value(best, c));
    }
}

template <class T>
void norm_relu_pool(const T* x, T* y, const NormShape& s, int64_t height, int64_t width,
                    const NormStats& st, const T* gamma, const T* beta) {
  each_window(x, s, height, width, st, gamma, beta,
              [&](int64_t out, int64_t, double value) { y[out] = static_cast<T>(value); });
}

template <class T>
void norm_relu_pool_backward(const T* x, const T* dy, T* dx, T* dgamma, T* dbeta,
                             const NormShape& s, int64_t height, int64_t width, const NormStats& st,
                             const T* gamma, const T* beta) {
  std::vector<T> up(static_cast<size_t>(s.rows * s.channels));
  each_window(x, s, height, width, st, gamma, beta,
              [&](int64_t out, int64_t best, double) { up[static_cast<size_t>(best)] = dy[out]; });
  plain::norm_backward(x, up.data(), dx, dgamma, dbeta, s, st, gamma, beta, true);
}

template <class T>
void row_norm(const T* x, T* y, int64_t rows, int64_t d, const T* gamma, const T* beta, double eps,
              T* mean, T* rstd) {
  for (int64_t r = 0; r < rows; ++r, x += d, y += d) {
    double m = 0, v = 0;
    for (int64_t i = 0; mean && i < d; ++i) m += x[i];
    m /= static_cast<double>(d);
    for (int64_t i = 0; mean && i < d; ++i) v += double(x[i]) - m;
    if (std::isfinite(v)) m += v / static_cast<double>(d);  // of equal elements: that element
    v = 0;
    for (int64_t i = 0; i < d; ++i) v += (double(x[i]) - m) * (double(x[i]) - m);
    const double rs = 1 / std::sqrt(v / static_cast<double>(d) + eps);
    if (mean) mean[r] = static_cast<T>(m);
    rstd[r] = static_cast<T>(rs);
    for (int64_t i = 0; i < d; ++i)
      y[i] = static_cast<T>((double(x[i]) - m) * rs * (gamma ? double(gamma[i]) : 1) +
                            (beta ? double(beta[i]) : 0));
  }
}

template <class T>
void row_norm_backward(const T* x, const T* dy, T* dx, T* dgamma, T* dbeta, int64_t rows, int64_t d,
                       const T* gamma, const T* mean, const T* rstd) {
  std::vector<double> dg(static_cast<size_t>(d)), db(static_cast<size_t>(d));
  for (int64_t r = 0; r < rows; ++r) {
    const double m = mean ? double(mean[r]) : 0, rs = rstd[r];
    double sum_g = 0, sum_gx = 0;
    for (int64_t i = 0; i < d; ++i) {
      const double up = dy[r * d + i], xhat = (double(x[r * d + i]) - m) * rs,
                   g = up * (gamma ? double(gamma[i]) : 1);
      sum_g += g, sum_gx += g * xhat;
      dg[static_cast<size_t>(i)] += up * xhat, db[static_cast<size_t>(i)] += up;
    }
    const auto n = static_cast<double>(d);
    for (int64_t i = 0; i < d; ++i) {
      const double xhat = (double(x[r * d + i]) - m) * rs,
                   g = dy[r * d + i] * (gamma ? double(gamma[i]) : 1);
      dx[r * d + i] = static_cast<T>(rs * (g - (mean ? sum_g / n : 0) - xhat * sum_gx / n));
    }
  }
  for (int64_t i = 0; i < d; ++i) {
    if (dgamma) dgamma[i] = static_cast<T>(dg[static_cast<size_t>(i)]);
    if (dbeta) dbeta[i] = static_cast<T>(db[static_cast<size_t>(i)]);
  }
}

}  // namespace loupe::kernels::plain
