// Depthwise convolution: a vector is some channels of one pixel, a step multiplies it by the same
// channels of a tap.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// All lanes of a vector, or the first n where the channels end.
template <bool Whole> Vec get(const float* p, int64_t n) {
  return Whole ? load(p) : load_part(p, n);
}
template <bool Whole> void put(float* p, Vec v, int64_t n) {
  Whole ? store(p, v) : store_part(p, v, n);
}

// A row of the output and its taps [first, last), those that meet rows of the image.
struct Row {
  const Depthwise& d;
  int64_t first, last, y;  // the row of the image that tap.y = 0 meets

  Row(const Depthwise& all, int64_t i) : d(all), first(0), last(all.taps), y(i * all.step_y) {
    while (first < last && y + d.tap[first].y < 0) ++first;
    while (last > first && y + d.tap[last - 1].y >= d.h) --last;
  }

  // Neither image lies in the cache as a rule, and channels met a vector at a time are too far
  // apart to be followed. So pixels that rows further down will meet are fetched into L2, past the
  // end of the image too, where the next one lies: those below column j of the input and, given
  // channel `at` of column j, of the output. Always inlined: g++ 12 drops calls of functions that
  // do nothing but fetch.
  template <int Pixels>
  [[gnu::always_inline]] void fetch(int64_t j, int64_t at, const float* out) const {
    constexpr int64_t kAhead = 4;  // of 2 to 8 rows, none was better
    const float* in = d.x + ((y + kAhead * d.step_y) * d.w + j * d.step_x) * d.channels + at;
    for (int i = 0; i < Pixels; ++i)
      __builtin_prefetch(out + kAhead * d.y_row + i * d.y_column, 0, 2);
    for (int64_t row = 0; row < d.step_y; ++row)
      for (int64_t i = 0; i < Pixels * d.step_x; ++i)
        __builtin_prefetch(in + (row * d.w + i) * d.channels, 0, 2);
  }
};

// The channels from `at` on of the pixels that a tap meets, from column j of the output on; zeros
// beside the image.
template <bool Whole> class Walk {
 public:
  Walk(const Row& r, const Tap& tap, int64_t at, int64_t j)
      : x_(j * r.d.step_x + tap.x),
        step_(r.d.step_x),
        w_(static_cast<uint64_t>(r.d.w)),
        pixel_(r.d.x + ((r.y + tap.y) * r.d.w + x_) * r.d.channels + at),
        distance_(step_ * r.d.channels) {}

  Vec next(int64_t n) {
    const Vec pixel = static_cast<uint64_t>(x_) < w_ ? get<Whole>(pixel_, n) : Vec{};
    x_ += step_;
    pixel_ += distance_;
    return pixel;
  }

 private:
  int64_t x_, step_;
  uint64_t w_;
  const float* pixel_;
  int64_t distance_;
};

// Taps of a kernel's row that are each a pixel on from the one before: a pixel is loaded once for
// all of them. 7, 5, 3, or 1.
int64_t run_length(const Depthwise& d) {
  for (int64_t run = 7; run > 1; run -= 2) {
    bool fits = d.taps % run == 0;
    for (int64_t t = 0; fits && t < d.taps; ++t)
      fits =
          t % run == 0 || (d.tap[t].y == d.tap[t - 1].y && d.tap[t].x == d.tap[t - 1].x + d.step_x);
    if (fits) return run;
  }
  return 1;
}
// Calls f with a value whose type holds run_length(d).
template <int N> struct Length { static constexpr int value = N; };
template <class F> void with_run_length(const Depthwise& d, const F& f) {
  const int64_t run = run_length(d);
  run == 7   ? f(Length<7>{})
  : run == 5 ? f(Length<5>{})
  : run == 3 ? f(Length<3>{})
             : f(Length<1>{});
}

// `Pixels` neighbours from column j on: each tap's weights are loaded once for all of them.
template <bool Whole, int Run, int Pixels>
void pixels(const Row& r, int64_t at, int64_t j, const float* w, Vec start, float* y, int64_t n) {
  const Depthwise& d = r.d;
  Vec sum[Pixels];
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) sum[i] = start;
  for (int64_t t = r.first; t < r.last; t += Run) {
    Walk<Whole> x(r, d.tap[t], at, j);
    Vec weight[Run];
    LOUPE_UNROLL for (int q = 0; q < Run; ++q) weight[q] = get<Whole>(w + (t + q) * d.channels, n);
    LOUPE_UNROLL for (int i = 0; i < Pixels + Run - 1; ++i) {
      const Vec pixel = x.next(n);
      LOUPE_UNROLL for (int q = 0; q < Run; ++q) if (i >= q && i - q < Pixels) sum[i - q] =
          multiply_add(pixel, weight[q], sum[i - q]);
    }
  }
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) put<Whole>(y + i * d.y_column, sum[i], n);
}

