#include <loupe/core/cpu.h>
#include <loupe/core/kernels/pool/windows.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;   // numbers of x that a piece of forward reads, about
constexpr int64_t kEnoughImages = 8;  // pieces of backward: so many images need no cutting
constexpr int64_t kNarrowest = 32, kMostRanges = 8;  // channels of a range; ranges of an image

// Calls f(image, output row) with the rows of all images, on all threads.
template <class F> void for_out_rows(const PoolShape& s, const F& f) {
  const int64_t out_h = s.out_h();
  const int64_t rows = out_h > 0 ? std::max<int64_t>(1, s.h / out_h) : 1;  // of x, for one of y
  const int64_t work = std::max<int64_t>(s.c * rows * s.w, 1);
  parallel_ranges(s.n * out_h, std::max<int64_t>(1, kGrain / work),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) f(i / out_h, i % out_h);
                  });
}

// Some channels of one image.
struct Piece {
  int64_t image, first, channels;
};

// Calls f(piece) with pieces that no two windows share: images, and ranges of channels where images
// are few.
template <class F> void for_pieces(const PoolShape& s, const F& f) {
  const bool whole = s.n >= kEnoughImages;
  const int64_t ranges = whole ? 1 : std::clamp<int64_t>(s.c / kNarrowest, 1, kMostRanges);
  parallel_pieces(s.n * ranges, [&](int64_t piece) {
    const int64_t b = piece % ranges, first = s.c * b / ranges;
    f(Piece{piece / ranges, first, s.c * (b + 1) / ranges - first});
  });
}

// Calls f(window, its number among all output pixels) for the output pixels of an image.
template <class F> void for_windows(const PoolShape& s, int64_t image, const F& f) {
  for (int64_t i = 0; i < s.out_h(); ++i)
    for (int64_t j = 0; j < s.out_w(); ++j)
      f(window_of(s, i, j), (image * s.out_h() + i) * s.out_w() + j);
}

// The piece's channels of all pixels of an image are set to 0.
template <class T> void zero_piece(const PoolShape& s, const Piece& b, T* dx) {
  for (int64_t p = 0; p < s.h * s.w; ++p) std::fill_n(dx + p * s.c, b.channels, T(0));
}

}  // namespace

template <class T> void max_pool(const PoolShape& s, const T* x, T* y, int32_t* indices) {
  if (plain_kernels()) return plain::max_pool(s, x, y, indices);
  const int64_t out_h = s.out_h(), out_w = s.out_w();
  for_out_rows(s, [&](int64_t n, int64_t i) {
    const T* image = x + n * s.h * s.w * s.c;
    for (int64_t j = 0; j < out_w; ++j) {
      const int64_t at = ((n * out_h + i) * out_w + j) * s.c;
      simd<T>([=, v = window_of(s, i, j), c = s.c, w = s.w, best = y + at, index = indices + at] {
        const int32_t first = static_cast<int32_t>(v.rows.begin * w + v.columns.begin);
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) {
          best[k] = image[first * c + k];
          index[k] = first;
        }
        for_pixels(v, w, [=](int64_t pixel) {
          const int32_t place = static_cast<int32_t>(pixel);
          const T* from = image + pixel * c;
#pragma omp simd
          for (int64_t k = 0; k < c; ++k) {
            const T value = from[k], old = best[k];
            const int32_t was = index[k];
            const bool better = (value > old) | ((value != value) & (old == old));
            best[k] = better ? value : old;
            index[k] = better ? place : was;
          }
        });
      });
    }
  });
}

// Every pixel of a window takes part, and adds 0 where it is not the largest: vectors instead of
// single numbers at scattered places.
template <class T>
void max_pool_backward(const PoolShape& s, const T* dy, const int32_t* indices, T* dx) {
  if (plain_kernels()) return plain::max_pool_backward(s, dy, indices, dx);
  for_pieces(s, [&](const Piece& b) {
    T* image = dx + b.image * s.h * s.w * s.c + b.first;
    zero_piece(s, b, image);
    for_windows(s, b.image, [&](const Window& window, int64_t number) {
      const int64_t at = number * s.c + b.first;
      simd<T>([=, v = window, c = s.c, w = s.w, channels = b.channels, g = dy + at,
               index = indices + at] {
        for_pixels(v, w, [=](int64_t pixel) {
          const int32_t place = static_cast<int32_t>(pixel);
          T* to = image + pixel * c;
#pragma omp simd
          for (int64_t k = 0; k < channels; ++k) {
            const T value = g[k];
            to[k] += index[k] == place ? value : T(0);
          }
        });
      });
    });
  });
}

template <class T>
void max_pool_gather(const PoolShape& s, const T* x, const int32_t* indices, T* y) {
  if (plain_kernels()) return plain::max_pool_gather(s, x, indices, y);
  const int64_t row = s.out_w() * s.c;
  for_out_rows(s, [&](int64_t n, int64_t i) {
    const T* const image = x + n * s.h * s.w * s.c;
    const int64_t first = (n * s.out_h() + i) * row;
    for (int64_t at = first; at < first + row; ++at) y[at] = image[indices[at] * s.c + at % s.c];
  });
}

template <class T> void avg_pool(const PoolShape& s, const T* x, T* y) {
  if (plain_kernels()) return plain::avg_pool(s, x, y);
  const int64_t out_h = s.out_h(), out_w = s.out_w();
  for_out_rows(s, [&](int64_t n, int64_t i) {
    const T* image = x + n * s.h * s.w * s.c;
    for (int64_t j = 0; j < out_w; ++j) {
      const Window window = window_of(s, i, j);
      simd<T>([=, v = window, c = s.c, w = s.w, count = T(divisor(s, window)),
               to = y + ((n * out_h + i) * out_w + j) * s.c] {
        std::fill_n(to, c, T(0));
        for_pixels(v, w, [=](int64_t pixel) {
          const T* from = image + pixel * c;
#pragma omp simd
          for (int64_t k = 0; k < c; ++k) to[k] += from[k];
        });
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) to[k] /= count;
      });
    }
  });
}

template <class T> void avg_pool_backward(const PoolShape& s, const T* dy, T* dx) {
  if (plain_kernels()) return plain::avg_pool_backward(s, dy, dx);
  for_pieces(s, [&](const Piece& b) {
    T* image = dx + b.image * s.h * s.w * s.c + b.first;
    zero_piece(s, b, image);
    for_windows(s, b.image, [&](const Window& window, int64_t number) {
      simd<T>([=, v = window, c = s.c, w = s.w, channels = b.channels,
               share = T(1) / T(divisor(s, window)), g = dy + number * s.c + b.first] {
        for_pixels(v, w, [=](int64_t pixel) {
          T* to = image + pixel * c;
#pragma omp simd
          for (int64_t k = 0; k < channels; ++k) to[k] += g[k] * share;
        });
      });
    });
  });
}

#define LOUPE_INSTANTIATE(T)                                                          \
  template void max_pool<T>(const PoolShape&, const T*, T*, int32_t*);                \
  template void max_pool_backward<T>(const PoolShape&, const T*, const int32_t*, T*); \
  template void max_pool_gather<T>(const PoolShape&, const T*, const int32_t*, T*);   \
  template void avg_pool<T>(const PoolShape&, const T*, T*);                          \
  template void avg_pool_backward<T>(const PoolShape&, const T*, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
