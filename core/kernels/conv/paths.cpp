#include <loupe/core/cpu.h>
#include <loupe/core/error.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/conv/conv.h>
#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/kernels/conv/winograd.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <vector>

namespace loupe::kernels {
namespace {

thread_local const char* t_last = "";
void chose(const char* kernel) {
  t_last = kernel;
  log_kernel(kernel);
}

// Weight gradients: a fixed number of groups of images, each with a partial sum of its own, laid
// out [kh, kw, c, o].
constexpr int64_t kSums = 8;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The forward pass and the input gradient are one computation: pixels of the output lie on a
// lattice, and each sees pixels of the input at fixed distances. A gradient of stride s has s x s
// such lattices, each with its own taps.
struct Lattice {
  int64_t rows = 0, columns = 0, out = 0;  // `out`: its first pixel within the output image
  std::vector<Tap> taps;
};
struct Plan {
  int64_t images = 0, h = 0, w = 0, channels = 0;  // the input
  int64_t step_y = 1, step_x = 1;                  // input pixels between two of the lattice
  // Floats between output images, and between rows and columns of a lattice.
  int64_t out_image = 0, out_row = 0, out_column = 0;
  int64_t groups = 1, k = 0, n = 0,
          taps = 0;       // input and output channels of a group; weights of a pair of channels
  bool gradient = false;  // k counts the weights' output channels, n their input channels
  std::vector<Lattice> lattices = {};
};

Plan forward_plan(const ConvShape& s) {
  Plan p{s.n, s.h, s.w, s.c, s.sh, s.sw, s.oh() * s.ow() * s.o, s.ow() * s.o, s.o};
  p.groups = s.groups, p.k = s.c / s.groups, p.n = s.o / s.groups, p.taps = s.taps();
  p.lattices.push_back({s.oh(), s.ow(), 0, {}});
  for (int64_t a = 0; a < s.kh; ++a)
    for (int64_t b = 0; b < s.kw; ++b)
      p.lattices[0].taps.push_back({a * s.dh - s.ph, b * s.dw - s.pw, a * s.kw + b});
  return p;
}

Plan gradient_plan(const ConvShape& s) {
  Plan p{s.n, s.oh(), s.ow(), s.o, 1, 1, s.h * s.w * s.c, s.sh * s.w * s.c, s.sw * s.c};
  p.groups = s.groups, p.k = s.o / s.groups, p.n = s.c / s.groups, p.taps = s.taps(),
  p.gradient = true;
  for (int64_t y = 0; y < std::min(s.sh, s.h); ++y)
    for (int64_t x = 0; x < std::min(s.sw, s.w); ++x) {
      Lattice lattice{ceil_div(s.h - y, s.sh), ceil_div(s.w - x, s.sw), (y * s.w + x) * s.c, {}};
      for (int64_t a = s.kh - 1; a >= 0; --a)  // downwards: the places in dy then go upwards
        for (int64_t b = s.kw - 1; b >= 0; --b) {
          const int64_t from_y = y + s.ph - a * s.dh, from_x = x + s.pw - b * s.dw;
          if (from_y % s.sh == 0 && from_x % s.sw == 0)
            lattice.taps.push_back({from_y / s.sh, from_x / s.sw, a * s.kw + b});
        }
      p.lattices.push_back(std::move(lattice));
    }
  return p;
}

// A part of an image with zeros around it, wherever the taps look: rows [first, last) x (left + w +
// right) pixels.
struct Window {
  int64_t left = 0, right = 0, channels = 0, w = 0;
  int64_t width() const { return left + w + right; }

