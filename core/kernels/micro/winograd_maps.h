#pragma once
// Winograd's five maps in one dimension, for F(2, 3) and F(4, 3). With M outputs of 3 weights:
//
//   y = A^T [ (G g) * (B^T d) ]      d: M + 2 pixels, g: 3 weights, y: M pixels
//
// A product of polynomials, by their values at 0, 1, -1 and infinity (M = 2), or at 0, +-a, +-b and
// infinity (M = 4). Each map reads kIn numbers and writes kOut, which lie `step` apart.
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {

template <int M> struct Input;     // B^T: M + 2 pixels to as many numbers
template <int M> struct Output;    // A^T: M + 2 products to M pixels
template <int M> struct Gradient;  // A: M pixels of dy to M + 2 numbers
template <int M> struct Weight;    // G: 3 weights to M + 2 numbers
template <int M> struct Back;      // G^T: M + 2 numbers to the gradients of 3 weights

//  1  0 -1  0
//  0  1  1  0
//  0 -1  1  0
//  0  1  0 -1
template <> struct Input<2> {
  static constexpr int kIn = 4, kOut = 4;
  [[gnu::always_inline]] static inline void map(const Vec* d, Vec* out, int step) {
    out[0] = d[0] - d[2];
    out[step] = d[1] + d[2];
    out[2 * step] = d[2] - d[1];
    out[3 * step] = d[1] - d[3];
  }
};

//  1  1  1  0
//  0  1 -1 -1
template <> struct Output<2> {
  static constexpr int kIn = 4, kOut = 2;
  [[gnu::always_inline]] static inline void map(const Vec* m, Vec* out, int step) {
    out[0] = m[0] + m[1] + m[2];
    out[step] = m[1] - m[2] - m[3];
  }
};

template <> struct Gradient<2> {
  static constexpr int kIn = 2, kOut = 4;
  [[gnu::always_inline]] static inline void map(const Vec* y, Vec* out, int step) {
    out[0] = y[0];
    out[step] = y[0] + y[1];
    out[2 * step] = y[0] - y[1];
    out[3 * step] = -y[1];
  }
};

//  1    0    0
//  1/2  1/2  1/2
//  1/2 -1/2  1/2
//  0    0    1
template <> struct Weight<2> {
  static constexpr int kIn = 3, kOut = 4;
  [[gnu::always_inline]] static inline void map(const Vec* g, Vec* out, int step) {
    const Vec even = g[0] + g[2];
    out[0] = g[0];
    out[step] = (even + g[1]) * 0.5f;
    out[2 * step] = (even - g[1]) * 0.5f;
    out[3 * step] = g[2];
  }
};

template <> struct Back<2> {
  static constexpr int kIn = 4, kOut = 3;
  [[gnu::always_inline]] static inline void map(const Vec* u, Vec* out, int step) {
    const Vec even = (u[1] + u[2]) * 0.5f;
    out[0] = u[0] + even;
    out[step] = (u[1] - u[2]) * 0.5f;
    out[2 * step] = even + u[3];
  }
};

// The points +-a and +-b with a b = 1 keep all factors near 1: little more than half the rounding
// of the usual 1 and 2 (core/kernels/conv/winograd.h).
constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

//  1    0     -5/2  0     1   0
//  0   -2a    -2    a     1   0
//  0    2a    -2   -a     1   0
//  0   -b/2   -1/2  b     1   0
//  0    b/2   -1/2 -b     1   0
//  0    1      0   -5/2   0   1
template <> struct Input<4> {
  static constexpr int kIn = 6, kOut = 6;
  [[gnu::always_inline]] static inline void map(const Vec* d, Vec* out, int step) {
    const Vec even = d[4] - 2.0f * d[2], odd = kA * (d[3] - 2.0f * d[1]);
    const Vec even2 = d[4] - 0.5f * d[2], odd2 = kB * (d[3] - 0.5f * d[1]);
    out[0] = d[0] + d[4] - 2.5f * d[2];
    out[step] = even + odd;
    out[2 * step] = even - odd;
    out[3 * step] = even2 + odd2;
    out[4 * step] = even2 - odd2;
    out[5 * step] = d[1] + d[5] - 2.5f * d[3];
  }
};

//  1  1    1    1   1   0
//  0  a   -a    b  -b   0
//  0  1/2  1/2  2   2   0
//  0  a/2 -a/2  2b -2b  1
template <> struct Output<4> {
  static constexpr int kIn = 6, kOut = 4;
  [[gnu::always_inline]] static inline void map(const Vec* m, Vec* out, int step) {
    const Vec sum1 = m[1] + m[2], sum2 = m[3] + m[4];
    const Vec difference1 = kA * (m[1] - m[2]), difference2 = kB * (m[3] - m[4]);
    out[0] = m[0] + sum1 + sum2;
    out[step] = difference1 + difference2;
    out[2 * step] = 0.5f * sum1 + 2.0f * sum2;
    out[3 * step] = 0.5f * difference1 + 2.0f * difference2 + m[5];
  }
};

template <> struct Gradient<4> {
  static constexpr int kIn = 4, kOut = 6;
  [[gnu::always_inline]] static inline void map(const Vec* y, Vec* out, int step) {
    const Vec even = y[0] + 0.5f * y[2], odd = kA * (y[1] + 0.5f * y[3]);
    const Vec even2 = y[0] + 2.0f * y[2], odd2 = kB * (y[1] + 2.0f * y[3]);
    out[0] = y[0];
    out[step] = even + odd;
    out[2 * step] = even - odd;
    out[3 * step] = even2 + odd2;
    out[4 * step] = even2 - odd2;
    out[5 * step] = y[3];
  }
};

//  1     0      0
// -2/3  -2a/3  -1/3
// -2/3   2a/3  -1/3
//  1/6   b/6    1/3
//  1/6  -b/6    1/3
//  0     0      1
template <> struct Weight<4> {
  static constexpr int kIn = 3, kOut = 6;
  [[gnu::always_inline]] static inline void map(const Vec* g, Vec* out, int step) {
    const Vec even = g[0] * (-2.0f / 3) + g[2] * (-1.0f / 3), odd = g[1] * (-2.0f / 3 * kA);
    const Vec even2 = g[0] * (1.0f / 6) + g[2] * (1.0f / 3), odd2 = g[1] * (kB / 6);
    out[0] = g[0];
    out[step] = even + odd;
    out[2 * step] = even - odd;
    out[3 * step] = even2 + odd2;
    out[4 * step] = even2 - odd2;
    out[5 * step] = g[2];
  }
};

template <> struct Back<4> {
  static constexpr int kIn = 6, kOut = 3;
  [[gnu::always_inline]] static inline void map(const Vec* u, Vec* out, int step) {
    const Vec sum1 = (u[1] + u[2]) * (1.0f / 3), sum2 = u[3] + u[4];
    out[0] = u[0] - 2.0f * sum1 + sum2 * (1.0f / 6);
    out[step] = (u[2] - u[1]) * (2.0f / 3 * kA) + (u[3] - u[4]) * (kB / 6);
    out[2 * step] = sum2 * (1.0f / 3) - sum1 + u[5];
  }
};

}  // namespace loupe::kernels::LOUPE_LEVEL
