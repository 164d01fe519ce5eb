#pragma once
// Elements in order along an axis. NaN counts as larger than every number, -0 equals 0, and equal
// elements keep their order (every sort is stable). Gradients go back to where the values came
// from.
#include <loupe/core/tensor.h>

namespace loupe {

/// Elements and the positions (i64) they came from.
struct Sorted {
  Tensor values, indices;
};
using TopK = Sorted;

/// All elements, ascending or descending, and their positions.
Sorted sort(In a, int64_t axis = -1, bool descending = false);
/// The positions alone.
Tensor argsort(In a, int64_t axis = -1, bool descending = false);
/// The k largest elements in descending order, or the k smallest in ascending order, and their
/// positions. ValueError if there are fewer.
TopK topk(In a, int64_t k, int64_t axis = -1, bool largest = true);

}  // namespace loupe