  // The window's rows of an image that has h. Returns the image itself where nothing is missing,
  // else fills `own`.
  const float* view(const float* image, int64_t h, int64_t first, int64_t last, float* own) const {
    if (left + right == 0 && first >= 0 && last <= h) return image + first * w * channels;
    for (int64_t y = first; y < last; ++y, own += width() * channels) {
      if (y < 0 || y >= h) {
        std::fill_n(own, width() * channels, 0.0f);
        continue;
      }
      std::fill_n(own, left * channels, 0.0f);
      std::memcpy(own + left * channels, image + y * w * channels,
                  static_cast<size_t>(w * channels) * sizeof(float));
      std::fill_n(own + (left + w) * channels, right * channels, 0.0f);
    }
    return own - (last - first) * width() * channels;
  }
};

// Rows of a lattice that one piece covers: about 16 pieces at least, and an input that stays in L2.
int64_t bands(int64_t images, int64_t rows, int64_t floats_of_image) {
  const int64_t wanted =
      std::max(ceil_div(16, std::max<int64_t>(images, 1)), ceil_div(floats_of_image, 65536));
  return std::clamp<int64_t>(wanted, 1, std::max<int64_t>(rows, 1));
}

// The weights of one lattice and group as the right side of Product: panels of rows (tap, k), taps
// in the lattice's order.
void pack_weights(const Plan& p, const Lattice& lattice, const float* w, float* packed) {
  const Micro& mu = micro();
  const int64_t size = mu.panel, taps = static_cast<int64_t>(lattice.taps.size()),
                panels = ceil_div(p.n, size);
  // Weights lie [o, c, tap]: vectors of output channels, [c, tap, o], come first; k counts c
  // forward, o for a gradient.
  const int64_t o = p.gradient ? p.k : p.n, c = p.gradient ? p.n : p.k, line = c * p.taps;
  parallel_pieces(ceil_div(o, size), [&](int64_t q) {
    const Scratch<float> turned(line * size);
    mu.pack(true, line, o, w, line, q, q + 1, turned - q * line * size);
    for (int64_t t = 0; t < taps; ++t) {
      const float* from = turned + lattice.taps[static_cast<size_t>(t)].weight * size;
      if (!p.gradient) {
        float* to = packed + (q * taps + t) * c * size;
        for (int64_t i = 0; i < c; ++i) std::copy_n(from + i * p.taps * size, size, to + i * size);
        continue;
      }
      const int64_t real = std::min(size, o - q * size);
      for (int64_t r = 0; r < panels; ++r)
        mu.pack(true, real, c, from, p.taps * size, r, r + 1,
                packed + ((r * taps + t) * o + q * size - r * real) * size);
    }
  });
}

// Taps that follow each other in memory are one long segment: their number, or 1.
int64_t run_length(const Plan& p, const Lattice& lattice) {
  const auto& taps = lattice.taps;
  if (p.groups > 1 || taps.empty()) return 1;
  const auto joined = [&](size_t i) {
    return taps[i].y == taps[i - 1].y && taps[i].x == taps[i - 1].x + 1;
  };
  size_t run = 1;
  while (run < taps.size() && joined(run)) ++run;
  if (taps.size() % run != 0) return 1;
  for (size_t i = 1; i < taps.size(); ++i)
    if (joined(i) != (i % run != 0)) return 1;
  return static_cast<int64_t>(run);
}

void depthwise(const Plan& p, const float* x, const float* w, const float* bias, float* y) {
  int64_t rows = 0, taps = 0;
  for (const Lattice& lattice : p.lattices) {
    rows = std::max(rows, lattice.rows);
    taps += static_cast<int64_t>(lattice.taps.size());
  }
  const Scratch<float> turned(taps * p.channels);  // [tap, c], one lattice after the other
  float* next = turned;
  for (const Lattice& lattice : p.lattices)
    for (const Tap& tap : lattice.taps)
      for (int64_t c = 0; c < p.channels; ++c) *next++ = w[c * p.taps + tap.weight];

  const int64_t count = bands(p.images, rows, 0);
  parallel_pieces(p.images * count, [&](int64_t piece) {
    const int64_t image = piece / count, band = piece % count;
    const float* weights = turned;
    for (const Lattice& l : p.lattices) {
      const int64_t size = static_cast<int64_t>(l.taps.size());
      micro().depthwise(
          {l.rows * band / count, l.rows * (band + 1) / count, l.columns, p.channels, size,
           l.taps.data(), x + image * p.h * p.w * p.channels, p.h, p.w, p.step_y, p.step_x,
           y + image * p.out_image + l.out, p.out_row, p.out_column},
          weights, bias);
      weights += size * p.channels;
    }
  });
}

void correlate(const Plan& p, const float* x, const float* w, const float* bias, float* y) {
  const Micro& mu = micro();
  const int64_t panels = ceil_div(p.n, mu.panel);
  Window window{0, 0, p.channels, p.w};
  int64_t above = 0, below = p.h, rows = 0,
          weights = 0;  // first and last row that any tap looks at
  for (const Lattice& lattice : p.lattices) {
    rows = std::max(rows, lattice.rows);
    weights += static_cast<int64_t>(lattice.taps.size()) * p.groups * p.k * panels * mu.panel;
    for (const Tap& tap : lattice.taps) {
      above = std::min(above, tap.y);
      below = std::max(below, (lattice.rows - 1) * p.step_y + tap.y + 1);
      window.left = std::max(window.left, -tap.x);
      window.right = std::max(window.right, (lattice.columns - 1) * p.step_x + tap.x + 1 - p.w);
    }
  }

  const Scratch<float> packed(weights);
  std::vector<const float*> right;  // the packed weights of each lattice
  float* next = packed;
  for (const Lattice& lattice : p.lattices) {
    right.push_back(next);
    const int64_t taps = static_cast<int64_t>(lattice.taps.size());
    const int64_t group = taps * p.k * panels * mu.panel;
    for (int64_t g = 0; g < p.groups; ++g)
      pack_weights(p, lattice, w + g * p.k * p.n * p.taps, next + g * group);
    next += p.groups * group;
  }

  const int64_t count = bands(p.images, rows, (below - above) * window.width() * p.channels);
  parallel_pieces(p.images * count, [&](int64_t piece) {
    const int64_t image = piece / count, band = piece % count;
    const auto begin_of = [&](const Lattice& lattice, int64_t b) {
      return lattice.rows * b / count;
    };
    int64_t first = p.h, last = 0;
    for (const Lattice& lattice : p.lattices)
      for (const Tap& tap : lattice.taps) {
        if (begin_of(lattice, band) == begin_of(lattice, band + 1)) continue;
        first = std::min(first, begin_of(lattice, band) * p.step_y + tap.y);
        last = std::max(last, (begin_of(lattice, band + 1) - 1) * p.step_y + tap.y + 1);
      }
    const Scratch<float> own(std::max<int64_t>(0, last - first) * window.width() * p.channels);
    const float* in =
        window.view(x + image * p.h * p.w * p.channels, p.h, first, std::max(first, last), own);
    std::vector<int64_t> offsets;
    for (size_t l = 0; l < p.lattices.size(); ++l) {
      const Lattice& lattice = p.lattices[l];
      const int64_t begin = begin_of(lattice, band),
                    row_count = begin_of(lattice, band + 1) - begin;
      if (row_count == 0) continue;
      const int64_t taps = static_cast<int64_t>(lattice.taps.size()), run = run_length(p, lattice);
      const int64_t line = window.width() * p.channels;
      offsets.clear();
      for (int64_t t = 0; t < taps; t += run) {
        const Tap& tap = lattice.taps[static_cast<size_t>(t)];
        offsets.push_back((begin * p.step_y + tap.y - first) * line +
                          (tap.x + window.left) * p.channels);
      }
      float* out = y + image * p.out_image + lattice.out + begin * p.out_row;
      Product product{.m = lattice.columns,
                      .k = p.k * run,
                      .a_row = p.step_x * p.channels,
                      .b_term = mu.panel,
                      .c_row = p.out_column,
                      .segments = taps / run,
                      .a_segments = offsets.data(),
                      .outer = row_count,
                      .a_outer = p.step_y * line,
                      .c_outer = p.out_row};
      for (int64_t g = 0; g < p.groups; ++g)
        for (int64_t q = 0; q < panels; ++q) {  // one panel of weights over all rows
          product.n = std::min(mu.panel, p.n - q * mu.panel);
          product.a = in + g * p.k;
          product.b = right[l] + (g * panels + q) * taps * p.k * mu.panel;
          product.c = out + g * p.n + q * mu.panel;
          product.bias = bias ? bias + g * p.n + q * mu.panel : nullptr;
          mu.product(product);
        }
    }
  });
}

void depthwise_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw) {
  const Lattice lattice = forward_plan(s).lattices[0];
  const int64_t sums = std::min(s.n, kSums), size = round_up(s.taps() * s.o, 16), oh = s.oh(),
                ow = s.ow();
  const Scratch<float> partials(sums * size);
  parallel_pieces(sums, [&](int64_t sum) {
    std::fill_n(partials + sum * size, size, 0.0f);
    for (int64_t image = s.n * sum / sums; image < s.n * (sum + 1) / sums; ++image)
      // The kernel only reads y here; Depthwise has one pointer for both directions.
      micro().depthwise_weights(
          {0, oh, ow, s.c, s.taps(), lattice.taps.data(), x + image * s.h * s.w * s.c, s.h, s.w,
           s.sh, s.sw, const_cast<float*>(dy + image * oh * ow * s.o), ow * s.o, s.o},
          partials + sum * size);
  });
  add_weight_sums(s, sums, size, partials, dw);
}

void direct_weight_gradient(const ConvShape& s, const float* x, const float* dy, float* dw) {
  const Micro& mu = micro();
  const int64_t cg = s.c / s.groups, og = s.o / s.groups, oh = s.oh(), ow = s.ow();
  const int64_t sums = std::min(s.n, kSums), size = round_up(s.taps() * cg * s.o, 16);
  const Scratch<float> partials(sums * size);
  const Window window{
      s.pw, std::max<int64_t>(0, (ow - 1) * s.sw + (s.kw - 1) * s.dw + 1 - s.pw - s.w), s.c, s.w};
  const int64_t line = window.width() * s.c, span = (s.kh - 1) * s.dh + 1;
  const int64_t count = bands(16, oh, (s.h + 2 * s.ph) * line);  // only so that a band stays in L2
  const int64_t wide = round_up(og, mu.lanes);
  const bool copy =
      wide != og;  // rows of dy that end within a vector are copied with room behind them
  const int64_t run = s.dw == 1 && s.groups == 1
                          ? s.kw
                          : 1;  // columns of the kernel that follow each other in memory

  parallel_pieces(sums, [&](int64_t sum) {
    float* partial = partials + sum * size;
    std::fill_n(partial, size, 0.0f);
    const int64_t most = ceil_div(oh, count);
    const Scratch<float> own(((most - 1) * s.sh + span) * line),
        own_dy(copy ? most * ow * wide : 0);
    std::vector<int64_t> offsets;
    for (int64_t piece = s.n * sum / sums * count; piece < s.n * (sum + 1) / sums * count;
         ++piece) {
      const int64_t image = piece / count, begin = oh * (piece % count) / count;
      const int64_t rows = oh * (piece % count + 1) / count - begin, first = begin * s.sh - s.ph;
      const float* in = window.view(x + image * s.h * s.w * s.c, s.h, first,
                                    first + (rows - 1) * s.sh + span, own);
      const float* out = dy + (image * oh + begin) * ow * s.o;
      offsets.clear();
      for (int64_t i = 0; i < rows; ++i) offsets.push_back(i * s.sh * line);
      for (int64_t g = 0; g < s.groups; ++g) {
        if (copy)
          for (int64_t i = 0; i < rows * ow; ++i) {
            std::copy_n(out + i * s.o + g * og, og, own_dy + i * wide);
            std::fill_n(own_dy + i * wide + og, wide - og, 0.0f);
          }
        Product product{.m = run * cg,
                        .n = og,
                        .k = ow,
                        .a_row = 1,
                        .a_term = s.sw * s.c,
                        .b = copy ? own_dy.data() : out + g * og,
                        .b_term = copy ? wide : s.o,
                        .b_panel = mu.panel,
                        .c_row = s.o,
                        .accumulate = true,
                        .segments = rows,
                        .a_segments = offsets.data()};
        for (int64_t t = 0; t < s.taps(); t += run) {
          product.a = in + t / s.kw * s.dh * line + t % s.kw * s.dw * s.c + g * cg;
          product.c = partial + t * cg * s.o + g * og;
          mu.product(product);
        }
      }
    }
  });
  add_weight_sums(s, sums, size, partials, dw);
}

// A 1x1 convolution of every pixel is a matrix product over all pixels of the batch.
bool is_matmul(const ConvShape& s) {
  return s.taps() == 1 && s.groups == 1 && s.sh == 1 && s.sw == 1 && s.ph == 0 && s.pw == 0;
}
bool is_depthwise(const ConvShape& s) { return s.groups > 1 && s.c == s.groups && s.o == s.groups; }
const char* direct_name(const ConvShape& s) {
  return is_matmul(s) ? "matmul" : is_depthwise(s) ? "depthwise" : "direct";
}

// The fast kernels see zeros around an image, and 0 times an infinite weight is a NaN where the
// plain loops have nothing. So weights (or, of the weight gradient, results) of which some are not
// finite are left to those. If none is, nothing can be saved: a training that has diverged does not
// become slow.
bool partly_finite(int64_t n, const float* x) {
  float lane[16] = {};  // a number less itself: 0, or a NaN
  float* const rest = lane;
  simd([=] {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
#pragma omp simd
      for (int64_t l = 0; l < 16; ++l) rest[l] += x[i + l] - x[i + l];
    }
    for (; i < n; ++i) rest[0] += x[i] - x[i];
  });
  if (std::all_of(lane, lane + 16, [](float e) { return e == 0; })) return false;
  return std::any_of(x, x + n, [](float e) { return std::isfinite(e); });
}
int64_t weight_count(const ConvShape& s) { return s.o * (s.c / s.groups) * s.taps(); }

