#pragma once
// Normalization. Two families:
//
// Channels (batch, group, instance norm): memory x[image][row][channel]. Statistics cover the rows
// of an image and the channels of a group. Batch norm is one image of N*H*W rows whose groups are
// single channels; group norm has N images of H*W rows; instance norm is group norm with a group a
// channel.
//
//        channels (4, in 2 groups)
//   image 0   a a b b   row 0        One mean and one variance for each letter:
//             a a b b   row 1        mean and rstd are (images * groups) = a b c d.
//   image 1   c c d d   row 0
//             c c d d   row 1
//
// Rows (layer and RMS norm): memory x[row][i]. Statistics cover a row.
//
// With m = mean, r = 1/sqrt(var + eps), xhat = (x - m) r, g = gamma dy, and <.> the mean over what
// the statistics cover:
//     y = gamma xhat + beta               dx = r (g - <g> - xhat <g xhat>)
//     dgamma = sum dy xhat                dbeta = sum dy
// Variances are taken about a mean near by, chunk by chunk, and merged in double (Chan, Golub and
// LeVeque 1979): an offset of 1e3 costs no digits. Pieces depend on the shape alone, and partial
// sums are added in order: the same bits at any thread count.
//
// f32 runs the fast kernels. f64, and f32 at LOUPE_CPU=reference, run the plain loops (plain.cpp),
// which the tests hold the fast ones against.
#include <cstdint>

