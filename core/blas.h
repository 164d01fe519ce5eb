#pragma once
// The one place that calls BLAS. Every call is serial: threads are ours (core/threads.h).
#include <cstdint>
#include <string>

namespace loupe::blas {

/// Whether this build has one (no_blas.cpp is the build without): f64 products run the plain loops
/// otherwise. f32 never needs it.
bool present();

/// C = alpha * op(A) op(B) + beta * C, row-major: op(A) is m x k, op(B) k x n, C m x n; op
/// transposes if the flag is set. lda, ldb, ldc: elements between rows as stored. The bits of a row
/// depend on m, n and k of the call.
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha,
          const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
          int64_t ldc);

/// OpenBLAS' pthread build starts threads when it is loaded. They spin for a tenth of a second and
/// can push two of our threads onto one core. This ends them.
void stop_threads();

/// The configuration, kernel set and threading of the library in use, e.g. "OpenBLAS 0.3.21
/// NO_LAPACKE DYNAMIC_ARCH SkylakeX MAX_THREADS=64 SkylakeX pthread".
std::string description();

}  // namespace loupe::blas
