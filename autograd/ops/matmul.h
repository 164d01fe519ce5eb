#pragma once
// Matrix products.
#include <loupe/core/tensor.h>

namespace loupe {

/// Product over the last dimension of a and the second to last of b: (..., m, k) x (..., k, n) ->
/// (..., m, n). The dimensions before broadcast. A one-dimensional a is a row, a one-dimensional b
/// a column, and that dimension is dropped from the result: two vectors give a number. ShapeError
/// if the inner sizes differ.
Tensor matmul(In a, In b);

/// y = x W^T + bias: x (..., in), W (out, in), bias (out) or undefined -> (..., out).
Tensor linear(In x, In weight, In bias = Tensor());
/// relu(linear(x, weight, bias)) in one pass over memory. Recorded as two ops.
Tensor linear_relu(In x, In weight, In bias = Tensor());

/// y = x W + bias: x (..., in), W (in, out), bias (out) or undefined -> (..., out). The layout of
/// GPT-2's weights.
Tensor addmm(In bias, In x, In weight);

}  // namespace loupe
