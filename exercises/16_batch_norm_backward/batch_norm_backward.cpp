#include "exercise.h"

mine::NormGradients mine::batch_norm_backward(const Tensor& x, const Tensor& weight,
                                              const Tensor& dy, double eps) {
  // >>> your part
  fill_in("batch_norm_backward");
  // <<<
}
