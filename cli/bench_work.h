#pragma once
// The pieces of work that `loupe bench` times; bench/torch_peer.py has the same in PyTorch.
#include <loupe/autograd/graph.h>
#include <loupe/io/safetensors.h>

#include <memory>
#include <string>
#include <vector>

namespace loupe::cli {

class Work : Pinned {
 public:
  Work() = default;
  virtual ~Work() = default;

  /// One training step, one forward and backward, one inference or one generated text.
  virtual void step() = 0;
  /// Takes the weights and data that PyTorch's side started from.
  virtual void load(const TensorMap& from) = 0;
  /// Five losses, or norms of the output and of every gradient; for a generated text, its tokens.
  virtual std::vector<double> check() = 0;

  double flop =
      0;  // of one step by the plain algorithm, multiplications and additions; 0: not counted
  double units = 1;    // a step's time is divided by this: the tokens of a generated text
  bool whole = false;  // a step is long enough to be measured once, without warm-up
};

/// Names in the order of the table.
const std::vector<std::string>& work_names();
/// ValueError for an unknown name. `data`: folder of Fashion-MNIST, for `epoch`.
std::unique_ptr<Work> make_work(const std::string& name, const std::string& data);

}  // namespace loupe::cli
