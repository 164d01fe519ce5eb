#pragma once
// Views as free functions, and ops that put tensors together. The members of Tensor (reshape,
// transpose, ...) are the usual way to call the former; core/tensor.h documents them.
#include <loupe/core/tensor.h>

#include <initializer_list>
#include <vector>

namespace loupe {

Tensor reshape(In a, const Shape& shape);
Tensor transpose(In a, int64_t axis0, int64_t axis1);
Tensor permute(In a, const Dims& axes);
Tensor slice(In a, int64_t axis, int64_t start, int64_t stop = INT64_MAX, int64_t step = 1);
Tensor select(In a, int64_t axis, int64_t index);
Tensor expand(In a, const Shape& shape);
Tensor squeeze(In a, std::optional<int64_t> axis = {});
Tensor unsqueeze(In a, int64_t axis);
Tensor contiguous(In a);
Tensor to(In a, DType dtype);
Tensor clone(In a);

/// Tensors one after the other along an axis; other sizes must agree. ValueError for an empty list.
Tensor cat(const std::vector<Tensor>& tensors, int64_t axis = 0, Here here = {});
/// Tensors of one shape along a new axis.
Tensor stack(const std::vector<Tensor>& tensors, int64_t axis = 0, Here here = {});
/// Views of the given sizes along an axis; their sum must be the axis' size. One Node with several
/// outputs.
std::vector<Tensor> split(In a, const std::vector<int64_t>& sizes, int64_t axis = 0);
/// The same for sizes in braces: {2} is one part of 2, not parts of 2.
inline std::vector<Tensor> split(In a, std::initializer_list<int64_t> sizes, int64_t axis = 0) {
  return split(a, std::vector<int64_t>(sizes), axis);
}
/// Views of `size` positions each, the last one possibly shorter.
std::vector<Tensor> split(In a, int64_t size, int64_t axis = 0);
/// At most `chunks` views of nearly equal size.
std::vector<Tensor> chunk(In a, int64_t chunks, int64_t axis = 0);
/// Adds before/after positions of `value` to the last dimensions: {left, right} pads the last one,
/// {left, right, top, bottom} the last two, as in PyTorch. Negative amounts are not supported.
Tensor pad(In a, const std::vector<int64_t>& amounts, double value = 0);

}  // namespace loupe
