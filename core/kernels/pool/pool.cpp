#include <loupe/core/cpu.h>
#include <loupe/core/kernels/pool/pool.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <limits>

namespace loupe::kernels {
namespace {

// Calls f(image, output row) with the rows of all images cut into pieces of a few thousand numbers.
template <class F> void each_row(const PoolShape& s, const F& f) {
  const int64_t oh = static_cast<int64_t>(s.rows.size());
  const int64_t work = s.c * (oh > 0 ? std::max<int64_t>(1, s.h / oh) : 1) * s.w;
  parallel_ranges(s.n * oh, std::max<int64_t>(1, 16384 / std::max<int64_t>(work, 1)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i) f(i / oh, i % oh);
                  });
}

// Calls f(image, channel, channels) with pieces that no two windows share: images, and blocks of
// channels where images are few.
template <class F> void each_block(const PoolShape& s, const F& f) {
  const int64_t blocks = s.n >= 8 ? 1 : std::clamp<int64_t>(s.c / 32, 1, 8);
  parallel_pieces(s.n * blocks, [&](int64_t piece) {
    const int64_t b = piece % blocks, begin = s.c * b / blocks;
    f(piece / blocks, begin, s.c * (b + 1) / blocks - begin);
  });
}

int64_t divisor(const PoolShape& s, Range r, Range q) {
  return s.divisor > 0 ? s.divisor : std::max<int64_t>(1, r.counted * q.counted);
}

}  // namespace

std::vector<Range> windows(int64_t size, const WindowRule& rule) {
  const int64_t span = rule.dilation * (rule.kernel - 1) + 1;
  const int64_t room = size + 2 * rule.padding - span;  // for the first window's begin
  int64_t count = (room + (rule.ceil_mode ? rule.stride - 1 : 0)) / rule.stride + 1;
  // The last window begins inside the image or the padding before it.
  if (rule.ceil_mode && (count - 1) * rule.stride >= size + rule.padding) --count;
  std::vector<Range> list;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = i * rule.stride - rule.padding;
    const int64_t skipped = at < 0 ? (-at + rule.dilation - 1) / rule.dilation : 0;
    const int64_t begin = at + skipped * rule.dilation, end = std::min(at + span, size);
    const int64_t counted = rule.count_include_pad ? std::min(at + span, size + rule.padding) - at
                                                   : std::max<int64_t>(0, end - begin);
    list.push_back({begin, end, rule.dilation, counted});
  }
  return list;
}

std::vector<Range> adaptive_windows(int64_t size, int64_t count) {
  std::vector<Range> list;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = i * size / count, end = ((i + 1) * size + count - 1) / count;
    list.push_back({begin, end, 1, end - begin});
  }
  return list;
}

template <class T> void max_pool(const PoolShape& s, const T* x, T* y, int32_t* indices) {
  const int64_t ow = static_cast<int64_t>(s.columns.size()),
                oh = static_cast<int64_t>(s.rows.size());
  each_row(s, [&](int64_t n, int64_t i) {
    const Range rows = s.rows[static_cast<size_t>(i)];
    const T* image = x + n * s.h * s.w * s.c;
    for (int64_t j = 0; j < ow; ++j) {
      const Range columns = s.columns[static_cast<size_t>(j)];
      const int64_t at = ((n * oh + i) * ow + j) * s.c;
      simd<T>([=, c = s.c, w = s.w, best = y + at, index = indices + at] {
        const int32_t first = static_cast<int32_t>(rows.begin * w + columns.begin);
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) {
          best[k] = image[first * c + k];
          index[k] = first;
        }
        for (int64_t row = rows.begin; row < rows.end; row += rows.step)
          for (int64_t column = columns.begin; column < columns.end; column += columns.step) {
            const int32_t place = static_cast<int32_t>(row * w + column);
            const T* from = image + static_cast<int64_t>(place) * c;
#pragma omp simd
            for (int64_t k = 0; k < c; ++k) {
              const T v = from[k], old = best[k];
              const int32_t was = index[k];
              const bool better = (v > old) | ((v != v) & (old == old));
              best[k] = better ? v : old;
              index[k] = better ? place : was;
            }
          }
      });
    }
  });
}

