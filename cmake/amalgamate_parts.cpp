// For cmake/amalgamate.py: plain loops in place of OpenBLAS, and the kernels that every x86-64 processor
// can run in place of a choice.
#include <loupe/core/blas.h>
#include <loupe/core/kernels/micro/micro.h>

namespace loupe::blas {

namespace {

template <class T> struct Product {
  bool trans_a, trans_b;
  int64_t m, n, k;
  T alpha;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T beta;
  T* c;
  int64_t ldc;
};

template <class T> void multiply(const Product<T>& p) {
  for (int64_t i = 0; i < p.m; ++i)
    for (int64_t j = 0; j < p.n; ++j) {
      T sum = 0;
      for (int64_t l = 0; l < p.k; ++l)
        sum += (p.trans_a ? p.a[l * p.lda + i] : p.a[i * p.lda + l]) *
               (p.trans_b ? p.b[j * p.ldb + l] : p.b[l * p.ldb + j]);
      T& out = p.c[i * p.ldc + j];
      out = p.alpha * sum + (p.beta == 0 ? T(0) : p.beta * out);
    }
}

}  // namespace

void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  multiply<float>({trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc});
}
void gemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha,
          const double* a, int64_t lda, const double* b, int64_t ldb, double beta, double* c,
          int64_t ldc) {
  multiply<double>({trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc});
}
void stop_threads() {}
std::string description() { return "plain loops"; }

}  // namespace loupe::blas

namespace loupe::kernels {

namespace baseline {
extern const Micro table;
}
const Micro& micro() { return baseline::table; }

}  // namespace loupe::kernels
