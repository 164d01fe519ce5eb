#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/plain.h>
#include <loupe/core/kernels/norm/strips.h>
#include <loupe/core/threads.h>

#include <cmath>

namespace loupe::kernels {
namespace {

constexpr int64_t kBlock = 64;  // (folded) rows whose sums stay in float

/// Calls f(first row, rows, takes part) over runs of rows of equal mask inside [begin, end), at
/// most `most` long.
template <class F>
inline void for_runs(const uint8_t* mask, int64_t begin, int64_t end, int64_t most, const F& f) {
  for (int64_t r = begin; r < end;) {
    const bool on = !mask || mask[r];
    int64_t stop = mask ? r + 1 : std::min(end, r + most);
    while (mask && stop < end && stop - r < most && (mask[stop] != 0) == on) ++stop;
    f(r, stop - r, on);
    r = stop;
  }
}

/// Sums and squared deviations of n rows of w columns, merged into sum and m2, which hold `seen`
/// rows. Deviations are taken about the mean a of the first k = min(n, 8) rows. That is safe: with
/// m the mean of all and M their squared deviations, M >= k (a - m)^2, so sum (x - a)^2 = M + n (a
/// - m)^2 is at most (1 + n / k) M: 9 M in a block of 64.
template <class W>
inline void moments_strip(const float* x, int64_t stride, int64_t n, W w, double seen, double* sum,
                          double* m2) {
  float s[kStrip], dev[kStrip], about[kStrip];
  const int64_t few = std::min<int64_t>(n, 8);
  const float inv_few = 1 / static_cast<float>(few);
  const auto rows = static_cast<double>(n);
  const double inv = 1 / rows, inv_seen = seen > 0 ? 1 / seen : 0,
               weight = seen * rows / (seen + rows);
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) s[j] = 0, dev[j] = 0, about[j] = 0;
  for (int64_t r = 0; r < few; ++r) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) about[j] += x[r * stride + j];
  }
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) about[j] *= inv_few;
  const float* p = x;
  int64_t r = 0;
  for (; r + 8 <= n; r += 8, p += 8 * stride) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      const float a = about[j];
      s[j] += eight([=](int64_t u) { return p[u * stride + j] - a; });
      dev[j] += eight([=](int64_t u) { return (p[u * stride + j] - a) * (p[u * stride + j] - a); });
    }
  }
  for (; r < n; ++r, p += stride) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      const float d = p[j] - about[j];
      s[j] += d, dev[j] += d * d;
    }
  }
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) {
    const double d = double(s[j]), total = d + rows * double(about[j]),
                 between = sum[j] * inv_seen - total * inv;
    m2[j] += double(dev[j]) - d * d * inv + between * between * weight;
    sum[j] += total;
  }
}

/// One item's sum and m2 a channel, and its count.
void moments_item(const float* x, int64_t begin, int64_t end, const NormShape& s,
                  const NormPlan& plan, double* out) {
  const int64_t C = s.channels, fold = plan.fold, folded = fold > 1 ? (end - begin) / fold : 0;
  double *sum = out, *m2 = out + C, seen = 0;
  std::fill_n(out, 2 * C + 1, 0.0);
  auto add = [&](const float* from, int64_t n, int64_t width, double* to_sum, double* to_m2) {
    for_strips(width, [=](int64_t c, auto w) {
      moments_strip(from + c, width, n, w, seen, to_sum + c, to_m2 + c);
    });
    seen += static_cast<double>(n);
  };
  if (folded) {
    double wide[2 * NormPlan::kMaxFolded] = {}, *wide_m2 = wide + plan.width;
    for_runs(nullptr, 0, folded, kBlock, [&](int64_t r, int64_t n, bool) {
      add(x + begin * C + r * plan.width, n, plan.width, wide, wide_m2);
    });
    // Each of the folded columns saw the same number of rows.
    const double n = seen, inv = 1 / n;
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t k = 0; k < fold; ++k) sum[c] += wide[k * C + c], m2[c] += wide_m2[k * C + c];
      const double mean = sum[c] * inv / static_cast<double>(fold);
      for (int64_t k = 0; k < fold; ++k)
        m2[c] += n * (wide[k * C + c] * inv - mean) * (wide[k * C + c] * inv - mean);
    }
    seen *= static_cast<double>(fold);
  }
  for_runs(s.mask, begin + folded * fold, end, kBlock, [&](int64_t r, int64_t n, bool on) {
    if (on) add(x + r * C, n, C, sum, m2);
  });
  out[2 * C] = seen;
}

