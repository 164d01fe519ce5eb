#pragma once
// Elements chosen by index tensors (i64) or masks (bool). Negative indices are not counted from the
// end: they throw IndexError. A tensor without dimensions counts as one with one element.
#include <loupe/core/tensor.h>

namespace loupe {

/// The positions `index` (one-dimensional) of one axis, in that order; positions may repeat.
Tensor index_select(In a, int64_t axis, In index);
/// y[..., i, ...] = a[..., index[..., i, ...], ...] along `axis`. index has a's rank; other sizes
/// at most a's.
Tensor gather(In a, int64_t axis, In index);
/// gather's counterpart: zeros of `shape`, with y[..., index[..., i, ...], ...] += src[..., i,
/// ...], in row-major order.
Tensor scatter_add(In src, int64_t axis, In index, const Shape& shape);
/// The same on top of `a` instead of zeros. src may be larger than index, as in PyTorch: the rest
/// of it is not used.
Tensor scatter_add(In a, int64_t axis, In index, In src);
/// a with y[..., index[..., i, ...], ...] = src[..., i, ...]. Where an index stands twice the last
/// one, in row-major order, stays and gets the gradient.
Tensor scatter(In a, int64_t axis, In index, In src);
/// The same with one number for all.
Tensor scatter(In a, int64_t axis, In index, double value);
/// The elements where the mask (bool) is true, in row-major order, as one dimension. The two
/// broadcast.
Tensor masked_select(In a, In mask);
/// The positions of the elements that are not 0: (count, rank), i64, in row-major order.
Tensor nonzero(In a);
/// A new last axis of size `classes`: 1 at the label's position and 0 elsewhere. The largest label
/// + 1 if classes is -1.
Tensor one_hot(In labels, int64_t classes = -1, DType dtype = DType::f32);

}  // namespace loupe
