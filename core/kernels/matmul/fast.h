#pragma once
// The fast ways to compute a Gemm. paths.cpp decides which one runs, and says when each fits.
#include <loupe/core/kernels/matmul/gemm.h>

namespace loupe::kernels {

// packed.cpp: f32 packs B for the micro-kernel, f64 calls BLAS on it as it is.
template <class T> void row_pieces(const Gemm<T>& g);
template <class T> void column_pieces(const Gemm<T>& g);
template <class T> void split_terms(const Gemm<T>& g);

// few_rows.cpp: nothing is packed.
void dot_products(const Gemm<float>& g);
void row_multiples(const Gemm<float>& g);

// small_side.cpp: the smaller operand is packed for the whole product.
void few_terms(const Gemm<float>& g);
void transposed_product(const Gemm<float>& g);

/// C = max(C, 0) if `relu`; a NaN stays.
template <class T> void finish(const Gemm<T>& g) {
  if (!g.relu) return;
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = 0; j < g.n; ++j) {
      T& c = g.c[i * g.c_stride + j];
      c = c < T(0) ? T(0) : c;
    }
}

/// Columns of C in one piece where a piece has all rows: about eight pieces, each of 16,384 terms
/// at least.
int64_t column_grain(int64_t m, int64_t n, int64_t k);

}  // namespace loupe::kernels
