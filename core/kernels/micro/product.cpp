// The matrix product on a register tile. A step loads a row of B (one or two vectors) and adds its
// multiples by one number of each row of A:
//
//                B: | b0 b1 .. |   one row of a panel        14 x 2 vectors of 16 keep both
//                   +----------+                             multipliers of a 512-bit core busy;
//   A: | a0 |       | a0 * b   |                             6 x 2 of 8 fill the 16 registers
//      | a1 |   C:  | a1 * b   |   += at every step          of AVX2.
//      | .. |       | ..       |   the tile's sums stay in registers
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/tile_rows.h>
#include <loupe/core/kernels/micro/vec.h>

#include <utility>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// What every tile of one product shares.
struct Strides {
  int64_t a_row, a_term, b_term, c_row;
  int64_t k, segments;
  const int64_t* a_segments;
  bool accumulate, relu;
  int64_t prefetch_row;  // distance of A's rows if the next tile's are to be prefetched, else 0
};

// Terms after which a tile prefetches the next tile's rows again: a cache line of floats.
constexpr int64_t kLine = 16;
// So few rows leave registers for two panels of B.
constexpr int kFewRows = 3;

// The rows of A that a tile reads. Down: a column's numbers are neighbours in memory (a_row = 1),
// and one pointer reaches them all. Else one pointer and one distance address three rows.
template <int Rows, bool Down> struct LeftRows {
  static constexpr int kEach = Down ? Rows : 3;  // rows that a pointer reaches
  static constexpr int kPointers = (Rows + kEach - 1) / kEach;

  [[gnu::always_inline]] void start(const float* first, int64_t row) {
    at[0] = first;
    LOUPE_UNROLL for (int g = 1; g < kPointers; ++g) at[g] = opaque(at[g - 1] + 3 * row);
  }
  [[gnu::always_inline]] float number(int i, int64_t row) const {
    return at[i / kEach][i % kEach * row];
  }
  [[gnu::always_inline]] void advance(int64_t term) {
    LOUPE_UNROLL for (int g = 0; g < kPointers; ++g) at[g] += term;
  }
  // One cache line of each of the next tile's rows. The hardware prefetcher cannot follow six
  // streams; a tile then finds its rows in L2.
  [[gnu::always_inline]] void prefetch_next_tile(int64_t distance, int64_t row) const {
    const float* next[kPointers];
    LOUPE_UNROLL for (int g = 0; g < kPointers; ++g) next[g] = opaque(at[g] + Rows * distance);
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) __builtin_prefetch(next[i / 3] + i % 3 * row);
  }

  const float* at[kPointers];
};

// The sums of a tile, in registers.
template <int Rows, int Vectors> struct Sums {
  [[gnu::always_inline]] void start(const float* bias) {
    LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) {
      const Vec first = bias ? load(bias + j * kLanes) : Vec{};
      LOUPE_UNROLL for (int i = 0; i < Rows; ++i) at[i][j] = first;
    }
  }
  // One term: a row of B times a number of each row of A.
  template <bool Down>
  [[gnu::always_inline]] void add(const LeftRows<Rows, Down>& left, int64_t row, const float* b) {
    Vec right[Vectors];
    LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) right[j] = load(b + j * kLanes);
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vec factor = splat(left.number(i, row));
      LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) at[i][j] =
          multiply_add(factor, right[j], at[i][j]);
    }
  }
  [[gnu::always_inline]] void finish(bool accumulate, bool rectify, float* c, int64_t c_row) {
    if (accumulate) {
      LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
        LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) at[i][j] += load(c + i * c_row + j * kLanes);
      }
    }
    if (rectify) {
      LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
        LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) at[i][j] = relu(at[i][j]);
      }
    }
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i, c += c_row) {
      LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) store(c + j * kLanes, at[i][j]);
    }
  }

  Vec at[Rows][Vectors];
};

// Rows x Vectors of C.
template <int Rows, int Vectors, bool Down>
void tile(const Strides& strides, const float* a, const float* b, const float* bias, float* c) {
  const Strides s = strides;  // a copy, which no store to C can change: it stays in registers
  const int64_t row = Down ? 1 : s.a_row, term = Down ? s.a_term : 1;
  Sums<Rows, Vectors> sums;
  sums.start(bias);
  // Prefetch the next tile's part of C into L2, one cache line per row and 16 columns.
  LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
    LOUPE_UNROLL for (int j = 0; j < Vectors * kLanes; j += kLine)
        __builtin_prefetch(c + (Rows + i) * s.c_row + j, 1, 2);
  }
  for (int64_t segment = 0; segment < s.segments; ++segment) {
    LeftRows<Rows, Down> left;
    left.start(s.a_segments ? a + s.a_segments[segment] : a, row);
    for (int64_t rest = s.k; rest > 0;) {
      if (!Down && s.prefetch_row != 0) left.prefetch_next_tile(s.prefetch_row, row);
      int64_t terms = Down || rest < kLine ? rest : kLine;
      rest -= terms;
      for (; terms > 0; --terms) {
        sums.add(left, row, b);
        left.advance(term);
        b += s.b_term;
      }
    }
  }
  sums.finish(s.accumulate, s.relu, c, s.c_row);
}

