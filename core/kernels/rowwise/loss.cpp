#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/lanes.h>
#include <loupe/core/kernels/rowwise/loss.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 16384;  // elements of a piece

// Calls run(i, level) for each row, in pieces, compiled for the CPU level.
template <class T, class F> void for_rows(const CrossEntropyShape& s, const F& run) {
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(s.classes, 1));
  parallel_ranges(s.rows, grain, [&run](int64_t begin, int64_t end) {
    const F* const f = &run;
    simd<T>([=](auto level) {
      for (int64_t i = begin; i < end; ++i) (*f)(i, level);
    });
  });
}

template <class T> double total_weight(int64_t classes, const T* w) {
  double sum = 0;
  for (int64_t c = 0; c < classes; ++c) sum += w ? static_cast<double>(w[c]) : 1.0;
  return sum;
}

}  // namespace

template <class T>
void cross_entropy(const CrossEntropyShape& s, const T* x, const int64_t* target, const T* weight,
                   T* loss, T* stats) {
  const double spread = s.classes ? s.smoothing / static_cast<double>(s.classes) : 0;
  const double all = s.smoothing > 0 ? total_weight(s.classes, weight) : 0;
  for_rows<T>(s, [=](int64_t i, auto level) {
    const T* row = x + i * s.classes;
    const int64_t t = target[i];
    const ExpSum<T> e = exp_sum(s.classes, row, level);
    stats[2 * i] = e.shift;
    stats[2 * i + 1] = 1 / e.sum;
    loss[i] = 0;
    if (t == s.ignore_index) return;
    // Differences to the maximum first: what all logits have in common never meets the logarithm.
    const T shift = e.shift;
    const double w = weight ? static_cast<double>(weight[t]) : 1.0;
    const double log_sum = static_cast<double>(vlog(e.sum, level));
    const double below = static_cast<double>(shift) - static_cast<double>(row[t]);
    double sum = (1 - s.smoothing) * w * (log_sum + below);
    if (s.smoothing > 0) {
      // In double: the distance of two large logits may be beyond f32 where its share of the loss is
      // not.
      const auto distance = [=](int64_t c) {
        return static_cast<double>(shift) - static_cast<double>(row[c]);
      };
      const double distances =
          weight ? lane_sum<double>(
                       s.classes,
                       [=](int64_t c) { return static_cast<double>(weight[c]) * distance(c); })
                 : lane_sum<double>(s.classes, distance);
      sum += spread * (all * log_sum + distances);
    }
    loss[i] = static_cast<T>(sum);
  });
}

template <class T>
void cross_entropy_backward(const CrossEntropyShape& s, const T* x, const int64_t* target,
                            const T* weight, const T* stats, const T* g, int64_t g_stride, T* dx) {
  const double spread = s.classes ? s.smoothing / static_cast<double>(s.classes) : 0;
  const double all = s.smoothing > 0 ? total_weight(s.classes, weight) : 0;
  for_rows<T>(s, [=](int64_t i, auto level) {
    const T* row = x + i * s.classes;
    T* const out = dx + i * s.classes;
    const int64_t t = target[i], n = s.classes;
    if (t == s.ignore_index) {
      for (int64_t c = 0; c < n; ++c) out[c] = 0;
      return;
    }
    const double w = weight ? static_cast<double>(weight[t]) : 1.0, own = (1 - s.smoothing) * w;
    const T up = g[i * g_stride], shift = stats[2 * i];
    const T by = static_cast<T>((own + spread * all) * static_cast<double>(stats[2 * i + 1]));
    const T less = static_cast<T>(spread);
    const bool smooth = s.smoothing > 0;
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) out[c] = up * (by * vexp(row[c] - shift, level));
    if (smooth)
      for (int64_t c = 0; c < n; ++c) out[c] -= up * less * (weight ? weight[c] : T(1));
    out[t] -= up * static_cast<T>(own);
  });
}

template <class T> void binary_cross_entropy(int64_t n, const T* p, const T* t, T* y) {
  constexpr T kLeast = -100;  // PyTorch's bound: an impossible event costs 100, not infinity
  parallel_ranges(n, kGrain, [=](int64_t begin, int64_t end) {
    simd<T>([=](auto level) {
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) {
        T yes = vlog(p[i], level);
        T no = vlog1p(-p[i], level);
        yes = yes < kLeast ? kLeast : yes;
        no = no < kLeast ? kLeast : no;
        y[i] = (t[i] - 1) * no - t[i] * yes;
      }
    });
  });
}

#define LOUPE_INSTANTIATE(T)                                                                       \
  template void cross_entropy<T>(const CrossEntropyShape&, const T*, const int64_t*, const T*, T*, \
                                 T*);                                                              \
  template void cross_entropy_backward<T>(const CrossEntropyShape&, const T*, const int64_t*,      \
                                          const T*, const T*, const T*, int64_t, T*);              \
  template void binary_cross_entropy<T>(int64_t, const T*, const T*, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
