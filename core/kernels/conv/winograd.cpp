#include <loupe/core/cpu.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/kernels/conv/winograd.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

namespace loupe::kernels {
namespace {

const Winograd& transforms(int64_t tile) {
  return tile == 4 ? *micro().winograd4 : *micro().winograd2;
}

constexpr float kUnchecked = 64;    // up to here no number is too large
constexpr float kRatio = 64;        // above, the median is asked
constexpr float kOverflow = 1e15f;  // products of two such numbers can be summed

// The largest |number| of an operand, as the bits of a float: NaN lies above infinity.
class Largest {
 public:
  static constexpr int64_t kMaxima = 16;

  // Joins a piece's maxima; the result does not depend on the order.
  void join(const int32_t* maxima) {
    const int32_t mine = *std::max_element(maxima, maxima + kMaxima);
    int32_t now = bits_.load(std::memory_order_relaxed);
    while (mine > now && !bits_.compare_exchange_weak(now, mine, std::memory_order_relaxed)) {}
  }
  // Whether the tiles can do with the n numbers of which this is the largest.
  bool in_range(const float* numbers, int64_t n) const {
    const int32_t bits = bits_.load(std::memory_order_relaxed);
    if (bits <= std::bit_cast<int32_t>(kUnchecked)) return true;
    if (bits > std::bit_cast<int32_t>(kOverflow)) return false;
    return std::bit_cast<float>(bits) <= kRatio * median(numbers, n);
  }

 private:
  // Of some numbers that are not zero, evenly spaced.
  static float median(const float* numbers, int64_t n) {
    constexpr int64_t kSamples = 255;
    float sizes[kSamples];
    int64_t count = 0;
    for (int64_t i = 0; i < kSamples; ++i)
      if (const float x = numbers[i * n / kSamples]; x != 0) sizes[count++] = std::fabs(x);
    if (count == 0) return 0;
    std::nth_element(sizes, sizes + count / 2, sizes + count);
    return sizes[count / 2];
  }

  std::atomic<int32_t> bits_{0};
};

// n is a multiple of 16.
void measure(int64_t n, const float* numbers, int32_t* maxima) {
  simd([=] {
    for (int64_t i = 0; i < n; i += Largest::kMaxima) {
#pragma omp simd
      for (int64_t l = 0; l < Largest::kMaxima; ++l) {
        const int32_t bits = __builtin_bit_cast(int32_t, numbers[i + l]) & 0x7fffffff;
        maxima[l] = bits > maxima[l] ? bits : maxima[l];
      }
    }
  });
}

// A grid of tiles over all images, `tile` output pixels wide; tile q sees `side` x `side` pixels
// from pixel (tile row * tile - pad) on.
struct Grid {
  int64_t images, h, w, channels;  // of the image that is read or written
  int64_t tile, side, across, down, pad_y, pad_x;
  int64_t tiles() const { return images * across * down; }

