#pragma once
// Exercise 14: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

/// x (N, C, H, W) f64 -> (N H' W', C K K): each window is a row, in the order c, a, b.
Tensor im2col(const Tensor& x, int64_t K, int64_t stride, int64_t padding);
/// x (N, C, H, W), w (O, C, K, K) -> (N, O, H', W'), by im2col and one matmul.
Tensor conv2d(const Tensor& x, const Tensor& w, int64_t stride, int64_t padding);

}  // namespace mine
