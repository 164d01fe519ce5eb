// Matrix product on a register tile: each step loads a row of B (one or two vectors) and multiplies it by one
// number of each row of A. 14 x 2 vectors of 16 keep both multipliers of a 512-bit core busy; 6 x 2 fill 16
// registers.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

#include <utility>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

struct Strides {
  int64_t a_row, a_term, b_term, c_row, k, segments, tail;  // tail: columns in the last vector
  const int64_t* a_segments;
  bool accumulate;
};

// Rows x Vectors of C. Down: the rows of A are neighbours in memory (a_row = 1), else its terms are.
template <int Rows, int Vectors, bool Down>
void tile(const Strides& s, const float* a, const float* b, const float* bias, float* c) {
  Vec sum[Rows][Vectors];
  const auto whole = [&](int j) { return j + 1 < Vectors || s.tail == kLanes; };
  LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) {
    Vec start{};
    if (bias) start = whole(j) ? load(bias + j * kLanes) : load_part(bias + j * kLanes, s.tail);
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) sum[i][j] = start;
  }
  const int64_t row = Down ? 1 : s.a_row, term = Down ? s.a_term : 1;
  for (int64_t segment = 0; segment < s.segments; ++segment) {
    const float* at = s.a_segments ? a + s.a_segments[segment] : a;
    for (int64_t p = 0; p < s.k; ++p) {
      Vec right[Vectors];
      LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) right[j] = load(b + j * kLanes);
      LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
        const Vec left = splat(at[i * row]);
        LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] += left * right[j];
      }
      at += term;
      b += s.b_term;
    }
  }
  LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
    LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) {
      float* to = c + i * s.c_row + j * kLanes;
      if (whole(j)) {
        store(to, s.accumulate ? load(to) + sum[i][j] : sum[i][j]);
      } else {
        store_part(to, s.accumulate ? load_part(to, s.tail) + sum[i][j] : sum[i][j], s.tail);
      }
    }
  }
}

using Tile = void (*)(const Strides&, const float*, const float*, const float*, float*);

template <int Vectors, bool Down, int... I> Tile tile_of(int64_t rows, std::integer_sequence<int, I...>) {
  static constexpr Tile all[] = {tile<I + 1, Vectors, Down>...};
  return all[rows - 1];
}
template <int Vectors, bool Down> Tile tile_of(int64_t rows) {
  return tile_of<Vectors, Down>(rows, std::make_integer_sequence<int, kMaxRows>());
}

// Transposes kLanes x kLanes numbers: step S swaps the blocks off the diagonal.
template <int S, int... I> inline void transpose_step(Vec* v, std::integer_sequence<int, I...>) {
  LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) {
    if (i & S) continue;
    const Vec x = v[i], y = v[i + S];
    v[i] = __builtin_shufflevector(x, y, ((I & S) ? kLanes + I - S : I)...);
    v[i + S] = __builtin_shufflevector(x, y, ((I & S) ? kLanes + I : I + S)...);
  }
}

inline void transpose(Vec* v) {
  using All = std::make_integer_sequence<int, kLanes>;
  if constexpr (kLanes > 8) transpose_step<8>(v, All());
  if constexpr (kLanes > 4) transpose_step<4>(v, All());
  transpose_step<2>(v, All());
  transpose_step<1>(v, All());
}

// One vector's worth of columns of op(B), `columns` of them real, into a panel.
void pack_rows(int64_t k, int64_t columns, const float* b, int64_t ldb, float* to) {
  if (columns == kLanes) {
    for (int64_t p = 0; p < k; ++p) store(to + p * kPanel, load(b + p * ldb));
  } else {
    for (int64_t p = 0; p < k; ++p) store(to + p * kPanel, load_part(b + p * ldb, columns));
  }
}

void pack_columns(int64_t k, int64_t columns, const float* b, int64_t ldb, float* to) {
  for (int64_t p = 0; p < k; p += kLanes) {
    const int64_t terms = k - p < kLanes ? k - p : kLanes;
    Vec v[kLanes];
    if (terms == kLanes && columns == kLanes) {
      LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) v[i] = load(b + i * ldb + p);
    } else {
      for (int i = 0; i < kLanes; ++i) v[i] = i < columns ? load_part(b + i * ldb + p, terms) : Vec{};
    }
    transpose(v);
    if (terms == kLanes) {
      LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) store(to + (p + i) * kPanel, v[i]);
    } else {
      for (int i = 0; i < terms; ++i) store(to + (p + i) * kPanel, v[i]);
    }
  }
}