using Tile = void (*)(const Strides&, const float*, const float*, const float*, float*);

template <int Vectors, bool Down, int... I>
Tile tile_of(int64_t rows, std::integer_sequence<int, I...>) {
  static constexpr Tile all[] = {tile<I + 1, Vectors, Down>...};
  return all[rows - 1];
}
template <int Vectors, bool Down> Tile tile_of(int64_t rows) {
  constexpr int kRows = Vectors == 4 ? kFewRows : kMaxRows;
  return tile_of<Vectors, Down>(rows, std::make_integer_sequence<int, kRows>());
}
// The tile for so many rows and columns.
Tile tile_of(int64_t rows, int64_t columns, bool down) {
  if (columns > kPanel) return down ? tile_of<4, true>(rows) : tile_of<4, false>(rows);
  if (down) return columns > kLanes ? tile_of<2, true>(rows) : tile_of<1, true>(rows);
  return columns > kLanes ? tile_of<2, false>(rows) : tile_of<1, false>(rows);
}

// Writes a tile whose columns end within a vector: it was computed in `room`, its rows kPanel
// apart.
void store_columns(const Product& p, int64_t rows, const float* room, float* c) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t x = 0; x < p.n; x += kLanes) {
      float* to = c + i * p.c_row + x;
      Vec v = load(room + i * kPanel + x);
      if (p.accumulate) v += load_part(to, p.n - x);
      store_part(to, p.relu ? relu(v) : v, p.n - x);
    }
}

// A product of at most kPanel columns, or of two panels of B that lie side by side.
void panel_product(const Product& p, const TileRows& heights) {
  const bool down = p.a_row == 1;
  const Tile tall = tile_of(heights.rows(0), p.n, down);
  const Tile low = tile_of(heights.rows(heights.tiles - 1), p.n, down);
  // Rows a multiple of 4 KiB apart would drive each other out of L1.
  const bool prefetch = p.m >= 64 && p.segments == 1 && p.a_row % 1024 != 0;
  const bool whole = p.n % kLanes == 0;
  float room[kMaxRows * kPanel], start[kPanel];
  const Strides s{.a_row = p.a_row,
                  .a_term = p.a_term,
                  .b_term = p.b_term,
                  .c_row = whole ? p.c_row : kPanel,
                  .k = p.k,
                  .segments = p.segments,
                  .a_segments = p.a_segments,
                  .accumulate = p.accumulate && whole,
                  .relu = p.relu && whole,
                  .prefetch_row = prefetch ? p.a_row : 0};
  const float* bias = p.bias;
  if (bias && !whole) {
    for (int64_t x = 0; x < kPanel; x += kLanes) store(start + x, load_part(bias + x, p.n - x));
    bias = start;
  }
  const float* a = p.a;
  float* c = p.c;
  for (int64_t t = 0; t < heights.tiles; ++t) {
    const int64_t rows = heights.rows(t);
    (t < heights.taller ? tall : low)(s, a, p.b, bias, whole ? c : room);
    if (!whole) store_columns(p, rows, room, c);
    a += p.a_tile ? p.a_tile : rows * p.a_row;
    c += rows * p.c_row;
  }
}

}  // namespace

void product(const Product& p) {
  if (p.m == 0) return;
  const TileRows heights(p.m);
  const bool two_panels = p.m <= kFewRows && p.b_panel == kPanel;  // B's panels lie side by side
  Product part = p;
  for (int64_t outer = 0; outer < p.outer; ++outer) {
    part.a = p.a + outer * p.a_outer;
    for (int64_t j = 0; j < p.n; j += part.n) {
      part.n = two_panels && p.n - j >= 2 * kPanel ? 2 * kPanel : kPanel;
      if (p.n - j < part.n) part.n = p.n - j;
      part.b = p.b + outer * p.b_outer + j / kPanel * p.b_panel;
      part.c = p.c + outer * p.c_outer + j;
      part.bias = p.bias ? p.bias + j : nullptr;
      panel_product(part, heights);
    }
  }
}

}  // namespace loupe::kernels::LOUPE_LEVEL
