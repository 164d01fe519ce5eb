#pragma once
// Exercise 8: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

using namespace loupe;

namespace mine {

/// In training, each element is 0 with probability p, the others are scaled; in eval mode x itself.
Tensor dropout(const Tensor& x, double p, bool training, Rng& rng);

}  // namespace mine
