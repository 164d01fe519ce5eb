// Matrix product on a register tile: each step loads a row of B (one or two vectors) and multiplies
// it by one number of each row of A. 14 x 2 vectors of 16 keep both multipliers of a 512-bit core
// busy; 6 x 2 fill 16 registers.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

#include <utility>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

struct Strides {
  int64_t a_row, a_term, b_term, c_row, k, segments;
  const int64_t* a_segments;
  bool accumulate, relu;
  int64_t fetch_row;  // distance of A's rows if the next tile's are to be fetched, else 0
};

// Rows x Vectors of C. Down: the rows of A are neighbours in memory (a_row = 1), else its terms
// are.
template <int Rows, int Vectors, bool Down>
void tile(const Strides& strides, const float* a, const float* b, const float* bias, float* c) {
  const Strides s = strides;  // a copy, which no store to C can change: it stays in registers
  Vec sum[Rows][Vectors];
  LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) {
    const Vec start = bias ? load(bias + j * kLanes) : Vec{};
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) sum[i][j] = start;
  }
  // What the next tile will write is far from the core as a rule: fetched into L2, a line of 16
  // numbers for each row and part.
  LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
    LOUPE_UNROLL for (int j = 0; j < Vectors * kLanes; j += 16)
        __builtin_prefetch(c + (Rows + i) * s.c_row + j, 1, 2);
  }
  // One pointer and one distance address three rows.
  constexpr int kThree = Down ? Rows : 3, kPointers = (Rows + kThree - 1) / kThree;
  const int64_t row = Down ? 1 : s.a_row, term = Down ? s.a_term : 1;
  for (int64_t segment = 0; segment < s.segments; ++segment) {
    const float* at[kPointers];
    at[0] = s.a_segments ? a + s.a_segments[segment] : a;
    LOUPE_UNROLL for (int g = 1; g < kPointers; ++g) at[g] = opaque(at[g - 1] + 3 * row);
    for (int64_t left = s.k; left > 0;) {
      // The next tile's rows, a line of each: the processor follows no six of them by itself, and
      // finds them in L2.
      if (!Down && s.fetch_row != 0) {
        const float* next[kPointers];
        LOUPE_UNROLL for (int g = 0; g < kPointers; ++g) next[g] =
            opaque(at[g] + Rows * s.fetch_row);
        LOUPE_UNROLL for (int i = 0; i < Rows; ++i) __builtin_prefetch(next[i / 3] + i % 3 * row);
      }
      int64_t terms = Down || left < 16 ? left : 16;
      left -= terms;
      for (; terms > 0; --terms) {
        Vec right[Vectors];
        LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) right[j] = load(b + j * kLanes);
        LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
          const Vec factor = splat(at[i / kThree][i % kThree * row]);
          LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] =
              multiply_add(factor, right[j], sum[i][j]);
        }
        LOUPE_UNROLL for (int g = 0; g < kPointers; ++g) at[g] += term;
        b += s.b_term;
      }
    }
  }
  if (s.accumulate) {
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
      LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] +=
          load(c + i * s.c_row + j * kLanes);
    }
  }
  if (s.relu) {
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
      LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) sum[i][j] = relu(sum[i][j]);
    }
  }
  LOUPE_UNROLL for (int i = 0; i < Rows; ++i, c += s.c_row) {
    LOUPE_UNROLL for (int j = 0; j < Vectors; ++j) store(c + j * kLanes, sum[i][j]);
  }
}

// m rows in tiles of nearly equal height: 16 is 8 + 8 rather than 14 + 2.
struct Tiles {
  int64_t count, height, taller;  // the first `taller` have a row more
  explicit Tiles(int64_t m)
      : count((m + kMaxRows - 1) / kMaxRows), height(m / count), taller(m % count) {}
  int64_t rows(int64_t t) const { return height + (t < taller); }
};

using Tile = void (*)(const Strides&, const float*, const float*, const float*, float*);

