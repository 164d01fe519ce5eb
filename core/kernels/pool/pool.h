#pragma once
// Pooling over images in N, H, W, C memory. Windows may be any ranges of rows and columns within
// the image, so that max, average and adaptive pooling share the loops.
//
//   kernel 3, stride 2, padding 1, over 6 columns:      x is padding
//
//     x 0 1 2 3 4 5 x
//     [---]               columns 0 to 1, of 3 counted with the padding
//         [---]           columns 1 to 3
//             [---]       columns 3 to 5
//
// Instances for float and double. The fast loops give the plain ones' bits.
#include <cstdint>
#include <vector>

namespace loupe::kernels {

/// Positions begin, begin + step, ... before end of one output row or column. An average divides by
/// `counted` of them: those in the padding may count.
struct Range {
  int64_t begin, end;
  int64_t step = 1;
  int64_t counted = 0;
};

/// How windows lie along one dimension.
struct WindowRule {
  int64_t kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool ceil_mode = false;  // a last window may reach beyond the padding, if it begins before
  bool count_include_pad = true;
};

struct PoolShape {
  int64_t n = 0, h = 0, w = 0, c = 0;
  std::vector<Range> rows, columns;  // one per output row and column; inside the image
  int64_t divisor = 0;               // of averages; 0: what the ranges count

  int64_t out_h() const { return static_cast<int64_t>(rows.size()); }
  int64_t out_w() const { return static_cast<int64_t>(columns.size()); }
};

/// Windows of `kernel` positions, `dilation` apart, every `stride`, over `size` positions with
/// `padding` on both sides; clipped to the image. A window may be left without a position.
std::vector<Range> windows(int64_t size, const WindowRule& rule);
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

/// The same, output number after output number.
namespace plain {

template <class T> void max_pool(const PoolShape& s, const T* x, T* y, int32_t* indices);
template <class T>
void max_pool_backward(const PoolShape& s, const T* dy, const int32_t* indices, T* dx);
template <class T>
void max_pool_gather(const PoolShape& s, const T* x, const int32_t* indices, T* y);
template <class T> void avg_pool(const PoolShape& s, const T* x, T* y);
template <class T> void avg_pool_backward(const PoolShape& s, const T* dy, T* dx);

}  // namespace plain
}  // namespace loupe::kernels
