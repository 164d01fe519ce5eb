#include <loupe/core/cpu.h>
#include <loupe/core/kernels/pool/interpolate.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

template <class T> void interpolate(const InterpolateShape& s, const T* x, T* y) {
  const auto oh = static_cast<int64_t>(s.rows.size());
  const auto ow = static_cast<int64_t>(s.columns.size());
  const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(ow * s.c, 1));
  parallel_ranges(s.n * oh, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const Mix& up = s.rows[static_cast<size_t>(row % oh)];
      const T* const image = x + row / oh * s.h * s.w * s.c;
      const T* const top = image + up.first * s.w * s.c;
      const T* const bottom = image + up.second * s.w * s.c;
      const T a = static_cast<T>(up.first_weight), b = static_cast<T>(up.second_weight);
      const bool blends = up.second_weight != 0;
      for (int64_t j = 0; j < ow; ++j) {
        const Mix& side = s.columns[static_cast<size_t>(j)];
        const int64_t left = side.first * s.c, right = side.second * s.c;
        const T l = static_cast<T>(side.first_weight), r = static_cast<T>(side.second_weight);
        const bool mixes = side.second_weight != 0;
        simd<T>([=, c = s.c, out = y + (row * ow + j) * s.c] {
          // Pixels of weight 0 are not read: an Inf there is not ours.
          if (!blends && !mixes) {
#pragma omp simd
            for (int64_t k = 0; k < c; ++k) out[k] = a * (l * top[left + k]);
          } else if (!blends) {
#pragma omp simd
            for (int64_t k = 0; k < c; ++k) out[k] = a * (l * top[left + k] + r * top[right + k]);
          } else if (!mixes) {
#pragma omp simd
            for (int64_t k = 0; k < c; ++k)
              out[k] = a * (l * top[left + k]) + b * (l * bottom[left + k]);
          } else {
#pragma omp simd
            for (int64_t k = 0; k < c; ++k)
              out[k] = a * (l * top[left + k] + r * top[right + k]) +
                       b * (l * bottom[left + k] + r * bottom[right + k]);
          }
        });
      }
    }
  });
}

template <class T> void interpolate_backward(const InterpolateShape& s, const T* dy, T* dx) {
  const auto oh = static_cast<int64_t>(s.rows.size());
  const auto ow = static_cast<int64_t>(s.columns.size());
  parallel_pieces(s.n, [&](int64_t n) {  // windows of an image overlap: an image is one piece
    T* const image = dx + n * s.h * s.w * s.c;
    std::fill_n(image, s.h * s.w * s.c, T(0));
    for (int64_t i = 0; i < oh; ++i) {
      const Mix& up = s.rows[static_cast<size_t>(i)];
      for (int64_t j = 0; j < ow; ++j) {
        const Mix& side = s.columns[static_cast<size_t>(j)];
        const T* const g = dy + ((n * oh + i) * ow + j) * s.c;
        const auto add = [&](int64_t row, int64_t column, double weight) {
          if (weight == 0) return;
          simd<T>([=, c = s.c, factor = static_cast<T>(weight),
                   to = image + (row * s.w + column) * s.c] {
#pragma omp simd
            for (int64_t k = 0; k < c; ++k) to[k] += factor * g[k];
          });
        };
        add(up.first, side.first, up.first_weight * side.first_weight);
        add(up.first, side.second, up.first_weight * side.second_weight);
        add(up.second, side.first, up.second_weight * side.first_weight);
        add(up.second, side.second, up.second_weight * side.second_weight);
      }
    }
  });
}

template void interpolate<float>(const InterpolateShape&, const float*, float*);
template void interpolate<double>(const InterpolateShape&, const double*, double*);
template void interpolate_backward<float>(const InterpolateShape&, const float*, float*);
template void interpolate_backward<double>(const InterpolateShape&, const double*, double*);

}  // namespace loupe::kernels
