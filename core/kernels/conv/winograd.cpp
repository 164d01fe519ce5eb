#include <loupe/core/cpu.h>
#include <loupe/core/kernels/conv/fast.h>
#include <loupe/core/kernels/conv/winograd.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <atomic>
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
    if (bits <= __builtin_bit_cast(int32_t, kUnchecked)) return true;
    if (bits > __builtin_bit_cast(int32_t, kOverflow)) return false;
    return __builtin_bit_cast(float, bits) <= kRatio * median(numbers, n);
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

// Joins |number| of n numbers, a multiple of 16, to 16 running maxima.
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

// A grid of tiles over all images, each `tile` output pixels wide. Tile q sees `side` x `side`
// pixels, from pixel (tile row * tile - pad) on. With tile = 2, side = 4, pad = 1 and an image of
// 4 x 4 pixels, the first tile (a) and the one beside it (b) see:
//
//      a a a a . .         . . b b b b       a dot is a pixel, or a zero around the image;
//      a a a a . .         . . b b b b       tiles overlap by side - tile = 2 pixels
//      a a a a . .         . . b b b b
//      a a a a . .         . . b b b b
//      . . . . . .         . . . . . .
struct Grid {
  int64_t images, h, w, channels;  // of the image that is read or written
  int64_t tile, side;
  int64_t across, down;  // tiles of an image
  int64_t pad_y, pad_x;

  int64_t tiles() const { return images * across * down; }
  int64_t floats() const { return images * h * w * channels; }

  // Calls f(i, step) for tiles begin + i, i < count.
  template <class T, class F>
  void each_tile(int64_t begin, int64_t count, T* image, const F& f) const {
    int64_t x = begin % across * tile - pad_x, y = begin / across % down * tile - pad_y;
    T* first = image + begin / (across * down) * h * w * channels;  // pixel of the tile's image
    TilePixels<T> at = pixels(first, y, x);
    for (int64_t i = 0; i < count; ++i) {
      x += tile;
      if (x == across * tile - pad_x) {
        x = -pad_x;
        y += tile;
      }
      if (y == down * tile - pad_y) {
        y = -pad_y;
        first += h * w * channels;
      }
      const TilePixels<T> next = pixels(first, y, x);
      f(i, TileStep<T>{at, next, channels});
      at = next;
    }
  }

 private:
  template <class T> TilePixels<T> pixels(T* image, int64_t y, int64_t x) const {
    return {image + (y * w + x) * channels, w * channels,
            std::max<int64_t>(-y, 0),       std::min(h - y, side),
            std::max<int64_t>(-x, 0),       std::min(w - x, side)};
  }
};

// The grids of a convolution of stride 1: tiles that read the input, with a border, and tiles that
// cover the output. Both count the same tiles.
struct Image {
  int64_t h, w, channels;
};
struct Grids {
  Grid in, out;

  Grids(int64_t tile, int64_t images, const Image& from, const Image& to, int64_t pad_y,
        int64_t pad_x)
      : in{images,
           from.h,
           from.w,
           from.channels,
           tile,
           tile + 2,
           ceil_div(to.w, tile),
           ceil_div(to.h, tile),
           pad_y,
           pad_x},
        out{images, to.h, to.w, to.channels, tile, tile, in.across, in.down, 0, 0} {}
};
Grids forward_grids(int64_t tile, const ConvShape& s) {
  return {tile, s.n, {s.h, s.w, s.c}, {s.oh(), s.ow(), s.o}, s.ph, s.pw};
}
Grids gradient_grids(int64_t tile, const ConvShape& s) {
  return {tile, s.n, {s.oh(), s.ow(), s.o}, {s.h, s.w, s.c}, 2 - s.ph, 2 - s.pw};
}

// Floats between planes that begin a multiple of 4 KiB apart, a cache line: the numbers of a tile
// then do not meet in one set of L1.
constexpr int64_t kGap = 16;
// Floats that stay in L2, 256 KiB.
constexpr int64_t kL2 = 65536;
// The least tiles in a block: the rows of a register tile.
constexpr int64_t kFewTiles = 14;

// Tiles in a block, `most` or fewer: blocks are equal, and even in number where there are many.
int64_t block_of(int64_t tiles, int64_t most) {
  int64_t blocks = ceil_div(tiles, most);
  if (blocks > 1) blocks += blocks % 2;
  return ceil_div(tiles, blocks);
}

// The transformed weights, as the right side of Product: for each number of a tile, panels of a
// k x n matrix. Forward, k counts input and n output channels. For a gradient the two change places
// and the kernel is rotated by 180 degrees.
class TransformedWeights {
 public:
  TransformedWeights(const Winograd& f, const ConvShape& s, bool gradient)
      : f_(f), s_(s), gradient_(gradient) {}

