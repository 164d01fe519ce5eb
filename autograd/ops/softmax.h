#pragma once
// Softmax and its logarithm along an axis. The maximum is subtracted first: no overflow. A line
// that is all -Inf gives zeros (softmax) or -Inf (log_softmax) rather than NaN.
#include <loupe/core/tensor.h>

namespace loupe {

/// e^x / sum e^x along `axis`.
Tensor softmax(In x, int64_t axis = -1);
/// x - log(sum e^x) along `axis`.
Tensor log_softmax(In x, int64_t axis = -1);

}  // namespace loupe