template <class T>
void max_pool_backward(const PoolShape& s, const T* dy, const int32_t* indices, T* dx) {
  const int64_t ow = static_cast<int64_t>(s.columns.size()),
                oh = static_cast<int64_t>(s.rows.size());
  each_block(s, [&](int64_t n, int64_t begin, int64_t channels) {
    T* image = dx + n * s.h * s.w * s.c + begin;
    for (int64_t p = 0; p < s.h * s.w; ++p) std::fill_n(image + p * s.c, channels, T(0));
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j) {
        const Range rows = s.rows[static_cast<size_t>(i)],
                    columns = s.columns[static_cast<size_t>(j)];
        const int64_t at = ((n * oh + i) * ow + j) * s.c + begin;
        simd<T>([=, c = s.c, w = s.w, g = dy + at, index = indices + at] {
          for (int64_t row = rows.begin; row < rows.end; row += rows.step)
            for (int64_t column = columns.begin; column < columns.end; column += columns.step) {
              const int32_t place = static_cast<int32_t>(row * w + column);
              T* to = image + static_cast<int64_t>(place) * c;
#pragma omp simd
              for (int64_t k = 0; k < channels; ++k) {
                const T v = g[k];
                to[k] += index[k] == place ? v : T(0);
              }
            }
        });
      }
  });
}

template <class T>
void max_pool_gather(const PoolShape& s, const T* x, const int32_t* indices, T* y) {
  const int64_t ow = static_cast<int64_t>(s.columns.size()),
                oh = static_cast<int64_t>(s.rows.size());
  each_row(s, [&](int64_t n, int64_t i) {
    for (int64_t at = (n * oh + i) * ow * s.c; at < (n * oh + i + 1) * ow * s.c; ++at)
      y[at] = x[(n * s.h * s.w + indices[at]) * s.c + at % s.c];
  });
}

template <class T> void avg_pool(const PoolShape& s, const T* x, T* y) {
  const int64_t ow = static_cast<int64_t>(s.columns.size()),
                oh = static_cast<int64_t>(s.rows.size());
  each_row(s, [&](int64_t n, int64_t i) {
    const Range rows = s.rows[static_cast<size_t>(i)];
    const T* image = x + n * s.h * s.w * s.c;
    for (int64_t j = 0; j < ow; ++j) {
      const Range columns = s.columns[static_cast<size_t>(j)];
      simd<T>([=, c = s.c, w = s.w, count = T(divisor(s, rows, columns)),
               to = y + ((n * oh + i) * ow + j) * s.c] {
        std::fill_n(to, c, T(0));
        for (int64_t row = rows.begin; row < rows.end; row += rows.step)
          for (int64_t column = columns.begin; column < columns.end; column += columns.step) {
            const T* from = image + (row * w + column) * c;
#pragma omp simd
            for (int64_t k = 0; k < c; ++k) to[k] += from[k];
          }
#pragma omp simd
        for (int64_t k = 0; k < c; ++k) to[k] /= count;
      });
    }
  });
}

template <class T> void avg_pool_backward(const PoolShape& s, const T* dy, T* dx) {
  const int64_t ow = static_cast<int64_t>(s.columns.size()),
                oh = static_cast<int64_t>(s.rows.size());
  each_block(s, [&](int64_t n, int64_t begin, int64_t channels) {
    T* image = dx + n * s.h * s.w * s.c + begin;
    for (int64_t p = 0; p < s.h * s.w; ++p) std::fill_n(image + p * s.c, channels, T(0));
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j) {
        const Range rows = s.rows[static_cast<size_t>(i)],
                    columns = s.columns[static_cast<size_t>(j)];
        simd<T>([=, c = s.c, w = s.w, share = T(1) / T(divisor(s, rows, columns)),
                 g = dy + ((n * oh + i) * ow + j) * s.c + begin] {
          for (int64_t row = rows.begin; row < rows.end; row += rows.step)
            for (int64_t column = columns.begin; column < columns.end; column += columns.step) {
              T* to = image + (row * w + column) * c;
#pragma omp simd
              for (int64_t k = 0; k < channels; ++k) to[k] += g[k] * share;
            }
        });
      }
  });
}

#define LOUPE_POOL(T)                                                                 \
  template void max_pool<T>(const PoolShape&, const T*, T*, int32_t*);                \
  template void max_pool_backward<T>(const PoolShape&, const T*, const int32_t*, T*); \
  template void max_pool_gather<T>(const PoolShape&, const T*, const int32_t*, T*);   \
  template void avg_pool<T>(const PoolShape&, const T*, T*);                          \
  template void avg_pool_backward<T>(const PoolShape&, const T*, T*);
LOUPE_POOL(float)
LOUPE_POOL(double)

}  // namespace loupe::kernels