namespace loupe::kernels {

// ---- Channels: batch, group and instance norm

/// The extents of x. `mask` (images == 1 only; nullptr: all) has a byte a row: rows of 0 take no
/// part in the statistics, though they are normalized with them.
struct NormShape {
  int64_t images, rows, channels, groups;
  const uint8_t* mask = nullptr;
};

/// What is normalized, and with which weights.
template <class T> struct NormInput {
  NormShape shape;
  const T* x = nullptr;      // (images, rows, channels)
  const T* gamma = nullptr;  // (channels); nullptr: 1
  const T* beta = nullptr;   // (channels); nullptr: 0
  bool relu = false;         // y = max(y, 0)
};

/// Statistics that are to be computed, (images * groups) each. norm_moments leaves rstd alone.
struct NormMoments {
  double* mean = nullptr;
  double* var = nullptr;
  double* rstd = nullptr;
};

/// Statistics that are given, and how they were made.
struct NormStats {
  const double* mean;     // (images * groups)
  const double* rstd;     // (images * groups)
  bool constant = false;  // running statistics: no gradient flows through them
  double count = 0;       // what norm_moments returned
  double extra = 0;       // what norm_moments was given
};

/// The upstream gradient, and where the others go; nullptr: not wanted.
template <class T> struct NormGradients {
  const T* dy = nullptr;  // y's shape
  T* dx = nullptr;        // x's shape
  T* dgamma = nullptr;    // (channels), of a row norm (d)
  T* dbeta = nullptr;     // the same
};

/// Height and width of an image whose pixels are the rows.
struct NormImage {
  int64_t height, width;
};

/// Values that take part in a mean; of a shape without groups, what a channel would have.
double norm_count(const NormShape& shape);

/// Doubles of scratch that any channel function needs for this shape.
int64_t norm_scratch(const NormShape& shape);
/// The same for norm_relu_pool and its backward.
int64_t norm_pool_scratch(const NormShape& shape, const NormImage& image);

/// mean = sum / (n + extra), var = sum (x - mean)^2 / (n + extra), with n values that take part.
/// Returns n, norm_count. `extra` is 0, or Keras' 1e-7. If n + extra is 0, mean and var are 0.
template <class T>
double norm_moments(const NormInput<T>& in, double extra, const NormMoments& to, double* scratch);

/// y = (x - mean) rstd gamma + beta, and relu if asked for.
template <class T>
void norm_apply(const NormInput<T>& in, const NormStats& stats, T* y, double* scratch);

/// norm_moments, rstd = 1 / sqrt(var + eps) and norm_apply, without mask, extra or relu. The fast
/// kernel does the three for an image while it is in the cache. Returns n.
template <class T>
double norm_forward(const NormInput<T>& in, double eps, const NormMoments& to, T* y,
                    double* scratch);

/// Gradients of norm_apply over norm_moments. With relu the clipped places are found again from x.
template <class T>
void norm_backward(const NormInput<T>& in, const NormStats& stats, const NormGradients<T>& to,
                   double* scratch);

/// norm_apply with relu, then the maximum over windows of 2 x 2 at steps of 2, in one pass. x is
/// (n, height, width, C), y (n, height / 2, width / 2, C), where shape.rows = n * height * width
/// and shape.images = 1; `relu` and `mask` are not looked at. NaN stays NaN.
template <class T>
void norm_relu_pool(const NormInput<T>& in, const NormImage& image, const NormStats& stats, T* y,
                    double* scratch);

/// Its gradients. dy has y's shape; the first of equal maxima receives it. The winners are found
/// again from x.
template <class T>
void norm_relu_pool_backward(const NormInput<T>& in, const NormImage& image, const NormStats& stats,
                             const NormGradients<T>& to, double* scratch);

// ---- Rows: layer and RMS norm

/// `rows` rows of d contiguous values.
template <class T> struct RowNormInput {
  int64_t rows, d;
  const T* x = nullptr;      // (rows, d)
  const T* gamma = nullptr;  // (d); nullptr: 1
  const T* beta = nullptr;   // (d); nullptr: 0
};

/// Mean and 1/sqrt(var + eps) of each row. mean == nullptr: RMS norm, which subtracts nothing and
/// has rstd = 1/sqrt(<x^2> + eps).
template <class T> struct RowStats {
  T* mean = nullptr;  // (rows)
  T* rstd = nullptr;  // (rows)
};

/// y = (x - mean) rstd gamma + beta, and the statistics.
template <class T>
void row_norm(const RowNormInput<T>& in, double eps, T* y, const RowStats<T>& stats);

/// Doubles of scratch for row_norm_backward.
int64_t row_norm_scratch(int64_t rows, int64_t d);

/// Needs dx; dgamma and dbeta may be nullptr (both, or dbeta alone). RMS norm: dx = r (g - xhat <g
/// xhat>). beta is not looked at.
template <class T>
void row_norm_backward(const RowNormInput<T>& in, const RowStats<const T>& stats,
                       const NormGradients<T>& to, double* scratch);

/// The same by plain loops, sums in double. `scratch` is not used.
namespace plain {

template <class T>
double norm_moments(const NormInput<T>& in, double extra, const NormMoments& to,
                    double* scratch = nullptr);
template <class T>
void norm_apply(const NormInput<T>& in, const NormStats& stats, T* y, double* scratch = nullptr);
template <class T>
double norm_forward(const NormInput<T>& in, double eps, const NormMoments& to, T* y,
                    double* scratch = nullptr);
template <class T>
void norm_backward(const NormInput<T>& in, const NormStats& stats, const NormGradients<T>& to,
                   double* scratch = nullptr);
template <class T>
void norm_relu_pool(const NormInput<T>& in, const NormImage& image, const NormStats& stats, T* y,
                    double* scratch = nullptr);
template <class T>
void norm_relu_pool_backward(const NormInput<T>& in, const NormImage& image, const NormStats& stats,
                             const NormGradients<T>& to, double* scratch = nullptr);
template <class T>
void row_norm(const RowNormInput<T>& in, double eps, T* y, const RowStats<T>& stats);
template <class T>
void row_norm_backward(const RowNormInput<T>& in, const RowStats<const T>& stats,
                       const NormGradients<T>& to, double* scratch = nullptr);

}  // namespace plain
}  // namespace loupe::kernels
