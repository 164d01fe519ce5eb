#include "exercise.h"

std::vector<size_t> mine::backward_order(const std::vector<Node>& graph, size_t loss) {
  // >>> your part
  std::vector<bool> wanted(graph.size());
  wanted[loss] = true;
  std::vector<size_t> order;
  for (size_t i = loss + 1; i-- > 0;) {
    if (!wanted[i]) continue;
    order.push_back(i);
    for (size_t input : graph[i].inputs) wanted[input] = true;
  }
  return order;
  // <<<
}
