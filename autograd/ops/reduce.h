#pragma once
// Reductions over any axes. An empty list of axes means all of them; keepdim leaves each with
// size 1. Axes 0 and -1 of a tensor without dimensions stand for its one element.
#include <loupe/core/tensor.h>

#include <optional>

namespace loupe {

/// Sum. f32 terms are added in f64; bool, u8 and i64 give i64, which wraps around. 0 for no
/// elements.
Tensor sum(In a, const Dims& axes = {}, bool keepdim = false);
/// Product, in the types of sum; 1 for no elements. Its gradient, the product of the others, holds
/// where elements are 0 too, as do higher derivatives.
Tensor prod(In a, const Dims& axes = {}, bool keepdim = false);
/// sum / number of elements. NaN for none.
Tensor mean(In a, const Dims& axes = {}, bool keepdim = false);
/// Mean squared deviation from the mean, two passes: sum((a - mean(a))^2) / (n - correction).
/// correction 1 is the unbiased estimator (the default, as in PyTorch), 0 the biased one.
Tensor var(In a, const Dims& axes = {}, int64_t correction = 1, bool keepdim = false);
/// sqrt(var). The gradient of equal elements is 0, as in PyTorch.
Tensor std(In a, const Dims& axes = {}, int64_t correction = 1, bool keepdim = false);
/// Largest (smallest) element; equal ones share the gradient, as in PyTorch's amax. NaN wins, and
/// NaNs share the gradient. ValueError where there is no element.
Tensor max(In a, const Dims& axes = {}, bool keepdim = false);
Tensor min(In a, const Dims& axes = {}, bool keepdim = false);
/// Position of the largest (smallest) element, i64; the first of equals, NaN wins. Without an axis,
/// over all elements in row-major order. ValueError where there is no element.
Tensor argmax(In a, std::optional<int64_t> axis = {}, bool keepdim = false);
Tensor argmin(In a, std::optional<int64_t> axis = {}, bool keepdim = false);
/// Whether some (every) element differs from 0; NaN does. bool, but u8 for u8, as in PyTorch. For
/// no elements: false (true).
Tensor any(In a, const Dims& axes = {}, bool keepdim = false);
Tensor all(In a, const Dims& axes = {}, bool keepdim = false);
/// log(sum e^a), relative to the largest element: no overflow. Gradient softmax(a). -Inf, with
/// gradient 0, where all elements are -Inf or there is none. f32 and f64.
Tensor logsumexp(In a, const Dims& axes = {}, bool keepdim = false);
/// (sum |a|^p)^(1/p); for p = Inf (-Inf) the largest (smallest) |a|, for p = 0 the count of
/// non-zeros. Gradient 0 at 0, as in PyTorch; equal extremes share it. f32 and f64; neither squares
/// nor powers overflow. ValueError if p is NaN, and for no elements with p < 0 or p = Inf.
Tensor norm(In a, double p = 2, const Dims& axes = {}, bool keepdim = false);

}  // namespace loupe
