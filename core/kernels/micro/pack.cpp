// Packing: the operands of a product are copied into the order in which its tiles read them, once,
// so that every tile reads memory from front to back.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/shuffle.h>
#include <loupe/core/kernels/micro/tile_rows.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// Terms that are packed at a time: their rows are read from front to back, and each panel or tile
// gets a few cache lines.
constexpr int64_t kTerms = 8;
// Distance at which rows are prefetched into L2, and a cache line of floats.
constexpr int64_t kAhead = 2 * kTerms, kLine = 16;

// Calls f(first, last) for every kTerms of k rows of `columns` numbers, while the rows after them
// come from memory to L2.
template <class F>
inline void each_terms(int64_t k, int64_t columns, const float* x, int64_t stride, const F& f) {
  for (int64_t first = 0; first < k; first += kTerms) {
    const int64_t last = first + kTerms < k ? first + kTerms : k;
    for (int64_t p = first + kAhead; p < last + kAhead && p < k; ++p)
      for (int64_t c = 0; c < columns; c += kLine) __builtin_prefetch(x + p * stride + c, 0, 2);
    f(first, last);
  }
}

// Some terms of one panel of B as it is stored; zeros beyond `columns`.
inline void pack_rows(int64_t terms, int64_t columns, const float* from, int64_t b_row, float* to) {
  if (columns >= kPanel) {
    for (int64_t p = 0; p < terms; ++p, from += b_row, to += kPanel)
      __builtin_memcpy(to, from, kPanel * sizeof(float));
    return;
  }
  for (int64_t p = 0; p < terms; ++p, from += b_row, to += kPanel)
    for (int64_t x = 0; x < kPanel; x += kLanes) store(to + x, load_part(from + x, columns - x));
}

// Up to kLanes terms of up to kLanes columns of a panel; B is stored as its transpose.
inline void pack_square(int64_t terms, int64_t columns, const float* from, int64_t b_row,
                        float* to) {
  Vec v[kLanes];
  load_transposed(terms, columns, from, b_row, v);
  if (terms >= kLanes) {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) store(to + i * kPanel, v[i]);
  } else {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) {
      if (i < terms) store(to + i * kPanel, v[i]);
    }
  }
}

// One panel of B, which is stored as its transpose; `first` is the panel's first column.
inline void pack_transposed(const RightMatrix& right, int64_t first, float* to) {
  const RightMatrix b = right;
  for (int64_t p = 0; p < b.k; p += kLanes)
    for (int64_t j = 0; j < kPanel; j += kLanes) {
      const float* from = b.b + (first + j) * b.b_row + p;
      // The rows are as many streams, more than the hardware prefetcher follows.
      if (p % kLine == 0) {
        LOUPE_UNROLL for (int i = 0; i < kLanes; ++i)
            __builtin_prefetch(from + i * b.b_row + 2 * kLine, 0, 2);
      }
      pack_square(b.k - p, b.n - first - j, from, b.b_row, to + p * kPanel + j);
    }
}

// The rows of one tile: kMaxRows numbers a term, of which the last tile fills only its own.
inline void pack_tile(int64_t terms, int64_t rows, bool last, const float* from, int64_t a_term,
                      float* to) {
  for (int64_t p = 0; p < terms; ++p, from += a_term, to += kMaxRows) {
    // What is read beyond a tile belongs to the next one.
    if (!last) __builtin_memcpy(to, from, kMaxRows * sizeof(float));
    else
      for (int64_t i = 0; i < rows; ++i) to[i] = from[i];
  }
}

}  // namespace

void pack_right(const RightMatrix& right, int64_t first, int64_t last, float* packed) {
  const RightMatrix b = right;
  if (b.transposed) {
    for (int64_t q = first; q < last; ++q)
      pack_transposed(b, q * kPanel, packed + q * b.k * kPanel);
    return;
  }
  const int64_t end = last * kPanel < b.n ? last * kPanel : b.n;
  const float* start = b.b + first * kPanel;
  each_terms(b.k, end - first * kPanel, start, b.b_row, [&](int64_t begin_term, int64_t end_term) {
    for (int64_t q = first; q < last; ++q)
      pack_rows(end_term - begin_term, b.n - q * kPanel, b.b + begin_term * b.b_row + q * kPanel,
                b.b_row, packed + (q * b.k + begin_term) * kPanel);
  });
}

void pack_left(const LeftMatrix& left, float* packed) {
  const LeftMatrix a = left;
  const TileRows heights(a.m);
  each_terms(a.k, a.m, a.a, a.a_term, [&](int64_t begin, int64_t end) {
    const float* from = a.a + begin * a.a_term;
    for (int64_t t = 0; t < heights.tiles; ++t) {
      const int64_t rows = heights.rows(t);
      pack_tile(end - begin, rows, t + 1 == heights.tiles, from, a.a_term,
                packed + (t * a.k + begin) * kMaxRows);
      from += rows;
    }
  });
}

}  // namespace loupe::kernels::LOUPE_LEVEL