std::atomic<bool>& winograd() {
  static std::atomic<bool> value = [] {
    const char* text = std::getenv("LOUPE_WINOGRAD");
    if (!text || !*text || std::strcmp(text, "1") == 0) return true;
    if (std::strcmp(text, "0") != 0) fail<ValueError>("LOUPE_WINOGRAD={}: expected 0 or 1", text);
    return false;
  }();
  return value;
}

}  // namespace

void add_weight_sums(const ConvShape& s, int64_t count, int64_t distance, float* partials,
                     float* dw) {
  const int64_t cg = s.c / s.groups, rows = s.taps() * cg;
  parallel_ranges(rows * s.o, 8192, [&](int64_t begin, int64_t end) {
    simd([=] {
      for (int64_t i = 1; i < count; ++i) {
        const float* from = partials + i * distance;
#pragma omp simd
        for (int64_t j = begin; j < end; ++j) partials[j] += from[j];
      }
    });
  });
  // [tap, c, o] to [o, c, tap]: a few rows of the result at a time, each written from front to
  // back.
  parallel_ranges(s.o, 8, [&](int64_t begin, int64_t end) {
    for (int64_t c = 0; c < cg; ++c)
      for (int64_t t = 0; t < s.taps(); ++t)
        for (int64_t o = begin; o < end; ++o)
          dw[(o * cg + c) * s.taps() + t] = partials[(t * cg + c) * s.o + o];
  });
}

