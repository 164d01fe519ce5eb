#include "exercise.h"

void mine::multiply(const float* a, const float* b, float* c, int64_t n, int64_t k, int64_t m) {
  // >>> your part
  fill_in("multiply");
  // <<<
}
