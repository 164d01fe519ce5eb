#pragma once
// Vectors of the instruction set this source is compiled for (LOUPE_LEVEL). Everything here is
// private to one level: nothing of the standard library, whose inline functions would be merged
// across levels by the linker.
#include <cstdint>

#if defined(LOUPE_LEVEL_v3) || defined(LOUPE_LEVEL_v4)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define LOUPE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define LOUPE_UNROLL _Pragma("GCC unroll 64")
#endif

namespace loupe::kernels::LOUPE_LEVEL {

#if defined(LOUPE_LEVEL_v4)
constexpr int kLanes = 16, kMaxRows = 14;
#elif defined(LOUPE_LEVEL_v3)
constexpr int kLanes = 8, kMaxRows = 6;
#else
constexpr int kLanes = 4, kMaxRows = 6;
#endif
constexpr int kPanel = 2 * kLanes;  // columns of the largest register tile

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef float Loose
    __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));  // any address

typedef int32_t Bits __attribute__((vector_size(kLanes * sizeof(int32_t))));
typedef int32_t LooseBits
    __attribute__((vector_size(kLanes * sizeof(int32_t)), aligned(4), may_alias));

static inline Vec load(const float* p) { return *reinterpret_cast<const Loose*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<Loose*>(p) = v; }
static inline Bits load_bits(const int32_t* p) { return *reinterpret_cast<const LooseBits*>(p); }
static inline void store_bits(int32_t* p, Bits v) { *reinterpret_cast<LooseBits*>(p) = v; }
/// The larger of `most` and |v|, as the bits of floats: they order as the numbers do, NaN last.
static inline Bits larger(Bits most, Vec v) {
  const Bits size = reinterpret_cast<Bits>(v) & 0x7fffffff;
  return size > most ? size : most;
}
static inline Vec splat(float x) { return x - Vec{}; }
static inline Vec relu(Vec v) { return v < Vec{} ? Vec{} : v; }  // NaN stays

/// a b + c. One rounding where the level has a fused multiply-add, two at the baseline. Written out
/// because the build turns contraction off (-ffp-contract=off): which products a compiler fuses by
/// itself differs from compiler to compiler, and so would the bits.
#if defined(LOUPE_LEVEL_v4)
static inline Vec multiply_add(Vec a, Vec b, Vec c) {
  return Vec(_mm512_fmadd_ps(__m512(a), __m512(b), __m512(c)));
}
#elif defined(LOUPE_LEVEL_v3)
static inline Vec multiply_add(Vec a, Vec b, Vec c) {
  return Vec(_mm256_fmadd_ps(__m256(a), __m256(b), __m256(c)));
}
#else
static inline Vec multiply_add(Vec a, Vec b, Vec c) { return a * b + c; }
#endif

/// The same value, but the compiler cannot know: it then neither makes a table of all addresses
/// that follow from it nor keeps each in a register of its own.
template <class T> static inline T opaque(T x) {
  asm volatile("" : "+r"(x));
  return x;
}

/// The first n lanes, at most all and none below zero; the others are zero, and not stored.
#if defined(LOUPE_LEVEL_v4)
static inline __mmask16 first_lanes(int64_t n) {
  const int64_t some = n < 0 ? 0 : n;
  return __mmask16(some < kLanes ? (1 << some) - 1 : 0xffff);
}
static inline Vec load_part(const float* p, int64_t n) {
  return Vec(_mm512_maskz_loadu_ps(first_lanes(n), p));
}
static inline void store_part(float* p, Vec v, int64_t n) {
  _mm512_mask_storeu_ps(p, first_lanes(n), __m512(v));
}
#elif defined(LOUPE_LEVEL_v3)
static inline __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline Vec load_part(const float* p, int64_t n) {
  return Vec(_mm256_maskload_ps(p, first_lanes(n)));
}
static inline void store_part(float* p, Vec v, int64_t n) {
  _mm256_maskstore_ps(p, first_lanes(n), __m256(v));
}
#else
static inline Vec load_part(const float* p, int64_t n) {
  Vec v{};
  for (int i = 0; i < kLanes; ++i) v[i] = i < n ? p[i] : 0;
  return v;
}
static inline void store_part(float* p, Vec v, int64_t n) {
  for (int i = 0; i < kLanes && i < n; ++i) p[i] = v[i];
}
#endif

}  // namespace loupe::kernels::LOUPE_LEVEL
