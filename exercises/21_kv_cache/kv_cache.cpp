#include "exercise.h"

Tensor mine::extend(const Tensor& q, const Tensor& k, const Tensor& v, Cache& cache) {
  // >>> your part
  fill_in("extend");
  // <<<
}
