#pragma once
// Exercise 4: what you write, and what you may use.
#include <loupe/exercises/taught/tensors.h>

namespace mine {

struct Node {
  std::vector<size_t> inputs;  // the nodes it was made from: all have smaller numbers
};

/// The nodes that `loss` depends on, and itself, each once: a node after all that use it.
std::vector<size_t> backward_order(const std::vector<Node>& graph, size_t loss);

}  // namespace mine
