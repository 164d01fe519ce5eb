// norm_apply and norm_backward of channel norms.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/channels.h>
#include <loupe/core/kernels/norm/fast.h>

namespace loupe::kernels {
namespace {

constexpr int64_t kChunk = 64;  // rows whose sums stay in float

/// What relu lets through of dy, where its input is v.
template <bool kRelu> inline float live(float v, float dy) { return kRelu && v <= 0 ? 0.0F : dy; }

/// y = (x - center) * scale + shift over `rows` rows of `width` columns.
template <bool kRelu>
void apply_rows(int64_t rows, int64_t width, const Coefficients& k, const float* x, float* y) {
  simd([=] {
    for (int64_t first = 0; first < rows; first += kChunk) {
      for_strips(width, [=](int64_t c, auto w) {
        const StripForward s(k, c, w);
        const float* in = x + first * width + c;
        float* out = y + first * width + c;
        const int64_t n = std::min(kChunk, rows - first);
        for (int64_t r = 0; r < n; ++r, in += width, out += width) {
          prefetch_far(out, w);
#pragma omp simd
          for (int64_t j = 0; j < w; ++j) {
            const float v = (in[j] - s.center[j]) * s.scale[j] + s.shift[j];
            out[j] = kRelu && v < 0 ? 0 : v;
          }
        }
      });
    }
  });
}

/// Where sums of dt and of dt * (x - center) go, one each a column. dt is dy, 0 where relu clipped.
struct Sums {
  double *dt, *dt_x;
};

/// Adds the sums over one strip of at most kChunk rows, four rows at a time.
template <bool kRelu, class W>
inline void sum_strip(int64_t rows, int64_t width, const StripForward& s, W w, const float* x,
                      const float* dy, const Sums& to) {
  float dt[kStrip], dt_x[kStrip];
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) {
    dt[j] = 0;
    dt_x[j] = 0;
  }
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4, x += 4 * width, dy += 4 * width) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      const float center = s.center[j], scale = s.scale[j], shift = s.shift[j];
      const float v0 = x[j] - center;
      const float v1 = x[width + j] - center;
      const float v2 = x[2 * width + j] - center;
      const float v3 = x[3 * width + j] - center;
      const float d0 = live<kRelu>(v0 * scale + shift, dy[j]);
      const float d1 = live<kRelu>(v1 * scale + shift, dy[width + j]);
      const float d2 = live<kRelu>(v2 * scale + shift, dy[2 * width + j]);
      const float d3 = live<kRelu>(v3 * scale + shift, dy[3 * width + j]);
      dt[j] += (d0 + d1) + (d2 + d3);
      dt_x[j] += (d0 * v0 + d1 * v1) + (d2 * v2 + d3 * v3);
    }
  }
  for (; r < rows; ++r, x += width, dy += width) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      const float v = x[j] - s.center[j];
      const float d = live<kRelu>(v * s.scale[j] + s.shift[j], dy[j]);
      dt[j] += d;
      dt_x[j] += d * v;
    }
  }
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) {
    to.dt[j] += double(dt[j]);
    to.dt_x[j] += double(dt_x[j]);
  }
}

/// Adds the sums over `rows` rows of `width` columns.
template <bool kRelu>
void sum_rows(int64_t rows, int64_t width, const Coefficients& k, const float* x, const float* dy,
              const Sums& to) {
  simd([=] {
    for (int64_t first = 0; first < rows; first += kChunk) {
      for_strips(width, [=](int64_t c, auto w) {
        const StripForward s(k, c, w);
        const int64_t at = first * width + c;
        sum_strip<kRelu>(std::min(kChunk, rows - first), width, s, w, x + at, dy + at,
                         Sums{to.dt + c, to.dt_x + c});
      });
    }
  });
}