  // Calls f(i, pixels, next tile's pixels) for tiles begin + i, i < count.
  template <class T, class F>
  void each_tile(int64_t begin, int64_t count, T* image, const F& f) const {
    int64_t x = begin % across * tile - pad_x, y = begin / across % down * tile - pad_y;
    T* first = image + begin / (across * down) * h * w * channels;  // pixel of the tile's image
    const auto pixels = [&] {
      return Pixels<T>{first + (y * w + x) * channels, w * channels,
                       std::max<int64_t>(-y, 0),       std::min(h - y, side),
                       std::max<int64_t>(-x, 0),       std::min(w - x, side)};
    };
    Pixels<T> at = pixels();
    for (int64_t i = 0; i < count; ++i) {
      x += tile;
      if (x == across * tile - pad_x) x = -pad_x, y += tile;
      if (y == down * tile - pad_y) y = -pad_y, first += h * w * channels;
      const Pixels<T> next = pixels();
      f(i, at, next);
      at = next;
    }
  }
};

// Tiles that read the input (with a border) or cover the output of an oh x ow result.
Grid grid_of(int64_t tile, int64_t border, int64_t images, int64_t h, int64_t w, int64_t channels,
             int64_t oh, int64_t ow, int64_t pad_y, int64_t pad_x) {
  return {images,
          h,
          w,
          channels,
          tile,
          tile + border,
          (ow + tile - 1) / tile,
          (oh + tile - 1) / tile,
          pad_y,
          pad_x};
}

// Tiles in a block, `most` or fewer: blocks are equal, and even in number where there are many.
int64_t block_of(int64_t tiles, int64_t most) {
  int64_t blocks = (tiles + most - 1) / most;
  if (blocks > 1) blocks += blocks % 2;
  return (tiles + blocks - 1) / blocks;
}

// The transformed weights, as the right side of Product: for each number of a tile, panels of a k x
// n matrix. Forward, k counts input and n output channels; for a gradient the two change places and
// the kernel is turned around. Planes of numbers lie `plane` apart.
void transform_weights(const Winograd& f, const ConvShape& s, const float* w, bool gradient,
                       float* packed, int64_t plane, Largest& largest) {
  const Micro& mu = micro();
  const int64_t numbers = (f.size + 2) * (f.size + 2), p = mu.panel;
  const int64_t o_panels = (s.o + p - 1) / p, c_panels = (s.c + p - 1) / p, wide = o_panels * p,
                turned_plane = s.c * wide + 16;
  const Scratch<float> turned(gradient ? numbers * turned_plane : 0);
  parallel_pieces(o_panels, [&](int64_t q) {
    const Scratch<float> taps(s.c * 9 * p);  // [c, tap, o] for the output channels of this panel
    mu.pack(true, s.c * 9, s.o, w, s.c * 9, q, q + 1, taps - q * s.c * 9 * p);
    int32_t maxima[Largest::kMaxima] = {};
    measure(s.c * 9 * p, taps, maxima);
    largest.join(maxima);
    for (int64_t c = 0; c < s.c; ++c) {
      const float* from = taps + c * 9 * p;
      if (gradient) f.weights(p, from + 8 * p, -p, turned + c * wide + q * p, turned_plane);
      else f.weights(p, from, p, packed + (q * s.c + c) * p, plane);
    }
  });
  if (!gradient) return;
  parallel_pieces(numbers, [&](int64_t i) {
    mu.pack(true, s.o, s.c, turned + i * turned_plane, wide, 0, c_panels, packed + i * plane);
  });
}

// y = bias + correlation of x with the kernels w of s, tile by tile; for a gradient x is dy, and y
// is dx. False: out of range.
bool correlate(const Winograd& f, const ConvShape& s, const Grid& in, const Grid& out,
               const float* x, const float* w, bool gradient, const float* bias, float* y) {
  const Micro& mu = micro();
  const int64_t side = f.size + 2, numbers = side * side, ci = in.channels, co = out.channels;
  const int64_t panels = (co + mu.panel - 1) / mu.panel, width = ci * mu.panel;
  // Planes are a line apart from a multiple of 4 KB, so that their numbers do not meet in one set
  // of L1.
  const int64_t w_plane = panels * width + 16;
  const Scratch<float> packed(numbers * w_plane);
  Largest largest_w, largest_x;
  transform_weights(f, s, w, gradient, packed, w_plane, largest_w);
  if (!largest_w.in_range(w, s.o * s.c * 9)) return false;
  // Both stacks of planes stay in L2.
  const int64_t tiles = in.tiles(),
                most = std::clamp<int64_t>(65536 / (numbers * (ci + co)), 14, 128);
  const int64_t block = round_up(block_of(tiles, most), mu.rows);
  parallel_ranges(tiles, block, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const int64_t in_plane = count * ci + 16, out_plane = count * co + 16;
    const Scratch<float> transformed(numbers * in_plane), products(numbers * out_plane);
    int32_t maxima[Largest::kMaxima] = {};
    in.each_tile(begin, count, x, [&](int64_t i, const auto& at, const auto& next) {
      f.input(at, next, ci, transformed + i * ci, in_plane, maxima);
    });
    largest_x.join(maxima);
    mu.product({.m = count,
                .n = co,
                .k = ci,
                .a = transformed,
                .a_row = ci,
                .b = packed,
                .b_term = mu.panel,
                .b_panel = width,
                .c = products,
                .c_row = co,
                .outer = numbers,
                .a_outer = in_plane,
                .b_outer = w_plane,
                .c_outer = out_plane});
    out.each_tile(begin, count, y, [&](int64_t i, const auto& at, const auto& next) {
      f.output(products + i * co, out_plane, co, bias, at, next);
    });
  });
  return largest_x.in_range(x, in.images * in.h * in.w * ci);
}

}  // namespace

