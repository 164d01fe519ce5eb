// Mean and variance of channels and groups.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/channels.h>
#include <loupe/core/kernels/norm/fast.h>

#include <cmath>

namespace loupe::kernels {
namespace {

constexpr int64_t kChunk = 64;  // rows whose sums stay in float

/// `rows` rows (folded or not), `stride` numbers apart.
struct Chunk {
  const float* x;
  int64_t stride, rows;
};

/// Of some columns: the sum, and m2 = sum of (x - mean)^2, over the `seen` rows so far.
struct Moments {
  double *sum, *m2;
  double seen;
};

/// f(0) + ... + f(7): written out, because g++ 12 keeps accumulators in memory and does not unroll
/// such a loop by itself.
template <class F> inline float eight(const F& f) {
  return ((f(0) + f(1)) + (f(2) + f(3))) + ((f(4) + f(5)) + (f(6) + f(7)));
}

/// The mean of the first `rows` rows of a strip.
template <class W> inline void strip_mean(const Chunk& b, int64_t rows, W w, float* mean) {
  const float inverse = 1 / static_cast<float>(rows);
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) mean[j] = 0;
  for (int64_t r = 0; r < rows; ++r) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) mean[j] += b.x[r * b.stride + j];
  }
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) mean[j] *= inverse;
}

/// Sums of x - about and of its square over a strip of the chunk.
template <class W>
inline void strip_deviations(const Chunk& b, W w, const float* about, float* sum, float* square) {
  const int64_t stride = b.stride;
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) {
    sum[j] = 0;
    square[j] = 0;
  }
  const float* x = b.x;
  int64_t r = 0;
  for (; r + 8 <= b.rows; r += 8, x += 8 * stride) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      const float a = about[j];
      sum[j] += eight([=](int64_t u) { return x[u * stride + j] - a; });
      square[j] +=
          eight([=](int64_t u) { return (x[u * stride + j] - a) * (x[u * stride + j] - a); });
    }
  }
  for (; r < b.rows; ++r, x += stride) {
#pragma omp simd
    for (int64_t j = 0; j < w; ++j) {
      const float d = x[j] - about[j];
      sum[j] += d;
      square[j] += d * d;
    }
  }
}

/// Merges a strip of a chunk into what `to` holds. Deviations are taken about the mean a of the
/// first k = min(n, 8) of its n rows. That is safe: with m the mean of all and M their squared
/// deviations, M >= k (a - m)^2, so sum (x - a)^2 = M + n (a - m)^2 is at most (1 + n / k) M: 9 M
/// in a chunk of 64.
template <class W> inline void add_strip(const Chunk& b, W w, const Moments& to) {
  constexpr int64_t kFew = 8;
  float about[kStrip], sum[kStrip], square[kStrip];
  strip_mean(b, std::min(b.rows, kFew), w, about);
  strip_deviations(b, w, about, sum, square);
  const auto n = static_cast<double>(b.rows);
  const double inverse = 1 / n, inverse_seen = to.seen > 0 ? 1 / to.seen : 0;
  const double weight = to.seen * n / (to.seen + n);
#pragma omp simd
  for (int64_t j = 0; j < w; ++j) {
    const double d = double(sum[j]);
    const double total = d + n * double(about[j]);
    const double between = to.sum[j] * inverse_seen - total * inverse;  // of the two means
    to.m2[j] += double(square[j]) - d * d * inverse + between * between * weight;
    to.sum[j] += total;
  }
}

/// Merges all columns of a chunk.
inline void add_chunk(const Chunk& b, int64_t width, Moments& to) {
  for_strips(width, [b, to](int64_t c, auto w) {
    add_strip(Chunk{b.x + c, b.stride, b.rows}, w, Moments{to.sum + c, to.m2 + c, to.seen});
  });
  to.seen += static_cast<double>(b.rows);
}

/// The moments of folded rows, joined to one a channel. Each of the folded columns saw the same
/// number of rows.
inline void join_folds(const Moments& wide, int64_t channels, int64_t fold, Moments& to) {
  const double inverse = 1 / wide.seen;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t k = 0; k < fold; ++k) {
      to.sum[c] += wide.sum[k * channels + c];
      to.m2[c] += wide.m2[k * channels + c];
    }
    const double mean = to.sum[c] * inverse / static_cast<double>(fold);
    for (int64_t k = 0; k < fold; ++k) {
      const double off = wide.sum[k * channels + c] * inverse - mean;
      to.m2[c] += wide.seen * off * off;
    }
  }
  to.seen = wide.seen * static_cast<double>(fold);
}