/// Calls f(image) for every image, each on one thread, which meets its rows again in the cache; a
/// single one has all threads.
template <class F> void for_images(const NormShape& s, const NormPlan& plan, const F& f) {
  parallel_ranges(s.images, plan.chunks == 1 ? plan.grain : 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) f(image);
  });
}

/// Calls f(item, first row, end row) for the items of an image.
template <class F>
void for_items(const NormShape& s, const NormPlan& plan, int64_t image, const F& f) {
  parallel_ranges(plan.chunks, plan.grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      f(image * plan.chunks + i, i * plan.chunk, std::min(s.rows, (i + 1) * plan.chunk));
  });
}

/// One image of a shape and its statistics.
NormShape one_of(NormShape s) { return s.images = 1, s; }
NormStats one_of(NormStats st, const NormShape& s, int64_t image) {
  return st.mean += image * s.groups, st.rstd += image * s.groups, st;
}

template <bool kRelu>
void apply_rows(const float* x, float* y, int64_t n, int64_t width, const float* center,
                const float* scale, const float* shift) {
  simd([=] {
    for (int64_t r = 0; r < n; r += kBlock) {
      for_strips(width, [=](int64_t c, auto w) {
        float m[kStrip], s[kStrip], t[kStrip];
#pragma omp simd
        for (int64_t j = 0; j < w; ++j)
          m[j] = center[c + j], s[j] = scale[c + j], t[j] = shift[c + j];
        const float* p = x + r * width + c;
        float* q = y + r * width + c;
        for (int64_t end = std::min(kBlock, n - r), i = 0; i < end; ++i, p += width, q += width) {
          fetch_far(q, w);
#pragma omp simd
          for (int64_t j = 0; j < w; ++j) {
            const float v = (p[j] - m[j]) * s[j] + t[j];
            q[j] = kRelu && v < 0 ? 0 : v;
          }
        }
      });
    }
  });
}

/// What relu lets through of d, where its input is v.
template <bool kRelu> inline float live(float v, float d) { return kRelu && v <= 0 ? 0.0F : d; }

/// Sums over n rows of dt and dt * (x - center), added to out and out + channels; dt is dy, 0 where
/// relu clipped.
template <bool kRelu>
void sums_rows(const float* x, const float* dy, int64_t n, int64_t width, const Coefficients& k,
               double* out, double* out_x) {
  simd([=, center = k.center, scale = k.scale, shift = k.shift] {
    for (int64_t first = 0; first < n; first += kBlock) {
      for_strips(width, [=](int64_t c, auto w) {
        float a[kStrip], b[kStrip], m[kStrip], s[kStrip], t[kStrip];
#pragma omp simd
        for (int64_t j = 0; j < w; ++j)
          a[j] = 0, b[j] = 0, m[j] = center[c + j], s[j] = scale[c + j], t[j] = shift[c + j];
        const float *p = x + first * width + c, *q = dy + first * width + c;
        const int64_t rows = std::min(kBlock, n - first);
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4, p += 4 * width, q += 4 * width) {
#pragma omp simd
          for (int64_t j = 0; j < w; ++j) {
            const float mj = m[j], sj = s[j], tj = t[j];
            const float v0 = p[j] - mj, v1 = p[width + j] - mj, v2 = p[2 * width + j] - mj,
                        v3 = p[3 * width + j] - mj;
            const float d0 = live<kRelu>(v0 * sj + tj, q[j]),
                        d1 = live<kRelu>(v1 * sj + tj, q[width + j]);
            const float d2 = live<kRelu>(v2 * sj + tj, q[2 * width + j]),
                        d3 = live<kRelu>(v3 * sj + tj, q[3 * width + j]);
            a[j] += (d0 + d1) + (d2 + d3);
            b[j] += (d0 * v0 + d1 * v1) + (d2 * v2 + d3 * v3);
          }
        }
        for (; r < rows; ++r, p += width, q += width) {
#pragma omp simd
          for (int64_t j = 0; j < w; ++j) {
            const float v = p[j] - m[j], d = live<kRelu>(v * s[j] + t[j], q[j]);
            a[j] += d, b[j] += d * v;
          }
        }
#pragma omp simd
        for (int64_t j = 0; j < w; ++j) out[c + j] += double(a[j]), out_x[c + j] += double(b[j]);
      });
    }
  });
}

