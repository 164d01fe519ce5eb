#include "exercise.h"

mine::Image mine::conv2d(const Image& x, const Image& w, const std::vector<double>& bias,
                         int64_t stride, int64_t padding) {
  // >>> your part
  const int64_t K = w.h, H = (x.h + 2 * padding - K) / stride + 1;
  const int64_t W = (x.w + 2 * padding - K) / stride + 1;
  Image y(x.n, w.n, H, W);
  for (int64_t n = 0; n < x.n; ++n)
    for (int64_t o = 0; o < w.n; ++o)
      for (int64_t i = 0; i < H; ++i)
        for (int64_t j = 0; j < W; ++j) {
          double sum = bias[static_cast<size_t>(o)];
          for (int64_t c = 0; c < x.c; ++c)
            for (int64_t a = 0; a < K; ++a)
              for (int64_t b = 0; b < K; ++b) {
                const int64_t row = i * stride + a - padding;
                const int64_t column = j * stride + b - padding;
                if (row < 0 || row >= x.h || column < 0 || column >= x.w) continue;
                sum += x.at(n, c, row, column) * w.at(o, c, a, b);
              }
          y.at(n, o, i, j) = sum;
        }
  return y;
  // <<<
}
