// Products that are shared out in pieces of C, by rows, by columns, or with the terms split.
#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/matmul/packed_right.h>
#include <loupe/core/kernels/matmul/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

// What split_terms packs at a time lies in L2: so many terms of so many columns and rows.
constexpr int64_t kBlockTerms = 256, kBlockColumns = 384, kBlockRows = 128;

// Numbers that a piece of the final additions covers.
constexpr int64_t kAddGrain = 16384;

// Rows of C in one piece: about eight pieces, and enough rows each that B, which every piece reads,
// costs little; their part of A stays in L2.
int64_t row_grain(int64_t m) { return std::clamp<int64_t>(round_up(m / 8, 16), 64, 128); }

// B from term `term` and column `column` on.
template <class T> Operand<T> right_from(const Operand<T>& b, int64_t term, int64_t column) {
  const int64_t at = b.transposed ? column * b.stride + term : term * b.stride + column;
  return {b.data + at, b.stride, b.transposed};
}

// A from row `row` on.
template <class T> Operand<T> left_from(const Operand<T>& a, int64_t row) {
  return {a.data + (a.transposed ? row : row * a.stride), a.stride, a.transposed};
}

// How split_terms cuts a product: C into blocks and, where these are few, k into ranges.
//
//        across = 2
//       +-----+-----+
//       |  0  |  1  |   down = 2      each of the 4 blocks for each range of terms:
//       +-----+-----+                 range 0 writes C, the others a partial result each
//       |  2  |  3  |
//       +-----+-----+
struct Split {
  int64_t down, across, ranges;
  int64_t partial;  // numbers from one partial result to the next, on cache lines of their own

  template <class T>
  explicit Split(const Gemm<T>& g)
      : down(ceil_div(g.m, kBlockColumns)),
        across(ceil_div(g.n, kBlockColumns)),
        ranges(std::clamp<int64_t>(g.k / 128, 1, (7 + blocks()) / blocks())),
        partial(round_up(g.m * g.n, 64 / static_cast<int64_t>(sizeof(T)))) {}
  int64_t blocks() const { return down * across; }
};

// One block of C over one range of terms.
template <class T>
void multiply_block(const Gemm<T>& g, const Split& split, int64_t piece, T* partials) {
  const int64_t range = piece / split.blocks(), block = piece % split.blocks();
  const int64_t row = g.m * (block / split.across) / split.down;
  const int64_t rows = g.m * (block / split.across + 1) / split.down - row;
  const int64_t column = block % split.across * kBlockColumns;
  const int64_t columns = std::min(kBlockColumns, g.n - column);
  const int64_t stride = range == 0 ? g.c_stride : g.n;
  T* const result = range == 0 ? g.c : partials + (range - 1) * split.partial;
  const int64_t first = g.k * range / split.ranges, last = g.k * (range + 1) / split.ranges;
  for (int64_t term = first; term < last; term += kBlockTerms) {
    const int64_t terms = std::min(kBlockTerms, last - term);
    const PackedRight<T> right(terms, columns, right_from(g.b, term, column));
    for (int64_t i = 0; i < rows; i += kBlockRows)
      right.multiply({.m = std::min(kBlockRows, rows - i),
                      .n = columns,
                      .k = terms,
                      .a = {g.a.data + term * g.a.stride + row + i, g.a.stride, true},
                      .c = result + (row + i) * stride + column,
                      .c_stride = stride,
                      .accumulate = term > first || (range == 0 && g.accumulate)});
  }
}

// C += the partial results, in order.
template <class T> void add_partials(const Gemm<T>& g, const Split& split, const T* partials) {
  parallel_ranges(g.m, std::max<int64_t>(1, kAddGrain / g.n), [&](int64_t begin, int64_t end) {
    simd<T>([=, n = g.n, c = g.c, c_stride = g.c_stride, ranges = split.ranges,
             partial = split.partial] {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t r = 0; r + 1 < ranges; ++r) {
          const T* from = partials + r * partial + i * n;
          T* to = c + i * c_stride;
#pragma omp simd
          for (int64_t j = 0; j < n; ++j) to[j] += from[j];
        }
    });
  });
}

}  // namespace

int64_t column_grain(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kTerms = 16384;
  return round_up(std::max(n / 8, kTerms / (m * k) + 1), 32);
}

template <class T> void row_pieces(const Gemm<T>& g) {
  const PackedRight<T> right(g.k, g.n, g.b);
  parallel_ranges(g.m, row_grain(g.m), [&](int64_t begin, int64_t end) {
    Gemm<T> rows = g;
    rows.m = end - begin;
    rows.a = left_from(g.a, begin);
    rows.c = g.c + begin * g.c_stride;
    right.multiply(rows);
  });
}

template <class T> void column_pieces(const Gemm<T>& g) {
  parallel_ranges(g.n, column_grain(g.m, g.n, g.k), [&](int64_t begin, int64_t end) {
    Gemm<T> columns = g;
    columns.n = end - begin;
    columns.c = g.c + begin;
    columns.bias = g.bias ? g.bias + begin : nullptr;
    PackedRight<T>(g.k, columns.n, right_from(g.b, 0, begin)).multiply(columns);
  });
}

template <class T> void split_terms(const Gemm<T>& g) {
  const Split split(g);
  Scratch<T> partials((split.ranges - 1) * split.partial);
  parallel_pieces(split.ranges * split.blocks(),
                  [&](int64_t piece) { multiply_block<T>(g, split, piece, partials); });
  if (split.ranges > 1) add_partials<T>(g, split, partials);
}

template <class T>
SharedRight<T>::SharedRight(int64_t k, int64_t n, const Operand<T>& b, int64_t products)
    : k_(k), n_(n), b_(b) {
  if constexpr (std::is_same_v<T, float>)
    if (k > 0 && n > 0 && products > 1 && !plain_kernels())
      packed_ = std::make_unique<PackedRight<T>>(k, n, b);
}

template <class T> SharedRight<T>::~SharedRight() = default;

template <class T> void SharedRight<T>::multiply(Gemm<T> g) const {
  g.k = k_;
  g.n = n_;
  g.b = b_;
  if (!packed_ || g.m <= 0) return gemm(g);
  if constexpr (std::is_same_v<T, float>) {
    const int64_t grain = round_up(column_grain(g.m, n_, k_), micro().panel);
    parallel_ranges(n_, grain,
                    [&](int64_t begin, int64_t end) { packed_->multiply(g, begin, end); });
    log_kernel("shared_right");
  }
}

#define LOUPE_PACKED(T)                           \
  template void row_pieces<T>(const Gemm<T>&);    \
  template void column_pieces<T>(const Gemm<T>&); \
  template void split_terms<T>(const Gemm<T>&);   \
  template class SharedRight<T>;
LOUPE_PACKED(float)
LOUPE_PACKED(double)

}  // namespace loupe::kernels
