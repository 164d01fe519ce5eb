// Direct convolution as a matrix product whose left operand is never made: a row of A is a pixel of
// the output, its terms are what the pixel's taps see, and they lie in the padded image already.
//
//   image, channels last            A row of A for the pixel at (0, 0) of a 3x3 kernel:
//
//   | p00 p01 p02 | p03 ..            segment 0: p00 p01 p02     3 pixels of `channels` floats,
//   | p10 p11 p12 | p13 ..            segment 1: p10 p11 p12     which follow each other in memory
//   | p20 p21 p22 | p23 ..            segment 2: p20 p21 p22
//
// The next row of A starts one pixel further on.
#include <loupe/core/kernels/conv/lattice.h>
#include <loupe/core/kernels/conv/padded_rows.h>
#include <loupe/core/kernels/conv/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <vector>

namespace loupe::kernels {
namespace {

// Taps that follow each other in memory make one long segment: how many, or 1.
int64_t joined_taps(const Correlation& p, const Lattice& lattice) {
  const auto& taps = lattice.taps;
  if (p.groups > 1 || taps.empty()) return 1;
  const auto joined = [&](size_t i) {
    return taps[i].y == taps[i - 1].y && taps[i].x == taps[i - 1].x + 1;
  };
  size_t count = 1;
  while (count < taps.size() && joined(count)) ++count;
  if (taps.size() % count != 0) return 1;
  for (size_t i = 1; i < taps.size(); ++i)
    if (joined(i) != (i % count != 0)) return 1;
  return static_cast<int64_t>(count);
}

// The weights of each lattice and group as the right side of Product: panels of rows (tap, k), taps
// in the lattice's order.
class PackedWeights {
 public:
  PackedWeights(const Correlation& p, const float* w)
      : p_(p), panels_(ceil_div(p.n, mu_.panel)), packed_(size(p)) {
    float* next = packed_;
    for (const Lattice& lattice : p.lattices) {
      starts_.push_back(next);
      for (int64_t g = 0; g < p.groups; ++g) {
        pack(lattice, w + g * p.k * p.n * p.taps, next);
        next += panels_ * panel_size(lattice);
      }
    }
  }

  int64_t panels() const { return panels_; }
  // Panel q of a group.
  const float* panel(size_t lattice, int64_t group, int64_t q) const {
    return starts_[lattice] + (group * panels_ + q) * panel_size(p_.lattices[lattice]);
  }

 private:
  int64_t panel_size(const Lattice& lattice) const {
    return lattice.tap_count() * p_.k * mu_.panel;
  }
  int64_t size(const Correlation& p) const {
    int64_t floats = 0;
    for (const Lattice& lattice : p.lattices) floats += p.groups * panels_ * panel_size(lattice);
    return floats;
  }

  // Weights lie [o, c, tap]. Vectors of output channels, [c, tap, o], come first; k counts c
  // forward, o for a gradient.
  void pack(const Lattice& lattice, const float* w, float* packed) const {
    const int64_t o = p_.gradient ? p_.k : p_.n, c = p_.gradient ? p_.n : p_.k;
    const int64_t line = c * p_.taps;
    parallel_pieces(ceil_div(o, mu_.panel), [&](int64_t q) {
      const Scratch<float> by_output(line * mu_.panel);  // [c, tap, o] of the panel's o
      mu_.pack_right({line, o, w, line, true}, q, q + 1, by_output - q * line * mu_.panel);
      for (int64_t t = 0; t < lattice.tap_count(); ++t) {
        const int64_t weight = lattice.taps[static_cast<size_t>(t)].weight;
        const float* from = by_output + weight * mu_.panel;
        if (p_.gradient) pack_gradient_tap(lattice, t, q, from, packed);
        else pack_tap(packed + (q * lattice.tap_count() + t) * c * mu_.panel, from);
      }
    });
  }
  void pack_tap(float* to, const float* from) const {
    for (int64_t i = 0; i < p_.k; ++i)
      std::copy_n(from + i * p_.taps * mu_.panel, mu_.panel, to + i * mu_.panel);
  }
  // One tap, for the output channels of panel q, which are terms here: rows of every panel of
  // input channels.
  void pack_gradient_tap(const Lattice& lattice, int64_t t, int64_t q, const float* from,
                         float* packed) const {
    const int64_t first = q * mu_.panel, terms = std::min(mu_.panel, p_.k - first);
    for (int64_t r = 0; r < panels_; ++r) {
      float* to = packed + ((r * lattice.tap_count() + t) * p_.k + first) * mu_.panel;
      mu_.pack_right({terms, p_.n, from, p_.taps * mu_.panel, true}, r, r + 1,
                     to - r * terms * mu_.panel);
    }
  }

  const Correlation& p_;
  const Micro& mu_ = micro();
  int64_t panels_;
  Scratch<float> packed_;
  std::vector<const float*> starts_;  // of each lattice
};

// What the taps of all lattices see.
struct Reach {
  PaddedRows padded;
  int64_t first_row = 0, last_row;

