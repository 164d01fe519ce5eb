// Which way a matrix product takes. Every question is about the shape alone.
#include <loupe/core/blas.h>
#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/kernels/matmul/fast.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

// Up to so many rows, packing W of y = x W^T costs more than it saves.
constexpr int64_t kFewRows = 8;

// So many terms make it worth while to pack both operands and to share the terms out. The partial
// results of a C larger than kMostPartial would cost more than that gains.
constexpr int64_t kDeep = 256;
constexpr int64_t kMostPartial = 1 << 20;

// So few terms end a tile soon, and so small an A stays in L2 while all of C is computed.
constexpr int64_t kShallow = 128;
constexpr int64_t kSmallLeft = 1 << 15;  // numbers: 128 KiB

// The least rows that are shared out as rows: below, the second thread would find too little to do.
constexpr int64_t kManyRows = 128;

template <class T> bool no_terms(const Gemm<T>& g) { return g.k <= 0; }

bool few_rows_of_transposed_b(const Gemm<float>& g) {
  return g.m <= kFewRows && !g.a.transposed && g.b.transposed;
}
bool few_rows(const Gemm<float>& g) {
  return g.m <= kFewRows && !g.a.transposed && !g.b.transposed;
}

// A weight gradient: A^T B over the rows of a batch. Its sums start from C or 0, and nothing
// follows.
template <class T> bool weight_gradient(const Gemm<T>& g) {
  return g.a.transposed && !g.bias && !g.relu;
}
template <class T> bool weight_gradient_of_many_rows(const Gemm<T>& g) {
  return weight_gradient(g) && g.k >= kDeep && g.m * g.n <= kMostPartial;
}
bool weight_gradient_of_few_rows(const Gemm<float>& g) {
  return weight_gradient(g) && g.k <= kShallow && g.m * g.k <= kSmallLeft;
}

// W of y = x W^T is larger than x and y: numbers that are packed and transposed, x and y against
// three quarters of W.
bool weight_larger_than_rows(const Gemm<float>& g) {
  return !g.a.transposed && g.b.transposed && 4 * g.m * (g.k + g.n) <= 3 * g.n * g.k;
}

template <class T> bool too_few_rows_to_share(const Gemm<T>& g) { return g.m < kManyRows; }

// C is what the sums start from.
template <class T> void start_only(const Gemm<T>& g) {
  for (int64_t i = 0; i < g.m && !g.accumulate; ++i) {
    if (g.bias) std::copy_n(g.bias, g.n, g.c + i * g.c_stride);
    else std::fill_n(g.c + i * g.c_stride, g.n, T(0));
  }
  finish(g);
}

bool reference_or_no_blas(const Gemm<double>&) { return plain_kernels() || !blas::present(); }

constexpr Path<Gemm<float>> kFloatPaths[] = {
    {"no_terms", no_terms, start_only},
    {"plain", reference_mode, gemm_plain},
    {"dots", few_rows_of_transposed_b, dot_products},  // reads W once, as it is stored
    {"row_multiples", few_rows, row_multiples},        // reads B once, as it is stored
    {"split_terms", weight_gradient_of_many_rows, split_terms},
    {"few_terms", weight_gradient_of_few_rows, few_terms},        // packs A once
    {"transposed", weight_larger_than_rows, transposed_product},  // packs x, not W
    {"column_pieces", too_few_rows_to_share, column_pieces},
    {"row_pieces", always, row_pieces},
};

constexpr Path<Gemm<double>> kDoublePaths[] = {
    {"no_terms", no_terms, start_only},
    {"plain", reference_or_no_blas, gemm_plain},
    {"dgemm_split_terms", weight_gradient_of_many_rows, split_terms},
    {"dgemm_column_pieces", too_few_rows_to_share, column_pieces},
    {"dgemm_row_pieces", always, row_pieces},
};

}  // namespace

template <> std::span<const Path<Gemm<float>>> gemm_paths<float>() { return kFloatPaths; }
template <> std::span<const Path<Gemm<double>>> gemm_paths<double>() { return kDoublePaths; }

template <class T> void gemm(const Gemm<T>& g) {
  if (g.m <= 0 || g.n <= 0) return;
  run_first(gemm_paths<T>(), g);
}

template void gemm<float>(const Gemm<float>&);
template void gemm<double>(const Gemm<double>&);

}  // namespace loupe::kernels
