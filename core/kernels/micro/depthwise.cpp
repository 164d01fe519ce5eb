// Depthwise convolution: a vector is some channels of one pixel, a step multiplies it by the same channels of
// a tap.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {
namespace {

// All lanes of a vector, or the first n where the channels end.
template <bool Whole> Vec get(const float* p, int64_t n) { return Whole ? load(p) : load_part(p, n); }
template <bool Whole> void put(float* p, Vec v, int64_t n) { Whole ? store(p, v) : store_part(p, v, n); }

// Pixels neighbours of one row, each tap's weights loaded once for all of them.
template <bool Whole, int Pixels>
void pixels(const Depthwise& d, const float* x, const float* w, Vec start, float* y, int64_t n) {
  Vec sum[Pixels];
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) sum[i] = start;
  for (int64_t t = 0; t < d.taps; ++t) {
    const float* at = x + d.offsets[t];
    const Vec weight = get<Whole>(w + t * d.channels, n);
    LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) sum[i] += get<Whole>(at + i * d.x_column, n) * weight;
  }
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) put<Whole>(y + i * d.y_column, sum[i], n);
}

// The same where the taps come in threes, each a pixel on from the one before: a pixel is loaded once for all three.
template <bool Whole, int Pixels>
void pixels_of_threes(const Depthwise& d, const float* x, const float* w, Vec start, float* y, int64_t n) {
  Vec sum[Pixels];
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) sum[i] = start;
  for (int64_t t = 0; t < d.taps; t += 3, w += 3 * d.channels) {
    const float* at = x + d.offsets[t];
    const Vec first = get<Whole>(w, n), second = get<Whole>(w + d.channels, n), third = get<Whole>(w + 2 * d.channels, n);
    LOUPE_UNROLL for (int i = 0; i < Pixels + 2; ++i) {
      const Vec pixel = get<Whole>(at, n);
      if (i < Pixels) sum[i] += pixel * first;
      if (i >= 1 && i <= Pixels) sum[i - 1] += pixel * second;
      if (i >= 2) sum[i - 2] += pixel * third;
      at += d.x_column;
    }
  }
  LOUPE_UNROLL for (int i = 0; i < Pixels; ++i) put<Whole>(y + i * d.y_column, sum[i], n);
}

bool in_threes(const Depthwise& d) {
  bool yes = d.taps % 3 == 0;
  for (int64_t t = 0; yes && t < d.taps; ++t) yes = t % 3 == 0 || d.offsets[t] == d.offsets[t - 1] + d.x_column;
  return yes;
}

// Taps first to first + Taps of the weight gradient, held in registers over one row.
template <bool Whole, int Taps>
void taps(const Depthwise& d, int64_t first, const float* x, const float* y, float* dw, int64_t n) {
  Vec sum[Taps];
  int64_t offsets[Taps];
  LOUPE_UNROLL for (int t = 0; t < Taps; ++t) {
    sum[t] = get<Whole>(dw + (first + t) * d.channels, n);
    offsets[t] = d.offsets[first + t];
  }
  for (int64_t column = 0; column < d.columns; ++column) {
    const Vec dy = get<Whole>(y, n);
    LOUPE_UNROLL for (int t = 0; t < Taps; ++t) sum[t] += get<Whole>(x + offsets[t], n) * dy;
    x += d.x_column;
    y += d.y_column;
  }
  LOUPE_UNROLL for (int t = 0; t < Taps; ++t) put<Whole>(dw + (first + t) * d.channels, sum[t], n);
}

template <bool Whole> void run(const Depthwise& d, bool threes, const float* x, const float* w, Vec start, float* y, int64_t n) {
  int64_t j = 0;
  const auto next = [&](auto row, auto row_of_threes, int64_t count) {
    for (; j + count <= d.columns; j += count)
      threes ? row_of_threes(d, x + j * d.x_column, w, start, y + j * d.y_column, n)
             : row(d, x + j * d.x_column, w, start, y + j * d.y_column, n);
  };
  next(pixels<Whole, 8>, pixels_of_threes<Whole, 8>, 8);
  next(pixels<Whole, 4>, pixels_of_threes<Whole, 4>, 4);
  next(pixels<Whole, 1>, pixels_of_threes<Whole, 1>, 1);
}

template <bool Whole> void run_weights(const Depthwise& d, const float* x, const float* y, float* dw, int64_t n) {
  int64_t t = 0;
  for (; t + 9 <= d.taps; t += 9) taps<Whole, 9>(d, t, x, y, dw, n);
  for (; t + 3 <= d.taps; t += 3) taps<Whole, 3>(d, t, x, y, dw, n);
  for (; t < d.taps; ++t) taps<Whole, 1>(d, t, x, y, dw, n);
}

}  // namespace

// All channels of a row before the next one: what the taps of a row see stays in L1.
void depthwise(const Depthwise& d, const float* w, const float* bias) {
  const bool threes = in_threes(d);
  for (int64_t row = 0; row < d.rows; ++row) {
    // The next row of the result is far from the core, and its channels are met a vector at a time, too far apart to be followed.
    for (int64_t column = 0; column < d.columns; ++column)
      for (int64_t at = 0; at < d.channels; at += 16) __builtin_prefetch(d.y + (row + 1) * d.y_row + column * d.y_column + at);
    for (int64_t at = 0; at < d.channels; at += kLanes) {
      const int64_t n = d.channels - at;
      const bool whole = n >= kLanes;
      const Vec start = !bias ? Vec{} : whole ? load(bias + at) : load_part(bias + at, n);
      (whole ? run<true> : run<false>)(d, threes, d.x + row * d.x_row + at, w + at, start, d.y + row * d.y_row + at, n);
    }
  }
}

void depthwise_weights(const Depthwise& d, float* dw) {
  for (int64_t row = 0; row < d.rows; ++row)
    for (int64_t at = 0; at < d.channels; at += kLanes) {
      const int64_t n = d.channels - at;
      (n >= kLanes ? run_weights<true> : run_weights<false>)(d, d.x + row * d.x_row + at, d.y + row * d.y_row + at, dw + at, n);
    }
}

}  // namespace loupe::kernels::LOUPE_LEVEL
