#include "exercise.h"

Tensor mine::rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  // >>> your part
  fill_in("rms_norm");
  // <<<
}

mine::RmsGradients mine::rms_norm_backward(const Tensor& x, const Tensor& weight, const Tensor& dy,
                                           double eps) {
  // >>> your part
  fill_in("rms_norm_backward");
  // <<<
}
