#pragma once
// Dropout (Srivastava et al., 2014).
#include <loupe/core/tensor.h>

namespace loupe {

/// Each element is 0 with probability p, else x / (1 - p): the expected value stays. The mask is
/// drawn from rng, the same at any thread limit, and is not stored: backward draws it again.
/// ValueError unless 0 <= p <= 1.
Tensor dropout(In x, Rng& rng, double p = 0.5);

}  // namespace loupe
