// Batch norm, relu and 2 x 2 max pooling in one pass.
//
//   window of x        after norm and relu     y            dy goes to the winner
//   top_left  top_right                                     (the first of equals)
//   0.5  2.0            1  4
//  -3.0  1.0      ->    0  2               ->   4            0  dy
//   bottom_left bottom_right                                 0  0
//
// relu is applied after the maximum: the result is the same, with one relu instead of four.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/fast.h>
#include <loupe/core/kernels/norm/strips.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {
namespace {

/// How images are cut: a piece is a range of pooled rows of one image.
struct PoolCut {
  int64_t height, width, channels, images;
  int64_t out_height, out_width;
  int64_t piece_rows;    // pooled rows of a piece
  int64_t image_pieces;  // pieces of an image
  int64_t pieces;        // of all images
  int64_t grain;         // pieces that a thread takes at once
  int64_t partial;       // doubles of a piece's sums, whole cache lines

  PoolCut(const NormShape& s, const NormImage& image)
      : height(image.height),
        width(image.width),
        channels(s.channels),
        images(height * width > 0 ? s.rows / (height * width) : 0),
        out_height(height / 2),
        out_width(width / 2),
        partial(whole_lines(2 * s.channels)) {
    const int64_t row = std::max<int64_t>(2 * width * s.channels, 1);  // numbers of a pooled row
    piece_rows = std::max<int64_t>(NormCut::kPiece / row, 1);
    image_pieces = std::max<int64_t>((out_height + piece_rows - 1) / piece_rows, 1);
    pieces = images * image_pieces;
    const int64_t rows = std::max<int64_t>(std::min(piece_rows, out_height), 1);
    grain = std::max<int64_t>(NormCut::kPiece / (row * rows), 1);
  }
  /// Where a pixel begins.
  int64_t input(int64_t image, int64_t y, int64_t x) const {
    return ((image * height + y) * width + x) * channels;
  }
  int64_t output(int64_t image, int64_t y, int64_t x) const {
    return ((image * out_height + y) * out_width + x) * channels;
  }
};

/// The pooled rows [begin, end) of an image. `index`: which piece of all.
struct PoolPiece {
  int64_t index, image, begin, end;
};

/// Calls f(piece) for all pieces, on all threads.
template <class F> void for_pieces(const PoolCut& cut, const F& f) {
  parallel_ranges(cut.pieces, cut.grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t begin = i % cut.image_pieces * cut.piece_rows;
      const int64_t end = std::min(cut.out_height, begin + cut.piece_rows);
      f(PoolPiece{i, i / cut.image_pieces, begin, end});
    }
  });
}

/// The larger of two, NaN if one is.
inline float larger(float first, float second) {
  const float most = second > first ? second : first;
  return second != second ? second : most;
}

// Below, a pixel of one channel is two numbers: its x - center, and its value after the norm. No
// structs, and no lambdas: g++ 12 keeps those of a vector loop in memory, which takes three times
// as long.

/// `b` where `second` is the larger, `a` where `first` is, or both are equal.
inline float by_larger(float first, float second, float a, float b) {
  return second > first ? b : a;
}

/// What flows to x through the statistics.
template <bool kFlows> inline float flow(float x, float slope, float offset) {
  return kFlows ? x * slope + offset : 0;
}

/// One row of y from the two rows of x that begin at `x`.
void pool_row(const PoolCut& cut, const Coefficients& k, const float* x, float* y) {
  const int64_t C = cut.channels, row = cut.width * C, windows = cut.out_width;
  simd([=] {
    for_strips(C, [=](int64_t c, auto w) {
      const StripForward s(k, c, w);
      const float* in = x + c;
      float* out = y + c;
      for (int64_t i = 0; i < windows; ++i, in += 2 * C, out += C) {
        prefetch_far(out, w);
#pragma omp simd
        for (int64_t j = 0; j < w; ++j) {
          const float center = s.center[j], scale = s.scale[j], shift = s.shift[j];
          const float top_left = (in[j] - center) * scale + shift;
          const float top_right = (in[C + j] - center) * scale + shift;
          const float bottom_left = (in[row + j] - center) * scale + shift;
          const float bottom_right = (in[row + C + j] - center) * scale + shift;
          const float v = larger(larger(top_left, top_right), larger(bottom_left, bottom_right));
          out[j] = v < 0 ? 0 : v;
        }
      }
    });
  });
}

