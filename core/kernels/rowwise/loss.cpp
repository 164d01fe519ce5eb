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

// sum w (shift - x) over a row's classes. In double: the distance of two large logits may be beyond
// f32 where its share of the loss is not.
template <class T> LOUPE_INLINE double distances(int64_t classes, const T* x, const T* w, T shift) {
  const auto distance = [=](int64_t c) {
    return static_cast<double>(shift) - static_cast<double>(x[c]);
  };
  if (!w) return lane_sum<double>(classes, distance);
  return lane_sum<double>(classes,
                          [=](int64_t c) { return static_cast<double>(w[c]) * distance(c); });
}

// What smoothing adds: each class's share of it, and the sum of the classes' weights.
struct Smoothing {
  double share, weights;
};
template <class T> Smoothing smoothing_of(const CrossEntropyInput<T>& in) {
  const CrossEntropyShape& s = in.shape;
  const double share = s.classes ? s.smoothing / static_cast<double>(s.classes) : 0;
  return {share, s.smoothing > 0 ? total_weight(s.classes, in.weight) : 0};
}

}  // namespace

template <class T> void cross_entropy(const CrossEntropyInput<T>& in, T* loss, T* stats) {
  const CrossEntropyShape& shape = in.shape;
  for_rows<T>(shape, [=, s = shape, smooth = smoothing_of(in), x = in.x, target = in.target,
                      weight = in.weight](int64_t i, auto level) {
    const T* row = x + i * s.classes;
    const int64_t t = target[i];
    const ExpSum<T> e = exp_sum(s.classes, row, level);
    stats[2 * i] = e.shift;
    stats[2 * i + 1] = 1 / e.sum;
    loss[i] = 0;
    if (t == s.ignore_index) return;
    // Differences to the maximum first: what all logits have in common never meets the logarithm.
    const double w = weight ? static_cast<double>(weight[t]) : 1.0;
    const double log_sum = static_cast<double>(vlog(e.sum, level));
    const double below = static_cast<double>(e.shift) - static_cast<double>(row[t]);
    double sum = (1 - s.smoothing) * w * (log_sum + below);
    if (s.smoothing > 0)
      sum += smooth.share * (smooth.weights * log_sum + distances(s.classes, row, weight, e.shift));
    loss[i] = static_cast<T>(sum);
  });
}

template <class T>
void cross_entropy_backward(const CrossEntropyInput<T>& in, const T* stats,
                            const RowGradient<T>& up, T* dx) {
  const CrossEntropyShape& shape = in.shape;
  for_rows<T>(shape, [=, s = shape, smooth = smoothing_of(in), x = in.x, target = in.target,
                      weight = in.weight](int64_t i, auto level) {
    const int64_t t = target[i], n = s.classes;
    const T* row = x + i * n;
    T* const out = dx + i * n;
    if (t == s.ignore_index) {
      for (int64_t c = 0; c < n; ++c) out[c] = 0;
      return;
    }
    const double w = weight ? static_cast<double>(weight[t]) : 1.0;
    const double own = (1 - s.smoothing) * w;
    const double inverse = static_cast<double>(stats[2 * i + 1]);
    const T g = up.g[i * up.stride], shift = stats[2 * i];
    const T by = static_cast<T>((own + smooth.share * smooth.weights) * inverse);
#pragma omp simd
    for (int64_t c = 0; c < n; ++c) out[c] = g * (by * vexp(row[c] - shift, level));
    if (s.smoothing > 0) {
      const T share = static_cast<T>(smooth.share);
      for (int64_t c = 0; c < n; ++c) out[c] -= g * share * (weight ? weight[c] : T(1));
    }
    out[t] -= g * static_cast<T>(own);
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

#define LOUPE_INSTANTIATE(T)                                                     \
  template void cross_entropy<T>(const CrossEntropyInput<T>&, T*, T*);           \
  template void cross_entropy_backward<T>(const CrossEntropyInput<T>&, const T*, \
                                          const RowGradient<T>&, T*);            \
  template void binary_cross_entropy<T>(int64_t, const T*, const T*, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