/// dx = dt * scale + (x - center) * slope + offset over n rows. Without kFlows (masked rows, running
/// statistics) it is dt * scale: a product with a slope of 0 would be NaN where x is infinite.
template <bool kRelu, bool kFlows>
void dx_rows(const float* x, const float* dy, float* dx, int64_t n, int64_t width,
             const Coefficients& k) {
  simd(
      [=, center = k.center, scale = k.scale, shift = k.shift, slope = k.slope, offset = k.offset] {
        for (int64_t first = 0; first < n; first += kBlock) {
          for_strips(width, [=](int64_t c, auto w) {
            float m[kStrip], s[kStrip], t[kStrip], e[kStrip], o[kStrip];
#pragma omp simd
            for (int64_t j = 0; j < w; ++j) {
              m[j] = center[c + j], s[j] = scale[c + j], t[j] = shift[c + j];
              e[j] = slope[c + j], o[j] = offset[c + j];
            }
            const float *p = x + first * width + c, *q = dy + first * width + c;
            float* to = dx + first * width + c;
            for (int64_t end = std::min(kBlock, n - first), r = 0; r < end;
                 ++r, p += width, q += width, to += width) {
              fetch_far(to, w);
#pragma omp simd
              for (int64_t j = 0; j < w; ++j) {
                const float v = p[j] - m[j];
                const float own = live<kRelu>(v * s[j] + t[j], q[j]) * s[j];
                to[j] = kFlows ? own + (v * e[j] + o[j]) : own;
              }
            }
          });
        }
      });
}

/// Repeats a channel's coefficients over a folded row.
struct Folded : Coefficients {
  float room[5 * NormPlan::kMaxFolded];
  Folded(const Coefficients& from, int64_t channels, const NormPlan& plan, int arrays)
      : Coefficients(room, NormPlan::kMaxFolded) {
    const float* source[] = {from.center, from.scale, from.shift, from.slope, from.offset};
    for (int a = 0; a < arrays; ++a)
      for (int64_t f = 0; f < plan.fold; ++f)
        std::copy_n(source[a], channels, room + a * NormPlan::kMaxFolded + f * channels);
  }
};

Coefficients at(const Coefficients& k, int64_t i) {
  Coefficients moved = k;
  moved.center += i, moved.scale += i, moved.shift += i, moved.slope += i, moved.offset += i;
  return moved;
}

/// Calls f(first row, rows, width, coefficients, takes part) for an item: folded rows first, then
/// the rest.
template <class F>
void for_parts(const NormShape& s, const NormPlan& plan, const Coefficients& k, int arrays,
               int64_t begin, int64_t end, const F& f) {
  const int64_t folded = plan.fold > 1 ? (end - begin) / plan.fold : 0;
  if (folded) f(begin, folded, plan.width, Folded(k, s.channels, plan, arrays), true);
  for_runs(s.mask, begin + folded * plan.fold, end, end - begin,
           [&](int64_t r, int64_t n, bool on) { f(r, n, s.channels, k, on); });
}

template <bool kRelu>
void backward(const float* x, const float* dy, float* dx, float* dgamma, float* dbeta,
              const NormShape& s, const NormStats& st, const float* gamma, const float* beta,
              double* scratch) {
  const NormPlan plan(s);
  const NormShape one = one_of(s);
  const int64_t C = s.channels;
  const Coefficients all(reinterpret_cast<float*>(scratch), s.images * C);
  double *all_sums = scratch + coefficient_doubles(s),
         *partials = all_sums + (2 * s.images * C + 7) / 8 * 8;
  const bool summed = !st.constant || dgamma || dbeta;
  for_images(s, plan, [&](int64_t image) {
    const Coefficients k = at(all, image * C);
    const NormStats its = one_of(st, s, image);
    double* sums = all_sums + image * 2 * C;
    forward_coefficients(one, its, gamma, beta, k);
    if (summed) {
      for_items(s, plan, image, [&](int64_t item, int64_t begin, int64_t end) {
        double* out = partials + item * plan.partial;
        std::fill_n(out, 2 * C, 0.0);
        for_parts(s, plan, k, 3, begin, end,
                  [&](int64_t r, int64_t n, int64_t width, const Coefficients& c, bool) {
                    const int64_t from = (image * s.rows + r) * C;
                    if (width == C)
                      return sums_rows<kRelu>(x + from, dy + from, n, width, c, out, out + C);
                    double wide[2 * NormPlan::kMaxFolded] = {};
                    sums_rows<kRelu>(x + from, dy + from, n, width, c, wide, wide + width);
                    for (int64_t j = 0; j < width; ++j)
                      out[j % C] += wide[j], out[C + j % C] += wide[width + j];
                  });
      });
      add_partials(C, plan.chunks, plan.partial, partials + image * plan.chunks * plan.partial,
                   sums);
    }
    backward_coefficients(one, its, gamma, sums, k);
    if (!dx) return;
    for_items(s, plan, image, [&](int64_t, int64_t begin, int64_t end) {
      for_parts(s, plan, k, 5, begin, end,
                [&](int64_t r, int64_t n, int64_t width, const Coefficients& c, bool on) {
                  const int64_t from = (image * s.rows + r) * C;
                  const auto run =
                      on && !st.constant ? dx_rows<kRelu, true> : dx_rows<kRelu, false>;
                  run(x + from, dy + from, dx + from, n, width, c);
                });
    });
  });
  weight_gradients(s, st, all_sums, all, dgamma, dbeta);
}

