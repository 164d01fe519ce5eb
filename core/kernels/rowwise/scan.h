#pragma once
// Running sums and products along an axis. f32 accumulates in f64, integers in i64, which wraps
// around. A line is never cut: the same bits at any thread count, and as the plain loop.
#include <loupe/core/kernels/rowwise/axis.h>

#include <type_traits>

namespace loupe::kernels {

/// The element type of a running sum or product of T.
template <class T> using ScanResult = std::conditional_t<std::is_floating_point_v<T>, T, int64_t>;

/// y[k] = x[0] + ... + x[k].
template <class T> void cumsum(const Lines& lines, const T* x, ScanResult<T>* y);
/// y[k] = x[0] * ... * x[k].
template <class T> void cumprod(const Lines& lines, const T* x, ScanResult<T>* y);
/// dx[k] = (x[0] ... x[k - 1]) s[k] with s[k] = dy[k] + x[k + 1] s[k + 1]: no division, so that
/// zeros in x are like other numbers. float and double.
template <class T> void cumprod_backward(const Lines& lines, const T* x, const T* dy, T* dx);

/// The same, one line after the other.
namespace plain {

template <class T> void cumsum(const Lines& lines, const T* x, ScanResult<T>* y);
template <class T> void cumprod(const Lines& lines, const T* x, ScanResult<T>* y);
template <class T> void cumprod_backward(const Lines& lines, const T* x, const T* dy, T* dx);

}  // namespace plain
}  // namespace loupe::kernels
