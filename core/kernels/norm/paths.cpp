// Each function has two ways, and one question chooses for all: no table is needed.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/fast.h>

#include <type_traits>

namespace loupe::kernels {
namespace {

template <class T> inline constexpr bool kHasFast = std::is_same_v<T, float>;

}  // namespace

template <class T>
double norm_moments(const NormInput<T>& in, double extra, const NormMoments& to, double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::norm_moments(in, extra, to, scratch);
  return plain::norm_moments(in, extra, to);
}

template <class T>
void norm_apply(const NormInput<T>& in, const NormStats& stats, T* y, double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::norm_apply(in, stats, y, scratch);
  plain::norm_apply(in, stats, y);
}

template <class T>
double norm_forward(const NormInput<T>& in, double eps, const NormMoments& to, T* y,
                    double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::norm_forward(in, eps, to, y, scratch);
  return plain::norm_forward(in, eps, to, y);
}

template <class T>
void norm_backward(const NormInput<T>& in, const NormStats& stats, const NormGradients<T>& to,
                   double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::norm_backward(in, stats, to, scratch);
  plain::norm_backward(in, stats, to);
}

template <class T>
void norm_relu_pool(const NormInput<T>& in, const NormImage& image, const NormStats& stats, T* y,
                    double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::norm_relu_pool(in, image, stats, y, scratch);
  plain::norm_relu_pool(in, image, stats, y);
}

template <class T>
void norm_relu_pool_backward(const NormInput<T>& in, const NormImage& image, const NormStats& stats,
                             const NormGradients<T>& to, double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::norm_relu_pool_backward(in, image, stats, to, scratch);
  plain::norm_relu_pool_backward(in, image, stats, to);
}

template <class T>
void row_norm(const RowNormInput<T>& in, double eps, T* y, const RowStats<T>& stats) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::row_norm(in, eps, y, stats);
  plain::row_norm(in, eps, y, stats);
}

template <class T>
void row_norm_backward(const RowNormInput<T>& in, const RowStats<const T>& stats,
                       const NormGradients<T>& to, double* scratch) {
  if constexpr (kHasFast<T>)
    if (!plain_kernels()) return fast::row_norm_backward(in, stats, to, scratch);
  plain::row_norm_backward(in, stats, to);
}

#define LOUPE_INSTANTIATE(T)                                                                     \
  template double norm_moments(const NormInput<T>&, double, const NormMoments&, double*);        \
  template void norm_apply(const NormInput<T>&, const NormStats&, T*, double*);                  \
  template double norm_forward(const NormInput<T>&, double, const NormMoments&, T*, double*);    \
  template void norm_backward(const NormInput<T>&, const NormStats&, const NormGradients<T>&,    \
                              double*);                                                          \
  template void norm_relu_pool(const NormInput<T>&, const NormImage&, const NormStats&, T*,      \
                               double*);                                                         \
  template void norm_relu_pool_backward(const NormInput<T>&, const NormImage&, const NormStats&, \
                                        const NormGradients<T>&, double*);                       \
  template void row_norm(const RowNormInput<T>&, double, T*, const RowStats<T>&);                \
  template void row_norm_backward(const RowNormInput<T>&, const RowStats<const T>&,              \
                                  const NormGradients<T>&, double*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
