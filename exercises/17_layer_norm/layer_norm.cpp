#include "exercise.h"

Tensor mine::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  // >>> your part
  fill_in("layer_norm");
  // <<<
}

mine::NormGradients mine::layer_norm_backward(const Tensor& x, const Tensor& weight,
                                              const Tensor& dy, double eps) {
  // >>> your part
  fill_in("layer_norm_backward");
  // <<<
}