  // False: the weights are out of range.
  bool transform(const float* w) {
    const int64_t rotated_plane = s_.c * wide_ + kGap;
    const Scratch<float> rotated(gradient_ ? numbers_ * rotated_plane : 0);
    parallel_pieces(o_panels_, [&](int64_t q) {
      const Planes<float> to = gradient_ ? Planes<float>{rotated + q * panel_, rotated_plane}
                                         : Planes<float>{packed_ + q * s_.c * panel_, plane()};
      transform_panel(w, q, to);
    });
    if (gradient_)
      parallel_pieces(numbers_, [&](int64_t i) {
        mu_.pack_right({s_.o, s_.c, rotated + i * rotated_plane, wide_, true}, 0, c_panels_,
                       packed_ + i * plane());
      });
    return largest_.in_range(w, s_.weight_size());
  }

  const float* packed() const { return packed_; }
  // Floats from one number's matrix to the next, and from panel to panel.
  int64_t plane() const { return panels_ * panel_distance() + kGap; }
  int64_t panel_distance() const { return k_ * panel_; }

 private:
  // The weights of a panel of output channels.
  void transform_panel(const float* w, int64_t q, const Planes<float>& to) {
    const int64_t line = s_.c * 9;
    const Scratch<float> taps(line * panel_);  // [c, tap, o]
    mu_.pack_right({line, s_.o, w, line, true}, q, q + 1, taps - q * line * panel_);
    int32_t maxima[Largest::kMaxima] = {};
    measure(line * panel_, taps, maxima);
    largest_.join(maxima);
    for (int64_t c = 0; c < s_.c; ++c) {
      const float* from = taps + c * 9 * panel_;
      if (gradient_)
        f_.weights(panel_, {from + 8 * panel_, -panel_}, {to.at + c * wide_, to.distance});
      else f_.weights(panel_, {from, panel_}, {to.at + c * panel_, to.distance});
    }
  }

  const Winograd& f_;
  const ConvShape& s_;
  const bool gradient_;
  const Micro& mu_ = micro();
  const int64_t panel_ = mu_.panel;
  const int64_t numbers_ = (f_.size + 2) * (f_.size + 2);
  const int64_t o_panels_ = ceil_div(s_.o, panel_), c_panels_ = ceil_div(s_.c, panel_);
  const int64_t wide_ = o_panels_ * panel_;
  const int64_t panels_ = gradient_ ? c_panels_ : o_panels_;
  const int64_t k_ = gradient_ ? s_.o : s_.c;
  const Scratch<float> packed_{numbers_ * plane()};
  Largest largest_;
};

// y = bias + x convolved with the transformed weights, tile by tile. False: x is out of range.
bool convolve_tiles(const Winograd& f, const Grids& grids, const TransformedWeights& weights,
                    const float* x, const float* bias, float* y) {
  const Micro& mu = micro();
  const Grid &in = grids.in, &out = grids.out;
  const int64_t numbers = in.side * in.side, ci = in.channels, co = out.channels;
  // Both stacks of planes stay in L2.
  const int64_t most = std::clamp<int64_t>(kL2 / (numbers * (ci + co)), kFewTiles, 128);
  const int64_t block = round_up(block_of(in.tiles(), most), mu.rows);
  Largest largest;
  parallel_ranges(in.tiles(), block, [&](int64_t begin, int64_t end) {
    const int64_t count = end - begin;
    const int64_t in_plane = count * ci + kGap, out_plane = count * co + kGap;
    const Scratch<float> transformed(numbers * in_plane), products(numbers * out_plane);
    int32_t maxima[Largest::kMaxima] = {};
    in.each_tile(begin, count, x, [&](int64_t i, const auto& step) {
      f.input(step, {transformed + i * ci, in_plane}, maxima);
    });
    largest.join(maxima);
    mu.product({.m = count,
                .n = co,
                .k = ci,
                .a = transformed,
                .a_row = ci,
                .b = weights.packed(),
                .b_term = mu.panel,
                .b_panel = weights.panel_distance(),
                .c = products,
                .c_row = co,
                .outer = numbers,
                .a_outer = in_plane,
                .b_outer = weights.plane(),
                .c_outer = out_plane});
    out.each_tile(begin, count, y, [&](int64_t i, const auto& step) {
      f.output({products + i * co, out_plane}, bias, step);
    });
  });
  return largest.in_range(x, in.floats());
}

// The weight gradient: a fixed number of ranges of tiles, each with a partial sum [tap, c, o] of
// its own.
class TileWeights {
 public:
  TileWeights(int64_t tile, const ConvWeightGradient<float>& call)
      : f_(transforms(tile)), call_(call), grids_(forward_grids(tile, call.shape)) {}

