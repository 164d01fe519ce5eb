#pragma once
// Pooling over images in N, H, W, C memory. Windows may be any ranges of rows and columns within
// the image, so that max, average and adaptive pooling share the loops. Instances for float and
// double.
#include <cstdint>
#include <vector>

namespace loupe::kernels {

/// Positions [begin, end) of one output row or column.
struct Range {
  int64_t begin, end;
};

struct PoolShape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  std::vector<Range> rows, columns;  // one per output row and column; inside the image
  int64_t divisor = 0;               // of averages; 0: the number of positions in the window
};

/// Windows of `kernel` positions every `stride`, over `size` positions with `padding` on both
/// sides; clipped to the image.
std::vector<Range> windows(int64_t size, int64_t kernel, int64_t stride, int64_t padding);
/// `count` windows that cover `size` positions: [floor(i size / count), ceil((i + 1) size /
/// count)).
std::vector<Range> adaptive_windows(int64_t size, int64_t count);

/// Largest value of each window, and where: row * w + column within the image. NaN wins, and so
/// does the first of equals.
template <class T> void max_pool(const PoolShape& s, const T* x, T* y, int32_t* indices);
/// dx = 0, then dx[indices] += dy.
template <class T>
void max_pool_backward(const PoolShape& s, const T* dy, const int32_t* indices, T* dx);
/// y = x[indices]: the transpose of max_pool_backward.
template <class T>
void max_pool_gather(const PoolShape& s, const T* x, const int32_t* indices, T* y);
/// Mean of each window, and its gradient.
template <class T> void avg_pool(const PoolShape& s, const T* x, T* y);
template <class T> void avg_pool_backward(const PoolShape& s, const T* dy, T* dx);

}  // namespace loupe::kernels