int64_t winograd_tile(const ConvShape& s) {
  const bool applies = s.kh == 3 && s.kw == 3 && s.sh == 1 && s.sw == 1 && s.dh == 1 && s.dw == 1 &&
                       s.groups == 1 && s.ph <= 2 && s.pw <= 2 && s.c % 16 == 0 && s.o % 16 == 0 &&
                       s.c > 0 && s.o > 0;
  if (!applies || !winograd_enabled()) return 0;
  const auto tiles = [&](int64_t size) {
    return ((s.oh() + size - 1) / size) * ((s.ow() + size - 1) / size);
  };
  // Products for each pair of channels; with few tiles the transformed weights cost more than they
  // save.
  const int64_t direct = 9 * s.oh() * s.ow(), two = 16 * tiles(2), four = 36 * tiles(4);
  if (s.n * tiles(4) < 8 || 3 * std::min(two, four) > 2 * direct) return 0;
  return four < two ? 4 : 2;
}

bool winograd_forward(int64_t tile, const ConvShape& s, const float* x, const float* w,
                      const float* bias, float* y) {
  const int64_t oh = s.oh(), ow = s.ow();
  return correlate(transforms(tile), s, grid_of(tile, 2, s.n, s.h, s.w, s.c, oh, ow, s.ph, s.pw),
                   grid_of(tile, 0, s.n, oh, ow, s.o, oh, ow, 0, 0), x, w, false, bias, y);
}

bool winograd_input_gradient(int64_t tile, const ConvShape& s, const float* dy, const float* w,
                             float* dx) {
  return correlate(transforms(tile), s,
                   grid_of(tile, 2, s.n, s.oh(), s.ow(), s.o, s.h, s.w, 2 - s.ph, 2 - s.pw),
                   grid_of(tile, 0, s.n, s.h, s.w, s.c, s.h, s.w, 0, 0), dy, w, true, nullptr, dx);
}

bool winograd_weight_gradient(int64_t tile, const ConvShape& s, const float* x, const float* dy,
                              float* dw) {
  const Micro& mu = micro();
  const Winograd& f = transforms(tile);
  const int64_t oh = s.oh(), ow = s.ow(), side = tile + 2, numbers = side * side, size = s.c * s.o;
  const Grid in = grid_of(tile, 2, s.n, s.h, s.w, s.c, oh, ow, s.ph, s.pw),
             out = grid_of(tile, 0, s.n, oh, ow, s.o, oh, ow, 0, 0);
  // A fixed number of ranges of tiles, each with a partial sum [tap, c, o] of its own.
  const int64_t tiles = in.tiles(), sums = std::min<int64_t>(tiles, 8);
  const Scratch<float> partials(sums * 9 * size);
  Largest largest_x, largest_y;
  parallel_pieces(sums, [&](int64_t sum) {
    const int64_t first = tiles * sum / sums, last = tiles * (sum + 1) / sums;
    // The planes of a block stay in L2, or are large against the products, which every block reads
    // and writes.
    const int64_t most = std::max(65536 / numbers, 3 * size) / (s.c + s.o);
    const int64_t block = block_of(last - first, std::clamp<int64_t>(most, 14, 64));
    const int64_t x_plane = block * s.c + 16, y_plane = block * s.o + 16;
    const Scratch<float> xs(numbers * x_plane), ys(numbers * y_plane), total(numbers * (size + 16));
    int32_t x_maxima[Largest::kMaxima] = {}, y_maxima[Largest::kMaxima] = {};
    for (int64_t begin = first; begin < last; begin += block) {
      const int64_t count = std::min(block, last - begin);
      in.each_tile(begin, count, x, [&](int64_t i, const auto& at, const auto& next) {
        f.input(at, next, s.c, xs + i * s.c, x_plane, x_maxima);
      });
      out.each_tile(begin, count, dy, [&](int64_t i, const auto& at, const auto& next) {
        f.gradient(at, next, s.o, ys + i * s.o, y_plane, y_maxima);
      });
      mu.product({.m = s.c,
                  .n = s.o,
                  .k = count,
                  .a = xs,
                  .a_row = 1,
                  .a_term = s.c,
                  .b = ys,
                  .b_term = s.o,
                  .b_panel = mu.panel,
                  .c = total,
                  .c_row = s.o,
                  .accumulate = begin > first,
                  .outer = numbers,
                  .a_outer = x_plane,
                  .b_outer = y_plane,
                  .c_outer = size + 16});
    }
    f.weights_back(size, total, size + 16, partials + sum * 9 * size, size);
    largest_x.join(x_maxima);
    largest_y.join(y_maxima);
  });
  if (!largest_x.in_range(x, s.n * s.h * s.w * s.c)) return false;
  if (!largest_y.in_range(dy, s.n * oh * ow * s.o)) return false;
  add_weight_sums(s, sums, 9 * size, partials, dw);
  return true;
}

}  // namespace loupe::kernels
