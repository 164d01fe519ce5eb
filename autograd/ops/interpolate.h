#pragma once
// Resampling of images.
#include <loupe/autograd/ops/conv.h>

#include <optional>

namespace loupe {

/// nearest: the pixel at floor(i * in / out). nearest_exact: at floor((i + 0.5) * in / out), the
/// nearest centre. linear: between the two (1-d) or four (2-d, "bilinear") pixels around (i + 0.5)
/// * in / out - 0.5, at most the border's.
enum class Interpolation { nearest, nearest_exact, linear };

struct InterpolateArgs {
  /// The size of the result, or a factor of the input's: exactly one of the two. With a factor the
  /// result has floor(in * factor) positions; they are then computed with the factor, not with
  /// out / in.
  std::optional<Size2> size = {};
  std::optional<double> scale_factor = {};
  Interpolation mode = Interpolation::nearest;
  /// linear only: the corners of both images lie on each other, i goes to i (in - 1) / (out - 1).
  bool align_corners = false;
};

/// (N, C, H, W) -> (N, C, H', W'), or (N, C, L) -> (N, C, L'), whose size is size.w. Linear in x:
/// every derivative is exact. ShapeError, DtypeError; ValueError for no size or two, and for one
/// below 1.
Tensor interpolate(In x, const InterpolateArgs& args);

}  // namespace loupe
