#pragma once
// Exercise 13: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

#include <stdexcept>

namespace mine {

/// n images of c channels, h rows, w columns. Also: n filters.
struct Image {
  int64_t n = 0, c = 0, h = 0, w = 0;
  std::vector<double> values;

  Image(int64_t images, int64_t channels, int64_t rows, int64_t columns)
      : n(images),
        c(channels),
        h(rows),
        w(columns),
        values(static_cast<size_t>(images * channels * rows * columns)) {}
  double& at(int64_t image, int64_t channel, int64_t i, int64_t j) {
    return values[place(image, channel, i, j)];
  }
  double at(int64_t image, int64_t channel, int64_t i, int64_t j) const {
    return values[place(image, channel, i, j)];
  }

 private:
  size_t place(int64_t image, int64_t channel, int64_t i, int64_t j) const {
    if (image < 0 || image >= n || channel < 0 || channel >= c || i < 0 || i >= h || j < 0 ||
        j >= w)
      throw std::out_of_range("at(" + std::to_string(image) + ", " + std::to_string(channel) +
                              ", " + std::to_string(i) + ", " + std::to_string(j) +
                              ") is outside of an Image of " + std::to_string(n) + " x " +
                              std::to_string(c) + " x " + std::to_string(h) + " x " +
                              std::to_string(w));
    return static_cast<size_t>(((image * c + channel) * h + i) * w + j);
  }
};

/// x (N, C, H, W), w (O, C, K, K), bias (O) -> (N, O, H', W').
Image conv2d(const Image& x, const Image& w, const std::vector<double>& bias, int64_t stride,
             int64_t padding);

}  // namespace mine
