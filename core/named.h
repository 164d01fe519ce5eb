#pragma once
// A tensor with its name: what state_dicts, optimizers and files are made of.
#include <loupe/core/tensor.h>

#include <string>
#include <vector>

namespace loupe {

struct Named {
  std::string name;
  Tensor tensor;
};
/// Names and tensors in PyTorch's order: a module's parameters, its buffers, then its children.
using StateDict = std::vector<Named>;

}  // namespace loupe
