#pragma once
// The kernels of one instruction set; micro.h says what they compute.
#include <loupe/core/kernels/micro/micro.h>

namespace loupe::kernels::LOUPE_LEVEL {

void product(const Product& p);
void pack_right(const RightMatrix& right, int64_t first, int64_t last, float* packed);
void pack_left(const LeftMatrix& left, float* packed);
void transpose(const Transpose& t);
void dots(const Dots& d);
void depthwise(const Depthwise& d, const float* w, const float* bias, float* y);
void depthwise_weights(const Depthwise& d, const float* dy, float* dw);
int32_t largest(int64_t rows, int64_t n, const float* x, int64_t stride);

extern const Winograd winograd2, winograd4;
extern const Micro table;

}  // namespace loupe::kernels::LOUPE_LEVEL