/// dx = dt * scale + (x - center) * slope + offset over `rows` rows. Without kFlows (masked rows,
/// running statistics) it is dt * scale: a product with a slope of 0 would be NaN where x is
/// infinite.
template <bool kRelu, bool kFlows>
void dx_rows(int64_t rows, int64_t width, const Coefficients& k, const NormGradients<float>& to,
             const float* x) {
  simd([=, dy = to.dy, dx = to.dx] {
    for (int64_t first = 0; first < rows; first += kChunk) {
      for_strips(width, [=](int64_t c, auto w) {
        const StripForward s(k, c, w);
        const StripBackward b(k, c, w);
        const float* in = x + first * width + c;
        const float* up = dy + first * width + c;
        float* out = dx + first * width + c;
        const int64_t n = std::min(kChunk, rows - first);
        for (int64_t r = 0; r < n; ++r, in += width, up += width, out += width) {
          prefetch_far(out, w);
#pragma omp simd
          for (int64_t j = 0; j < w; ++j) {
            const float v = in[j] - s.center[j];
            const float dt = live<kRelu>(v * s.scale[j] + s.shift[j], up[j]);
            const float own = dt * s.scale[j];
            out[j] = kFlows ? own + (v * b.slope[j] + b.offset[j]) : own;
          }
        }
      });
    }
  });
}

constexpr int kForwardArrays = 3;  // center, scale, shift
constexpr int kAllArrays = 5;      // and slope, offset

/// Repeats a channel's coefficients over a folded row.
struct FoldedCoefficients : Coefficients {
  float room[kAllArrays * NormCut::kMaxFolded];
  FoldedCoefficients(const Coefficients& from, int64_t channels, int64_t fold, int arrays)
      : Coefficients(room, NormCut::kMaxFolded) {
    const float* source[] = {from.center, from.scale, from.shift, from.slope, from.offset};
    for (int a = 0; a < arrays; ++a)
      for (int64_t f = 0; f < fold; ++f)
        std::copy_n(source[a], channels, room + a * NormCut::kMaxFolded + f * channels);
  }
};

/// Rows of a piece that are treated alike: `rows` rows of `width` columns, from the number `at` of
/// the image on.
struct Stretch {
  int64_t at, rows, width;
  const Coefficients& k;  // of the columns
  bool counts;            // in the statistics
};

/// Calls f(stretch) for a piece: folded rows first, then the rest.
template <class F>
void for_stretches(const NormShape& s, const NormCut& cut, const Coefficients& k, int arrays,
                   const NormPiece& piece, const F& f) {
  const int64_t C = s.channels, rows = piece.end - piece.begin;
  const int64_t folded = cut.fold > 1 ? rows / cut.fold : 0;
  if (folded) {
    const FoldedCoefficients wide(k, C, cut.fold, arrays);
    f(Stretch{piece.begin * C, folded, cut.width, wide, true});
  }
  for_mask_stretches(s.mask, piece.begin + folded * cut.fold, piece.end, rows,
                     [&](int64_t row, int64_t n, bool counts) {
                       f(Stretch{row * C, n, C, k, counts});
                     });
}

/// What backward keeps in its scratch.
struct Workspace {
  Coefficients k;    // (images, channels)
  double* sums;      // (images, channels, 2)
  double* partials;  // (images, pieces, cut.partial)

  Workspace(const NormShape& s, double* scratch)
      : k(reinterpret_cast<float*>(scratch), s.images * s.channels),
        sums(scratch + coefficient_doubles(s)),
        partials(sums + whole_lines(2 * s.images * s.channels)) {}
  Workspace image(const NormShape& s, const NormCut& cut, int64_t i) const {
    Workspace own = *this;
    own.k = k.from(i * s.channels);
    own.sums += i * 2 * s.channels;
    own.partials += i * cut.image_pieces * cut.partial;
    return own;
  }
};

