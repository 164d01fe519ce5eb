#pragma once
// Running sums and products along an axis. f32 accumulates in f64; bool, u8 and i64 give i64, which
// wraps around.
#include <loupe/core/tensor.h>

namespace loupe {

/// y[k] = a[0] + ... + a[k].
Tensor cumsum(In a, int64_t axis);
/// y[k] = a[0] * ... * a[k]. The gradient needs no division: it holds where elements are 0, as do
/// higher derivatives.
Tensor cumprod(In a, int64_t axis);

}  // namespace loupe
