#pragma once
// Dropout (Srivastava et al., 2014).
#include <loupe/core/tensor.h>

namespace loupe {

/// Each element is 0 with probability p, else x / (1 - p): the expected value stays. The mask is
/// drawn from rng, the same at any thread limit, and is not stored: backward draws it again.
/// ValueError unless 0 <= p <= 1.
Tensor dropout(In x, Rng& rng, double p = 0.5);
/// Whole channels are 0 with probability p, the others x / (1 - p): (N, C, L) or (C, L) for
/// dropout1d, (N, C, H, W) or, as PyTorch reads three dimensions, (N, C, L) for dropout2d.
/// ShapeError for other ranks. Tompson et al., "Efficient object localization using convolutional
/// networks", 2014.
Tensor dropout1d(In x, Rng& rng, double p = 0.5);
Tensor dropout2d(In x, Rng& rng, double p = 0.5);

}  // namespace loupe
