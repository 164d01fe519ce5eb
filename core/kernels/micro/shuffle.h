#pragma once
// Transposes a square of kLanes x kLanes numbers that lie in kLanes vectors. All shuffles are of
// the kinds that need no register of indices.
#include <loupe/core/kernels/micro/vec.h>

#include <utility>

namespace loupe::kernels::LOUPE_LEVEL {

// Pairs up two rows, within each group of four numbers:
//   x = x0 x1 x2 x3     zip<1, false>: x0 y0 x1 y1     zip<2, false>: x0 x1 y0 y1
//   y = y0 y1 y2 y3     zip<1, true> : x2 y2 x3 y3     zip<2, true> : x2 x3 y2 y3
template <int Size, bool Upper, int... I>
[[gnu::always_inline]] static inline Vec zip(Vec x, Vec y, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(
      x, y,
      (I / 4 * 4 + Upper * 2 + I % 4 / (2 * Size) * Size + I % Size + I / Size % 2 * kLanes)...);
}

// Every second group of four, from the first (Odd: the second) on; a capital is four numbers:
//   x = A B C D         pick<false>: A C E G
//   y = E F G H         pick<true> : B D F H
template <bool Odd, int... I>
[[gnu::always_inline]] static inline Vec pick(Vec x, Vec y, std::integer_sequence<int, I...>) {
  constexpr int kHalf = kLanes < 8 ? 4 : kLanes / 2;  // four lanes have no second group
  return __builtin_shufflevector(x, y,
                                 (I / kHalf * kLanes + I % kHalf / 4 * 8 + Odd * 4 + I % 4)...);
}

// Transposes squares of 4 x 4 within four vectors.
[[gnu::always_inline]] static inline void transpose_fours(Vec* v) {
  constexpr std::make_integer_sequence<int, kLanes> kAll;
  const Vec a = zip<1, false>(v[0], v[1], kAll);
  const Vec b = zip<1, true>(v[0], v[1], kAll);
  const Vec c = zip<1, false>(v[2], v[3], kAll);
  const Vec d = zip<1, true>(v[2], v[3], kAll);
  v[0] = zip<2, false>(a, c, kAll);
  v[1] = zip<2, true>(a, c, kAll);
  v[2] = zip<2, false>(b, d, kAll);
  v[3] = zip<2, true>(b, d, kAll);
}

// Exchanges squares of 4 x 4 between two vectors.
[[gnu::always_inline]] static inline void exchange(Vec* v, int i, int j) {
  constexpr std::make_integer_sequence<int, kLanes> kAll;
  const Vec x = v[i], y = v[j];
  v[i] = pick<false>(x, y, kAll);
  v[j] = pick<true>(x, y, kAll);
}

// First within squares of 4 x 4, then the squares change places. With 8 lanes:
//   A B    within    A' B'    squares    A' C'
//   C D    ----->    C' D'    ------>    B' D'
[[gnu::always_inline]] static inline void transpose_square(Vec* v) {
  LOUPE_UNROLL for (int g = 0; g < kLanes; g += 4) transpose_fours(v + g);
  LOUPE_UNROLL for (int j = 0; j < 4; ++j) {
    if constexpr (kLanes == 8) exchange(v, j, 4 + j);
    if constexpr (kLanes == 16) {
      // Columns j and 8 + j, 4 + j and 12 + j of half the rows each.
      exchange(v, j, 4 + j);
      exchange(v, 8 + j, 12 + j);
      exchange(v, j, 8 + j);
      exchange(v, 4 + j, 12 + j);
    }
  }
}

// Up to kLanes rows of up to kLanes columns of a matrix that is stored as its transpose; zeros
// beyond. No index of v is known only at run time: the vectors stay in registers.
[[gnu::always_inline]] static inline void load_transposed(int64_t rows, int64_t columns,
                                                          const float* from, int64_t stride,
                                                          Vec* v) {
  if (rows >= kLanes && columns >= kLanes) {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) v[i] = load(from + i * stride);
  } else {
    LOUPE_UNROLL for (int i = 0; i < kLanes; ++i) v[i] =
        i < columns ? load_part(from + i * stride, rows) : Vec{};
  }
  transpose_square(v);
}

}  // namespace loupe::kernels::LOUPE_LEVEL
