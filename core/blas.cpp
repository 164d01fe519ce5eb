#include <loupe/core/blas.h>
#include <loupe/core/error.h>

#include <cblas.h>

#include <limits>

// Exported by OpenBLAS beside what cblas.h declares; null in a build that lacks it.
extern "C" int blas_thread_shutdown_() __attribute__((weak));

namespace loupe::blas {
namespace {

constexpr int kPthread = 1;  // openblas_get_parallel(): 0 serial, 1 pthread, 2 openmp

// OpenBLAS' openmp build keeps its thread count per calling thread, the pthread build per process:
// one call in each thread makes both serial.
void serial() {
  thread_local bool done = false;
  if (done) return;
  openblas_set_num_threads(1);
  if (openblas_get_num_threads() != 1) fail("blas: OpenBLAS did not accept one thread");
  done = true;
}

blasint to_blas(int64_t n) {
  if (n > std::numeric_limits<blasint>::max())
    fail<ShapeError>("matmul: a size of {} is beyond OpenBLAS' integers", n);
  return static_cast<blasint>(n);
}

CBLAS_TRANSPOSE transposed(bool yes) { return yes ? CblasTrans : CblasNoTrans; }

}  // namespace

bool present() { return true; }

void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  if (m <= 0 || n <= 0) return;
  serial();
  cblas_sgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), to_blas(m), to_blas(n),
              to_blas(k), alpha, a, to_blas(lda), b, to_blas(ldb), beta, c, to_blas(ldc));
}

void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha,
          const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
          int64_t ldc) {
  if (m <= 0 || n <= 0) return;
  serial();
  cblas_dgemm(CblasRowMajor, transposed(trans_a), transposed(trans_b), to_blas(m), to_blas(n),
              to_blas(k), alpha, a, to_blas(lda), b, to_blas(ldb), beta, c, to_blas(ldc));
}

void stop_threads() {
  if (openblas_get_parallel() == kPthread && blas_thread_shutdown_) blas_thread_shutdown_();
}

std::string description() {
  const char* threads = "openmp";
  if (openblas_get_parallel() == 0) threads = "serial";
  if (openblas_get_parallel() == kPthread) threads = "pthread";
  return fmt::format("{} {} {}", openblas_get_config(), openblas_get_corename(), threads);
}

}  // namespace loupe::blas