template <int Vectors, bool Down, int... I>
Tile tile_of(int64_t rows, std::integer_sequence<int, I...>) {
  static constexpr Tile all[] = {tile<I + 1, Vectors, Down>...};
  return all[rows - 1];
}
constexpr int kFew = 3;  // so few rows leave registers for two panels of B
template <int Vectors, bool Down> Tile tile_of(int64_t rows) {
  constexpr int kRows = Vectors == 4 ? kFew : kMaxRows;
  return tile_of<Vectors, Down>(rows, std::make_integer_sequence<int, kRows>());
}

// Of every 4 numbers of x and y the first (Upper: the last) two, groups of `Group` from x and from
// y in turns.
template <int Group, bool Upper, int... I>
inline Vec zip(Vec x, Vec y, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(x, y,
                                 (I / 4 * 4 + Upper * 2 + I % 4 / (2 * Group) * Group + I % Group +
                                  I / Group % 2 * kLanes)...);
}
// Every second group of 4 numbers of x, from the first (Odd: the second) on, then those of y.
template <bool Odd, int... I> inline Vec pick(Vec x, Vec y, std::integer_sequence<int, I...>) {
  constexpr int kHalf = kLanes < 8 ? 4 : kLanes / 2;  // four lanes have no second group
  return __builtin_shufflevector(x, y,
                                 (I / kHalf * kLanes + I % kHalf / 4 * 8 + Odd * 4 + I % 4)...);
}

// Transposes kLanes x kLanes numbers: within blocks of 4 x 4, then the blocks. All shuffles are of
// the kinds that need no register of indices.
[[gnu::always_inline]] inline void transpose(Vec* v) {
  constexpr std::make_integer_sequence<int, kLanes> kAll;
  LOUPE_UNROLL for (int g = 0; g < kLanes; g += 4) {
    const Vec a = zip<1, false>(v[g], v[g + 1], kAll), b = zip<1, true>(v[g], v[g + 1], kAll);
    const Vec c = zip<1, false>(v[g + 2], v[g + 3], kAll),
              d = zip<1, true>(v[g + 2], v[g + 3], kAll);
    v[g] = zip<2, false>(a, c, kAll), v[g + 1] = zip<2, true>(a, c, kAll);
    v[g + 2] = zip<2, false>(b, d, kAll), v[g + 3] = zip<2, true>(b, d, kAll);
  }
  const auto step = [&](int i, int j) {
    const Vec x = v[i], y = v[j];
    v[i] = pick<false>(x, y, kAll), v[j] = pick<true>(x, y, kAll);
  };
  LOUPE_UNROLL for (int j = 0; j < 4; ++j) {
    if constexpr (kLanes == 8) step(j, 4 + j);
    if constexpr (kLanes == 16) {
      step(j, 4 + j),
          step(8 + j, 12 + j);  // columns j and 8 + j, 4 + j and 12 + j of half the rows each
      step(j, 8 + j), step(4 + j, 12 + j);
    }
  }
}

// Up to kLanes rows of up to kLanes columns of a matrix that is stored as its transpose; zeros
// beyond. No index of v is known only at run time: the vectors stay in registers.
[[gnu::always_inline]] inline void load_turned(int64_t rows, int64_t columns, const float* from,
                                               int64_t ld, Vec* v) {
  if (rows >= kLanes && columns >= kLanes) {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) v[i] = load(from + i * ld);
  } else {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) v[i] =
        i < columns ? load_part(from + i * ld, rows) : Vec{};
  }
  transpose(v);
}

// Terms that are packed at a time: their rows are read from front to back, and each panel or tile
// gets a few lines.
constexpr int64_t kRun = 8;

// Calls f(first, last) for each run of terms of a matrix that has `columns` of them, while later
// ones come from memory to L2.
template <class F>
inline void for_runs(int64_t k, int64_t columns, const float* x, int64_t ld, const F& f) {
  constexpr int64_t kAhead = 2 * kRun;
  for (int64_t first = 0; first < k; first += kRun) {
    const int64_t last = first + kRun < k ? first + kRun : k;
    for (int64_t p = first + kAhead; p < last + kAhead && p < k; ++p)
      for (int64_t c = 0; c < columns; c += 16) __builtin_prefetch(x + p * ld + c, 0, 2);
    f(first, last);
  }
}

