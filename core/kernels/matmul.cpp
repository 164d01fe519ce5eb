#include <loupe/core/blas.h>
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/matmul.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

// Rows of C in one piece: about eight pieces, and enough rows each that B, which every piece reads, costs little.
int64_t row_grain(int64_t m) { return std::clamp<int64_t>((m / 8 + 15) / 16 * 16, 64, 256); }

// Ranges of k for A^T B with few rows in C: each makes a partial product, and they are added in order.
int64_t k_ranges(int64_t k) { return k < 256 ? 1 : k < 512 ? 2 : 4; }

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

template <class T> void fill_rows(int64_t m, int64_t n, T* c, int64_t ldc, T value) {
  for (int64_t i = 0; i < m; ++i) std::fill_n(c + i * ldc, n, value);
}

// A^T B with the long dimension inside: a weight gradient. Ranges of k times blocks of 128 rows of C.
template <class T>
void product_of_columns(bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
                        int64_t ldb, T* c, int64_t ldc, bool accumulate) {
  constexpr int64_t kBlock = 128;
  const int64_t ranges = k_ranges(k), blocks = (m + kBlock - 1) / kBlock;
  const int64_t partial = round_up(m * n, 64 / static_cast<int64_t>(sizeof(T)));  // each on its own cache lines
  Scratch<T> partials((ranges - 1) * partial);
  parallel_pieces(ranges * blocks, [&](int64_t piece) {
    const int64_t range = piece / blocks, row = piece % blocks * kBlock;
    const int64_t begin = k * range / ranges, end = k * (range + 1) / ranges;
    T* out = range == 0 ? c + row * ldc : partials + (range - 1) * partial + row * n;
    blas::gemm(true, trans_b, std::min(kBlock, m - row), n, end - begin, T(1), a + begin * lda + row, lda,
               trans_b ? b + begin : b + begin * ldb, ldb, T(range == 0 && accumulate ? 1 : 0), out,
               range == 0 ? ldc : n);
  });
  if (ranges == 1) return;
  parallel_ranges(m, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
    simd([=, p = partials.data()] {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t r = 0; r + 1 < ranges; ++r) {
          const T* from = p + r * partial + i * n;
          T* to = c + i * ldc;
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) to[j] += from[j];
        }
    });
  });
}

}  // namespace

template <class T>
void matmul(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda, const T* b,
            int64_t ldb, T* c, int64_t ldc, bool accumulate) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    if (!accumulate) fill_rows(m, n, c, ldc, T(0));
    return;
  }
  if (trans_a && k >= 256 && m * n <= 1 << 20)
    return product_of_columns(trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
  parallel_ranges(m, row_grain(m), [&](int64_t begin, int64_t end) {
    blas::gemm(trans_a, trans_b, end - begin, n, k, T(1), trans_a ? a + begin : a + begin * lda, lda, b, ldb,
               T(accumulate ? 1 : 0), c + begin * ldc, ldc);
  });
}

template <class T>
void matmul_batched(int64_t batch, int64_t m, int64_t n, int64_t k, Matrices<const T> a, Matrices<const T> b,
                    Matrices<T> c, bool accumulate) {
  const auto one = [&](int64_t i) {
    matmul(a.trans, b.trans, m, n, k, a.data + i * a.stride, a.ld, b.data + i * b.stride, b.ld, c.data + i * c.stride,
           c.ld, accumulate);
  };
  if (batch >= 4) return parallel_pieces(batch, one);  // nested: each product is serial
  for (int64_t i = 0; i < batch; ++i) one(i);
}

template <class T> void linear(int64_t rows, int64_t in, int64_t out, const T* x, const T* w, const T* bias, T* y) {
  if (!bias) return matmul(false, true, rows, out, in, x, in, w, in, y, out, false);
  parallel_ranges(rows, row_grain(rows), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) std::copy_n(bias, out, y + i * out);
    if (in > 0)
      blas::gemm(false, true, end - begin, out, in, T(1), x + begin * in, in, w, in, T(1), y + begin * out, out);
  });
}

template <class T> void linear_dx(int64_t rows, int64_t in, int64_t out, const T* dy, const T* w, T* dx) {
  matmul(false, false, rows, in, out, dy, out, w, in, dx, in, false);
}

template <class T> void linear_dw(int64_t rows, int64_t in, int64_t out, const T* dy, const T* x, T* dw, T* db) {
  matmul(true, false, out, in, rows, dy, out, x, in, dw, in, false);
  if (db) column_sums(rows, out, dy, out, db, false);
}

template <class T> void column_sums(int64_t rows, int64_t cols, const T* x, int64_t ld, T* out, bool accumulate) {
  if (cols <= 0) return;
  if (!accumulate) std::fill_n(out, cols, T(0));
  const int64_t ranges = std::clamp<int64_t>(rows * cols / 16384, 1, 8);
  const int64_t partial = round_up(cols, 64 / static_cast<int64_t>(sizeof(T)));
  Scratch<T> partials(ranges * partial);
  parallel_pieces(ranges, [&](int64_t range) {
    const int64_t begin = rows * range / ranges, end = rows * (range + 1) / ranges;
    simd([=, sums = partials + range * partial] {
      std::fill_n(sums, cols, T(0));
      for (int64_t i = begin; i < end; ++i) {
        const T* row = x + i * ld;
#pragma omp simd
        for (int64_t j = 0; j < cols; ++j) sums[j] += row[j];
      }
    });
  });
  for (int64_t range = 0; range < ranges; ++range)
    for (int64_t j = 0; j < cols; ++j) out[j] += partials[range * partial + j];
}

#define LOUPE_MATMUL(T)                                                                                               \
  template void matmul<T>(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*, int64_t, T*, int64_t,   \
                          bool);                                                                                      \
  template void matmul_batched<T>(int64_t, int64_t, int64_t, int64_t, Matrices<const T>, Matrices<const T>,           \
                                  Matrices<T>, bool);                                                                 \
  template void linear<T>(int64_t, int64_t, int64_t, const T*, const T*, const T*, T*);                               \
  template void linear_dx<T>(int64_t, int64_t, int64_t, const T*, const T*, T*);                                      \
  template void linear_dw<T>(int64_t, int64_t, int64_t, const T*, const T*, T*, T*);                                  \
  template void column_sums<T>(int64_t, int64_t, const T*, int64_t, T*, bool);
LOUPE_MATMUL(float)
LOUPE_MATMUL(double)

}  // namespace loupe::kernels
