#include "exercise.h"

std::vector<size_t> mine::backward_order(const std::vector<Node>& graph, size_t loss) {
  // >>> your part
  fill_in("backward_order");
  // <<<
}
