#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

namespace loupe::kernels {

/// Some rows of an image with zeros around it, wherever the taps look:
///
///      left   w    right
///     +----+------+----+
///     | 0  |  0   | 0  |   rows above the image
///     | 0  |pixels| 0  |   rows of the image
///     +----+------+----+
struct PaddedRows {
  int64_t left = 0, right = 0;
  int64_t channels = 0, w = 0;

  int64_t width() const { return left + w + right; }   // pixels of a row
  int64_t line() const { return width() * channels; }  // floats of a row

  /// Rows [first, last) of an image that has h. Returns the image itself where nothing is missing,
  /// else fills `own`.
  const float* view(const float* image, int64_t h, int64_t first, int64_t last, float* own) const {
    if (left + right == 0 && first >= 0 && last <= h) return image + first * w * channels;
    for (int64_t y = first; y < last; ++y) {
      float* row = own + (y - first) * line();
      if (y < 0 || y >= h) {
        std::fill_n(row, line(), 0.0f);
        continue;
      }
      std::fill_n(row, left * channels, 0.0f);
      std::memcpy(row + left * channels, image + y * w * channels,
                  static_cast<size_t>(w * channels) * sizeof(float));
      std::fill_n(row + (left + w) * channels, right * channels, 0.0f);
    }
    return own;
  }
};

}  // namespace loupe::kernels
