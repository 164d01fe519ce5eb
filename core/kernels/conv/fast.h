#pragma once
// The fast ways to convolve. paths.cpp decides which one runs, and says when each fits.
#include <loupe/core/kernels/conv/conv.h>

namespace loupe::kernels {

// direct.cpp and direct_weights.cpp: the matrix micro-kernel on zero-padded rows of each image.
void direct_forward(const ConvForward<float>& call);
void direct_input_gradient(const ConvInputGradient<float>& call);
void direct_weight_gradient(const ConvWeightGradient<float>& call);

// depthwise.cpp: vectors over channels, on each image in place.
void depthwise_forward(const ConvForward<float>& call);
void depthwise_input_gradient(const ConvInputGradient<float>& call);
void depthwise_weight_gradient(const ConvWeightGradient<float>& call);

/// Weight gradients are added up in a fixed number of partial sums, each over its own images.
inline constexpr int64_t kPartialSums = 8;

/// Partial sums of a weight gradient: `count` of them, each [tap, c, o] and `distance` floats from
/// the next.
struct WeightSums {
  float* sums;
  int64_t count, distance;
};
/// dw = the partial sums, added in order. Overwrites the first of them.
void add_weight_sums(const ConvShape& s, const WeightSums& partials, float* dw);

}  // namespace loupe::kernels
