#pragma once
// The kernels of one instruction set; micro.h says what they compute.
#include <loupe/core/kernels/micro/micro.h>

namespace loupe::kernels::LOUPE_LEVEL {

void product(const Product& p);
void pack(bool trans, int64_t k, int64_t n, const float* b, int64_t ldb, int64_t first,
          int64_t last, float* packed);
void pack_left(int64_t k, int64_t m, const float* a, int64_t lda, float* packed);
void turn(int64_t m, int64_t n, const float* from, int64_t ld, const float* bias, bool accumulate,
          bool rectify, float* c, int64_t ldc);
void dots(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb,
          const float* bias, bool accumulate, float* c, int64_t ldc);
void depthwise(const Depthwise& d, const float* w, const float* bias);
void depthwise_weights(const Depthwise& d, float* dw);
int32_t largest(int64_t rows, int64_t n, const float* x, int64_t ld);

extern const Winograd winograd2, winograd4;
extern const Micro table;

}  // namespace loupe::kernels::LOUPE_LEVEL
