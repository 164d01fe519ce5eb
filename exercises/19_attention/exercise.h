#pragma once
// Exercise 19: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

/// q, k, v (B, T, d) -> (B, T, d). keep (B, T) bool: false where the key is padding; may be
/// undefined.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, bool causal,
                 const Tensor& keep);

}  // namespace mine
