#pragma once
// Exercise 5: what you write, and what you may use.
#include <loupe/exercises/taught/tensors.h>

namespace mine {

struct Entry {
  std::vector<size_t> inputs;  // places on the tape, before this one; empty: a leaf
  std::vector<double> slopes;  // of this entry's value, along each input
};

/// Adds d(entry `loss`)/d(leaf i) to leaf_grad[i], for every leaf of the tape.
void backward(const std::vector<Entry>& tape, size_t loss, std::vector<double>& leaf_grad);

}  // namespace mine