// All channels of some pixels.
template <int Run, int Pixels>
void block(const Row& r, int64_t j, const float* w, const float* bias, float* y) {
  for (int64_t at = 0; at < r.d.channels; at += kLanes) {
    const int64_t n = r.d.channels - at;
    r.fetch<Pixels>(j, at, y + at);
    if (n >= kLanes)
      pixels<true, Run, Pixels>(r, at, j, w + at, bias ? load(bias + at) : Vec{}, y + at, n);
    else
      pixels<false, Run, Pixels>(r, at, j, w + at, bias ? load_part(bias + at, n) : Vec{}, y + at,
                                 n);
  }
}

// What `Lines` runs of taps from `tap` on get from `Pixels` neighbours.
template <bool Whole, int Run, int Lines, int Pixels>
void columns(const Row& r, const Tap* tap, int64_t at, int64_t j, const float* y,
             Vec (&sum)[Lines * Run], int64_t n) {
  Vec dy[Pixels];
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) dy[i] = get<Whole>(y + (j + i) * r.d.y_column, n);
  LOUPE_UNROLL for (int l = 0; l < Lines; ++l) {
    Walk<Whole> x(r, tap[l * Run], at, j);
    LOUPE_UNROLL for (int i = 0; i < Pixels + Run - 1; ++i) {
      const Vec pixel = x.next(n);
      LOUPE_UNROLL for (int q = 0; q < Run; ++q) if (i >= q && i - q < Pixels) sum[l * Run + q] =
          multiply_add(pixel, dy[i - q], sum[l * Run + q]);
    }
  }
}

// Their weight gradients, held in registers over one row.
template <bool Whole, int Run, int Lines>
void lines(const Row& r, int64_t first, int64_t at, const float* y, float* dw, int64_t n) {
  const Depthwise& d = r.d;
  Vec sum[Lines * Run];
  LOUPE_UNROLL for (int t = 0; t < Lines * Run; ++t) sum[t] =
      get<Whole>(dw + (first + t) * d.channels, n);
  int64_t j = 0;
  for (; j + 4 <= d.columns; j += 4) {
    if (first == r.first) r.fetch<4>(j, at, y + j * d.y_column);
    columns<Whole, Run, Lines, 4>(r, d.tap + first, at, j, y, sum, n);
  }
  for (; j < d.columns; ++j) columns<Whole, Run, Lines, 1>(r, d.tap + first, at, j, y, sum, n);
  LOUPE_UNROLL for (int t = 0; t < Lines * Run; ++t)
      put<Whole>(dw + (first + t) * d.channels, sum[t], n);
}

template <bool Whole, int Run>
void row_weights(const Row& r, int64_t at, const float* y, float* dw, int64_t n) {
  int64_t t = r.first;
  constexpr int kMost = 9 / Run;  // runs whose sums registers can hold
  for (; t + kMost * Run <= r.last; t += kMost * Run) lines<Whole, Run, kMost>(r, t, at, y, dw, n);
  if constexpr (kMost > 3)
    for (; t + 3 * Run <= r.last; t += 3 * Run) lines<Whole, Run, 3>(r, t, at, y, dw, n);
  if constexpr (kMost == 3)
    for (; t + 2 * Run <= r.last; t += 2 * Run) lines<Whole, Run, 2>(r, t, at, y, dw, n);
  for (; t < r.last; t += Run) lines<Whole, Run, 1>(r, t, at, y, dw, n);
}

}  // namespace

// What the taps of a row see stays in L1. The image is read a few pixels at a time, all of their
// channels, so that the reads follow each other in memory.
void depthwise(const Depthwise& d, const float* w, const float* bias) {
  with_run_length(d, [&](auto run) {
    constexpr int kRun = decltype(run)::value;
    for (int64_t i = d.begin; i < d.end; ++i) {
      const Row r(d, i);
      float* y = d.y + i * d.y_row;
      int64_t j = 0;
      for (; j + 8 <= d.columns; j += 8) block<kRun, 8>(r, j, w, bias, y + j * d.y_column);
      for (; j + 4 <= d.columns; j += 4) block<kRun, 4>(r, j, w, bias, y + j * d.y_column);
      for (; j < d.columns; ++j) block<kRun, 1>(r, j, w, bias, y + j * d.y_column);
    }
  });
}

void depthwise_weights(const Depthwise& d, float* dw) {
  with_run_length(d, [&](auto run) {
    constexpr int kRun = decltype(run)::value;
    for (int64_t i = d.begin; i < d.end; ++i) {
      const Row r(d, i);
      for (int64_t at = 0; at < d.channels; at += kLanes) {
        const int64_t n = d.channels - at;
        (n >= kLanes ? row_weights<true, kRun>
                     : row_weights<false, kRun>)(r, at, d.y + i * d.y_row + at, dw + at, n);
      }
    }
  });
}

}  // namespace loupe::kernels::LOUPE_LEVEL
