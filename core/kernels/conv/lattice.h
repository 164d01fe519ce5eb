#pragma once
// The forward pass and the input gradient of a convolution are one computation: a Correlation.
//
// Pixels of the output lie on a lattice, and each sees pixels of the input at fixed distances, its
// taps. The forward pass has one lattice, all pixels of the output. The input gradient of a
// convolution of stride s has s x s of them, each with its own taps. Pixels of dx with stride 2,
// named by their lattice:
//
//     0 1 0 1 0      A 3x3 kernel of padding 1 gives lattice 0 one tap, 1 and 2 two each, and
//     2 3 2 3 2      lattice 3 four: no product with a zero between the pixels of dy is computed.
//     0 1 0 1 0
#include <loupe/core/kernels/conv/conv.h>
#include <loupe/core/kernels/micro/micro.h>

#include <vector>

namespace loupe::kernels {

struct Lattice {
  int64_t rows = 0, columns = 0;
  int64_t out = 0;  // its first pixel within the output image
  std::vector<Tap> taps = {};

  int64_t tap_count() const { return static_cast<int64_t>(taps.size()); }
};

struct Correlation {
  int64_t images = 0, h = 0, w = 0, channels = 0;  // the input
  int64_t step_y = 1, step_x = 1;                  // input pixels between two of a lattice
  // Floats between output images, and between rows and columns of a lattice.
  int64_t out_image = 0, out_row = 0, out_column = 0;
  int64_t groups = 1, k = 0, n = 0;  // k input and n output channels a group
  int64_t taps = 0;                  // weights of a pair of channels
  bool gradient = false;  // k counts the weights' output channels, n their input channels
  std::vector<Lattice> lattices = {};

  int64_t in_image() const { return h * w * channels; }  // floats of an input image
  int64_t most_rows() const;                             // of a lattice
};

Correlation forward_correlation(const ConvShape& s);
Correlation gradient_correlation(const ConvShape& s);

/// How many bands `rows` rows of each image are cut into: about 16 pieces at least, and an input
/// that stays in L2. A piece is one band of one image.
int64_t bands(int64_t images, int64_t rows, int64_t floats_of_image);

}  // namespace loupe::kernels
