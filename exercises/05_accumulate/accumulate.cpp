#include "exercise.h"

void mine::backward(const std::vector<Entry>& tape, size_t loss, std::vector<double>& leaf_grad) {
  // >>> your part
  fill_in("backward");
  // <<<
}
