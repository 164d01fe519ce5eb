#pragma once
// Random choices.
#include <loupe/core/tensor.h>

namespace loupe {

/// `count` classes for each row of weights, (C) or (N, C) -> (count) or (N, count), i64: class c
/// has the probability weights[c] / sum. Without replacement a class is drawn once at most. Not
/// differentiable. ValueError for weights that are negative, NaN, infinite or all 0, for count < 1,
/// and for more classes than have a weight above 0 (without replacement). (Without replacement: the
/// `count` smallest of -log(u_c) / weights[c], Efraimidis and Spirakis, "Weighted random sampling
/// with a reservoir", 2006.)
Tensor multinomial(Rng& rng, In weights, int64_t count, bool replacement = false);

}  // namespace loupe
