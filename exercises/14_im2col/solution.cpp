#include "exercise.h"

Tensor mine::im2col(const Tensor& x, int64_t K, int64_t stride, int64_t padding) {
  // >>> your part
  const int64_t N = x.size(0), C = x.size(1), H = x.size(2), W = x.size(3);
  const int64_t rows = (H + 2 * padding - K) / stride + 1;
  const int64_t columns = (W + 2 * padding - K) / stride + 1;
  const Tensor windows = zeros({N * rows * columns, C * K * K}, DType::f64);
  const auto in = x.data<double>(), out = windows.data<double>();
  size_t at = 0;
  for (int64_t n = 0; n < N; ++n)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        for (int64_t c = 0; c < C; ++c)
          for (int64_t a = 0; a < K; ++a)
            for (int64_t b = 0; b < K; ++b, ++at) {
              const int64_t row = i * stride + a - padding, column = j * stride + b - padding;
              if (row < 0 || row >= H || column < 0 || column >= W) continue;
              out[at] = in[static_cast<size_t>(((n * C + c) * H + row) * W + column)];
            }
  return windows;
  // <<<
}

Tensor mine::conv2d(const Tensor& x, const Tensor& w, int64_t stride, int64_t padding) {
  // >>> your part
  const int64_t N = x.size(0), O = w.size(0), K = w.size(2);
  const int64_t rows = (x.size(2) + 2 * padding - K) / stride + 1;
  const int64_t columns = (x.size(3) + 2 * padding - K) / stride + 1;
  const Tensor product = matmul(im2col(x, K, stride, padding), w.reshape({O, -1}).t());
  return product.reshape({N, rows, columns, O}).permute({0, 3, 1, 2});
  // <<<
}
