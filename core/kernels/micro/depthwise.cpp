// Depthwise convolution: a vector is some channels of one pixel, a step multiplies it by the same
// channels of a tap.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// The channels that a vector holds: from `first` on all its lanes or, where the channels end,
// `count`.
template <bool Whole> struct Channels {
  int64_t first, count;
  Vec get(const float* p) const { return Whole ? load(p) : load_part(p, count); }
  void put(float* p, Vec v) const { Whole ? store(p, v) : store_part(p, v, count); }
};

// Calls f(channels) for every vector of a pixel's channels.
template <class F> [[gnu::always_inline]] inline void each_vector(int64_t channels, const F& f) {
  for (int64_t first = 0; first < channels; first += kLanes) {
    const int64_t count = channels - first;
    if (count >= kLanes) f(Channels<true>{first, count});
    else f(Channels<false>{first, count});
  }
}

// A row of the output and its taps [first, last), those that meet rows of the image.
struct OutputRow {
  const Depthwise& d;
  int64_t first, last;
  int64_t y;  // the row of the image that tap.y = 0 meets

  OutputRow(const Depthwise& all, int64_t i) : d(all), first(0), last(all.taps), y(i * all.step_y) {
    while (first < last && y + d.tap[first].y < 0) ++first;
    while (last > first && y + d.tap[last - 1].y >= d.h) --last;
  }

  // Prefetches into L2 what rows further down will meet: the pixels below column j of the input
  // and, given the channel `at` of column j, of the output. Neither image lies in the cache as a
  // rule, and the hardware prefetcher does not follow channels that are met a vector at a time.
  // Past the end of the image lies the next one. Always inlined: g++ 12 drops calls of functions
  // that do nothing but prefetch.
  template <int Pixels>
  [[gnu::always_inline]] void prefetch(int64_t j, int64_t at, const float* out) const {
    constexpr int64_t kAhead = 4;  // of 2 to 8 rows, none was better
    const float* in = d.x + ((y + kAhead * d.step_y) * d.w + j * d.step_x) * d.channels + at;
    for (int i = 0; i < Pixels; ++i)
      __builtin_prefetch(out + kAhead * d.y_row + i * d.y_column, 0, 2);
    for (int64_t row = 0; row < d.step_y; ++row)
      for (int64_t i = 0; i < Pixels * d.step_x; ++i)
        __builtin_prefetch(in + (row * d.w + i) * d.channels, 0, 2);
  }
};

// The pixels that a tap meets, from column j of the output on; zeros beside the image.
template <bool Whole> class Walk {
 public:
  Walk(const OutputRow& r, Channels<Whole> channels, const Tap& tap, int64_t j)
      : channels_(channels),
        x_(j * r.d.step_x + tap.x),
        step_(r.d.step_x),
        w_(static_cast<uint64_t>(r.d.w)),
        pixel_(r.d.x + ((r.y + tap.y) * r.d.w + x_) * r.d.channels + channels.first),
        distance_(step_ * r.d.channels) {}

  Vec next() {
    const Vec pixel = static_cast<uint64_t>(x_) < w_ ? channels_.get(pixel_) : Vec{};
    x_ += step_;
    pixel_ += distance_;
    return pixel;
  }

 private:
  Channels<Whole> channels_;
  int64_t x_, step_;
  uint64_t w_;
  const float* pixel_;
  int64_t distance_;
};

// Whether the taps form runs of this length: neighbours in a row of the kernel, each a step of the
// output on from the one before.
bool has_runs(const Depthwise& d, int64_t length) {
  if (d.taps % length != 0) return false;
  for (int64_t t = 0; t < d.taps; ++t) {
    if (t % length == 0) continue;
    const Tap &tap = d.tap[t], &before = d.tap[t - 1];
    if (tap.y != before.y || tap.x != before.x + d.step_x) return false;
  }
  return true;
}

// Calls f with a value whose type holds the length of the runs: 7, 5, 3, or 1. A pixel is loaded
// once for all taps of a run.
template <int N> struct Run { static constexpr int length = N; };
template <class F> void with_runs(const Depthwise& d, const F& f) {
  if (has_runs(d, 7)) return f(Run<7>{});
  if (has_runs(d, 5)) return f(Run<5>{});
  if (has_runs(d, 3)) return f(Run<3>{});
  f(Run<1>{});
}

// `Pixels` neighbours of the output from column j on: each tap's weights are loaded once for all of
// them.
template <int Length, int Pixels, bool Whole>
void pixels(const OutputRow& r, Channels<Whole> channels, int64_t j, const float* w, Vec start,
            float* y) {
  const Depthwise& d = r.d;
  Vec sum[Pixels];
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) sum[i] = start;
  for (int64_t t = r.first; t < r.last; t += Length) {
    Walk<Whole> x(r, channels, d.tap[t], j);
    Vec weight[Length];
    LOUPE_UNROLL for (int q = 0; q < Length; ++q) weight[q] =
        channels.get(w + (t + q) * d.channels);
    LOUPE_UNROLL for (int i = 0; i < Pixels + Length - 1; ++i) {
      const Vec pixel = x.next();
      LOUPE_UNROLL for (int q = 0; q < Length; ++q) if (i >= q && i - q < Pixels) sum[i - q] =
          multiply_add(pixel, weight[q], sum[i - q]);
    }
  }
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) channels.put(y + i * d.y_column, sum[i]);
}