  // False: x or dy is out of range.
  bool run() {
    const int64_t tiles = grids_.in.tiles(), sums = std::min(tiles, kPartialSums);
    const Scratch<float> partials(sums * 9 * size_);
    parallel_pieces(sums, [&](int64_t sum) {
      add_tiles(tiles * sum / sums, tiles * (sum + 1) / sums, partials + sum * 9 * size_);
    });
    if (!largest_x_.in_range(call_.x, grids_.in.floats())) return false;
    if (!largest_dy_.in_range(call_.dy, grids_.out.floats())) return false;
    add_weight_sums(s_, {partials, sums, 9 * size_}, call_.dw);
    return true;
  }

 private:
  // Tiles [first, last), block by block.
  void add_tiles(int64_t first, int64_t last, float* partial) {
    // The planes of a block stay in L2, or are large against the products, which every block reads
    // and writes.
    const int64_t most = std::max(kL2 / numbers_, 3 * size_) / (s_.c + s_.o);
    const int64_t block = block_of(last - first, std::clamp<int64_t>(most, kFewTiles, 64));
    const int64_t x_plane = block * s_.c + kGap, dy_plane = block * s_.o + kGap;
    const int64_t total_plane = size_ + kGap;
    const Scratch<float> xs(numbers_ * x_plane), dys(numbers_ * dy_plane);
    const Scratch<float> total(numbers_ * total_plane);
    int32_t x_maxima[Largest::kMaxima] = {}, dy_maxima[Largest::kMaxima] = {};
    for (int64_t begin = first; begin < last; begin += block) {
      const int64_t count = std::min(block, last - begin);
      grids_.in.each_tile(begin, count, call_.x, [&](int64_t i, const auto& step) {
        f_.input(step, {xs + i * s_.c, x_plane}, x_maxima);
      });
      grids_.out.each_tile(begin, count, call_.dy, [&](int64_t i, const auto& step) {
        f_.gradient(step, {dys + i * s_.o, dy_plane}, dy_maxima);
      });
      mu_.product({.m = s_.c,
                   .n = s_.o,
                   .k = count,
                   .a = xs,
                   .a_row = 1,
                   .a_term = s_.c,
                   .b = dys,
                   .b_term = s_.o,
                   .b_panel = mu_.panel,
                   .c = total,
                   .c_row = s_.o,
                   .accumulate = begin > first,
                   .outer = numbers_,
                   .a_outer = x_plane,
                   .b_outer = dy_plane,
                   .c_outer = total_plane});
    }
    f_.weights_back(size_, {total, total_plane}, {partial, size_});
    largest_x_.join(x_maxima);
    largest_dy_.join(dy_maxima);
  }

  const Winograd& f_;
  const ConvWeightGradient<float>& call_;
  const ConvShape& s_ = call_.shape;
  const Grids grids_;
  const Micro& mu_ = micro();
  const int64_t numbers_ = grids_.in.side * grids_.in.side;
  const int64_t size_ = s_.c * s_.o;
  Largest largest_x_, largest_dy_;
};

bool applies(const ConvShape& s) {
  return s.kh == 3 && s.kw == 3 && s.sh == 1 && s.sw == 1 && s.dh == 1 && s.dw == 1 &&
         s.groups == 1 && s.ph <= 2 && s.pw <= 2 && s.c % 16 == 0 && s.o % 16 == 0 && s.c > 0 &&
         s.o > 0;
}

}  // namespace

int64_t winograd_tile(const ConvShape& s) {
  if (!applies(s) || !winograd_enabled()) return 0;
  const auto tiles = [&](int64_t size) { return ceil_div(s.oh(), size) * ceil_div(s.ow(), size); };
  // With few tiles the transformed weights cost more than they save.
  constexpr int64_t kTilesOfWeights = 8;
  if (s.n * tiles(4) < kTilesOfWeights) return 0;
  // Products for each pair of channels: a third of them must be saved, for the transforms.
  const int64_t direct = 9 * s.oh() * s.ow(), two = 16 * tiles(2), four = 36 * tiles(4);
  if (3 * std::min(two, four) > 2 * direct) return 0;
  return four < two ? 4 : 2;
}

bool winograd_forward(int64_t tile, const ConvForward<float>& call) {
  const Winograd& f = transforms(tile);
  TransformedWeights weights(f, call.shape, false);
  if (!weights.transform(call.w)) return false;
  return convolve_tiles(f, forward_grids(tile, call.shape), weights, call.x, call.bias, call.y);
}

bool winograd_input_gradient(int64_t tile, const ConvInputGradient<float>& call) {
  const Winograd& f = transforms(tile);
  TransformedWeights weights(f, call.shape, true);
  if (!weights.transform(call.w)) return false;
  return convolve_tiles(f, gradient_grids(tile, call.shape), weights, call.dy, nullptr, call.dx);
}

bool winograd_weight_gradient(int64_t tile, const ConvWeightGradient<float>& call) {
  return TileWeights(tile, call).run();
}

}  // namespace loupe::kernels
