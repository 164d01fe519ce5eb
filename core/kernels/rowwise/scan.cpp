#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/scan.h>
#include <loupe/core/kernels/rowwise/scan_ops.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kAbreast = 256;    // lines that run side by side: their numbers are neighbours
constexpr int64_t kGrain = 1 << 14;  // numbers of a piece

// Calls f(first number, lines) for up to kAbreast neighbouring lines at a time, on threads.
//
//   axis of n = 3, inner = 4:   a0 b0 c0 d0    four lines, read row by row:
//                               a1 b1 c1 d1    one total each
//                               a2 b2 c2 d2
template <class F> void for_abreast(const Lines& l, const F& f) {
  if (l.n == 0 || l.inner == 0) return;
  const int64_t bundles = (l.inner + kAbreast - 1) / kAbreast;
  const int64_t grain = std::max<int64_t>(1, kGrain / (l.n * std::min(l.inner, kAbreast)));
  parallel_ranges(l.outer * bundles, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % bundles * kAbreast;
      f(i / bundles * l.n * l.inner + first, std::min(kAbreast, l.inner - first));
    }
  });
}

template <class Op, class T> void scan(const Lines& l, const T* x, ScanResult<T>* y) {
  using Sum = ScanSum<T>;
  for_abreast(l, [=](int64_t first, int64_t lines) {
    const T* const from = x + first;
    ScanResult<T>* const to = y + first;
    if (l.inner == 1) {
      Sum total = Op::kStart;
      for (int64_t k = 0; k < l.n; ++k) {
        total = Op::join(total, static_cast<Sum>(from[k]));
        to[k] = static_cast<ScanResult<T>>(total);
      }
      return;
    }
    Sum total[kAbreast];
    std::fill_n(total, lines, static_cast<Sum>(Op::kStart));
    for (int64_t at = 0; at < l.n * l.inner; at += l.inner)
      for (int64_t j = 0; j < lines; ++j) {
        total[j] = Op::join(total[j], static_cast<Sum>(from[at + j]));
        to[at + j] = static_cast<ScanResult<T>>(total[j]);
      }
  });
}

}  // namespace

template <class T> void cumsum(const Lines& lines, const T* x, ScanResult<T>* y) {
  if (plain_kernels()) return plain::cumsum(lines, x, y);
  scan<Plus>(lines, x, y);
}

template <class T> void cumprod(const Lines& lines, const T* x, ScanResult<T>* y) {
  if (plain_kernels()) return plain::cumprod(lines, x, y);
  scan<Times>(lines, x, y);
}

template <class T> void cumprod_backward(const Lines& l, const T* x, const T* dy, T* dx) {
  if (plain_kernels()) return plain::cumprod_backward(l, x, dy, dx);
  for_abreast(l, [=](int64_t first, int64_t lines) {
    const int64_t end = first + l.n * l.inner;
    double total[kAbreast];
    std::fill_n(total, lines, 1.0);
    for (int64_t at = first; at < end; at += l.inner)
      for (int64_t j = 0; j < lines; ++j) {
        dx[at + j] = static_cast<T>(total[j]);  // the product of what stands before
        total[j] *= static_cast<double>(x[at + j]);
      }
    std::fill_n(total, lines, 0.0);  // x[k + 1] s[k + 1]
    for (int64_t at = end - l.inner; at >= first; at -= l.inner)
      for (int64_t j = 0; j < lines; ++j) {
        const double s = static_cast<double>(dy[at + j]) + total[j];
        dx[at + j] = static_cast<T>(static_cast<double>(dx[at + j]) * s);
        total[j] = static_cast<double>(x[at + j]) * s;
      }
  });
}

#define LOUPE_INSTANTIATE(T)                                       \
  template void cumsum<T>(const Lines&, const T*, ScanResult<T>*); \
  template void cumprod<T>(const Lines&, const T*, ScanResult<T>*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
LOUPE_INSTANTIATE(int64_t)
LOUPE_INSTANTIATE(uint8_t)
LOUPE_INSTANTIATE(bool)
#undef LOUPE_INSTANTIATE
template void cumprod_backward<float>(const Lines&, const float*, const float*, float*);
template void cumprod_backward<double>(const Lines&, const double*, const double*, double*);

}  // namespace loupe::kernels
