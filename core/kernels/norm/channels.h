#pragma once
// How the fast channel norms walk over images, pieces and stretches.
#include <loupe/core/kernels/norm/strips.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {

/// One image of an input, its statistics and its gradients.
inline NormInput<float> image_of(NormInput<float> in, int64_t image) {
  in.x += image * in.shape.rows * in.shape.channels;
  in.shape.images = 1;
  return in;
}
inline NormStats image_of(NormStats stats, const NormShape& s, int64_t image) {
  stats.mean += image * s.groups;
  stats.rstd += image * s.groups;
  return stats;
}
inline NormGradients<float> image_of(NormGradients<float> to, const NormShape& s, int64_t image) {
  to.dy += image * s.rows * s.channels;
  if (to.dx) to.dx += image * s.rows * s.channels;
  return to;
}

/// Calls f(image) for every image, each on one thread, which meets its rows again in the cache. A
/// single image has all threads.
template <class F> void for_images(const NormShape& s, const NormCut& cut, const F& f) {
  const int64_t grain = cut.image_pieces == 1 ? cut.grain : 1;
  parallel_ranges(s.images, grain, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) f(image);
  });
}

/// The rows [begin, end) of an image. `index`: which piece of the image.
struct NormPiece {
  int64_t index, begin, end;
};

/// Calls f(piece) for the pieces of an image.
template <class F> void for_pieces(const NormShape& s, const NormCut& cut, const F& f) {
  parallel_ranges(cut.image_pieces, cut.grain, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i)
      f(NormPiece{i, i * cut.piece_rows, std::min(s.rows, (i + 1) * cut.piece_rows)});
  });
}

/// norm_apply to one image; fills in the coefficients of its channels.
void apply_image(const NormInput<float>& image, const NormStats& stats, const NormCut& cut,
                 const Coefficients& k, float* y);

/// Calls f(first row, rows, counts) over stretches of rows of equal mask inside [begin, end), of at
/// most `most` rows each.
template <class F>
inline void for_mask_stretches(const uint8_t* mask, int64_t begin, int64_t end, int64_t most,
                               const F& f) {
  for (int64_t row = begin; row < end;) {
    const int64_t limit = std::min(end, row + most);
    const bool counts = !mask || mask[row];
    int64_t stop = mask ? row + 1 : limit;
    while (stop < limit && (mask[stop] != 0) == counts) ++stop;
    f(row, stop - row, counts);
    row = stop;
  }
}

}  // namespace loupe::kernels
