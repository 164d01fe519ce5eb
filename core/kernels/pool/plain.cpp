// Pooling and interpolation as plain loops.
#include <loupe/core/kernels/pool/interpolate.h>
#include <loupe/core/kernels/pool/windows.h>

#include <algorithm>
#include <cmath>

namespace loupe::kernels::plain {
namespace {

/// One output number: its place in y, where its image begins in x, its channel and window.
struct Output {
  int64_t at, image, channel;
  Window window;
};

/// Calls f(output) for every number of y, in the order of memory.
template <class F> void for_outputs(const PoolShape& s, const F& f) {
  int64_t at = 0;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t i = 0; i < s.out_h(); ++i)
      for (int64_t j = 0; j < s.out_w(); ++j)
        for (int64_t c = 0; c < s.c; ++c, ++at)
          f(Output{at, n * s.h * s.w * s.c, c, window_of(s, i, j)});
}

/// Where a pixel's number of the output's channel lies in x.
int64_t place(const PoolShape& s, const Output& o, int64_t pixel) {
  return o.image + pixel * s.c + o.channel;
}

}  // namespace

template <class T> void max_pool(const PoolShape& s, const T* x, T* y, int32_t* indices) {
  for_outputs(s, [&](const Output& o) {
    int64_t best = o.window.rows.begin * s.w + o.window.columns.begin;
    for_pixels(o.window, s.w, [&](int64_t pixel) {
      const T value = x[place(s, o, pixel)], most = x[place(s, o, best)];
      if (value > most || (std::isnan(value) && !std::isnan(most))) best = pixel;
    });
    y[o.at] = x[place(s, o, best)];
    indices[o.at] = static_cast<int32_t>(best);
  });
}

template <class T>
void max_pool_backward(const PoolShape& s, const T* dy, const int32_t* indices, T* dx) {
  std::fill_n(dx, s.n * s.h * s.w * s.c, T(0));
  for_outputs(s, [&](const Output& o) { dx[place(s, o, indices[o.at])] += dy[o.at]; });
}

template <class T>
void max_pool_gather(const PoolShape& s, const T* x, const int32_t* indices, T* y) {
  for_outputs(s, [&](const Output& o) { y[o.at] = x[place(s, o, indices[o.at])]; });
}

template <class T> void avg_pool(const PoolShape& s, const T* x, T* y) {
  for_outputs(s, [&](const Output& o) {
    T sum = 0;
    for_pixels(o.window, s.w, [&](int64_t pixel) { sum += x[place(s, o, pixel)]; });
    y[o.at] = sum / T(divisor(s, o.window));
  });
}

template <class T> void avg_pool_backward(const PoolShape& s, const T* dy, T* dx) {
  std::fill_n(dx, s.n * s.h * s.w * s.c, T(0));
  for_outputs(s, [&](const Output& o) {
    const T share = T(1) / T(divisor(s, o.window));
    for_pixels(o.window, s.w, [&](int64_t pixel) { dx[place(s, o, pixel)] += dy[o.at] * share; });
  });
}

namespace {

/// Calls f(place in y, image's place in x, channel, mix of rows, mix of columns) for each number of
/// y.
template <class F> void for_mixes(const InterpolateShape& s, const F& f) {
  int64_t at = 0;
  for (int64_t n = 0; n < s.n; ++n)
    for (const Mix& rows : s.rows)
      for (const Mix& columns : s.columns)
        for (int64_t c = 0; c < s.c; ++c, ++at) f(at, n * s.h * s.w * s.c + c, rows, columns);
}

}  // namespace

template <class T> void interpolate(const InterpolateShape& s, const T* x, T* y) {
  for_mixes(s, [&](int64_t at, int64_t image, const Mix& rows, const Mix& columns) {
    // Pixels of weight 0 are not read: an Inf there is not ours.
    const auto mixed_row = [&](int64_t row) {
      const T* const from = x + image + row * s.w * s.c;
      const T left = static_cast<T>(columns.first_weight) * from[columns.first * s.c];
      if (columns.second_weight == 0) return left;
      return left + static_cast<T>(columns.second_weight) * from[columns.second * s.c];
    };
    y[at] = static_cast<T>(rows.first_weight) * mixed_row(rows.first);
    if (rows.second_weight != 0)
      y[at] += static_cast<T>(rows.second_weight) * mixed_row(rows.second);
  });
}

template <class T> void interpolate_backward(const InterpolateShape& s, const T* dy, T* dx) {
  std::fill_n(dx, s.n * s.h * s.w * s.c, T(0));
  for_mixes(s, [&](int64_t at, int64_t image, const Mix& rows, const Mix& columns) {
    const auto add = [&](int64_t row, int64_t column, double weight) {
      if (weight != 0) dx[image + (row * s.w + column) * s.c] += static_cast<T>(weight) * dy[at];
    };
    add(rows.first, columns.first, rows.first_weight * columns.first_weight);
    add(rows.first, columns.second, rows.first_weight * columns.second_weight);
    add(rows.second, columns.first, rows.second_weight * columns.first_weight);
    add(rows.second, columns.second, rows.second_weight * columns.second_weight);
  });
}

#define LOUPE_INSTANTIATE(T)                                                          \
  template void max_pool<T>(const PoolShape&, const T*, T*, int32_t*);                \
  template void max_pool_backward<T>(const PoolShape&, const T*, const int32_t*, T*); \
  template void max_pool_gather<T>(const PoolShape&, const T*, const int32_t*, T*);   \
  template void avg_pool<T>(const PoolShape&, const T*, T*);                          \
  template void avg_pool_backward<T>(const PoolShape&, const T*, T*);                 \
  template void interpolate<T>(const InterpolateShape&, const T*, T*);                \
  template void interpolate_backward<T>(const InterpolateShape&, const T*, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels::plain
