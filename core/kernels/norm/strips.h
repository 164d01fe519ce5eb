#pragma once
// What the fast channel-norm kernels share: how rows are cut, and loops over strips of columns.
#include <loupe/core/kernels/norm/norm.h>

#include <algorithm>

namespace loupe::kernels {

/// How a shape is cut. An item is a range of rows of one image: the unit of a partial sum. `fold`
/// rows of few channels are read as one of `width` = fold * channels columns, so that vectors are
/// full; their sums are folded at the end.
struct NormPlan {
  int64_t fold = 1, width, chunk, chunks, items, grain, partial;
  static constexpr int64_t kItem = 1 << 15;   // elements of an item, about
  static constexpr int64_t kMaxFolded = 512;  // the widest folded row

  explicit NormPlan(const NormShape& s) {
    const int64_t c = std::max<int64_t>(s.channels, 1);
    if (!s.mask) {
      while (fold * c % 16 != 0) fold *= 2;
      while (fold * c < 64) fold *= 2;
      if (fold * c > kMaxFolded) fold = 1;
    }
    width = fold * s.channels;
    chunk = std::max<int64_t>(kItem / (c * fold), 32) * fold;
    chunks = std::max<int64_t>((s.rows + chunk - 1) / chunk, 1);
    items = s.images * chunks;
    grain = std::max<int64_t>(kItem / (std::max<int64_t>(std::min(s.rows, chunk), 1) * c), 1);
    partial = (2 * s.channels + 1 + 7) / 8 *
              8;  // doubles: two sums a channel and a count, whole cache lines
  }
};

/// Coefficients of v = (x - center) * scale + shift and of dx = dt * scale + (x - center) * slope +
/// offset, one each a channel of an image. center is the mean rounded to float; what the rounding
/// left goes into shift and offset.
struct Coefficients {
  float *center, *scale, *shift, *slope, *offset;
  Coefficients(float* room, int64_t n)
      : center(room), scale(center + n), shift(scale + n), slope(shift + n), offset(slope + n) {}
};

/// Doubles that the coefficients of a shape take.
inline int64_t coefficient_doubles(const NormShape& s) {
  return (5 * s.images * s.channels + 1) / 2 + 8;
}
/// center, scale and shift of one image's channels.
void forward_coefficients(const NormShape& s, const NormStats& st, const float* gamma,
                          const float* beta, const Coefficients& k);
/// slope and offset of one image's channels, from its sums (channels, 2) of dt and dt * (x -
/// center).
void backward_coefficients(const NormShape& s, const NormStats& st, const float* gamma,
                           const double* sums, const Coefficients& k);
/// dgamma and dbeta from the sums (images, channels, 2) and the centers of all images.
void weight_gradients(const NormShape& s, const NormStats& st, const double* sums,
                      const Coefficients& k, float* dgamma, float* dbeta);
/// sums (channels, 2): the partials of an image's `items`, two a channel, in order; `stride`
/// doubles apart.
void add_partials(int64_t channels, int64_t items, int64_t stride, const double* partials,
                  double* sums);

/// A width known when compiling, for lambdas that also take one that is not.
template <int64_t N> struct Width {
  constexpr operator int64_t() const { return N; }
};

inline constexpr int64_t kStrip = 64;

/// Calls f(first column, width) over strips of 64, 32, 16 columns and what is left.
template <class F> inline void for_strips(int64_t width, const F& f) {
  int64_t c = 0;
  for (; c + kStrip <= width; c += kStrip) f(c, Width<kStrip>{});
  if (c + 32 <= width) f(c, Width<32>{}), c += 32;
  if (c + 16 <= width) f(c, Width<16>{}), c += 16;
  if (c < width) f(c, width - c);
}

/// Fetches w numbers 16 KiB further on into L2, where a loop will write them: the processor
/// foresees reads, but a write waits for the line it goes to. (Always inlined: g++ 12 drops calls
/// of functions that do nothing but fetch.)
template <class W> [[gnu::always_inline]] inline void fetch_far(const float* p, W w) {
  for (int64_t j = 0; j < w; j += 16) __builtin_prefetch(p + 4096 + j, 1, 2);
}

/// f(0) + ... + f(7): written out, because g++ 12 keeps accumulators in memory and does not unroll
/// such a loop by itself.
template <class F> inline float eight(const F& f) {
  return ((f(0) + f(1)) + (f(2) + f(3))) + ((f(4) + f(5)) + (f(6) + f(7)));
}

}  // namespace loupe::kernels