// norm_moments, and then(image) after each image.
template <class F>
double moments(const float* x, const NormShape& s, double extra, double* mean, double* var,
               double* scratch, const F& then) {
  const NormPlan plan(s);
  const int64_t C = s.channels, size = s.groups ? C / s.groups : 1;
  double count = 0;  // of one image: the same for all
  for_images(s, plan, [&](int64_t image) {
    for_items(s, plan, image, [&](int64_t item, int64_t begin, int64_t end) {
      simd([=, shape = s, cut = plan] {
        moments_item(x + image * shape.rows * shape.channels, begin, end, shape, cut,
                     scratch + item * cut.partial);
      });
    });
    const double *first = scratch + image * plan.chunks * plan.partial,
                 *last = first + plan.chunks * plan.partial;
    double rows = 0;
    for (const double* sum = first; sum < last; sum += plan.partial) rows += sum[2 * C];
    if (image == 0) count = rows;
    const double total = rows * static_cast<double>(size) + extra, inv = total > 0 ? 1 / total : 0;
    double *m = mean + image * s.groups, *v = var + image * s.groups;
    std::fill_n(m, s.groups, 0.0), std::fill_n(v, s.groups, 0.0);
    for (const double* sum = first; sum < last; sum += plan.partial)
      for (int64_t g = 0; g < s.groups; ++g)
        for (int64_t c = g * size; c < (g + 1) * size; ++c) m[g] += sum[c] * inv;
    for (const double* sum = first; sum < last; sum += plan.partial) {
      const double *m2 = sum + C, inv_rows = sum[2 * C] > 0 ? 1 / sum[2 * C] : 0;
      for (int64_t g = 0; g < s.groups; ++g)
        for (int64_t c = g * size; c < (g + 1) * size; ++c)
          v[g] +=
              (m2[c] + sum[2 * C] * (sum[c] * inv_rows - m[g]) * (sum[c] * inv_rows - m[g])) * inv;
    }
    then(image);
  });
  return count * static_cast<double>(size);
}

// norm_apply to one image.
void apply_image(const float* x, float* y, const NormShape& s, const NormPlan& plan, int64_t image,
                 const NormStats& st, const float* gamma, const float* beta, bool relu,
                 const Coefficients& all) {
  const Coefficients k = at(all, image * s.channels);
  forward_coefficients(one_of(s), one_of(st, s, image), gamma, beta, k);
  for_items(s, plan, image, [&](int64_t, int64_t begin, int64_t end) {
    for_parts(s, plan, k, 3, begin, end,
              [&](int64_t r, int64_t n, int64_t width, const Coefficients& c, bool) {
                const int64_t from = (image * s.rows + r) * s.channels;
                (relu ? apply_rows<true> : apply_rows<false>)(x + from, y + from, n, width,
                                                              c.center, c.scale, c.shift);
              });
  });
}

}  // namespace

void forward_coefficients(const NormShape& s, const NormStats& st, const float* gamma,
                          const float* beta, const Coefficients& k) {
  const int64_t size = s.channels / s.groups;
  for (int64_t first = 0, g = 0; g < s.groups; first += size, ++g) {
    const auto center = static_cast<float>(st.mean[g]);
    const double rest = st.mean[g] - double(center), rstd = st.rstd[g];
    for (int64_t c = first; c < first + size; ++c) {
      const double scale = rstd * (gamma ? double(gamma[c]) : 1);
      k.center[c] = center;
      k.scale[c] = static_cast<float>(scale);
      k.shift[c] = static_cast<float>((beta ? double(beta[c]) : 0) - rest * scale);
    }
  }
}