template <class T>
void conv_forward(const ConvShape& s, const T* x, const T* w, const T* bias, T* y) {
  if (s.n * s.oh() * s.ow() * s.o == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (s.c > 0 && !plain_kernels()) {
      if (const int64_t tile = winograd_tile(s)) {
        chose(tile == 4 ? "winograd4" : "winograd2");
        if (winograd_forward(tile, s, x, w, bias, y)) return;
      }
      if (is_matmul(s) || !partly_finite(weight_count(s), w)) {
        chose(direct_name(s));
        if (is_matmul(s)) return linear(s.n * s.h * s.w, s.c, s.o, x, w, false, bias, false, y);
        return (is_depthwise(s) ? depthwise : correlate)(forward_plan(s), x, w, bias, y);
      }
    }
  }
  chose("plain");
  conv_forward_plain(s, x, w, bias, y);
}

template <class T> void conv_input_gradient(const ConvShape& s, const T* dy, const T* w, T* dx) {
  if (s.n * s.h * s.w * s.c == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (s.o > 0 && !plain_kernels()) {
      if (const int64_t tile = winograd_tile(s)) {
        chose(tile == 4 ? "winograd4" : "winograd2");
        if (winograd_input_gradient(tile, s, dy, w, dx)) return;
      }
      if (is_matmul(s) || !partly_finite(weight_count(s), w)) {
        chose(direct_name(s));
        if (is_matmul(s)) return linear_dx(s.n * s.h * s.w, s.c, s.o, dy, w, dx);
        return (is_depthwise(s) ? depthwise : correlate)(gradient_plan(s), dy, w, nullptr, dx);
      }
    }
  }
  chose("plain");
  conv_input_gradient_plain(s, dy, w, dx);
}

