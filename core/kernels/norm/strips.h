#pragma once
// What the fast channel norms share: how a shape is cut, a channel's coefficients, and loops over
// strips of columns.
//
//              strip        strip        last strip
//            64 columns   64 columns   what is left
//          +------------+------------+----+
//   piece  |            |            |    |   chunk of 64 rows: its sums stay in float
//   of an  |------------|------------|----|
//   image  |            |            |    |   the next chunk
//          +------------+------------+----+
//   next   |            |            |    |   each piece has partial sums of its own, in double
//   piece  ...
//
// Few channels would leave vectors half empty. Then `fold` rows are read as one wide row:
//
//   row 0   a b c
//   row 1   a b c          a b c a b c a b c a b c      fold = 4: the memory is the same;
//   row 2   a b c    ->                                 the 4 sums of each channel are
//   row 3   a b c                                       added at the end
#include <loupe/core/kernels/norm/norm.h>

#include <algorithm>

namespace loupe::kernels {

/// The smallest number of whole cache lines that hold n doubles, in doubles.
inline int64_t whole_lines(int64_t n) { return (n + 7) / 8 * 8; }

/// Channels of a group.
inline int64_t group_size(const NormShape& s) {
  return s.channels / std::max<int64_t>(s.groups, 1);
}

/// How a shape is cut. A piece is a range of rows of one image: the unit of a partial sum.
struct NormCut {
  static constexpr int64_t kPiece = 1 << 15;  // numbers of a piece, about: 128 KiB fit the L2 cache
  static constexpr int64_t kFewestRows = 32;  // of a piece: its sums cost as much as a few rows
  static constexpr int64_t kVector = 16;      // floats of the widest vector
  static constexpr int64_t kNarrowest = 64;   // columns that keep the vector units busy
  static constexpr int64_t kMaxFolded = 512;  // columns of the widest folded row

  int64_t fold = 1;      // rows that are read as one
  int64_t width;         // of a folded row: fold * channels
  int64_t piece_rows;    // a multiple of fold
  int64_t image_pieces;  // pieces of an image
  int64_t grain;         // pieces that a thread takes at once
  int64_t partial;       // doubles of a piece's sums: two a channel and a count, whole cache lines

  explicit NormCut(const NormShape& s) {
    const int64_t c = std::max<int64_t>(s.channels, 1);
    if (!s.mask) {
      while (fold * c % kVector != 0) fold *= 2;
      while (fold * c < kNarrowest) fold *= 2;
      if (fold * c > kMaxFolded) fold = 1;
    }
    width = fold * s.channels;
    piece_rows = std::max<int64_t>(kPiece / (c * fold), kFewestRows) * fold;
    image_pieces = std::max<int64_t>((s.rows + piece_rows - 1) / piece_rows, 1);
    const int64_t rows = std::max<int64_t>(std::min(s.rows, piece_rows), 1);
    grain = std::max<int64_t>(kPiece / (rows * c), 1);
    partial = whole_lines(2 * s.channels + 1);
  }
};

/// Coefficients of v = (x - center) * scale + shift and of dx = dt * scale + (x - center) * slope +
/// offset, one each a channel of an image; dt is dy, 0 where relu clipped. center is the mean
/// rounded to float; what the rounding left goes into shift and offset.
struct Coefficients {
  float *center, *scale, *shift, *slope, *offset;
  Coefficients(float* room, int64_t n)
      : center(room), scale(center + n), shift(scale + n), slope(shift + n), offset(slope + n) {}
  Coefficients from(int64_t channel) const {
    Coefficients moved = *this;
    moved.center += channel;
    moved.scale += channel;
    moved.shift += channel;
    moved.slope += channel;
    moved.offset += channel;
    return moved;
  }
};

/// Doubles that the coefficients of a shape take.
int64_t coefficient_doubles(const NormShape& s);
/// center, scale and shift of one image's channels.
void forward_coefficients(const NormInput<float>& in, const NormStats& stats,
                          const Coefficients& to);
/// slope and offset of one image's channels, from its sums (channels, 2) of dt and dt * (x -
/// center).
void backward_coefficients(const NormInput<float>& in, const NormStats& stats, const double* sums,
                           const Coefficients& to);
/// dgamma and dbeta from the sums (images, channels, 2) and the centers of all images.
void weight_gradients(const NormShape& s, const NormStats& stats, const double* sums,
                      const Coefficients& k, const NormGradients<float>& to);

/// The sums of an image's pieces: `count` times two a channel, `stride` doubles apart.
struct Partials {
  const double* first;
  int64_t count, stride;
};
/// sums (channels, 2): the partials added in order.
void add_partials(int64_t channels, const Partials& partials, double* sums);

/// A width known when compiling, for lambdas that also take one that is not.
template <int64_t N> struct Width {
  constexpr operator int64_t() const { return N; }
};

inline constexpr int64_t kStrip = 64;  // columns: 4 vectors of the widest set

/// Calls f(first column, width) over strips of 64, 32, 16 columns and what is left.
template <class F> inline void for_strips(int64_t width, const F& f) {
  int64_t c = 0;
  for (; c + kStrip <= width; c += kStrip) f(c, Width<kStrip>{});
  if (c + 32 <= width) {
    f(c, Width<32>{});
    c += 32;
  }
  if (c + 16 <= width) {
    f(c, Width<16>{});
    c += 16;
  }
  if (c < width) f(c, width - c);
}

/// A strip's coefficients, copied to the stack: they then stay in the L1 cache or in registers, and
/// no store can change them.
struct StripForward {
  float center[kStrip], scale[kStrip], shift[kStrip];
  template <class W> StripForward(const Coefficients& k, int64_t c, W w) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      center[j] = k.center[c + j];
      scale[j] = k.scale[c + j];
      shift[j] = k.shift[c + j];
    }
  }
};
struct StripBackward {
  float slope[kStrip], offset[kStrip];
  template <class W> StripBackward(const Coefficients& k, int64_t c, W w) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      slope[j] = k.slope[c + j];
      offset[j] = k.offset[c + j];
    }
  }
};

/// Prefetches w numbers into L2 that a loop will write 16 KiB further on: the hardware prefetcher
/// follows reads, but a write has to wait for its cache line. (Always inlined: g++ 12 drops calls
/// of functions that do nothing but prefetch.)
template <class W> [[gnu::always_inline]] inline void prefetch_far(const float* p, W w) {
  constexpr int64_t kFar = 4096, kCacheLine = 16;  // numbers
  for (int64_t j = 0; j < w; j += kCacheLine) __builtin_prefetch(p + kFar + j, 1, 2);
}

}  // namespace loupe::kernels