// Panels [first, last) of B as it is stored.
void pack_rows(int64_t k, int64_t n, const float* b, int64_t ldb, int64_t first, int64_t last,
               float* packed) {
  const int64_t end = last * kPanel < n ? last * kPanel : n;
  for_runs(k, end - first * kPanel, b + first * kPanel, ldb,
           [&](int64_t begin_term, int64_t end_term) {
             for (int64_t q = first; q < last; ++q) {
               const int64_t columns = n - q * kPanel;
               const float* from = b + begin_term * ldb + q * kPanel;
               float* to = packed + (q * k + begin_term) * kPanel;
               if (columns >= kPanel) {
                 for (int64_t p = begin_term; p < end_term; ++p, from += ldb, to += kPanel)
                   __builtin_memcpy(to, from, kPanel * sizeof(float));
               } else {
                 for (int64_t p = begin_term; p < end_term; ++p, from += ldb, to += kPanel)
                   for (int64_t x = 0; x < kPanel; x += kLanes)
                     store(to + x, load_part(from + x, columns - x));
               }
             }
           });
}

// Up to kLanes terms of up to kLanes columns of op(B) into a panel: B is stored as its transpose.
inline void pack_block(int64_t terms, int64_t columns, const float* b, int64_t ldb, float* to) {
  Vec v[kLanes];
  load_turned(terms, columns, b, ldb, v);
  if (terms >= kLanes) {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) store(to + i * kPanel, v[i]);
  } else {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) {
      if (i < terms) store(to + i * kPanel, v[i]);
    }
  }
}