/// A piece's partial sums: sum (channels), m2 (channels), and the number of rows that count.
inline void piece_moments(const NormInput<float>& in, const NormCut& cut, const NormPiece& piece,
                          double* out) {
  const int64_t C = in.shape.channels;
  std::fill_n(out, 2 * C + 1, 0.0);
  Moments to{out, out + C, 0};
  const int64_t folded = cut.fold > 1 ? (piece.end - piece.begin) / cut.fold : 0;
  if (folded) {
    double room[2 * NormCut::kMaxFolded] = {};
    Moments wide{room, room + cut.width, 0};
    for (int64_t r = 0; r < folded; r += kChunk) {
      const float* const x = in.x + piece.begin * C + r * cut.width;
      add_chunk({x, cut.width, std::min(kChunk, folded - r)}, cut.width, wide);
    }
    join_folds(wide, C, cut.fold, to);
  }
  for_mask_stretches(in.shape.mask, piece.begin + folded * cut.fold, piece.end, kChunk,
                     [&](int64_t row, int64_t rows, bool counts) {
                       if (counts) add_chunk({in.x + row * C, C, rows}, C, to);
                     });
  out[2 * C] = to.seen;
}

/// mean and var of one image's groups from its pieces.
void join_pieces(const NormShape& s, const Partials& pieces, double extra, double* mean,
                 double* var) {
  const int64_t C = s.channels, size = group_size(s);
  const auto piece = [&](int64_t i) { return pieces.first + i * pieces.stride; };
  double rows = 0;
  for (int64_t i = 0; i < pieces.count; ++i) rows += piece(i)[2 * C];
  const double total = rows * static_cast<double>(size) + extra;
  const double inverse = total > 0 ? 1 / total : 0;
  std::fill_n(mean, s.groups, 0.0);
  std::fill_n(var, s.groups, 0.0);
  for (int64_t i = 0; i < pieces.count; ++i) {
    const double* const sum = piece(i);
    for (int64_t g = 0; g < s.groups; ++g)
      for (int64_t c = g * size; c < (g + 1) * size; ++c) mean[g] += sum[c] * inverse;
  }
  for (int64_t i = 0; i < pieces.count; ++i) {
    const double *const sum = piece(i), *const m2 = sum + C;
    const double n = sum[2 * C], inverse_n = n > 0 ? 1 / n : 0;
    for (int64_t g = 0; g < s.groups; ++g)
      for (int64_t c = g * size; c < (g + 1) * size; ++c) {
        const double off = sum[c] * inverse_n - mean[g];
        var[g] += (m2[c] + n * off * off) * inverse;
      }
  }
}

/// norm_moments, and then(image) after each image.
template <class F>
double moments_then(const NormInput<float>& in, double extra, const NormMoments& to,
                    double* scratch, const F& then) {
  const NormShape& s = in.shape;
  const NormCut cut(s);
  for_images(s, cut, [&](int64_t image) {
    double* const partials = scratch + image * cut.image_pieces * cut.partial;
    for_pieces(s, cut, [&](const NormPiece& piece) {
      simd([=, own = image_of(in, image), out = partials + piece.index * cut.partial] {
        piece_moments(own, cut, piece, out);
      });
    });
    join_pieces(s, {partials, cut.image_pieces, cut.partial}, extra, to.mean + image * s.groups,
                to.var + image * s.groups);
    then(image);
  });
  return norm_count(s);
}

}  // namespace

double fast::norm_moments(const NormInput<float>& in, double extra, const NormMoments& to,
                          double* scratch) {
  return moments_then(in, extra, to, scratch, [](int64_t) {});
}

double fast::norm_forward(const NormInput<float>& in, double eps, const NormMoments& to, float* y,
                          double* scratch) {
  const NormShape& s = in.shape;
  double* const partials = scratch + coefficient_doubles(s);
  const Coefficients all(reinterpret_cast<float*>(scratch), s.images * s.channels);
  const NormCut cut(s);
  return moments_then(in, 0, to, partials, [&](int64_t image) {
    for (int64_t g = image * s.groups; g < (image + 1) * s.groups; ++g)
      to.rstd[g] = 1 / std::sqrt(to.var[g] + eps);
    const NormStats stats = image_of(NormStats{to.mean, to.rstd}, s, image);
    const int64_t at = image * s.channels;
    apply_image(image_of(in, image), stats, cut, all.from(at), y + at * s.rows);
  });
}

}  // namespace loupe::kernels
