#include "exercise.h"

Tensor mine::im2col(const Tensor& x, int64_t K, int64_t stride, int64_t padding) {
  // >>> your part
  fill_in("im2col");
  // <<<
}

Tensor mine::conv2d(const Tensor& x, const Tensor& w, int64_t stride, int64_t padding) {
  // >>> your part
  fill_in("conv2d");
  // <<<
}
