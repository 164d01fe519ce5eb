// A channel's coefficients: the statistics, gamma and beta as one product and one sum a number.
#include <loupe/core/kernels/norm/strips.h>

namespace loupe::kernels {

int64_t coefficient_doubles(const NormShape& s) {
  constexpr int64_t kArrays = 5, kCacheLine = 8;  // the sums that follow begin on another line
  return (kArrays * s.images * s.channels + 1) / 2 + kCacheLine;
}

void forward_coefficients(const NormInput<float>& in, const NormStats& stats,
                          const Coefficients& to) {
  const NormShape& s = in.shape;
  const int64_t size = group_size(s);
  for (int64_t g = 0; g < s.groups; ++g) {
    const auto center = static_cast<float>(stats.mean[g]);
    const double rest = stats.mean[g] - double(center);
    for (int64_t c = g * size; c < (g + 1) * size; ++c) {
      const double scale = stats.rstd[g] * (in.gamma ? double(in.gamma[c]) : 1);
      const double beta = in.beta ? double(in.beta[c]) : 0;
      to.center[c] = center;
      to.scale[c] = static_cast<float>(scale);
      to.shift[c] = static_cast<float>(beta - rest * scale);
    }
  }
}

namespace {

/// dx of a group is dt * scale + (x - center) * slope + offset.
struct Line {
  double slope = 0, offset = 0;
};

Line line_of_group(const NormInput<float>& in, const NormStats& stats, int64_t g,
                   const double* sums, float center) {
  const int64_t size = group_size(in.shape);
  const double n = stats.count + stats.extra;
  if (stats.constant || n <= 0) return {};
  const double rest = stats.mean[g] - double(center), r = stats.rstd[g];
  double sum_g = 0, sum_gx = 0;  // g = gamma dt, gx = g xhat
  for (int64_t c = g * size; c < (g + 1) * size; ++c) {
    const double weight = in.gamma ? double(in.gamma[c]) : 1;
    sum_g += weight * sums[2 * c];
    sum_gx += weight * r * (sums[2 * c + 1] - rest * sums[2 * c]);
  }
  // With extra > 0 the deviations about the mean do not add up to 0: the variance depends on the
  // mean a little.
  sum_g -= r * sum_gx * stats.mean[g] * stats.extra / n;
  const double slope = -r * r * sum_gx / n;
  return {slope, -r * sum_g / n - rest * slope};
}

}  // namespace

void backward_coefficients(const NormInput<float>& in, const NormStats& stats, const double* sums,
                           const Coefficients& to) {
  const int64_t size = group_size(in.shape);
  for (int64_t g = 0; g < in.shape.groups; ++g) {
    const Line line = line_of_group(in, stats, g, sums, to.center[g * size]);
    for (int64_t c = g * size; c < (g + 1) * size; ++c) {
      to.slope[c] = static_cast<float>(line.slope);
      to.offset[c] = static_cast<float>(line.offset);
    }
  }
}

void weight_gradients(const NormShape& s, const NormStats& stats, const double* sums,
                      const Coefficients& k, const NormGradients<float>& to) {
  if (!to.dgamma && !to.dbeta) return;
  const int64_t C = s.channels, size = group_size(s);
  for (int64_t c = 0; c < C; ++c) {
    double dgamma = 0, dbeta = 0;
    for (int64_t image = 0; image < s.images; ++image) {
      const int64_t i = image * C + c, g = image * s.groups + c / size;
      const double dt = sums[2 * i], dt_x = sums[2 * i + 1];
      const double rest = stats.mean[g] - double(k.center[i]);
      dgamma += stats.rstd[g] * (dt_x - rest * dt);
      dbeta += dt;
    }
    if (to.dgamma) to.dgamma[c] = static_cast<float>(dgamma);
    if (to.dbeta) to.dbeta[c] = static_cast<float>(dbeta);
  }
}

void add_partials(int64_t channels, const Partials& partials, double* sums) {
  std::fill_n(sums, 2 * channels, 0.0);
  for (int64_t i = 0; i < partials.count; ++i) {
    const double* const dt = partials.first + i * partials.stride;
    const double* const dt_x = dt + channels;
    for (int64_t c = 0; c < channels; ++c) {
      sums[2 * c] += dt[c];
      sums[2 * c + 1] += dt_x[c];
    }
  }
}

}  // namespace loupe::kernels