template <class T> void conv_weight_gradient(const ConvShape& s, const T* x, const T* dy, T* dw) {
  if (s.o * s.c * s.taps() == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    if (s.n > 0 && !plain_kernels()) {
      if (const int64_t tile = winograd_tile(s)) {
        chose(tile == 4 ? "winograd4" : "winograd2");
        if (winograd_weight_gradient(tile, s, x, dy, dw)) return;
      }
      chose(direct_name(s));
      if (is_matmul(s)) return linear_dw<T>(s.n * s.h * s.w, s.c, s.o, dy, x, dw);
      (is_depthwise(s) ? depthwise_weight_gradient : direct_weight_gradient)(s, x, dy, dw);
      if (!partly_finite(weight_count(s), dw)) return;
    }
  }
  chose("plain");
  conv_weight_gradient_plain(s, x, dy, dw);
}

const char* last_conv_kernel() { return t_last; }
bool winograd_enabled() { return winograd(); }
void set_winograd_enabled(bool enabled) { winograd() = enabled; }

#define LOUPE_CONV(T)                                                                \
  template void conv_forward<T>(const ConvShape&, const T*, const T*, const T*, T*); \
  template void conv_input_gradient<T>(const ConvShape&, const T*, const T*, T*);    \
  template void conv_weight_gradient<T>(const ConvShape&, const T*, const T*, T*);
LOUPE_CONV(float)
LOUPE_CONV(double)

}  // namespace loupe::kernels