// Rows x Columns dot products of k terms: vectors of partial sums, folded at the end in a fixed order.
template <int Rows, int Columns> void dot_tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* sums) {
  Vec sum[Rows][Columns] = {};
  int64_t p = 0;
  const auto step = [&](auto get) {
    Vec right[Columns];
    LOUPE_UNROLL for (int j = 0; j < Columns; ++j) right[j] = get(b + j * ldb + p);
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vec left = get(a + i * lda + p);
      LOUPE_UNROLL for (int j = 0; j < Columns; ++j) sum[i][j] += left * right[j];
    }
  };
  for (; p + kLanes <= k; p += kLanes) step([](const float* x) { return load(x); });
  if (p < k) step([n = k - p](const float* x) { return load_part(x, n); });
  LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
    LOUPE_UNROLL for (int j = 0; j < Columns; ++j) {
      float total[kLanes];
      store(total, sum[i][j]);
      for (int half = kLanes / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) total[l] += total[l + half];
      sums[i * Columns + j] = total[0];
    }
  }
}

}  // namespace

void product(const Product& p) {
  // Rows in tiles of nearly equal height: 16 is 8 + 8 rather than 14 + 2.
  const int64_t tiles = (p.m + kMaxRows - 1) / kMaxRows;
  if (tiles == 0) return;
  const int64_t height = p.m / tiles, taller = p.m % tiles;
  Strides s{p.a_row, p.a_term, p.b_term, p.c_row, p.k, p.segments, kLanes, p.a_segments, p.accumulate};
  const bool down = p.a_row == 1 && p.a_term != 1;
  for (int64_t outer = 0; outer < p.outer; ++outer) {
    for (int64_t j = 0; j < p.n; j += kPanel) {
      const int64_t columns = p.n - j < kPanel ? p.n - j : kPanel;
      const bool two = columns > kLanes;
      s.tail = two ? columns - kLanes : columns;
      const auto choose = [&](int64_t rows) {
        if (down) return two ? tile_of<2, true>(rows) : tile_of<1, true>(rows);
        return two ? tile_of<2, false>(rows) : tile_of<1, false>(rows);
      };
      const Tile tall = choose(taller ? height + 1 : height), low = choose(height);
      const float* a = p.a + outer * p.a_outer;
      const float* b = p.b + outer * p.b_outer + j / kPanel * p.b_panel;
      float* c = p.c + outer * p.c_outer + j;
      for (int64_t t = 0; t < tiles; ++t) {
        (t < taller ? tall : low)(s, a, b, p.bias ? p.bias + j : nullptr, c);
        const int64_t rows = t < taller ? height + 1 : height;
        a += rows * p.a_row;
        c += rows * p.c_row;
      }
    }
  }
}

void dots(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, const float* bias,
          bool accumulate, float* c, int64_t ldc) {
  constexpr int kBlock = 4;
  float sums[kBlock * kBlock];
  for (int64_t j = 0; j < n; j += kBlock)
    for (int64_t i = 0; i < m; i += kBlock) {
      const int64_t columns = n - j < kBlock ? n - j : kBlock, rows = m - i < kBlock ? m - i : kBlock;
      const auto run = [&](auto tile, int64_t row, int64_t column, int64_t height, int64_t width) {
        tile(k, a + row * lda, lda, b + column * ldb, ldb, sums);
        for (int64_t y = 0; y < height; ++y)
          for (int64_t x = 0; x < width; ++x) {
            float* to = c + (row + y) * ldc + column + x;
            *to = sums[y * width + x] + (accumulate ? *to : bias ? bias[column + x] : 0.0f);
          }
      };
      if (rows == kBlock && columns == kBlock) {
        run(dot_tile<kBlock, kBlock>, i, j, kBlock, kBlock);
      } else if (columns == kBlock) {
        for (int64_t y = 0; y < rows; ++y) run(dot_tile<1, kBlock>, i + y, j, 1, kBlock);
      } else {
        for (int64_t y = 0; y < rows; ++y)
          for (int64_t x = 0; x < columns; ++x) run(dot_tile<1, 1>, i + y, j + x, 1, 1);
      }
    }
}

void pack(bool trans, int64_t k, int64_t n, const float* b, int64_t ldb, int64_t first, int64_t last, float* packed) {
  for (int64_t q = first; q < last; ++q)
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t j = q * kPanel + half * kLanes;
      int64_t columns = n - j;
      columns = columns < 0 ? 0 : columns > kLanes ? kLanes : columns;
      float* to = packed + q * k * kPanel + half * kLanes;
      if (columns == 0) {
        for (int64_t p = 0; p < k; ++p) store(to + p * kPanel, Vec{});
      } else if (trans) {
        pack_columns(k, columns, b + j * ldb, ldb, to);
      } else {
        pack_rows(k, columns, b + j, ldb, to);
      }
    }
}

}  // namespace loupe::kernels::LOUPE_LEVEL
