// Winograd's transforms for 3x3 kernels, a vector of channels at a time. In two dimensions each map
// of winograd_maps.h is applied to the columns of a tile, then to the rows:
//
//   In x In numbers  --map on each column-->  Out x In  --map on each row-->  Out x Out
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>
#include <loupe/core/kernels/micro/winograd_maps.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// column(j, v) loads a column, row(i, v) stores a row. Their strides are opaque: the compiler keeps
// a table of the addresses of 36 planes otherwise, and reads more addresses than numbers.
template <class Map, class Column, class Row>
[[gnu::always_inline]] inline void both_ways(const Column& column, const Row& row) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  Vec middle[kOut * kIn];
  LOUPE_UNROLL for (int j = 0; j < kIn; ++j) {
    Vec v[kIn];
    column(j, v);
    Map::map(v, middle + j, kIn);
  }
  LOUPE_UNROLL for (int i = 0; i < kOut; ++i) {
    Vec v[kOut];
    Map::map(middle + i * kIn, v, 1);
    row(i, v);
  }
}

template <int Side, class T> inline bool whole(const TilePixels<T>& p) {
  return p.top == 0 && p.left == 0 && p.bottom == Side && p.right == Side;
}
template <class T> inline bool inside(const TilePixels<T>& p, int i, int j) {
  return i >= p.top && i < p.bottom && j >= p.left && j < p.right;
}

// A tile's pixels lie in more streams than the hardware prefetcher follows: those of the next tile
// are prefetched.
template <class Map>
void to_planes(const TileStep<const float>& step, Planes<float> to, int32_t* largest) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  const TilePixels<const float> from = step.tile;
  const float *const start = from.at, *const next = step.next.at;
  const int64_t channels = step.channels;
  float* const planes = to.at;
  const bool all = whole<kIn>(from);
  Bits most = load_bits(largest);
  for (int64_t c = 0; c < channels; c += kLanes) {
    const int64_t row = opaque(from.row), next_row = opaque(step.next.row);
    const int64_t column = opaque(channels), plane = opaque(to.distance);
    const auto put = [=](int i, const Vec* v) {
      float* out = planes + i * kOut * plane + c;
      LOUPE_UNROLL for (int j = 0; j < kOut; ++j) store(out + j * plane, v[j]);
    };
    const auto get = [=, &most](int j, Vec* v) {
      const float *at = start + j * column + c, *ahead = next + j * column + c;
      LOUPE_UNROLL for (int i = 0; i < kIn; ++i) {
        v[i] = load(at + i * row);
        most = larger(most, v[i]);
        __builtin_prefetch(ahead + i * next_row, 0);
      }
    };
    const auto get_inside = [=, &most](int j, Vec* v) {
      const float *at = start + j * column + c, *ahead = next + j * column + c;
      LOUPE_UNROLL for (int i = 0; i < kIn; ++i) {
        v[i] = inside(from, i, j) ? load(at + i * row) : Vec{};
        most = larger(most, v[i]);
        __builtin_prefetch(ahead + i * next_row, 0);
      }
    };
    if (all) both_ways<Map>(get, put);
    else both_ways<Map>(get_inside, put);
  }
  store_bits(largest, most);
}

template <class Map>
void from_planes(Planes<const float> from, const float* bias, const TileStep<float>& step) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  const TilePixels<float> to = step.tile;
  float* const next = step.next.at;
  const float* const planes = from.at;
  const int64_t channels = step.channels;
  const bool all = whole<kOut>(to);
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Vec add = bias ? load(bias + c) : Vec{};
    const int64_t row = opaque(to.row), next_row = opaque(step.next.row);
    const int64_t column = opaque(channels), plane = opaque(from.distance);
    const auto get = [=](int j, Vec* v) {
      const float* at = planes + j * plane + c;
      LOUPE_UNROLL for (int i = 0; i < kIn; ++i) v[i] = load(at + i * kIn * plane);
    };
    const auto put = [=](int i, const Vec* v) {
      LOUPE_UNROLL for (int j = 0; j < kOut; ++j) {
        if (all || inside(to, i, j)) store(to.at + i * row + j * column + c, v[j] + add);
        __builtin_prefetch(next + i * next_row + j * column + c, 1);
      }
    };
    both_ways<Map>(get, put);
  }
}

template <class Map> void between(int64_t count, Planes<const float> from, Planes<float> to) {
  constexpr int kIn = Map::kIn, kOut = Map::kOut;
  for (int64_t c = 0; c < count; c += kLanes) {
    const int64_t in = opaque(from.distance), out = opaque(to.distance);
    const auto get = [=](int j, Vec* v) {
      LOUPE_UNROLL for (int i = 0; i < kIn; ++i) v[i] = load(from.at + (i * kIn + j) * in + c);
    };
    const auto put = [=](int i, const Vec* v) {
      LOUPE_UNROLL for (int j = 0; j < kOut; ++j) store(to.at + (i * kOut + j) * out + c, v[j]);
    };
    both_ways<Map>(get, put);
  }
}

template <int M>
constexpr Winograd transforms{.size = M,
                              .input = to_planes<Input<M>>,
                              .output = from_planes<Output<M>>,
                              .gradient = to_planes<Gradient<M>>,
                              .weights = between<Weight<M>>,
                              .weights_back = between<Back<M>>};

}  // namespace

constinit const Winograd winograd2 = transforms<2>, winograd4 = transforms<4>;

}  // namespace loupe::kernels::LOUPE_LEVEL
