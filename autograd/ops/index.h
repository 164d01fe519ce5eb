#pragma once
// Elements chosen by index tensors (i64). Negative indices are not counted from the end: they throw
// IndexError.
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
/// A new last axis of `classes` sizes with a 1 at the label's position. The largest label + 1 if
/// classes is -1.
Tensor one_hot(In labels, int64_t classes = -1, DType dtype = DType::f32);

}  // namespace loupe
