#pragma once
// The fast normalization kernels, f32. paths.cpp chooses between them and the plain loops.
#include <loupe/core/kernels/norm/norm.h>

namespace loupe::kernels::fast {

double norm_moments(const NormInput<float>& in, double extra, const NormMoments& to,
                    double* scratch);
void norm_apply(const NormInput<float>& in, const NormStats& stats, float* y, double* scratch);
double norm_forward(const NormInput<float>& in, double eps, const NormMoments& to, float* y,
                    double* scratch);
void norm_backward(const NormInput<float>& in, const NormStats& stats,
                   const NormGradients<float>& to, double* scratch);
void norm_relu_pool(const NormInput<float>& in, const NormImage& image, const NormStats& stats,
                    float* y, double* scratch);
void norm_relu_pool_backward(const NormInput<float>& in, const NormImage& image,
                             const NormStats& stats, const NormGradients<float>& to,
                             double* scratch);
void row_norm(const RowNormInput<float>& in, double eps, float* y, const RowStats<float>& stats);
void row_norm_backward(const RowNormInput<float>& in, const RowStats<const float>& stats,
                       const NormGradients<float>& to, double* scratch);

}  // namespace loupe::kernels::fast