// Rows x Columns dot products of k terms: vectors of partial sums, folded at the end in a fixed
// order.
template <int Rows, int Columns>
void dot_tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* sums) {
  Vec sum[Rows][Columns] = {};
  int64_t p = 0;
  const auto step = [&](auto get) {
    Vec right[Columns];
    LOUPE_UNROLL for (int j = 0; j < Columns; ++j) right[j] = get(b + j * ldb + p);
    LOUPE_UNROLL for (int i = 0; i < Rows; ++i) {
      const Vec left = get(a + i * lda + p);
      LOUPE_UNROLL for (int j = 0; j < Columns; ++j) sum[i][j] =
          multiply_add(left, right[j], sum[i][j]);
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
  if (p.m == 0) return;
  const Tiles tiles(p.m);
  const bool down = p.a_row == 1, few = p.m <= kFew && p.b_panel == kPanel;
  // Rows a multiple of 4 KiB apart would drive each other out of L1.
  const int64_t fetch_row = p.m >= 64 && p.segments == 1 && p.a_row % 1024 != 0 ? p.a_row : 0;
  for (int64_t outer = 0; outer < p.outer; ++outer) {
    for (int64_t j = 0, columns; j < p.n; j += columns) {
      columns = p.n - j < kPanel ? p.n - j : few && p.n - j >= 2 * kPanel ? 2 * kPanel : kPanel;
      const auto choose = [&](int64_t rows) {
        if (columns > kPanel) return down ? tile_of<4, true>(rows) : tile_of<4, false>(rows);
        if (down) return columns > kLanes ? tile_of<2, true>(rows) : tile_of<1, true>(rows);
        return columns > kLanes ? tile_of<2, false>(rows) : tile_of<1, false>(rows);
      };
      const Tile tall = choose(tiles.rows(0)), low = choose(tiles.rows(tiles.count - 1));
      // Columns that end within a vector go by way of `room`.
      const bool whole = columns % kLanes == 0;
      float room[kMaxRows * kPanel], start[kPanel];
      const Strides s{p.a_row,
                      p.a_term,
                      p.b_term,
                      whole ? p.c_row : kPanel,
                      p.k,
                      p.segments,
                      p.a_segments,
                      p.accumulate && whole,
                      p.relu && whole,
                      fetch_row};
      const float* bias = p.bias ? p.bias + j : nullptr;
      if (bias && !whole) {
        for (int64_t x = 0; x < kPanel; x += kLanes)
          store(start + x, load_part(bias + x, columns - x));
        bias = start;
      }
      const float* a = p.a + outer * p.a_outer;
      const float* b = p.b + outer * p.b_outer + j / kPanel * p.b_panel;
      float* c = p.c + outer * p.c_outer + j;
      for (int64_t t = 0; t < tiles.count; ++t) {
        const int64_t rows = tiles.rows(t);
        (t < tiles.taller ? tall : low)(s, a, b, bias, whole ? c : room);
        for (int64_t i = 0; i < rows && !whole; ++i)
          for (int64_t x = 0; x < columns; x += kLanes) {
            float* to = c + i * p.c_row + x;
            Vec v = load(room + i * kPanel + x);
            if (p.accumulate) v += load_part(to, columns - x);
            store_part(to, p.relu ? relu(v) : v, columns - x);
          }
        a += p.a_tile ? p.a_tile : rows * p.a_row;
        c += rows * p.c_row;
      }
    }
  }
}

void pack_left(int64_t k, int64_t m, const float* a, int64_t lda, float* packed) {
  const Tiles tiles(m);
  for_runs(k, m, a, lda, [&](int64_t begin, int64_t end) {
    const float* column = a + begin * lda;
    for (int64_t t = 0; t < tiles.count; ++t) {
      const int64_t rows = tiles.rows(t);
      const float* from = column;
      float* to = packed + (t * k + begin) * kMaxRows;
      if (t + 1 < tiles.count) {  // what is read beyond the tile belongs to the next one
        for (int64_t p = begin; p < end; ++p, from += lda, to += kMaxRows)
          __builtin_memcpy(to, from, kMaxRows * sizeof(float));
      } else {
        for (int64_t p = begin; p < end; ++p, from += lda, to += kMaxRows)
          for (int64_t i = 0; i < rows; ++i) to[i] = from[i];
      }
      column += rows;
    }
  });
}

void dots(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          const float* bias, bool accumulate, float* c, int64_t ldc) {
  constexpr int kBlock = 4;
  float sums[kBlock * kBlock];
  for (int64_t j = 0; j < n; j += kBlock)
    for (int64_t i = 0; i < m; i += kBlock) {
      const int64_t columns = n - j < kBlock ? n - j : kBlock,
                    rows = m - i < kBlock ? m - i : kBlock;
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

void pack(bool trans, int64_t k, int64_t n, const float* b, int64_t ldb, int64_t first,
          int64_t last, float* packed) {
  if (!trans) return pack_rows(k, n, b, ldb, first, last, packed);
  for (int64_t q = first; q < last; ++q)
    for (int64_t p = 0; p < k; p += kLanes)
      for (int64_t j = q * kPanel; j < (q + 1) * kPanel; j += kLanes) {
        // The rows are as many streams, more than the processor follows.
        if (p % 16 == 0) {
          LOUPE_UNROLL for (int i = 0; i < kLanes; ++i)
              __builtin_prefetch(b + (j + i) * ldb + p + 32, 0, 2);
        }
        pack_block(k - p, n - j, b + j * ldb + p, ldb,
                   packed + (q * k + p) * kPanel + j - q * kPanel);
      }
}

void turn(int64_t m, int64_t n, const float* from, int64_t ld, const float* bias, bool accumulate,
          bool rectify, float* c, int64_t ldc) {
  const Vec least = splat(rectify ? 0 : -__builtin_inff());
  for (int64_t i = 0; i < m; i += kLanes)
    for (int64_t j = 0; j < n; j += kLanes) {
      Vec v[kLanes];
      load_turned(m - i, n - j, from + j * ld + i, ld, v);
      const auto finish = [&](auto get, auto put) {
        const Vec start = bias ? get(bias + j) : splat(-0.0f);  // which changes no number
        float* to = c + i * ldc + j;
        LOUPE_UNROLL for (int r = 0; r < kLanes; ++r, to = opaque(to + ldc)) {
          if (i + r >= m) break;
          if (accumulate) v[r] += get(to);
          v[r] += start;
          put(to, v[r] < least ? least : v[r]);
        }
      };
      if (n - j >= kLanes) finish(load, store);
      else
        finish([&](const float* x) { return load_part(x, n - j); },
               [&](float* y, Vec x) { store_part(y, x, n - j); });
    }
}

}  // namespace loupe::kernels::LOUPE_LEVEL
