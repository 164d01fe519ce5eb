#pragma once
// Softmax and its logarithm along an axis. Stable: the maximum is subtracted first. Where all of a
// line is -Inf, softmax gives zeros and log_softmax -Inf.
#include <loupe/core/kernels/rowwise/axis.h>

namespace loupe::kernels {

/// y = e^x / sum e^x, or, if `log`, y = x - log(sum e^x). Rows (inner = 1) go through 16 lanes at
/// every CPU level, the reference too: the lanes are part of the bits. Other axes are rare: they
/// take the plain loop.
template <class T> void softmax(bool log, const Lines& lines, const T* x, T* y);
/// From the output: dx = y (dy - sum dy y); if `log`, dx = dy - e^y sum dy.
template <class T>
void softmax_backward(bool log, const Lines& lines, const T* y, const T* dy, T* dx);

/// The same, number after number, with sums in double.
namespace plain {

template <class T> void softmax(bool log, const Lines& lines, const T* x, T* y);
template <class T>
void softmax_backward(bool log, const Lines& lines, const T* y, const T* dy, T* dx);

}  // namespace plain
}  // namespace loupe::kernels
