#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/plain.h>
#include <loupe/core/kernels/norm/strips.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {
namespace {

/// How images are cut: an item is a range of pooled rows of one image.
struct PoolPlan {
  int64_t height, width, channels, images, oh, ow, step, chunks, items, grain, partial;
  PoolPlan(const NormShape& s, int64_t h, int64_t w)
      : height(h),
        width(w),
        channels(s.channels),
        images(h * w > 0 ? s.rows / (h * w) : 0),
        oh(h / 2),
        ow(w / 2) {
    const int64_t row = std::max<int64_t>(2 * w * s.channels, 1);
    step = std::max<int64_t>(NormPlan::kItem / row, 1);
    chunks = std::max<int64_t>((oh + step - 1) / step, 1);
    items = images * chunks;
    grain =
        std::max<int64_t>(NormPlan::kItem / (row * std::max<int64_t>(std::min(step, oh), 1)), 1);
    partial = (2 * s.channels + 7) / 8 * 8;
  }
  /// Calls f(item, image, first, end) over ranges of pooled rows, on all threads.
  template <class F> void for_items(const F& f) const {
    parallel_ranges(items, grain, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t first = item % chunks * step;
        f(item, item / chunks, first, std::min(oh, first + step));
      }
    });
  }
  int64_t input(int64_t image, int64_t y, int64_t x) const {
    return ((image * height + y) * width + x) * channels;
  }
  int64_t output(int64_t image, int64_t y, int64_t x) const {
    return ((image * oh + y) * ow + x) * channels;
  }
};

/// The larger of two, NaN if one is.
inline float larger(float a, float b) {
  const float m = b > a ? b : a;
  return b != b ? b : m;
}

void pool_rows(const float* x, float* y, const PoolPlan& p, const Coefficients& k) {
  const int64_t C = p.channels, row = p.width * C, ow = p.ow;
  simd([=, center = k.center, scale = k.scale, shift = k.shift] {
    for_strips(C, [=](int64_t c, auto w) {
      float m[kStrip], s[kStrip], t[kStrip];
#pragma omp simd
      for (int64_t j = 0; j < w; ++j)
        m[j] = center[c + j], s[j] = scale[c + j], t[j] = shift[c + j];
      const float* in = x + c;
      float* out = y + c;
      for (int64_t i = 0; i < ow; ++i, in += 2 * C, out += C) {
        fetch_far(out, w);
#pragma omp simd
        for (int64_t j = 0; j < w; ++j) {
          const float a = (in[j] - m[j]) * s[j] + t[j], b = (in[C + j] - m[j]) * s[j] + t[j];
          const float d = (in[row + j] - m[j]) * s[j] + t[j],
                      e = (in[row + C + j] - m[j]) * s[j] + t[j];
          const float v = larger(larger(a, b), larger(d, e));
          out[j] = v < 0 ? 0 : v;
        }
      }
    });
  });
}

/// The sums of dt and dt * (x - center) over `count` windows, added to out and out + C. dt is dy at
/// the window's winner.
void pool_sums(const float* x, const float* dy, const PoolPlan& p, const Coefficients& k,
               double* sums) {
  const int64_t C = p.channels, row = p.width * C, ow = p.ow;
  simd([=, center = k.center, scale = k.scale, shift = k.shift] {
    for_strips(C, [=](int64_t c, auto w) {
      float m[kStrip], s[kStrip], t[kStrip], sum[kStrip], sum_x[kStrip];
#pragma omp simd
      for (int64_t j = 0; j < w; ++j) {
        m[j] = center[c + j], s[j] = scale[c + j], t[j] = shift[c + j];
        sum[j] = 0, sum_x[j] = 0;
      }
      const float *in = x + c, *up = dy + c;
      for (int64_t i = 0; i < ow; ++i, in += 2 * C, up += C) {
#pragma omp simd
        for (int64_t j = 0; j < w; ++j) {
          const float xa = in[j] - m[j], xb = in[C + j] - m[j], xd = in[row + j] - m[j],
                      xe = in[row + C + j] - m[j];
          const float a = xa * s[j] + t[j], b = xb * s[j] + t[j], d = xd * s[j] + t[j],
                      e = xe * s[j] + t[j];
          const float ab = b > a ? b : a, de = e > d ? e : d, xab = b > a ? xb : xa,
                      xde = e > d ? xe : xd;
          const float best = de > ab ? de : ab, xbest = de > ab ? xde : xab, g = up[j],
                      dt = best > 0 ? g : 0;
          sum[j] += dt, sum_x[j] += dt * xbest;
        }
      }
#pragma omp simd
      for (int64_t j = 0; j < w; ++j)
        sums[c + j] += double(sum[j]), sums[C + c + j] += double(sum_x[j]);
    });
  });
}

