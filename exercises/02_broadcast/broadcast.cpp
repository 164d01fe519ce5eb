#include "exercise.h"

Tensor mine::sum_to(const Tensor& g, const Shape& shape) {
  // >>> your part
  fill_in("sum_to");
  // <<<
}
