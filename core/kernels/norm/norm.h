#pragma once
// Normalization. Two families:
//
// Channels (batch, group, instance norm): memory x[image][row][channel]; statistics over the rows
// of an image and the channels of a group. Batch norm is one image of N*H*W rows whose groups are
// single channels; group norm has N images of H*W rows; instance norm is group norm with a group a
// channel. Rows (layer and RMS norm): memory x[row][i], statistics over i.
//
// With the statistics m = mean, r = 1/sqrt(var + eps), and xhat = (x - m) r, g = gamma dy, <.> the
// mean over what the statistics cover:   y = gamma xhat + beta     dx = r (g - <g> - xhat <g xhat>)
//                     dgamma = sum dy xhat      dbeta = sum dy
// Variances are taken about a mean near by, block by block, and merged in double (Chan, Golub and
// LeVeque 1979): an offset of 1e3 costs no digits. Pieces depend on the shape alone, partial sums
// are added in order: the same bits at any thread count.
//
// float runs the fast kernels, double the plain ones of norm_plain.h, which also serve as the
// tests' reference.
#include <cstdint>

namespace loupe::kernels {

/// The extents of the channels family. `mask` (images == 1 only; nullptr: all) has a byte a row:
/// rows of 0 take no part in the statistics, though they are normalized with them.
struct NormShape {
  int64_t images, rows, channels, groups;
  const uint8_t* mask = nullptr;
};

/// How the statistics were made, for a backward.
struct NormStats {
  const double* mean;     // (images * groups)
  const double* rstd;     // (images * groups)
  bool constant = false;  // running statistics: no gradient flows through them
  double count = 0;       // what norm_moments returned
  double extra = 0;       // what norm_moments was given
};

/// Doubles of scratch that any channel function needs for this shape.
int64_t norm_scratch(const NormShape& shape);
/// The same for norm_relu_pool and its backward.
int64_t norm_pool_scratch(const NormShape& shape, int64_t height, int64_t width);

/// mean and var (images * groups): mean = sum / (n + extra), var = sum (x - mean)^2 / (n + extra),
/// with n values that take part; returns n (of one image). `extra` is 0, or Keras' 1e-7. Both are 0
/// where n + extra is.
template <class T>
double norm_moments(const T* x, const NormShape& shape, double extra, double* mean, double* var,
                    double* scratch);

/// y = (x - mean) rstd gamma + beta, clipped at 0 if relu. gamma and beta (channels) may be
/// nullptr: 1 and 0.
template <class T>
void norm_apply(const T* x, T* y, const NormShape& shape, const NormStats& stats, const T* gamma,
                const T* beta, bool relu, double* scratch);

/// norm_moments, rstd = 1 / sqrt(var + eps) and norm_apply (no mask, extra or relu), each image
/// while it is in the cache; returns n. The fast kernel alone: not at CpuLevel::reference.
double norm_forward(const float* x, float* y, const NormShape& shape, double eps, double* mean,
                    double* var, double* rstd, const float* gamma, const float* beta,
                    double* scratch);

/// Gradients of norm_apply over norm_moments; dgamma and dbeta (channels), dx may be nullptr. With
/// relu the clipped places are found again from x.
template <class T>
void norm_backward(const T* x, const T* dy, T* dx, T* dgamma, T* dbeta, const NormShape& shape,
                   const NormStats& stats, const T* gamma, const T* beta, bool relu,
                   double* scratch);

/// norm_apply with relu, then the maximum over windows of 2 x 2 at steps of 2, in one pass: x (n,
/// height, width, C), y (n, height / 2, width / 2, C), where n * height * width = shape.rows,
/// shape.images = 1. NaN stays NaN.
template <class T>
void norm_relu_pool(const T* x, T* y, const NormShape& shape, int64_t height, int64_t width,
                    const NormStats& stats, const T* gamma, const T* beta, double* scratch);

/// Its gradients: dy has y's shape; the first of equal maxima receives it. The winners are found
/// again from x.
template <class T>
void norm_relu_pool_backward(const T* x, const T* dy, T* dx, T* dgamma, T* dbeta,
                             const NormShape& shape, int64_t height, int64_t width,
                             const NormStats& stats, const T* gamma, const T* beta,
                             double* scratch);

/// Layer norm of `rows` rows of d contiguous values; gamma, beta (d) may be nullptr; saves mean and
/// rstd (rows). mean == nullptr: RMS norm, nothing is subtracted and rstd = 1/sqrt(<x^2> + eps).
template <class T>
void row_norm(const T* x, T* y, int64_t rows, int64_t d, const T* gamma, const T* beta, double eps,
              T* mean, T* rstd);

/// Elements of scratch for row_norm_backward.
int64_t row_norm_scratch(int64_t rows, int64_t d);

/// dx (rows, d), dgamma and dbeta (d), the last two may be nullptr (both, or dbeta alone).
/// RMS norm: dx = r (g - xhat <g xhat>).
template <class T>
void row_norm_backward(const T* x, const T* dy, T* dx, T* dgamma, T* dbeta, int64_t rows, int64_t d,
                       const T* gamma, const T* mean, const T* rstd, double* scratch);

}  // namespace loupe::kernels
