#pragma once
// Dropout from a counter-based stream: the same words, hence the same mask, whenever and wherever
// it is asked for.
#include <cstdint>

namespace loupe::kernels {

/// y[i] = 0 if word i of the stream (key, first) is below p * 2^32, else x[i] / (1 - p). Dense
/// memory. p = 1: zeros. (Srivastava et al., "Dropout: a simple way to prevent neural networks from
/// overfitting", 2014.)
template <class T>
void dropout(int64_t n, const T* x, double p, uint64_t key, uint64_t first, T* y);

}  // namespace loupe::kernels
