#pragma once
// The innermost loops in f32, compiled once per instruction set, behind a table of functions that
// cpu_level() chooses. Serial; they allocate nothing. Pictures and words: core/kernels/README.md.
#include <cstdint>

namespace loupe::kernels {

/// The smallest multiple of `to` from n upwards.
inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
/// How many `size` it takes to cover n.
inline int64_t ceil_div(int64_t n, int64_t size) { return (n + size - 1) / size; }

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
      0;  // not 0: A is as pack_left wrote it, a_term = rows; the distance of its tiles
  const float* b = nullptr;
  int64_t b_term = 0, b_panel = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  const float* bias = nullptr;  // n values that the sums start from; null: zero
  bool accumulate = false;      // C is added to the sums
  bool relu = false;            // max(sum, 0) is stored
  int64_t segments = 1;
  const int64_t* a_segments = nullptr;  // null: one segment that starts at a
  int64_t outer = 1, a_outer = 0, b_outer = 0, c_outer = 0;
};

/// The right operand of a product, k x n, as it lies in memory: b_row numbers between two rows.
/// `transposed`: it is stored as its transpose, n x k.
struct RightMatrix {
  int64_t k = 0, n = 0;
  const float* b = nullptr;
  int64_t b_row = 0;
  bool transposed = false;
};

/// The left operand of a product, stored as its transpose: k rows of m numbers, a_term apart.
struct LeftMatrix {
  int64_t k = 0, m = 0;
  const float* a = nullptr;
  int64_t a_term = 0;
};

/// C (+)= T^T + bias, of m x n numbers. T is n x m, its rows t_row apart.
struct Transpose {
  int64_t m = 0, n = 0;
  const float* t = nullptr;
  int64_t t_row = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  const float* bias = nullptr;  // n values or null
  bool accumulate = false;
  bool relu = false;  // max(C, 0) is stored
};

/// C = bias + A B^T, or C += A B^T: every element is the dot product of two rows in memory. A is
/// m x k, B n x k.
struct Dots {
  int64_t m = 0, n = 0, k = 0;
  const float* a = nullptr;
  int64_t a_row = 0;
  const float* b = nullptr;
  int64_t b_row = 0;
  float* c = nullptr;
  int64_t c_row = 0;
  const float* bias = nullptr;  // n values or null; not with accumulate
  bool accumulate = false;
};

/// Where a weight of a convolution looks: row and column relative to the pixel that the output
/// pixel starts from.
struct Tap {
  int64_t y, x;
  int64_t weight;  // which of the kh x kw
};

/// One image of a depthwise convolution, read in place: output pixel (i, j) meets, for each tap,
/// the input pixel (i * step_y + tap.y, j * step_x + tap.x), which counts as zeros outside the
/// image. `channels` neighbours in memory each.
struct Depthwise {
  int64_t begin = 0, end = 0, columns = 0;  // rows and columns of the output
  int64_t channels = 0;
  int64_t taps = 0;
  const Tap* tap = nullptr;  // y ascends
  const float* x = nullptr;  // h x w pixels
  int64_t h = 0, w = 0, step_y = 1, step_x = 1;
  int64_t y_row = 0, y_column = 0;  // floats between rows and columns of the output
};

/// The pixels of a Winograd tile: rows `row` floats apart, columns as many as there are channels.
/// Only those in rows [top, bottom) and columns [left, right) lie in the image; the others are zero
/// when read and dropped when written.
template <class T> struct TilePixels {
  T* at;
  int64_t row, top, bottom, left, right;
};

/// Planes of numbers, `distance` floats apart. A plane holds one of the (size + 2)^2 numbers of
/// every tile, or of every pair of channels.
template <class T> struct Planes {
  T* at;
  int64_t distance;
};

/// A tile that a Winograd transform reads or writes, and the tile after it, which is only
/// prefetched. `channels` is a multiple of 16.
template <class T> struct TileStep {
  const TilePixels<T>& tile;
  const TilePixels<T>& next;
  int64_t channels;
};

/// Winograd's transforms for 3x3 kernels and tiles of `size` x `size` output pixels. `largest`: 16
/// running maxima of |pixel|, the bits of floats as integers, so that a NaN lies above infinity.
struct Winograd {
  int64_t size;
  /// (size + 2)^2 input pixels to planes.
  void (*input)(const TileStep<const float>& from, Planes<float> to, int32_t* largest);
  /// Planes to size^2 output pixels, plus bias unless null.
  void (*output)(Planes<const float> from, const float* bias, const TileStep<float>& to);
  /// size^2 pixels of dy to planes: the transpose of `output`.
  void (*gradient)(const TileStep<const float>& from, Planes<float> to, int32_t* largest);
  /// 9 planes of weights to (size + 2)^2, and its transpose; each plane `count` numbers, a multiple
  /// of 16.
  void (*weights)(int64_t count, Planes<const float> from, Planes<float> to);
  void (*weights_back)(int64_t count, Planes<const float> from, Planes<float> to);
};

/// The kernels of one instruction set.
struct Micro {
  int64_t lanes;  // floats in a vector
  int64_t panel;  // columns of the largest register tile
  int64_t rows;   // and its rows
  void (*product)(const Product&);
  /// Writes the panels [first, last) of B for Product: panel q at packed + q * k * panel, b_term =
  /// panel, zeros beyond n.
  void (*pack_right)(const RightMatrix& b, int64_t first, int64_t last, float* packed);
  /// Writes A for Product: tiles at a distance of a_tile = k * rows.
  void (*pack_left)(const LeftMatrix& a, float* packed);
  void (*transpose)(const Transpose&);
  void (*dots)(const Dots&);
  /// y = bias + sum over t of x w[t], w as taps x channels; bias may be null. y points at row 0.
  void (*depthwise)(const Depthwise& d, const float* w, const float* bias, float* y);
  /// dw[t] += sum over pixels of x dy.
  void (*depthwise_weights)(const Depthwise& d, const float* dy, float* dw);
  /// The largest |x| of rows x n numbers, rows `stride` apart, as the bits of a float: they order
  /// as the numbers do, and a NaN lies above infinity.
  int32_t (*largest)(int64_t rows, int64_t n, const float* x, int64_t stride);
  const Winograd* winograd2;
  const Winograd* winograd4;
};

/// The kernels of cpu_level().
const Micro& micro();

}  // namespace loupe::kernels
