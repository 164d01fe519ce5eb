// f64 runs the plain kernels.
#include <loupe/core/kernels/norm/plain.h>

namespace loupe::kernels {

template <>
double norm_moments(const double* x, const NormShape& s, double extra, double* mean, double* var,
                    double*) {
  return plain::norm_moments(x, s, extra, mean, var);
}

template <>
void norm_apply(const double* x, double* y, const NormShape& s, const NormStats& st,
                const double* gamma, const double* beta, bool relu, double*) {
  plain::norm_apply(x, y, s, st, gamma, beta, relu);
}

template <>
void norm_backward(const double* x, const double* dy, double* dx, double* dgamma, double* dbeta,
                   const NormShape& s, const NormStats& st, const double* gamma, const double* beta,
                   bool relu, double*) {
  plain::norm_backward(x, dy, dx, dgamma, dbeta, s, st, gamma, beta, relu);
}

template <>
void norm_relu_pool(const double* x, double* y, const NormShape& s, int64_t height, int64_t width,
                    const NormStats& st, const double* gamma, const double* beta, double*) {
  plain::norm_relu_pool(x, y, s, height, width, st, gamma, beta);
}

template <>
void norm_relu_pool_backward(const double* x, const double* dy, double* dx, double* dgamma,
                             double* dbeta, const NormShape& s, int64_t height, int64_t width,
                             const NormStats& st, const double* gamma, const double* beta,
                             double*) {
  plain::norm_relu_pool_backward(x, dy, dx, dgamma, dbeta, s, height, width, st, gamma, beta);
}

template <>
void row_norm(const double* x, double* y, int64_t rows, int64_t d, const double* gamma,
              const double* beta, double eps, double* mean, double* rstd) {
  plain::row_norm(x, y, rows, d, gamma, beta, eps, mean, rstd);
}

template <>
void row_norm_backward(const double* x, const double* dy, double* dx, double* dgamma, double* dbeta,
                       int64_t rows, int64_t d, const double* gamma, const double* mean,
                       const double* rstd, double*) {
  plain::row_norm_backward(x, dy, dx, dgamma, dbeta, rows, d, gamma, mean, rstd);
}

}  // namespace loupe::kernels
