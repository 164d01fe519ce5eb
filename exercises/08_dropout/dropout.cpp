#include "exercise.h"

Tensor mine::dropout(const Tensor& x, double p, bool training, Rng& rng) {
  // >>> your part
  fill_in("dropout");
  // <<<
}
