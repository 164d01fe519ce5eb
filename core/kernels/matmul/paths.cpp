#include <loupe/core/blas.h>
#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <type_traits>

namespace loupe::kernels {
namespace {

// Rows of C in one piece: about eight pieces, and enough rows each that B, which every piece reads,
// costs little; their part of A stays in L2.
int64_t row_grain(int64_t m) { return std::clamp<int64_t>(round_up(m / 8, 16), 64, 128); }

// Columns of C in one piece where a piece has all rows: about eight pieces, each of 16,000 terms at
// least.
int64_t column_grain(int64_t m, int64_t n, int64_t k) {
  return round_up(std::max(n / 8, 16384 / (m * k) + 1), 32);
}

// Terms that one sweep over a piece covers: a panel of B and the rows of A lie in L2, from where
// they come as fast as a tile uses them; C is read and written once a sweep.
constexpr int64_t kTerms = 896;
// The same where both operands are packed, and the least for which that pays.
constexpr int64_t kDeep = 256;

// Up to so many rows, packing W of y = x W^T costs more than it saves.
constexpr int64_t kFewRows = 8;

// C = max(C, 0) if `relu`; NaN stays.
template <class T> void finish(bool relu, int64_t m, int64_t n, T* c, int64_t ldc) {
  for (int64_t i = 0; i < m && relu; ++i)
    for (int64_t j = 0; j < n; ++j) c[i * ldc + j] = c[i * ldc + j] < T(0) ? T(0) : c[i * ldc + j];
}

// The right operand, ready to be multiplied by any row piece: for f32 packed once into panels for
// the micro-kernel, for f64 as it is, for BLAS.
template <class T> struct Right {
  bool trans;
  int64_t k, n;
  const T* b;
  int64_t ldb;

  // C (+)= op(A) B, with m rows; `relu`: of the result.
  void multiply(bool trans_a, int64_t m, const T* a, int64_t lda, T* c, int64_t ldc, const T* bias,
                bool accumulate, bool relu = false) const {
    if (bias)
      for (int64_t i = 0; i < m; ++i) std::copy_n(bias, n, c + i * ldc);
    blas::gemm(trans_a, trans, m, n, k, T(1), a, lda, b, ldb, T(bias || accumulate ? 1 : 0), c,
               ldc);
    finish(relu, m, n, c, ldc);
  }
};

template <> struct Right<float> {
  int64_t k, n;
  const Micro& mu = micro();
  Scratch<float> packed{k * round_up(n, mu.panel)};

  Right(bool trans, int64_t k_, int64_t n_, const float* b, int64_t ldb) : k(k_), n(n_) {
    const int64_t grain = std::max<int64_t>(1, 8192 / (k * mu.panel));
    parallel_ranges((n + mu.panel - 1) / mu.panel, grain, [&](int64_t begin, int64_t end) {
      mu.pack(trans, k, n, b, ldb, begin, end, packed);
    });
  }

  void multiply(bool trans_a, int64_t m, const float* a, int64_t lda, float* c, int64_t ldc,
                const float* bias, bool accumulate, bool relu = false) const {
    Product p{.m = m,
              .n = n,
              .a_row = lda,
              .b_term = mu.panel,
              .b_panel = k * mu.panel,
              .c = c,
              .c_row = ldc};
    // The columns of A that a tile needs lie far apart, often in the same few sets of L1.
    const int64_t sweeps = (k + kTerms - 1) / kTerms,
                  terms = round_up((k + sweeps - 1) / sweeps, 16);
    const Scratch<float> left(trans_a ? terms * round_up(m, mu.rows) : 0);
    for (int64_t term = 0; term < k; term += terms) {
      p.k = std::min(terms, k - term);
      p.a = a + term;
      if (trans_a) {
        mu.pack_left(p.k, m, a + term * lda, lda, left);
        p.a = left, p.a_row = 1, p.a_term = mu.rows, p.a_tile = p.k * mu.rows;
      }
      p.b = packed + term * mu.panel;
      p.bias = term == 0 ? bias : nullptr;
      p.accumulate = term > 0 || accumulate;
      p.relu = relu && term + terms >= k;
      mu.product(p);
    }
  }
};

// A^T op(B) with the long dimension inside, a weight gradient: blocks of C times, where these are
// few, ranges of k; each range makes a partial product, and they are added in order.
template <class T>
void product_of_columns(bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
                        const T* b, int64_t ldb, T* c, int64_t ldc, bool accumulate) {
  constexpr int64_t kColumns = 384, kLeft = 128;  // what is packed at a time lies in L2
  const int64_t down = (m + 383) / 384, across = (n + kColumns - 1) / kColumns,
                blocks = down * across;
  const int64_t ranges = std::clamp<int64_t>(k / 128, 1, (7 + blocks) / blocks);
  const int64_t partial =
      round_up(m * n, 64 / static_cast<int64_t>(sizeof(T)));  // each on its own cache lines
  Scratch<T> partials((ranges - 1) * partial);
  parallel_pieces(ranges * blocks, [&](int64_t piece) {
    const int64_t range = piece / blocks, part = piece % blocks / across,
                  column = piece % across * kColumns;
    const int64_t row = m * part / down, rows = m * (part + 1) / down - row,
                  columns = std::min(kColumns, n - column);
    const int64_t ld = range == 0 ? ldc : n;
    T* out = (range == 0 ? c : partials + (range - 1) * partial) + row * ld + column;
    const int64_t first = k * range / ranges, last = k * (range + 1) / ranges;
    for (int64_t term = first; term < last; term += kDeep) {
      const Right<T> right{trans_b, std::min(kDeep, last - term), columns,
                           trans_b ? b + column * ldb + term : b + term * ldb + column, ldb};
      for (int64_t i = 0; i < rows; i += kLeft)
        right.multiply(true, std::min(kLeft, rows - i), a + term * lda + row + i, lda, out + i * ld,
                       ld, nullptr, term > first || (range == 0 && accumulate));
    }
  });
  if (ranges == 1) return;
  parallel_ranges(m, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
    simd<T>([=, p = partials.data()] {
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

// A^T op(B) of few terms and rows, the weight gradient of a small batch: A is packed once, and a
// piece multiplies all of it by some panels of B. Tiles are short here, so packing counts.
void product_of_few_terms(bool trans_b, int64_t m, int64_t n, int64_t k, const float* a,
                          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
                          bool accumulate) {
  const Micro& mu = micro();
  const int64_t panels = (n + mu.panel - 1) / mu.panel;
  // B is read where it is unless its rows share few sets of L1 and many tiles need them.
  const bool stays = !trans_b && n % mu.lanes == 0 && (ldb % 64 != 0 || m <= 2 * mu.rows);
  const Scratch<float> left(k * round_up(m, mu.rows)), right(stays ? 0 : k * panels * mu.panel);
  mu.pack_left(k, m, a, lda, left);
  parallel_ranges(panels, std::max<int64_t>({1, panels / 32, 65536 / (m * k * mu.panel)}),
                  [&](int64_t begin, int64_t end) {
                    if (!stays) mu.pack(trans_b, k, n, b, ldb, begin, end, right);
                    const int64_t first = begin * mu.panel,
                                  b_panel = stays ? mu.panel : k * mu.panel;
                    mu.product({.m = m,
                                .n = std::min(end * mu.panel, n) - first,
                                .k = k,
                                .a = left,
                                .a_row = 1,
                                .a_term = mu.rows,
                                .a_tile = k * mu.rows,
                                .b = (stays ? b : right) + begin * b_panel,
                                .b_term = stays ? ldb : mu.panel,
                                .b_panel = b_panel,
                                .c = c + first,
                                .c_row = ldc,
                                .accumulate = accumulate});
                  });
}

// A B^T where B is larger than A and C: as (B A^T)^T, which packs A instead.
void product_turned(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                    int64_t ldb, float* c, int64_t ldc, const float* bias, bool accumulate,
                    bool relu) {
  const Right<float> right{true, k, m, a, lda};
  parallel_ranges(n, std::min<int64_t>(64, column_grain(m, n, k)), [&](int64_t begin, int64_t end) {
    const Scratch<float> turned((end - begin) * m);
    right.multiply(false, end - begin, b + begin * ldb, ldb, turned, m, nullptr, false);
    micro().turn(m, end - begin, turned, m, bias ? bias + begin : nullptr, accumulate, relu,
                 c + begin, ldc);
  });
}

// A B of few rows reads B where it is, four rows at a time from front to back, and adds their
// multiples to C.
void product_unpacked(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
                      int64_t ldb, float* c, int64_t ldc, const float* bias, bool accumulate) {
  parallel_ranges(n, round_up(std::max(n / 4, 65536 / k + 1), 16), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < m && !accumulate; ++i)
      for (int64_t j = begin; j < end; ++j) c[i * ldc + j] = bias ? bias[j] : 0.0f;
    simd([=] {
      for (int64_t p = 0; p < k; p += 4)
        for (int64_t i = 0; i < m; ++i) {
          const float *left = a + i * lda + p, *row = b + p * ldb;
          float* to = c + i * ldc;
          if (p + 4 <= k) {
            const float a0 = left[0], a1 = left[1], a2 = left[2], a3 = left[3];
#pragma omp simd
            for (int64_t j = begin; j < end; ++j)
              to[j] += (a0 * row[j] + a1 * row[ldb + j]) +
                       (a2 * row[2 * ldb + j] + a3 * row[3 * ldb + j]);
            continue;
          }
          for (int64_t r = 0; r < k - p; ++r) {
            const float factor = left[r];
#pragma omp simd
            for (int64_t j = begin; j < end; ++j) to[j] += factor * row[r * ldb + j];
          }
        }
    });
  });
}

// One dot product for each element of C, its terms in order: what the fast paths are tested
// against.
template <class T>
void multiply_plain(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a,
                    int64_t lda, const T* b, int64_t ldb, T* c, int64_t ldc, const T* bias,
                    bool accumulate, bool relu) {
  parallel_ranges(m, std::max<int64_t>(1, 65536 / (n * k)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < n; ++j) {
        T sum = accumulate ? c[i * ldc + j] : bias ? bias[j] : T(0);
        for (int64_t p = 0; p < k; ++p)
          sum += (trans_a ? a[p * lda + i] : a[i * lda + p]) *
                 (trans_b ? b[j * ldb + p] : b[p * ldb + j]);
        c[i * ldc + j] = relu && sum < T(0) ? T(0) : sum;
      }
  });
}

template <class T>
void multiply(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
              const T* b, int64_t ldb, T* c, int64_t ldc, const T* bias, bool accumulate,
              bool relu = false) {
  if (m <= 0 || n <= 0) return;
  if (k <= 0) {
    for (int64_t i = 0; i < m && !accumulate; ++i)
      bias ? std::copy_n(bias, n, c + i * ldc) : std::fill_n(c + i * ldc, n, T(0));
    return finish(relu, m, n, c, ldc);
  }
  if (plain_kernels())
    return multiply_plain(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, bias, accumulate,
                          relu);
  if constexpr (std::is_same_v<T, float>)
    if (!trans_a && m <= kFewRows) {
      log_kernel(trans_b ? "dots" : "rows");
      if (!trans_b) product_unpacked(m, n, k, a, lda, b, ldb, c, ldc, bias, accumulate);
      else
        parallel_ranges(n, std::max<int64_t>(16, 65536 / k / 4 * 4),
                        [&](int64_t begin, int64_t end) {
                          micro().dots(m, end - begin, k, a, lda, b + begin * ldb, ldb,
                                       bias ? bias + begin : nullptr, accumulate, c + begin, ldc);
                        });
      return finish(relu, m, n, c, ldc);
    }
  log_kernel(std::is_same_v<T, float> ? "tiles" : "dgemm");
  if (trans_a && k >= kDeep && m * n <= 1 << 20)
    return product_of_columns(trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
  if constexpr (std::is_same_v<T, float>)
    if (trans_a && k <= 128 && m * k <= 1 << 15)
      return product_of_few_terms(trans_b, m, n, k, a, lda, b, ldb, c, ldc, accumulate);
  if constexpr (std::is_same_v<T, float>)
    if (!trans_a && trans_b && 4 * m * (k + n) <= 3 * n * k)
      return product_turned(m, n, k, a, lda, b, ldb, c, ldc, bias, accumulate, relu);
  if (m < 128)
    return parallel_ranges(n, column_grain(m, n, k), [&](int64_t begin, int64_t end) {
      Right<T>{trans_b, k, end - begin, b + (trans_b ? begin * ldb : begin), ldb}.multiply(
          trans_a, m, a, lda, c + begin, ldc, bias ? bias + begin : nullptr, accumulate, relu);
    });
  const Right<T> right{trans_b, k, n, b, ldb};
  parallel_ranges(m, row_grain(m), [&](int64_t begin, int64_t end) {
    right.multiply(trans_a, end - begin, trans_a ? a + begin : a + begin * lda, lda,
                   c + begin * ldc, ldc, bias, accumulate, relu);
  });
}

}  // namespace

template <class T>
void matmul(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
            const T* b, int64_t ldb, T* c, int64_t ldc, bool accumulate) {
  multiply<T>(trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc, nullptr, accumulate);
}

template <class T>
void matmul_batched(int64_t batch, int64_t m, int64_t n, int64_t k, Matrices<const T> a,
                    Matrices<const T> b, Matrices<T> c, bool accumulate) {
  const auto one = [&](int64_t i) {
    matmul(a.trans, b.trans, m, n, k, a.data + a.offsets[i], a.ld, b.data + b.offsets[i], b.ld,
           c.data + c.offsets[i], c.ld, accumulate);
  };
  if (batch >= 4) return parallel_pieces(batch, one);  // nested: each product is serial
  for (int64_t i = 0; i < batch; ++i) one(i);
}

template <class T>
void linear(int64_t rows, int64_t in, int64_t out, const T* x, const T* w, bool turned,
            const T* bias, bool relu, T* y) {
  multiply(false, !turned, rows, out, in, x, in, w, turned ? out : in, y, out, bias, false, relu);
}

template <class T>
void linear_dx(int64_t rows, int64_t in, int64_t out, const T* dy, const T* w, T* dx) {
  matmul(false, false, rows, in, out, dy, out, w, in, dx, in, false);
}

template <class T>
void linear_dw(int64_t rows, int64_t in, int64_t out, const T* dy, const T* x, T* dw) {
  matmul(true, false, out, in, rows, dy, out, x, in, dw, in, false);
}

template <class T>
void column_sums(int64_t rows, int64_t cols, const T* x, int64_t ld, T* out, bool accumulate) {
  if (cols <= 0) return;
  if (!accumulate) std::fill_n(out, cols, T(0));
  const int64_t ranges = std::clamp<int64_t>(rows * cols / 16384, 1, 8);
  const int64_t partial = round_up(cols, 64 / static_cast<int64_t>(sizeof(T)));
  Scratch<T> partials(ranges * partial);
  parallel_pieces(ranges, [&](int64_t range) {
    const int64_t begin = rows * range / ranges, end = rows * (range + 1) / ranges;
    simd<T>([=, sums = partials + range * partial] {
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

#define LOUPE_MATMUL(T)                                                                        \
  template void matmul<T>(bool, bool, int64_t, int64_t, int64_t, const T*, int64_t, const T*,  \
                          int64_t, T*, int64_t, bool);                                         \
  template void matmul_batched<T>(int64_t, int64_t, int64_t, int64_t, Matrices<const T>,       \
                                  Matrices<const T>, Matrices<T>, bool);                       \
  template void linear<T>(int64_t, int64_t, int64_t, const T*, const T*, bool, const T*, bool, \
                          T*);                                                                 \
  template void linear_dx<T>(int64_t, int64_t, int64_t, const T*, const T*, T*);               \
  template void linear_dw<T>(int64_t, int64_t, int64_t, const T*, const T*, T*);               \
  template void column_sums<T>(int64_t, int64_t, const T*, int64_t, T*, bool);
LOUPE_MATMUL(float)
LOUPE_MATMUL(double)

}  // namespace loupe::kernels
