#pragma once
// 3x3 convolutions of stride 1 by Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms
// for Convolutional Neural Networks", 2015): tiles of the input and the weights are transformed,
// multiplied number by number, summed over channels (a matrix product for each of the 16 or 36
// numbers), and transformed back. F(2x2) needs 16 products for 4 outputs instead of 36, F(4x4) 36
// for 16 instead of 144. The weight gradient is the exact transpose of the same steps.
//
// Rounding, relative to the largest output, against f64 on uniform numbers (the tests' bounds):
// F(2x2) 1e-6, as direct convolution; F(4x4) 4e-6, where the usual points 1 and 2 gave 7e-6.
//
// Range. A tile mixes its numbers, so that the rounding of a large one reaches outputs that do not
// see it, and an infinity reaches them all. The transforms therefore measure the largest number on
// their way, and the functions give false, with a result that is of no use, unless every operand
// lies within 64, or within 64 times the median of 255 of its numbers (zeros left out) and 1e15. If
// all numbers are within 64, the error of such an output is at most 4e-6 * 64 times the weights
// that it uses. The check takes about 2 % of a convolution's time.
#include <loupe/core/kernels/conv/conv.h>

namespace loupe::kernels {

/// The size of tile that is fast for this convolution: 4, 2, or 0 if Winograd does not apply or
/// does not pay. It applies to 3x3, stride and dilation 1, one group, padding up to 2, channels in
/// multiples of 16.
int64_t winograd_tile(const ConvShape& s);

/// conv.h's functions with tiles of the given size, 2 or 4, where Winograd applies. False: out of
/// range.
bool winograd_forward(int64_t tile, const ConvForward<float>& call);
bool winograd_input_gradient(int64_t tile, const ConvInputGradient<float>& call);
bool winograd_weight_gradient(int64_t tile, const ConvWeightGradient<float>& call);

}  // namespace loupe::kernels
