#pragma once
// The innermost loops in f32, compiled once per instruction set (sources in core/kernels/micro),
// behind a table that cpu_level() chooses. Serial; they allocate nothing.
#include <cstdint>

namespace loupe::kernels {

/// The smallest multiple of `to` from n upwards.
inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// C = A B for matrices that need not be stored as such: a row of A may start anywhere and its
/// terms come in segments.
///   C[i, j] (+)= sum over s < segments, p < k of A(i, s, p) B(s, p, j),  i < m, j < n
///   A(i, s, p) = a[i * a_row + a_segments[s] + p * a_term]            a_row or a_term must be 1
///   B(s, p, j) = b[j / panel * b_panel + (s * k + p) * b_term + j % panel]
/// Rows of B must be readable up to a multiple of `lanes` columns. The sum runs over s, then p: one
/// order, so that the bits do not depend on m or n. `outer` such products follow each other at the
/// given distances.
struct Product {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t a_row = 1, a_term = 1;
  int64_t a_tile =
      0;  // not 0: A is as pack_left wrote it, a_term = rows, and tiles lie so far apart
  const float* b = nullptr;
  int64_t b_term = 0, b_panel = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  const float* bias = nullptr;  // n values that the sums start from; null: zero
  bool accumulate = false;      // the sums start from C instead
  bool relu = false;            // max(sum, 0) is stored
  int64_t segments = 1;
  const int64_t* a_segments = nullptr;  // null: one segment that starts at a
  int64_t outer = 1, a_outer = 0, b_outer = 0, c_outer = 0;
};

/// Where a weight of a convolution looks: row and column relative to the pixel that the output
/// pixel starts from.
struct Tap {
  int64_t y, x, weight;  // `weight`: which of the kh x kw
};

/// One image of a depthwise convolution, read in place: output pixel (i, j) meets, for each tap,
/// the input pixel (i * step_y + tap.y, j * step_x + tap.x), which counts as zeros outside the
/// image. `channels` neighbours in memory each.
struct Depthwise {
  int64_t begin, end, columns;  // rows and columns of the output; y points at its row 0
  int64_t channels, taps;
  const Tap* tap;  // y ascends
  const float* x;  // h x w pixels
  int64_t h, w, step_y, step_x;
  float* y;
  int64_t y_row, y_column;
};

/// The pixels of a tile: rows `row` floats apart, columns as many as there are channels. Only those
/// in rows [top, bottom) and columns [left, right) lie in the image; the others are zero when read
/// and dropped when written.
template <class T> struct Pixels {
  T* at;
  int64_t row, top, bottom, left, right;
};

/// Winograd's transforms for 3x3 kernels and tiles of `size` x `size` output pixels. Channels and
/// counts are multiples of 16. A plane holds one of the (size + 2)^2 numbers of every tile; `plane`
/// is the distance between two of them. `next`: the tile that follows, only fetched. `largest`: 16
/// running maxima of |pixel|, the bits of floats as integers, so that a NaN lies above infinity.
struct Winograd {
  int64_t size;
  /// (size + 2)^2 input pixels to planes.
  void (*input)(const Pixels<const float>& from, const Pixels<const float>& next, int64_t channels,
                float* planes, int64_t plane, int32_t* largest);
  /// Planes to size^2 output pixels, plus bias unless null.
  void (*output)(const float* planes, int64_t plane, int64_t channels, const float* bias,
                 const Pixels<float>& to, const Pixels<float>& next);
  /// size^2 pixels of dy to planes: the transpose of `output`.
  void (*gradient)(const Pixels<const float>& from, const Pixels<const float>& next,
                   int64_t channels, float* planes, int64_t plane, int32_t* largest);
  /// 9 planes of weights to (size + 2)^2, and its transpose; each plane `count` numbers.
  void (*weights)(int64_t count, const float* from, int64_t from_plane, float* to,
                  int64_t to_plane);
  void (*weights_back)(int64_t count, const float* from, int64_t from_plane, float* to,
                       int64_t to_plane);
};

struct Micro {
  int64_t lanes, panel, rows;  // floats in a vector; columns and rows of the largest register tile
  void (*product)(const Product&);
  /// Writes the panels [first, last) of op(B), k x n, for Product: panel q at packed + q * k *
  /// panel, b_term = panel, zeros beyond n. ldb: elements between rows as stored.
  void (*pack)(bool trans, int64_t k, int64_t n, const float* b, int64_t ldb, int64_t first,
               int64_t last, float* packed);
  /// Writes A for Product, given as its transpose (k x m, lda between terms): tiles at a distance
  /// of a_tile = k * rows.
  void (*pack_left)(int64_t k, int64_t m, const float* a, int64_t lda, float* packed);
  /// C (+)= T^T + bias, of m x n numbers: T at `from` is n x m, its rows ld apart. bias: n values
  /// or null. rectify: max(C, 0).
  void (*turn)(int64_t m, int64_t n, const float* from, int64_t ld, const float* bias,
               bool accumulate, bool rectify, float* c, int64_t ldc);
  /// C (+)= A B^T for few rows, without packing: A is m x k, B n x k. bias: n values or null; not
  /// with accumulate.
  void (*dots)(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
               int64_t ldb, const float* bias, bool accumulate, float* c, int64_t ldc);
  /// y = bias + sum over t of x w[t], w as taps x channels; bias may be null.
  void (*depthwise)(const Depthwise& d, const float* w, const float* bias);
  /// dw[t] += sum over pixels of x y.
  void (*depthwise_weights)(const Depthwise& d, float* dw);
  /// The largest |x| of rows x n numbers, rows ld apart, as the bits of a float: they order as the
  /// numbers do, and a NaN lies above infinity.
  int32_t (*largest)(int64_t rows, int64_t n, const float* x, int64_t ld);
  const Winograd* winograd2;
  const Winograd* winograd4;
};

/// The table of cpu_level().
const Micro& micro();

}  // namespace loupe::kernels
