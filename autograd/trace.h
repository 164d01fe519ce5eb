#pragma once
// A trace: every op but multinomial that runs while it lives, whether or not a gradient needs it.
// The graph of backward() holds what leads to a parameter; a trace also holds what leads to token
// ids and masks.
#include <loupe/autograd/graph.h>

namespace loupe {

/// Collects the ops that this thread runs while it lives, in the order they ran. A Trace inside
/// another takes its place until it ends.
class Trace : Pinned {
 public:
  /// One op. The tensors are the very ones that the op was given and gave: is_same() finds who made
  /// what. They stay alive with the trace.
  struct Op {
    std::shared_ptr<Node> node;             // name, options, source line, module path
    Tensors inputs, outputs;                // an undefined input stands for an absent one
    std::vector<uint64_t> versions;         // of the inputs' storages when the op ran
    std::vector<uint64_t> output_versions;  // of the outputs'; a later one was written in place
  };
  Trace();
  ~Trace();
  const std::vector<Op>& ops() const { return ops_; }

 private:
  friend struct TraceAccess;
  Trace* before_;
  std::vector<Op> ops_;
};

namespace detail {
bool tracing();
void trace_op(const std::shared_ptr<Node>& node, std::span<const Tensor* const> inputs,
              std::span<const Tensor> outputs);
}  // namespace detail

}  // namespace loupe
