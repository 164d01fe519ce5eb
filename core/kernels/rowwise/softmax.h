#pragma once
// Softmax and its logarithm along the middle axis of (outer, n, inner) dense memory; inner = 1:
// rows. Stable: the maximum is subtracted first. Where all of a row is -Inf, softmax gives zeros
// and log_softmax -Inf.
#include <cstdint>

namespace loupe::kernels {

/// y = e^x / sum e^x, or, if `log`, y = x - log(sum e^x).
template <class T>
void softmax(bool log, int64_t outer, int64_t n, int64_t inner, const T* x, T* y);
/// From the output: dx = y (dy - sum dy y); if `log`, dx = dy - e^y sum dy.
template <class T>
void softmax_backward(bool log, int64_t outer, int64_t n, int64_t inner, const T* y, const T* dy,
                      T* dx);

}  // namespace loupe::kernels
