#include "exercise.h"

Tensor mine::sum_to(const Tensor& g, const Shape& shape) {
  // >>> your part
  Tensor sum = g;
  while (sum.dim() > shape.rank()) sum = sum.sum({0});  // a dimension that was missing
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == 1) sum = sum.sum({axis}, true);
  return sum;
  // <<<
}