/// Adds the sums of dt and of dt * (x - center) over a row of windows to sums and sums + C. dt is
/// dy at the window's winner, 0 where relu clipped.
void sum_row(const PoolCut& cut, const Coefficients& k, const float* x, const float* dy,
             double* sums) {
  const int64_t C = cut.channels, row = cut.width * C, windows = cut.out_width;
  simd([=] {
    for_strips(C, [=](int64_t c, auto w) {
      const StripForward s(k, c, w);
      float sum[kStrip], sum_x[kStrip];
#pragma omp simd
      for (int64_t j = 0; j < w; ++j) {
        sum[j] = 0;
        sum_x[j] = 0;
      }
      const float *in = x + c, *upstream = dy + c;
      for (int64_t i = 0; i < windows; ++i, in += 2 * C, upstream += C) {
#pragma omp simd
        for (int64_t j = 0; j < w; ++j) {
          const float center = s.center[j], scale = s.scale[j], shift = s.shift[j];
          const float top_left_x = in[j] - center;
          const float top_right_x = in[C + j] - center;
          const float bottom_left_x = in[row + j] - center;
          const float bottom_right_x = in[row + C + j] - center;
          const float top_left = top_left_x * scale + shift;
          const float top_right = top_right_x * scale + shift;
          const float bottom_left = bottom_left_x * scale + shift;
          const float bottom_right = bottom_right_x * scale + shift;
          const float top = by_larger(top_left, top_right, top_left, top_right);
          const float bottom = by_larger(bottom_left, bottom_right, bottom_left, bottom_right);
          const float winner = by_larger(top, bottom, top, bottom);
          const float top_x = by_larger(top_left, top_right, top_left_x, top_right_x);
          const float bottom_x =
              by_larger(bottom_left, bottom_right, bottom_left_x, bottom_right_x);
          const float winner_x = by_larger(top, bottom, top_x, bottom_x);
          const float g = upstream[j];  // loaded before the choice: a conditional load is no vector
          const float dt = winner > 0 ? g : 0;
          sum[j] += dt;
          sum_x[j] += dt * winner_x;
        }
      }
#pragma omp simd
      for (int64_t j = 0; j < w; ++j) {
        sums[c + j] += double(sum[j]);
        sums[C + c + j] += double(sum_x[j]);
      }
    });
  });
}

/// dx of two rows of x: (x - center) * slope + offset, and dy * scale at each window's winner.
/// Without kFlows (running statistics) the first part is 0, also where x is infinite.
template <bool kFlows>
void dx_rows(const PoolCut& cut, const Coefficients& k, const float* x, const float* dy,
             float* dx) {
  const int64_t C = cut.channels, row = cut.width * C, windows = cut.out_width;
  simd([=] {
    for_strips(C, [=](int64_t c, auto w) {
      const StripForward s(k, c, w);
      const StripBackward b(k, c, w);
      const float *in = x + c, *upstream = dy + c;
      float* out = dx + c;
      for (int64_t i = 0; i < windows; ++i, in += 2 * C, out += 2 * C, upstream += C) {
        prefetch_far(out, w);
        prefetch_far(out + C, w);
        prefetch_far(out + row, w);
        prefetch_far(out + row + C, w);
#pragma omp simd
        for (int64_t j = 0; j < w; ++j) {
          const float center = s.center[j], scale = s.scale[j], shift = s.shift[j];
          const float top_left_x = in[j] - center;
          const float top_right_x = in[C + j] - center;
          const float bottom_left_x = in[row + j] - center;
          const float bottom_right_x = in[row + C + j] - center;
          const float top_left = top_left_x * scale + shift;
          const float top_right = top_right_x * scale + shift;
          const float bottom_left = bottom_left_x * scale + shift;
          const float bottom_right = bottom_right_x * scale + shift;
          const float top = by_larger(top_left, top_right, top_left, top_right);
          const float bottom = by_larger(bottom_left, bottom_right, bottom_left, bottom_right);
          const float winner = by_larger(top, bottom, top, bottom);
          const float g = upstream[j] * scale;
          const float dt = winner > 0 ? g : 0;
          // The larger row takes all, and of its pixels the larger one.
          const float to_top = by_larger(top, bottom, dt, 0);
          const float to_bottom = by_larger(top, bottom, 0, dt);
          const float slope = b.slope[j], offset = b.offset[j];
          out[j] =
              flow<kFlows>(top_left_x, slope, offset) + by_larger(top_left, top_right, to_top, 0);
          out[C + j] =
              flow<kFlows>(top_right_x, slope, offset) + by_larger(top_left, top_right, 0, to_top);
          out[row + j] = flow<kFlows>(bottom_left_x, slope, offset) +
                         by_larger(bottom_left, bottom_right, to_bottom, 0);
          out[row + C + j] = flow<kFlows>(bottom_right_x, slope, offset) +
                             by_larger(bottom_left, bottom_right, 0, to_bottom);
        }
      }
    });
  });
}

