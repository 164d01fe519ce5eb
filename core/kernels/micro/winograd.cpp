// Winograd's transforms for 3x3 kernels, F(2x2, 3x3) and F(4x4, 3x3), a vector of channels at a
// time. In one dimension y = A^T [(G g) * (B^T d)]: a product of polynomials by their values at 0,
// 1, -1 and infinity, or 0, +-a, +-b and infinity. In two dimensions each map is applied to the
// columns, then to the rows.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// The five maps in one dimension, from numbers s apart to numbers r apart.
template <int M> struct Input;     // B^T: a row of M + 2 pixels
template <int M> struct Output;    // A^T: M + 2 products to M pixels
template <int M> struct Gradient;  // A: M pixels of dy to M + 2
template <int M> struct Weight;    // G: 3 weights to M + 2
template <int M> struct Back;      // G^T: M + 2 to 3 weights' gradients

template <> struct Input<2> {
  static constexpr int kIn = 4, kOut = 4;
  static inline void map(const Vec* d, int s, Vec* o, int r) {
    o[0] = d[0] - d[2 * s];
    o[r] = d[s] + d[2 * s];
    o[2 * r] = d[2 * s] - d[s];
    o[3 * r] = d[s] - d[3 * s];
  }
};
template <> struct Output<2> {
  static constexpr int kIn = 4, kOut = 2;
  static inline void map(const Vec* m, int s, Vec* o, int r) {
    o[0] = m[0] + m[s] + m[2 * s];
    o[r] = m[s] - m[2 * s] - m[3 * s];
  }
};
template <> struct Gradient<2> {
  static constexpr int kIn = 2, kOut = 4;
  static inline void map(const Vec* y, int s, Vec* o, int r) {
    o[0] = y[0];
    o[r] = y[0] + y[s];
    o[2 * r] = y[0] - y[s];
    o[3 * r] = -y[s];
  }
};
template <> struct Weight<2> {
  static constexpr int kIn = 3, kOut = 4;
  static inline void map(const Vec* g, int s, Vec* o, int r) {
    const Vec even = g[0] + g[2 * s];
    o[0] = g[0];
    o[r] = (even + g[s]) * 0.5f;
    o[2 * r] = (even - g[s]) * 0.5f;
    o[3 * r] = g[2 * s];
  }
};
template <> struct Back<2> {
  static constexpr int kIn = 4, kOut = 3;
  static inline void map(const Vec* u, int s, Vec* o, int r) {
    const Vec even = (u[s] + u[2 * s]) * 0.5f;
    o[0] = u[0] + even;
    o[r] = (u[s] - u[2 * s]) * 0.5f;
    o[2 * r] = even + u[3 * s];
  }
};

// The points +-kA and +-kB with kA kB = 1 keep all factors near 1: a fifth of the rounding of 1
// and 2.
constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

template <> struct Input<4> {
  static constexpr int kIn = 6, kOut = 6;
  static inline void map(const Vec* d, int s, Vec* o, int r) {
    const Vec even = d[4 * s] - 2.0f * d[2 * s], odd = kA * (d[3 * s] - 2.0f * d[s]);
    const Vec even2 = d[4 * s] - 0.5f * d[2 * s], odd2 = kB * (d[3 * s] - 0.5f * d[s]);
    o[0] = d[0] + d[4 * s] - 2.5f * d[2 * s];
    o[r] = even + odd;
    o[2 * r] = even - odd;
    o[3 * r] = even2 + odd2;
    o[4 * r] = even2 - odd2;
    o[5 * r] = d[s] + d[5 * s] - 2.5f * d[3 * s];
  }
};
template <> struct Output<4> {
  static constexpr int kIn = 6, kOut = 4;
  static inline void map(const Vec* m, int s, Vec* o, int r) {
    const Vec sum1 = m[s] + m[2 * s], sum2 = m[3 * s] + m[4 * s];
    const Vec difference1 = kA * (m[s] - m[2 * s]), difference2 = kB * (m[3 * s] - m[4 * s]);
    o[0] = m[0] + sum1 + sum2;
    o[r] = difference1 + difference2;
    o[2 * r] = 0.5f * sum1 + 2.0f * sum2;
    o[3 * r] = 0.5f * difference1 + 2.0f * difference2 + m[5 * s];
  }
};
template <> struct Gradient<4> {
  static constexpr int kIn = 4, kOut = 6;
  static inline void map(const Vec* y, int s, Vec* o, int r) {
    const Vec even = y[0] + 0.5f * y[2 * s], odd = kA * (y[s] + 0.5f * y[3 * s]);
    const Vec even2 = y[0] + 2.0f * y[2 * s], odd2 = kB * (y[s] + 2.0f * y[3 * s]);
    o[0] = y[0];
    o[r] = even + odd;
    o[2 * r] = even - odd;
    o[3 * r] = even2 + odd2;
    o[4 * r] = even2 - odd2;
    o[5 * r] = y[3 * s];
  }
};
template <> struct Weight<4> {
  static constexpr int kIn = 3, kOut = 6;
  static inline void map(const Vec* g, int s, Vec* o, int r) {
    const Vec even = g[0] * (-2.0f / 3) + g[2 * s] * (-1.0f / 3), odd = g[s] * (-2.0f / 3 * kA);
    const Vec even2 = g[0] * (1.0f / 6) + g[2 * s] * (1.0f / 3), odd2 = g[s] * (kB / 6);
    o[0] = g[0];
    o[r] = even + odd;
    o[2 * r] = even - odd;
    o[3 * r] = even2 + odd2;
    o[4 * r] = even2 - odd2;
    o[5 * r] = g[2 * s];
  }
};
template <> struct Back<4> {
  static constexpr int kIn = 6, kOut = 3;
  static inline void map(const Vec* u, int s, Vec* o, int r) {
    const Vec sum1 = (u[s] + u[2 * s]) * (1.0f / 3), sum2 = u[3 * s] + u[4 * s];
    o[0] = u[0] - 2.0f * sum1 + sum2 * (1.0f / 6);
    o[r] = (u[2 * s] - u[s]) * (2.0f / 3 * kA) + (u[3 * s] - u[4 * s]) * (kB / 6);
    o[2 * r] = sum2 * (1.0f / 3) - sum1 + u[5 * s];
  }
};

