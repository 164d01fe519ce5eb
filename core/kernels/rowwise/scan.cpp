#include <loupe/core/kernels/rowwise/scan.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kStrip = 256;      // lines that run side by side
constexpr int64_t kGrain = 1 << 14;  // elements of a piece

template <class T> using Wide = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;

struct Plus {
  static constexpr int64_t kStart = 0;
  static double join(double a, double b) { return a + b; }
  static int64_t join(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};
struct Times {
  static constexpr int64_t kStart = 1;
  static double join(double a, double b) { return a * b; }
  static int64_t join(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};

// Calls f(first element, number of lines) for strips of neighbouring lines, on threads.
template <class F> void for_strips(int64_t outer, int64_t n, int64_t inner, const F& f) {
  if (n == 0 || inner == 0) return;
  const int64_t strips = (inner + kStrip - 1) / kStrip;
  const int64_t grain = std::max<int64_t>(1, kGrain / (n * std::min(inner, kStrip)));
  parallel_ranges(outer * strips, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % strips * kStrip;
      f(i / strips * n * inner + first, std::min(kStrip, inner - first));
    }
  });
}

template <class Op, class T>
void scan(int64_t outer, int64_t n, int64_t inner, const T* x, ScanResult<T>* y) {
  using Acc = Wide<T>;
  for_strips(outer, n, inner, [=](int64_t first, int64_t lines) {
    const T* const from = x + first;
    ScanResult<T>* const to = y + first;
    if (inner == 1) {
      Acc total = Op::kStart;
      for (int64_t k = 0; k < n; ++k) {
        total = Op::join(total, static_cast<Acc>(from[k]));
        to[k] = static_cast<ScanResult<T>>(total);
      }
      return;
    }
    Acc total[kStrip];
    std::fill_n(total, lines, static_cast<Acc>(Op::kStart));
    for (int64_t at = 0; at < n * inner; at += inner)
      for (int64_t j = 0; j < lines; ++j) {
        total[j] = Op::join(total[j], static_cast<Acc>(from[at + j]));
        to[at + j] = static_cast<ScanResult<T>>(total[j]);
      }
  });
}

}  // namespace

template <class T>
void cumsum(int64_t outer, int64_t n, int64_t inner, const T* x, ScanResult<T>* y) {
  scan<Plus>(outer, n, inner, x, y);
}

template <class T>
void cumprod(int64_t outer, int64_t n, int64_t inner, const T* x, ScanResult<T>* y) {
  scan<Times>(outer, n, inner, x, y);
}

template <class T>
void cumprod_backward(int64_t outer, int64_t n, int64_t inner, const T* x, const T* dy, T* dx) {
  for_strips(outer, n, inner, [=](int64_t first, int64_t lines) {
    double total[kStrip];
    std::fill_n(total, lines, 1.0);
    for (int64_t at = first; at < first + n * inner; at += inner)
      for (int64_t j = 0; j < lines; ++j) {
        dx[at + j] = static_cast<T>(total[j]);  // the product of what stands before
        total[j] *= static_cast<double>(x[at + j]);
      }
    std::fill_n(total, lines, 0.0);  // x[k + 1] s[k + 1]
    for (int64_t at = first + (n - 1) * inner; at >= first; at -= inner)
      for (int64_t j = 0; j < lines; ++j) {
        const double s = static_cast<double>(dy[at + j]) + total[j];
        dx[at + j] = static_cast<T>(static_cast<double>(dx[at + j]) * s);
        total[j] = static_cast<double>(x[at + j]) * s;
      }
  });
}

#define LOUPE_INSTANTIATE(T)                                                    \
  template void cumsum<T>(int64_t, int64_t, int64_t, const T*, ScanResult<T>*); \
  template void cumprod<T>(int64_t, int64_t, int64_t, const T*, ScanResult<T>*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
LOUPE_INSTANTIATE(int64_t)
LOUPE_INSTANTIATE(uint8_t)
LOUPE_INSTANTIATE(bool)
#undef LOUPE_INSTANTIATE
template void cumprod_backward<float>(int64_t, int64_t, int64_t, const float*, const float*,
                                      float*);
template void cumprod_backward<double>(int64_t, int64_t, int64_t, const double*, const double*,
                                       double*);

}  // namespace loupe::kernels