/// dx of two input rows: (x - center) * slope + offset, and dy * scale at each window's winner.
/// Without kFlows (running statistics) the first part is 0, also where x is infinite.
template <bool kFlows>
void pool_dx(const float* x, const float* dy, float* dx, const PoolPlan& p, const Coefficients& k) {
  const int64_t C = p.channels, row = p.width * C, ow = p.ow;
  simd(
      [=, center = k.center, scale = k.scale, shift = k.shift, slope = k.slope, offset = k.offset] {
        for_strips(C, [=](int64_t c, auto w) {
          float m[kStrip], s[kStrip], t[kStrip], f[kStrip], o[kStrip];
#pragma omp simd
          for (int64_t j = 0; j < w; ++j) {
            m[j] = center[c + j], s[j] = scale[c + j], t[j] = shift[c + j];
            f[j] = slope[c + j], o[j] = offset[c + j];
          }
          const float *in = x + c, *up = dy + c;
          float* out = dx + c;
          for (int64_t i = 0; i < ow; ++i, in += 2 * C, out += 2 * C, up += C) {
            fetch_far(out, w), fetch_far(out + C, w), fetch_far(out + row, w),
                fetch_far(out + row + C, w);
#pragma omp simd
            for (int64_t j = 0; j < w; ++j) {
              const float xa = in[j] - m[j], xb = in[C + j] - m[j], xd = in[row + j] - m[j],
                          xe = in[row + C + j] - m[j];
              const float a = xa * s[j] + t[j], b = xb * s[j] + t[j], d = xd * s[j] + t[j],
                          e = xe * s[j] + t[j];
              const float ab = b > a ? b : a, de = e > d ? e : d, best = de > ab ? de : ab;
              const float g = up[j] * s[j], dt = best > 0 ? g : 0;
              // The first of equal values wins: a over b, both over d and e.
              const float top = de > ab ? 0 : dt, bottom = de > ab ? dt : 0;
              out[j] = (kFlows ? xa * f[j] + o[j] : 0) + (b > a ? 0 : top),
              out[C + j] = (kFlows ? xb * f[j] + o[j] : 0) + (b > a ? top : 0);
              out[row + j] = (kFlows ? xd * f[j] + o[j] : 0) + (e > d ? 0 : bottom),
                        out[row + C + j] = (kFlows ? xe * f[j] + o[j] : 0) + (e > d ? bottom : 0);
            }
          }
        });
      });
}

/// dx where no window reaches: the last row or column of an odd size.
template <bool kFlows>
void uncovered(const float* x, float* dx, int64_t channels, const Coefficients& k) {
  if (!kFlows) {
    std::fill_n(dx, channels, 0.0F);
    return;
  }
  for (int64_t c = 0; c < channels; ++c) dx[c] = (x[c] - k.center[c]) * k.slope[c] + k.offset[c];
}

/// norm_relu_pool_backward's dx, once the coefficients are known.
template <bool kFlows>
void all_dx(const float* x, const float* dy, float* dx, int64_t height, int64_t width,
            const PoolPlan& plan, const Coefficients& k) {
  const int64_t C = plan.channels;
  plan.for_items([&](int64_t, int64_t image, int64_t begin, int64_t end) {
    for (int64_t oy = begin; oy < end; ++oy) {
      const int64_t in = plan.input(image, 2 * oy, 0);
      pool_dx<kFlows>(x + in, dy + plan.output(image, oy, 0), dx + in, plan, k);
      for (int64_t row = 0; width % 2 && row < 2; ++row) {
        const int64_t last = plan.input(image, 2 * oy + row, width - 1);
        uncovered<kFlows>(x + last, dx + last, C, k);
      }
    }
    for (int64_t i = 0; height % 2 && end == plan.oh && i < width; ++i) {
      const int64_t last = plan.input(image, height - 1, i);
      uncovered<kFlows>(x + last, dx + last, C, k);
    }
  });
}

}  // namespace

template <>
void norm_relu_pool(const float* x, float* y, const NormShape& s, int64_t height, int64_t width,
                    const NormStats& st, const float* gamma, const float* beta, double* scratch) {
  if (plain_kernels()) return plain::norm_relu_pool(x, y, s, height, width, st, gamma, beta);
  const PoolPlan plan(s, height, width);
  const Coefficients k(reinterpret_cast<float*>(scratch), s.channels);
  forward_coefficients(s, st, gamma, beta, k);
  plan.for_items([&](int64_t, int64_t image, int64_t begin, int64_t end) {
    for (int64_t oy = begin; oy < end; ++oy)
      pool_rows(x + plan.input(image, 2 * oy, 0), y + plan.output(image, oy, 0), plan, k);
  });
}

template <>
void norm_relu_pool_backward(const float* x, const float* dy, float* dx, float* dgamma,
                             float* dbeta, const NormShape& s, int64_t height, int64_t width,
                             const NormStats& st, const float* gamma, const float* beta,
                             double* scratch) {
  if (plain_kernels())
    return plain::norm_relu_pool_backward(x, dy, dx, dgamma, dbeta, s, height, width, st, gamma,
                                          beta);
  const PoolPlan plan(s, height, width);
  const int64_t C = s.channels;
  const Coefficients k(reinterpret_cast<float*>(scratch), C);
  double *sums = scratch + coefficient_doubles(s), *partials = sums + (2 * C + 7) / 8 * 8;
  forward_coefficients(s, st, gamma, beta, k);
  const bool summed = !st.constant || dgamma || dbeta;
  if (summed) {
    plan.for_items([&](int64_t item, int64_t image, int64_t begin, int64_t end) {
      double* out = partials + item * plan.partial;
      std::fill_n(out, 2 * C, 0.0);
      for (int64_t oy = begin; oy < end; ++oy)
        pool_sums(x + plan.input(image, 2 * oy, 0), dy + plan.output(image, oy, 0), plan, k, out);
    });
    add_partials(C, plan.items, plan.partial, partials, sums);
  }
  backward_coefficients(s, st, gamma, sums, k);
  weight_gradients(s, st, sums, k, dgamma, dbeta);
  if (!dx) return;
  const auto input_gradient = st.constant ? all_dx<false> : all_dx<true>;
  input_gradient(x, dy, dx, height, width, plan, k);
}

int64_t norm_pool_scratch(const NormShape& s, int64_t height, int64_t width) {
  const PoolPlan plan(s, height, width);
  return coefficient_doubles(s) + (2 * s.channels + 7) / 8 * 8 + plan.items * plan.partial;
}

}  // namespace loupe::kernels