// The map on every column, then on every row: In x In become Out x Out. column(j, v) loads, row(i,
// v) stores. Their strides are opaque: the compiler keeps a table of the addresses of 36 planes
// otherwise, and reads more addresses than numbers.
template <class Map, class Column, class Row>
[[gnu::always_inline]] inline void both_ways(const Column& column, const Row& row) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  Vec middle[kOut * kIn];
  LOUPE_UNROLL for (int j = 0; j < kIn; ++j) {
    Vec v[kIn];
    column(j, v);
    Map::map(v, 1, middle + j, kIn);
  }
  LOUPE_UNROLL for (int i = 0; i < kOut; ++i) {
    Vec v[kOut];
    Map::map(middle + i * kIn, 1, v, 1);
    row(i, v);
  }
}

template <int Side, class T> inline bool whole(const Pixels<T>& p) {
  return p.top == 0 && p.left == 0 && p.bottom == Side && p.right == Side;
}
template <class T> inline bool inside(const Pixels<T>& p, int i, int j) {
  return i >= p.top && i < p.bottom && j >= p.left && j < p.right;
}

// A tile's pixels lie in too many streams for the processor to foresee: those of the next tile are
// fetched meanwhile.
template <class Map>
void to_planes(const Pixels<const float>& from, const Pixels<const float>& next, int64_t channels,
               float* planes, int64_t plane, int32_t* largest) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  const float *const start = from.at, *const fetched = next.at;
  const bool all = whole<kIn>(from);
  Bits most = load_bits(largest);
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t row = opaque(from.row), ahead_row = opaque(next.row), column = opaque(channels),
                  step = opaque(plane);
    const auto put = [=](int i, const Vec* v) {
      float* to = planes + i * kOut * step + c;
      LOUPE_UNROLL for (int j = 0; j < kOut; ++j) store(to + j * step, v[j]);
    };
    const auto get = [=, &most](int j, Vec* v) {
      const float *at = start + j * column + c, *ahead = fetched + j * column + c;
      LOUPE_UNROLL for (int i = 0; i < kIn; ++i) {
        v[i] = load(at + i * row);
        most = larger(most, v[i]);
        __builtin_prefetch(ahead + i * ahead_row, 0);
      }
    };
    const auto get_inside = [=, &most](int j, Vec* v) {
      const float *at = start + j * column + c, *ahead = fetched + j * column + c;
      LOUPE_UNROLL for (int i = 0; i < kIn; ++i) {
        v[i] = inside(from, i, j) ? load(at + i * row) : Vec{};
        most = larger(most, v[i]);
        __builtin_prefetch(ahead + i * ahead_row, 0);
      }
    };
    if (all) both_ways<Map>(get, put);
    else both_ways<Map>(get_inside, put);
  }
  store_bits(largest, most);
}

template <class Map>
void from_planes(const float* planes, int64_t plane, int64_t channels, const float* bias,
                 const Pixels<float>& to, const Pixels<float>& next) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  const bool all = whole<kOut>(to);
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Vec add = bias ? load(bias + c) : Vec{};
    const int64_t row = opaque(to.row), ahead_row = opaque(next.row), column = opaque(channels),
                  step = opaque(plane);
    both_ways<Map>(
        [=](int j, Vec* v) {
          const float* at = planes + j * step + c;
          LOUPE_UNROLL for (int i = 0; i < kIn; ++i) v[i] = load(at + i * kIn * step);
        },
        [=](int i, const Vec* v) {
          LOUPE_UNROLL for (int j = 0; j < kOut; ++j) {
            if (all || inside(to, i, j)) store(to.at + i * row + j * column + c, v[j] + add);
            __builtin_prefetch(next.at + i * ahead_row + j * column + c, 1);
          }
        });
  }
}

template <class Map>
void between(int64_t count, const float* from, int64_t from_plane, float* to, int64_t to_plane) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  for (int64_t c = 0; c < count; c += kLanes) {
    const int64_t in = opaque(from_plane), out = opaque(to_plane);
    both_ways<Map>(
        [=](int j, Vec* v) {
          LOUPE_UNROLL for (int i = 0; i < kIn; ++i) v[i] = load(from + (i * kIn + j) * in + c);
        },
        [=](int i, const Vec* v) {
          LOUPE_UNROLL for (int j = 0; j < kOut; ++j) store(to + (i * kOut + j) * out + c, v[j]);
        });
  }
}

}  // namespace

constinit const Winograd winograd2{2,
                                   to_planes<Input<2>>,
                                   from_planes<Output<2>>,
                                   to_planes<Gradient<2>>,
                                   between<Weight<2>>,
                                   between<Back<2>>};
constinit const Winograd winograd4{4,
                                   to_planes<Input<4>>,
                                   from_planes<Output<4>>,
                                   to_planes<Gradient<4>>,
                                   between<Weight<4>>,
                                   between<Back<4>>};

}  // namespace loupe::kernels::LOUPE_LEVEL
