#include "exercise.h"

Tensor mine::batch_norm(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        BatchNormState& state) {
  // >>> your part
  fill_in("batch_norm");
  // <<<
}
