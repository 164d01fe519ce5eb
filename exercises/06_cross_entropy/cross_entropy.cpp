#include "exercise.h"

double mine::cross_entropy(const Rows& logits, const std::vector<size_t>& labels) {
  // >>> your part
  fill_in("cross_entropy");
  // <<<
}

mine::Rows mine::cross_entropy_gradient(const Rows& logits, const std::vector<size_t>& labels) {
  // >>> your part
  fill_in("cross_entropy_gradient");
  // <<<
}
