#include <loupe/core/cpu.h>
#include <loupe/core/kernels/pool/interpolate.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;  // numbers of y in a piece, about

// The four pixels that an output pixel is mixed from, c numbers each.
template <class T> struct Corners {
  const T *top_left, *top_right, *bottom_left, *bottom_right;
  T top, bottom, left, right;  // weights
  bool has_bottom, has_right;  // whether those weights are not 0
};

// Pixels of weight 0 are not read: an Inf there is not ours.
template <class T> void mix(const Corners<T>& corners, int64_t c, T* out) {
  simd<T>([=, p = corners] {
    const T top = p.top, bottom = p.bottom, left = p.left, right = p.right;
    if (!p.has_bottom && !p.has_right) {
#pragma omp simd
      for (int64_t k = 0; k < c; ++k) out[k] = top * (left * p.top_left[k]);
    } else if (!p.has_bottom) {
#pragma omp simd
      for (int64_t k = 0; k < c; ++k)
        out[k] = top * (left * p.top_left[k] + right * p.top_right[k]);
    } else if (!p.has_right) {
#pragma omp simd
      for (int64_t k = 0; k < c; ++k)
        out[k] = top * (left * p.top_left[k]) + bottom * (left * p.bottom_left[k]);
    } else {
#pragma omp simd
      for (int64_t k = 0; k < c; ++k)
        out[k] = top * (left * p.top_left[k] + right * p.top_right[k]) +
                 bottom * (left * p.bottom_left[k] + right * p.bottom_right[k]);
    }
  });
}

}  // namespace

template <class T> void interpolate(const InterpolateShape& s, const T* x, T* y) {
  if (plain_kernels()) return plain::interpolate(s, x, y);
  const int64_t out_h = s.out_h(), out_w = s.out_w();
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(out_w * s.c, 1));
  parallel_ranges(s.n * out_h, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Mix& rows = s.rows[static_cast<size_t>(row % out_h)];
      const T* const image = x + row / out_h * s.h * s.w * s.c;
      const T* const top = image + rows.first * s.w * s.c;
      const T* const bottom = image + rows.second * s.w * s.c;
      for (int64_t j = 0; j < out_w; ++j) {
        const Mix& columns = s.columns[static_cast<size_t>(j)];
        const int64_t left = columns.first * s.c, right = columns.second * s.c;
        const Corners<T> corners{.top_left = top + left,
                                 .top_right = top + right,
                                 .bottom_left = bottom + left,
                                 .bottom_right = bottom + right,
                                 .top = static_cast<T>(rows.first_weight),
                                 .bottom = static_cast<T>(rows.second_weight),
                                 .left = static_cast<T>(columns.first_weight),
                                 .right = static_cast<T>(columns.second_weight),
                                 .has_bottom = rows.second_weight != 0,
                                 .has_right = columns.second_weight != 0};
        mix(corners, s.c, y + (row * out_w + j) * s.c);
      }
    }
  });
}

template <class T> void interpolate_backward(const InterpolateShape& s, const T* dy, T* dx) {
  if (plain_kernels()) return plain::interpolate_backward(s, dy, dx);
  const int64_t out_h = s.out_h(), out_w = s.out_w();
  parallel_pieces(s.n, [&](int64_t n) {  // windows of an image overlap: an image is one piece
    T* const image = dx + n * s.h * s.w * s.c;
    std::fill_n(image, s.h * s.w * s.c, T(0));
    const auto add = [&](int64_t row, int64_t column, double weight, const T* g) {
      if (weight == 0) return;
      T* const pixel = image + (row * s.w + column) * s.c;
      simd<T>([=, c = s.c, factor = static_cast<T>(weight)] {
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) pixel[k] += factor * g[k];
      });
    };
    for (int64_t i = 0; i < out_h; ++i)
      for (int64_t j = 0; j < out_w; ++j) {
        const Mix& rows = s.rows[static_cast<size_t>(i)];
        const Mix& columns = s.columns[static_cast<size_t>(j)];
        const T* const g = dy + ((n * out_h + i) * out_w + j) * s.c;
        add(rows.first, columns.first, rows.first_weight * columns.first_weight, g);
        add(rows.first, columns.second, rows.first_weight * columns.second_weight, g);
        add(rows.second, columns.first, rows.second_weight * columns.first_weight, g);
        add(rows.second, columns.second, rows.second_weight * columns.second_weight, g);
      }
  });
}

template void interpolate<float>(const InterpolateShape&, const float*, float*);
template void interpolate<double>(const InterpolateShape&, const double*, double*);
template void interpolate_backward<float>(const InterpolateShape&, const float*, float*);
template void interpolate_backward<double>(const InterpolateShape&, const double*, double*);

}  // namespace loupe::kernels