  explicit Reach(const Correlation& p) : padded{0, 0, p.channels, p.w}, last_row(p.h) {
    for (const Lattice& lattice : p.lattices)
      for (const Tap& tap : lattice.taps) {
        const int64_t last_column = (lattice.columns - 1) * p.step_x + tap.x + 1;
        first_row = std::min(first_row, tap.y);
        last_row = std::max(last_row, (lattice.rows - 1) * p.step_y + tap.y + 1);
        padded.left = std::max(padded.left, -tap.x);
        padded.right = std::max(padded.right, last_column - p.w);
      }
  }
};

// One of `count` bands of an image: some rows of every lattice, and the input rows that they see.
struct Band {
  const Correlation& p;
  int64_t index, count;
  int64_t first, last;

  Band(const Correlation& all, int64_t i, int64_t n)
      : p(all), index(i), count(n), first(all.h), last(0) {
    for (const Lattice& lattice : p.lattices)
      for (const Tap& tap : lattice.taps) {
        if (begin(lattice) == end(lattice)) continue;
        first = std::min(first, begin(lattice) * p.step_y + tap.y);
        last = std::max(last, (end(lattice) - 1) * p.step_y + tap.y + 1);
      }
    last = std::max(first, last);
  }
  int64_t begin(const Lattice& lattice) const { return lattice.rows * index / count; }
  int64_t end(const Lattice& lattice) const { return lattice.rows * (index + 1) / count; }
};

// Where the segments of a pixel's row of A start, in the input rows of a band.
std::vector<int64_t> segments_of(const Band& band, const Lattice& lattice,
                                 const PaddedRows& padded) {
  std::vector<int64_t> offsets;
  const int64_t joined = joined_taps(band.p, lattice);
  for (int64_t t = 0; t < lattice.tap_count(); t += joined) {
    const Tap& tap = lattice.taps[static_cast<size_t>(t)];
    const int64_t row = band.begin(lattice) * band.p.step_y + tap.y - band.first;
    offsets.push_back(row * padded.line() + (tap.x + padded.left) * padded.channels);
  }
  return offsets;
}

// What all pieces share.
struct Direct {
  const Correlation& p;
  const PaddedRows& padded;
  const PackedWeights& weights;
  const float* bias;

  // A lattice's rows in a band. `in`: the band's input rows; `out`: the output image.
  void multiply(const Band& band, size_t index, const float* in, float* out) const {
    const Micro& mu = micro();
    const Lattice& lattice = p.lattices[index];
    const int64_t begin = band.begin(lattice), end = band.end(lattice);
    if (begin == end) return;
    const std::vector<int64_t> segments = segments_of(band, lattice, padded);
    Product product{.m = lattice.columns,
                    .k = p.k * joined_taps(p, lattice),
                    .a_row = p.step_x * p.channels,
                    .b_term = mu.panel,
                    .c_row = p.out_column,
                    .segments = static_cast<int64_t>(segments.size()),
                    .a_segments = segments.data(),
                    .outer = end - begin,
                    .a_outer = p.step_y * padded.line(),
                    .c_outer = p.out_row};
    for (int64_t g = 0; g < p.groups; ++g)
      for (int64_t q = 0; q < weights.panels(); ++q) {  // one panel of weights over all rows
        const int64_t column = g * p.n + q * mu.panel;
        product.n = std::min(mu.panel, p.n - q * mu.panel);
        product.a = in + g * p.k;
        product.b = weights.panel(index, g, q);
        product.c = out + lattice.out + begin * p.out_row + column;
        product.bias = bias ? bias + column : nullptr;
        mu.product(product);
      }
  }
};

void correlate(const Correlation& p, const float* x, const float* w, const float* bias, float* y) {
  const Reach reach(p);
  const PaddedRows& padded = reach.padded;
  const PackedWeights weights(p, w);
  const Direct direct{p, padded, weights, bias};
  const int64_t floats = (reach.last_row - reach.first_row) * padded.line();
  const int64_t count = bands(p.images, p.most_rows(), floats);
  parallel_pieces(p.images * count, [&](int64_t piece) {
    const int64_t image = piece / count;
    const Band band(p, piece % count, count);
    const Scratch<float> own((band.last - band.first) * padded.line());
    const float* in = padded.view(x + image * p.in_image(), p.h, band.first, band.last, own);
    for (size_t l = 0; l < p.lattices.size(); ++l)
      direct.multiply(band, l, in, y + image * p.out_image);
  });
}

}  // namespace

void direct_forward(const ConvForward<float>& call) {
  correlate(forward_correlation(call.shape), call.x, call.w, call.bias, call.y);
}

void direct_input_gradient(const ConvInputGradient<float>& call) {
  correlate(gradient_correlation(call.shape), call.dy, call.w, nullptr, call.dx);
}

}  // namespace loupe::kernels
