#pragma once
// Dropout from a counter-based stream: the same words, hence the same mask, whenever and wherever
// it is asked for.
#include <cstdint>

namespace loupe::kernels {

/// The random words of a mask, and the probability of 0.
struct DropoutStream {
  double p;
  uint64_t key, first;
};

/// y[i] = 0 if word i of the stream (key, first) is below p * 2^32, else x[i] times 1 / (1 - p).
/// Dense memory of n numbers. p = 1: zeros. (Srivastava et al., "Dropout: a simple way to prevent
/// neural networks from overfitting", 2014.)
template <class T> void dropout(int64_t n, const DropoutStream& stream, const T* x, T* y);

/// The same, number after number; the fast loop gives its bits.
namespace plain {

template <class T> void dropout(int64_t n, const DropoutStream& stream, const T* x, T* y);

}  // namespace plain
}  // namespace loupe::kernels
