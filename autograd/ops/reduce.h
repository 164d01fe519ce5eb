#pragma once
// Reductions over any axes. An empty list of axes means all of them; keepdim leaves each with
// size 1.
#include <loupe/core/tensor.h>

namespace loupe {

/// Sum. f32 terms are added in f64; bool and u8 give i64.
Tensor sum(In a, const Dims& axes = {}, bool keepdim = false);
/// sum / number of elements. NaN for none.
Tensor mean(In a, const Dims& axes = {}, bool keepdim = false);
/// Mean squared deviation from the mean, two passes: sum((a - mean(a))^2) / (n - correction).
/// correction 1 is the unbiased estimator (the default, as in PyTorch), 0 the biased one.
Tensor var(In a, const Dims& axes = {}, int64_t correction = 1, bool keepdim = false);
/// sqrt(var).
Tensor std(In a, const Dims& axes = {}, int64_t correction = 1, bool keepdim = false);
/// Largest (smallest) element; equal ones share the gradient. NaN wins. ValueError where there is
/// no element.
Tensor max(In a, const Dims& axes = {}, bool keepdim = false);
Tensor min(In a, const Dims& axes = {}, bool keepdim = false);
/// Position of the largest element along an axis, i64; the first of equals.
Tensor argmax(In a, int64_t axis = -1, bool keepdim = false);

struct TopK {
  Tensor values, indices;
};
/// The k largest elements along an axis, in descending order (equals by position), with their
/// positions.
TopK topk(In a, int64_t k, int64_t axis = -1);

}  // namespace loupe