void weight_gradients(const NormShape& s, const NormStats& st, const double* sums,
                      const Coefficients& k, float* dgamma, float* dbeta) {
  const int64_t C = s.channels, size = C / s.groups;
  for (int64_t c = 0; (dgamma || dbeta) && c < C; ++c) {
    double dg = 0, db = 0;
    for (int64_t image = 0; image < s.images; ++image) {
      const int64_t i = image * C + c, g = image * s.groups + c / size;
      dg += st.rstd[g] * (sums[2 * i + 1] - (st.mean[g] - double(k.center[i])) * sums[2 * i]),
          db += sums[2 * i];
    }
    if (dgamma) dgamma[c] = static_cast<float>(dg);
    if (dbeta) dbeta[c] = static_cast<float>(db);
  }
}

void backward_coefficients(const NormShape& s, const NormStats& st, const float* gamma,
                           const double* sums, const Coefficients& k) {
  const int64_t size = s.channels / s.groups;
  const double n = st.count + st.extra;
  for (int64_t first = 0, g = 0; g < s.groups; first += size, ++g) {
    const double rest = st.mean[g] - double(k.center[first]), r = st.rstd[g];
    double slope = 0, offset = 0;
    if (!st.constant && n > 0) {
      double sum_g = 0, sum_gx = 0;
      for (int64_t i = first; i < first + size; ++i) {
        const double weight = gamma ? double(gamma[i]) : 1;
        sum_g += weight * sums[2 * i],
            sum_gx += weight * r * (sums[2 * i + 1] - rest * sums[2 * i]);
      }
      // With extra > 0 the deviations about the mean do not add up to 0: the variance depends on
      // the mean a little.
      sum_g -= r * sum_gx * st.mean[g] * st.extra / n;
      slope = -r * r * sum_gx / n;
      offset = -r * sum_g / n - rest * slope;
    }
    for (int64_t i = first; i < first + size; ++i)
      k.slope[i] = static_cast<float>(slope), k.offset[i] = static_cast<float>(offset);
  }
}

void add_partials(int64_t channels, int64_t items, int64_t stride, const double* partials,
                  double* sums) {
  std::fill_n(sums, 2 * channels, 0.0);
  for (int64_t item = 0; item < items; ++item) {
    const double *a = partials + item * stride, *b = a + channels;
    for (int64_t c = 0; c < channels; ++c) sums[2 * c] += a[c], sums[2 * c + 1] += b[c];
  }
}

int64_t norm_scratch(const NormShape& s) {
  const NormPlan plan(s);
  return coefficient_doubles(s) + (2 * s.images * s.channels + 7) / 8 * 8 +
         plan.items * plan.partial;
}

template <>
double norm_moments(const float* x, const NormShape& s, double extra, double* mean, double* var,
                    double* scratch) {
  if (plain_kernels()) return plain::norm_moments(x, s, extra, mean, var);
  return moments(x, s, extra, mean, var, scratch, [](int64_t) {});
}

template <>
void norm_apply(const float* x, float* y, const NormShape& s, const NormStats& st,
                const float* gamma, const float* beta, bool relu, double* scratch) {
  if (plain_kernels()) return plain::norm_apply(x, y, s, st, gamma, beta, relu);
  NormShape shape = s;
  shape.mask = nullptr;  // masked rows are normalized like the others
  const NormPlan plan(shape);
  const Coefficients all(reinterpret_cast<float*>(scratch), s.images * s.channels);
  for_images(shape, plan, [&](int64_t image) {
    apply_image(x, y, shape, plan, image, st, gamma, beta, relu, all);
  });
}

double norm_forward(const float* x, float* y, const NormShape& s, double eps, double* mean,
                    double* var, double* rstd, const float* gamma, const float* beta,
                    double* scratch) {
  const NormPlan plan(s);
  const Coefficients all(reinterpret_cast<float*>(scratch), s.images * s.channels);
  return moments(x, s, 0, mean, var, scratch + coefficient_doubles(s), [&](int64_t image) {
    for (int64_t g = image * s.groups; g < (image + 1) * s.groups; ++g)
      rstd[g] = 1 / std::sqrt(var[g] + eps);
    apply_image(x, y, s, plan, image, {mean, rstd}, gamma, beta, false, all);
  });
}

template <>
void norm_backward(const float* x, const float* dy, float* dx, float* dgamma, float* dbeta,
                   const NormShape& s, const NormStats& st, const float* gamma, const float* beta,
                   bool relu, double* scratch) {
  if (plain_kernels())
    return plain::norm_backward(x, dy, dx, dgamma, dbeta, s, st, gamma, beta, relu);
  (relu ? backward<true> : backward<false>)(x, dy, dx, dgamma, dbeta, s, st, gamma, beta, scratch);
}

}  // namespace loupe::kernels