// All channels of some pixels.
template <int Length, int Pixels>
void all_channels(const OutputRow& r, int64_t j, const float* w, const float* bias, float* y) {
  each_vector(r.d.channels, [&](auto channels) {
    const int64_t at = channels.first;
    r.prefetch<Pixels>(j, at, y + at);
    const Vec start = bias ? channels.get(bias + at) : Vec{};
    pixels<Length, Pixels>(r, channels, j, w + at, start, y + at);
  });
}

// What `Runs` runs of taps from `tap` on get from `Pixels` neighbours.
template <int Length, int Runs, int Pixels, bool Whole>
void add_pixels(const OutputRow& r, Channels<Whole> channels, const Tap* tap, int64_t j,
                const float* y, Vec (&sum)[Runs * Length]) {
  Vec dy[Pixels];
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) dy[i] = channels.get(y + (j + i) * r.d.y_column);
  LOUPE_UNROLL for (int l = 0; l < Runs; ++l) {
    Walk<Whole> x(r, channels, tap[l * Length], j);
    LOUPE_UNROLL for (int i = 0; i < Pixels + Length - 1; ++i) {
      const Vec pixel = x.next();
      LOUPE_UNROLL for (int q = 0; q < Length; ++q) if (i >= q && i - q < Pixels)
          sum[l * Length + q] = multiply_add(pixel, dy[i - q], sum[l * Length + q]);
    }
  }
}

// The gradients of `Runs` runs of weights, held in registers over one row.
template <int Length, int Runs, bool Whole>
void add_row(const OutputRow& r, Channels<Whole> channels, int64_t first, const float* y,
             float* dw) {
  const Depthwise& d = r.d;
  Vec sum[Runs * Length];
  LOUPE_UNROLL for (int t = 0; t < Runs * Length; ++t) sum[t] =
      channels.get(dw + (first + t) * d.channels);
  int64_t j = 0;
  for (; j + 4 <= d.columns; j += 4) {
    if (first == r.first) r.prefetch<4>(j, channels.first, y + j * d.y_column);
    add_pixels<Length, Runs, 4>(r, channels, d.tap + first, j, y, sum);
  }
  for (; j < d.columns; ++j) add_pixels<Length, Runs, 1>(r, channels, d.tap + first, j, y, sum);
  LOUPE_UNROLL for (int t = 0; t < Runs * Length; ++t)
      channels.put(dw + (first + t) * d.channels, sum[t]);
}

// The gradients of all weights over one row: as many runs at a time as registers hold sums for.
template <int Length, bool Whole>
void row_weights(const OutputRow& r, Channels<Whole> channels, const float* y, float* dw) {
  constexpr int kMost = 9 / Length;
  int64_t t = r.first;
  for (; t + kMost * Length <= r.last; t += kMost * Length)
    add_row<Length, kMost>(r, channels, t, y, dw);
  if constexpr (kMost > 3)
    for (; t + 3 * Length <= r.last; t += 3 * Length) add_row<Length, 3>(r, channels, t, y, dw);
  if constexpr (kMost == 3)
    for (; t + 2 * Length <= r.last; t += 2 * Length) add_row<Length, 2>(r, channels, t, y, dw);
  for (; t < r.last; t += Length) add_row<Length, 1>(r, channels, t, y, dw);
}

}  // namespace

// What the taps of a row see stays in L1. The image is read a few pixels at a time, all of their
// channels, so that the reads follow each other in memory.
void depthwise(const Depthwise& d, const float* w, const float* bias, float* y) {
  with_runs(d, [&](auto run) {
    constexpr int kLength = decltype(run)::length;
    for (int64_t i = d.begin; i < d.end; ++i) {
      const OutputRow r(d, i);
      float* row = y + i * d.y_row;
      int64_t j = 0;
      for (; j + 8 <= d.columns; j += 8)
        all_channels<kLength, 8>(r, j, w, bias, row + j * d.y_column);
      for (; j + 4 <= d.columns; j += 4)
        all_channels<kLength, 4>(r, j, w, bias, row + j * d.y_column);
      for (; j < d.columns; ++j) all_channels<kLength, 1>(r, j, w, bias, row + j * d.y_column);
    }
  });
}

void depthwise_weights(const Depthwise& d, const float* dy, float* dw) {
  with_runs(d, [&](auto run) {
    for (int64_t i = d.begin; i < d.end; ++i) {
      const OutputRow r(d, i);
      each_vector(d.channels, [&](auto channels) {
        row_weights<decltype(run)::length>(r, channels, dy + i * d.y_row + channels.first,
                                           dw + channels.first);
      });
    }
  });
}

}  // namespace loupe::kernels::LOUPE_LEVEL
