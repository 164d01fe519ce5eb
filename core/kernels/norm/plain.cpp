// The normalization kernels as plain loops, sums in double.
#include <loupe/core/kernels/norm/norm.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace loupe::kernels {

double norm_count(const NormShape& s) {
  int64_t rows = s.rows;
  if (s.mask) rows -= std::count(s.mask, s.mask + s.rows, uint8_t(0));
  return static_cast<double>(s.groups ? rows * (s.channels / s.groups) : rows);
}

namespace plain {
namespace {

/// A vector of n zeros, read and written at signed places.
class Doubles {
 public:
  explicit Doubles(int64_t n) : values_(static_cast<size_t>(n)) {}
  double& operator[](int64_t i) { return values_[static_cast<size_t>(i)]; }

 private:
  std::vector<double> values_;
};

/// One number of x: its place in memory, its channel, and its place in mean and rstd.
struct Element {
  int64_t i, channel, group;
};

/// Calls f(element) for every number of x, in the order of memory.
template <class F> void for_elements(const NormShape& s, const F& f) {
  const int64_t group_size = s.groups ? s.channels / s.groups : 1;
  int64_t i = 0;
  for (int64_t row = 0; row < s.images * s.rows; ++row) {
    const int64_t first_group = row / s.rows * s.groups;
    for (int64_t c = 0; c < s.channels; ++c, ++i) f(Element{i, c, first_group + c / group_size});
  }
}

bool counts(const NormShape& s, int64_t i) { return !s.mask || s.mask[i / s.channels]; }

/// Calls f(element) for those that take part in the statistics.
template <class F> void for_counted(const NormShape& s, const F& f) {
  for_elements(s, [&](Element e) {
    if (counts(s, e.i)) f(e);
  });
}

template <class T> double weight(const T* gamma, int64_t i) { return gamma ? double(gamma[i]) : 1; }
template <class T> double shift(const T* beta, int64_t i) { return beta ? double(beta[i]) : 0; }

template <class T> double centred(const NormInput<T>& in, const NormStats& st, Element e) {
  return double(in.x[e.i]) - st.mean[e.group];
}

/// y before relu.
template <class T> double normalized(const NormInput<T>& in, const NormStats& st, Element e) {
  return centred(in, st, e) * st.rstd[e.group] * weight(in.gamma, e.channel) +
         shift(in.beta, e.channel);
}

/// dy, or 0 where relu clipped.
template <class T>
double through_relu(const NormInput<T>& in, const NormStats& st, Element e, T dy) {
  const bool clipped = in.relu && normalized(in, st, e) <= 0;
  return clipped ? 0 : double(dy);
}

}  // namespace

template <class T>
double norm_moments(const NormInput<T>& in, double extra, const NormMoments& to, double*) {
  const NormShape& s = in.shape;
  const int64_t all = s.images * s.groups;
  const double n = norm_count(s);
  double *mean = to.mean, *var = to.var;
  std::fill_n(mean, all, 0.0);
  std::fill_n(var, all, 0.0);
  if (n == 0) return 0;
  for_counted(s, [&](Element e) { mean[e.group] += double(in.x[e.i]); });
  for (int64_t g = 0; g < all; ++g) mean[g] /= n + extra;

  // What the rounded mean leaves over corrects it: of equal elements it is then that element.
  Doubles rest(all);
  for_counted(s, [&](Element e) { rest[e.group] += double(in.x[e.i]) - mean[e.group]; });
  for (int64_t g = 0; g < all; ++g) {
    const double correction = (rest[g] - extra * mean[g]) / (n + extra);
    if (std::isfinite(correction)) mean[g] += correction;
  }

  for_counted(s, [&](Element e) {
    const double off = double(in.x[e.i]) - mean[e.group];
    var[e.group] += off * off;
  });
  for (int64_t g = 0; g < all; ++g) var[g] /= n + extra;
  return n;
}

template <class T> void norm_apply(const NormInput<T>& in, const NormStats& stats, T* y, double*) {
  for_elements(in.shape, [&](Element e) {
    const double v = normalized(in, stats, e);
    y[e.i] = static_cast<T>(in.relu && v < 0 ? 0 : v);
  });
}

template <class T>
double norm_forward(const NormInput<T>& in, double eps, const NormMoments& to, T* y, double*) {
  const double n = plain::norm_moments(in, 0, to);
  for (int64_t g = 0; g < in.shape.images * in.shape.groups; ++g)
    to.rstd[g] = 1 / std::sqrt(to.var[g] + eps);
  plain::norm_apply(in, {to.mean, to.rstd}, y);
  return n;
}

template <class T>
void norm_backward(const NormInput<T>& in, const NormStats& stats, const NormGradients<T>& to,
                   double*) {
  const NormShape& s = in.shape;
  Doubles sum_g(s.images * s.groups), sum_gx(s.images * s.groups);  // g = gamma dy, gx = g xhat
  Doubles dgamma(s.channels), dbeta(s.channels);
  for_elements(s, [&](Element e) {
    const double dy = through_relu(in, stats, e, to.dy[e.i]);
    const double g = weight(in.gamma, e.channel) * dy;
    const double xhat = centred(in, stats, e) * stats.rstd[e.group];
    sum_g[e.group] += g;
    sum_gx[e.group] += g * xhat;
    dgamma[e.channel] += dy * xhat;
    dbeta[e.channel] += dy;
  });
  for (int64_t c = 0; c < s.channels; ++c) {
    if (to.dgamma) to.dgamma[c] = static_cast<T>(dgamma[c]);
    if (to.dbeta) to.dbeta[c] = static_cast<T>(dbeta[c]);
  }
  if (!to.dx) return;

  const double n = stats.count + stats.extra;
  for_elements(s, [&](Element e) {
    const double r = stats.rstd[e.group];
    double dx = r * weight(in.gamma, e.channel) * through_relu(in, stats, e, to.dy[e.i]);
    if (!stats.constant && counts(s, e.i)) {
      // With extra > 0 the deviations about the mean do not add up to 0: the variance depends on
      // the mean a little.
      const double through_var = r * sum_gx[e.group] * stats.mean[e.group] * stats.extra / n;
      const double through_mean = sum_g[e.group] - through_var;
      dx -= r * (through_mean + centred(in, stats, e) * r * sum_gx[e.group]) / n;
    }
    to.dx[e.i] = static_cast<T>(dx);
  });
}

namespace {

/// A window of 2 x 2 and one channel: its place in y, and its first largest relu output.
struct Window {
  int64_t out, winner;  // places in y and x
  double value;
};

/// Calls f(window) for every window and channel, in the order of y.
template <class T, class F>
void for_windows(const NormInput<T>& in, const NormImage& image, const NormStats& stats,
                 const F& f) {
  const int64_t C = in.shape.channels, out_h = image.height / 2, out_w = image.width / 2;
  const int64_t images = in.shape.rows / std::max<int64_t>(image.height * image.width, 1);
  const auto value = [&](int64_t i, int64_t c) {
    const double v = normalized(in, stats, {i, c, c});
    return v < 0 ? 0 : v;
  };
  for (int64_t w = 0; w < images * out_h * out_w; ++w) {
    const int64_t n = w / (out_h * out_w), y = w / out_w % out_h, x = w % out_w;
    for (int64_t c = 0; c < C; ++c) {
      int64_t best = -1;
      for (int64_t k = 0; k < 4; ++k) {
        const int64_t row = 2 * y + k / 2, column = 2 * x + k % 2;
        const int64_t i = ((n * image.height + row) * image.width + column) * C + c;
        const double v = value(i, c);
        if (best < 0 || v > value(best, c) || std::isnan(v)) best = i;
      }
      f(Window{w * C + c, best, value(best, c)});
    }
  }
}

}  // namespace

template <class T>
void norm_relu_pool(const NormInput<T>& in, const NormImage& image, const NormStats& stats, T* y,
                    double*) {
  for_windows(in, image, stats, [&](const Window& w) { y[w.out] = static_cast<T>(w.value); });
}

template <class T>
void norm_relu_pool_backward(const NormInput<T>& in, const NormImage& image, const NormStats& stats,
                             const NormGradients<T>& to, double*) {
  std::vector<T> dy(static_cast<size_t>(in.shape.rows * in.shape.channels));  // before pooling
  for_windows(in, image, stats,
              [&](const Window& w) { dy[static_cast<size_t>(w.winner)] = to.dy[w.out]; });
  NormInput<T> with_relu = in;
  with_relu.relu = true;
  plain::norm_backward(with_relu, stats, {dy.data(), to.dx, to.dgamma, to.dbeta});
}

namespace {

/// The mean of d numbers, or 0 for RMS norm.
template <class T> double row_mean(const T* x, int64_t d, bool centre) {
  if (!centre) return 0;
  double mean = 0;
  for (int64_t i = 0; i < d; ++i) mean += x[i];
  mean /= static_cast<double>(d);
  double rest = 0;
  for (int64_t i = 0; i < d; ++i) rest += double(x[i]) - mean;
  if (std::isfinite(rest))
    mean += rest / static_cast<double>(d);  // of equal elements: that element
  return mean;
}

}  // namespace

template <class T>
void row_norm(const RowNormInput<T>& in, double eps, T* y, const RowStats<T>& stats) {
  const int64_t d = in.d;
  for (int64_t r = 0; r < in.rows; ++r) {
    const T* const x = in.x + r * d;
    const double mean = row_mean(x, d, stats.mean != nullptr);
    double squares = 0;
    for (int64_t i = 0; i < d; ++i) squares += (double(x[i]) - mean) * (double(x[i]) - mean);
    const double rstd = 1 / std::sqrt(squares / static_cast<double>(d) + eps);
    if (stats.mean) stats.mean[r] = static_cast<T>(mean);
    stats.rstd[r] = static_cast<T>(rstd);
    for (int64_t i = 0; i < d; ++i) {
      const double xhat = (double(x[i]) - mean) * rstd;
      y[r * d + i] = static_cast<T>(xhat * weight(in.gamma, i) + shift(in.beta, i));
    }
  }
}

template <class T>
void row_norm_backward(const RowNormInput<T>& in, const RowStats<const T>& stats,
                       const NormGradients<T>& to, double*) {
  const int64_t d = in.d;
  const auto n = static_cast<double>(d);
  Doubles dgamma(d), dbeta(d);
  for (int64_t r = 0; r < in.rows; ++r) {
    const T *const x = in.x + r * d, *const dy = to.dy + r * d;
    const double mean = stats.mean ? double(stats.mean[r]) : 0, rstd = stats.rstd[r];
    double sum_g = 0, sum_gx = 0;  // g = gamma dy, gx = g xhat
    for (int64_t i = 0; i < d; ++i) {
      const double xhat = (double(x[i]) - mean) * rstd;
      const double g = double(dy[i]) * weight(in.gamma, i);
      sum_g += g;
      sum_gx += g * xhat;
      dgamma[i] += double(dy[i]) * xhat;
      dbeta[i] += double(dy[i]);
    }
    const double mean_g = stats.mean ? sum_g / n : 0;
    for (int64_t i = 0; i < d; ++i) {
      const double xhat = (double(x[i]) - mean) * rstd;
      const double g = double(dy[i]) * weight(in.gamma, i);
      to.dx[r * d + i] = static_cast<T>(rstd * (g - mean_g - xhat * sum_gx / n));
    }
  }
  for (int64_t i = 0; i < d; ++i) {
    if (to.dgamma) to.dgamma[i] = static_cast<T>(dgamma[i]);
    if (to.dbeta) to.dbeta[i] = static_cast<T>(dbeta[i]);
  }
}

#define LOUPE_INSTANTIATE(T)                                                                     \
  template double norm_moments(const NormInput<T>&, double, const NormMoments&, double*);        \
  template void norm_apply(const NormInput<T>&, const NormStats&, T*, double*);                  \
  template double norm_forward(const NormInput<T>&, double, const NormMoments&, T*, double*);    \
  template void norm_backward(const NormInput<T>&, const NormStats&, const NormGradients<T>&,    \
                              double*);                                                          \
  template void norm_relu_pool(const NormInput<T>&, const NormImage&, const NormStats&, T*,      \
                               double*);                                                         \
  template void norm_relu_pool_backward(const NormInput<T>&, const NormImage&, const NormStats&, \
                                        const NormGradients<T>&, double*);                       \
  template void row_norm(const RowNormInput<T>&, double, T*, const RowStats<T>&);                \
  template void row_norm_backward(const RowNormInput<T>&, const RowStats<const T>&,              \
                                  const NormGradients<T>&, double*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace plain
}  // namespace loupe::kernels