/// dx of a pixel that no window reaches: the last row or column of an odd size.
template <bool kFlows>
void uncovered(int64_t channels, const Coefficients& k, const float* x, float* dx) {
  if (!kFlows) {
    std::fill_n(dx, channels, 0.0F);
    return;
  }
  for (int64_t c = 0; c < channels; ++c) dx[c] = (x[c] - k.center[c]) * k.slope[c] + k.offset[c];
}

/// norm_relu_pool_backward's dx, once the coefficients are known.
template <bool kFlows>
void all_dx(const PoolCut& cut, const Coefficients& k, const float* x, const float* dy, float* dx) {
  const bool odd_height = cut.height % 2, odd_width = cut.width % 2;
  const auto uncovered_pixel = [&](int64_t image, int64_t row, int64_t column) {
    const int64_t at = cut.input(image, row, column);
    uncovered<kFlows>(cut.channels, k, x + at, dx + at);
  };
  for_pieces(cut, [&](const PoolPiece& p) {
    for (int64_t y = p.begin; y < p.end; ++y) {
      const int64_t in = cut.input(p.image, 2 * y, 0);
      dx_rows<kFlows>(cut, k, x + in, dy + cut.output(p.image, y, 0), dx + in);
      if (odd_width) {
        uncovered_pixel(p.image, 2 * y, cut.width - 1);
        uncovered_pixel(p.image, 2 * y + 1, cut.width - 1);
      }
    }
    if (odd_height && p.end == cut.out_height)
      for (int64_t i = 0; i < cut.width; ++i) uncovered_pixel(p.image, cut.height - 1, i);
  });
}

}  // namespace

void fast::norm_relu_pool(const NormInput<float>& in, const NormImage& image,
                          const NormStats& stats, float* y, double* scratch) {
  const PoolCut cut(in.shape, image);
  const Coefficients k(reinterpret_cast<float*>(scratch), in.shape.channels);
  forward_coefficients(in, stats, k);
  for_pieces(cut, [&](const PoolPiece& p) {
    for (int64_t row = p.begin; row < p.end; ++row)
      pool_row(cut, k, in.x + cut.input(p.image, 2 * row, 0), y + cut.output(p.image, row, 0));
  });
}

void fast::norm_relu_pool_backward(const NormInput<float>& in, const NormImage& image,
                                   const NormStats& stats, const NormGradients<float>& to,
                                   double* scratch) {
  const NormShape& s = in.shape;
  const PoolCut cut(s, image);
  const Coefficients k(reinterpret_cast<float*>(scratch), s.channels);
  double* const sums = scratch + coefficient_doubles(s);
  double* const partials = sums + whole_lines(2 * s.channels);
  forward_coefficients(in, stats, k);
  if (!stats.constant || to.dgamma || to.dbeta) {
    for_pieces(cut, [&](const PoolPiece& p) {
      double* const out = partials + p.index * cut.partial;
      std::fill_n(out, 2 * s.channels, 0.0);
      for (int64_t row = p.begin; row < p.end; ++row)
        sum_row(cut, k, in.x + cut.input(p.image, 2 * row, 0), to.dy + cut.output(p.image, row, 0),
                out);
    });
    add_partials(s.channels, {partials, cut.pieces, cut.partial}, sums);
  }
  backward_coefficients(in, stats, sums, k);
  weight_gradients(s, stats, sums, k, to);
  if (!to.dx) return;
  const auto input_gradient = stats.constant ? all_dx<false> : all_dx<true>;
  input_gradient(cut, k, in.x, to.dy, to.dx);
}

int64_t norm_pool_scratch(const NormShape& s, const NormImage& image) {
  const PoolCut cut(s, image);
  return coefficient_doubles(s) + whole_lines(2 * s.channels) + cut.pieces * cut.partial;
}

}  // namespace loupe::kernels