/// The sums of one image's channels.
template <bool kRelu>
void sum_image(const NormInput<float>& in, const float* dy, const NormCut& cut,
               const Workspace& room) {
  const NormShape& s = in.shape;
  const int64_t C = s.channels;
  for_pieces(s, cut, [&](const NormPiece& piece) {
    double* const out = room.partials + piece.index * cut.partial;
    std::fill_n(out, 2 * C, 0.0);
    for_stretches(s, cut, room.k, kForwardArrays, piece, [&](const Stretch& b) {
      const float *const x = in.x + b.at, *const up = dy + b.at;
      if (b.width == C) return sum_rows<kRelu>(b.rows, C, b.k, x, up, {out, out + C});
      double wide[2 * NormCut::kMaxFolded] = {};
      sum_rows<kRelu>(b.rows, b.width, b.k, x, up, {wide, wide + b.width});
      for (int64_t j = 0; j < b.width; ++j) {
        out[j % C] += wide[j];
        out[C + j % C] += wide[b.width + j];
      }
    });
  });
  add_partials(C, {room.partials, cut.image_pieces, cut.partial}, room.sums);
}

template <bool kRelu>
void dx_image(const NormInput<float>& in, const NormStats& stats, const NormGradients<float>& to,
              const NormCut& cut, const Coefficients& k) {
  for_pieces(in.shape, cut, [&](const NormPiece& piece) {
    for_stretches(in.shape, cut, k, kAllArrays, piece, [&](const Stretch& b) {
      const bool flows = b.counts && !stats.constant;
      const auto run = flows ? dx_rows<kRelu, true> : dx_rows<kRelu, false>;
      run(b.rows, b.width, b.k, {.dy = to.dy + b.at, .dx = to.dx + b.at}, in.x + b.at);
    });
  });
}

template <bool kRelu>
void backward(const NormInput<float>& in, const NormStats& stats, const NormGradients<float>& to,
              double* scratch) {
  const NormShape& s = in.shape;
  const NormCut cut(s);
  const Workspace all(s, scratch);
  const bool needs_sums = !stats.constant || to.dgamma || to.dbeta;
  for_images(s, cut, [&](int64_t i) {
    const NormInput<float> image = image_of(in, i);
    const NormStats its_stats = image_of(stats, s, i);
    const NormGradients<float> its = image_of(to, s, i);
    const Workspace room = all.image(s, cut, i);
    forward_coefficients(image, its_stats, room.k);
    if (needs_sums) sum_image<kRelu>(image, its.dy, cut, room);
    backward_coefficients(image, its_stats, room.sums, room.k);
    if (to.dx) dx_image<kRelu>(image, its_stats, its, cut, room.k);
  });
  weight_gradients(s, stats, all.sums, all.k, to);
}

}  // namespace

void apply_image(const NormInput<float>& image, const NormStats& stats, const NormCut& cut,
                 const Coefficients& k, float* y) {
  forward_coefficients(image, stats, k);
  const auto run = image.relu ? apply_rows<true> : apply_rows<false>;
  for_pieces(image.shape, cut, [&](const NormPiece& piece) {
    for_stretches(image.shape, cut, k, kForwardArrays, piece,
                  [&](const Stretch& b) { run(b.rows, b.width, b.k, image.x + b.at, y + b.at); });
  });
}

void fast::norm_apply(const NormInput<float>& in, const NormStats& stats, float* y,
                      double* scratch) {
  NormInput<float> all = in;
  all.shape.mask = nullptr;  // masked rows are normalized like the others
  const NormShape& s = all.shape;
  const NormCut cut(s);
  const Coefficients k(reinterpret_cast<float*>(scratch), s.images * s.channels);
  for_images(s, cut, [&](int64_t i) {
    const int64_t channels = i * s.channels;
    apply_image(image_of(all, i), image_of(stats, s, i), cut, k.from(channels),
                y + channels * s.rows);
  });
}

void fast::norm_backward(const NormInput<float>& in, const NormStats& stats,
                         const NormGradients<float>& to, double* scratch) {
  const auto run = in.relu ? backward<true> : backward<false>;
  run(in, stats, to, scratch);
}

int64_t norm_scratch(const NormShape& s) {
  const NormCut cut(s);
  return coefficient_doubles(s) + whole_lines(2 * s.images * s.channels) +
         s.images * cut.image_pieces * cut.partial;
}

}  // namespace loupe::kernels
