#pragma once
// The graph that backward() would walk from a tensor, as data, as text and as DOT.
//
//   std::cout << to_text(graph_of(loss, named_parameters(net)));
//
//   %1 f32 (16, 8) = linear(-, 0.weight, 0.bias)      # 0, my.cpp:12; keeps x (16, 3) 192 B
//   %2 f32 (16, 8) = relu(%1)                         # 0, my.cpp:12; keeps y (16, 8) 512 B
//   2 ops keep 704 B for backward
//
// One line an op, in the order in which they ran: its result, the op, what it read (`-` needs no
// gradient; a parameter has its name), the module, the source line, and what it keeps for backward,
// parameters left out. The last line sums up.
#include <loupe/autograd/graph.h>
#include <loupe/core/named.h>

#include <string>
#include <vector>

namespace loupe {

/// A tensor that an op keeps for its backward rule.
struct KeptTensor {
  std::string name;  // as the op calls it
  Shape shape;
  DType dtype = DType::f32;
  int64_t bytes = 0;       // of its whole storage: a view keeps all of it
  bool parameter = false;  // a leaf that requires a gradient: it would live without the graph, too
};

/// What an op read: the output of another op, a leaf, or something that needs no gradient.
struct GraphInput {
  enum class Kind { none, leaf, op };
  Kind kind = Kind::none;
  size_t index = 0;   // into Graph::leaves or Graph::ops
  size_t output = 0;  // which of the op's outputs
};

struct GraphOutput {
  Shape shape;
  DType dtype = DType::f32;
};

struct GraphOp {
  std::string name, path, site;  // "linear", "blocks.0.fc1", "model.cpp:12"
  std::vector<GraphInput> inputs;
  std::vector<GraphOutput> outputs;
  std::vector<KeptTensor> kept;
  bool released = false;  // backward() has run through it: what it kept is gone
  uint64_t birth = 0;
};

struct GraphLeaf {
  std::string name;  // empty for one that `names` does not hold
  Shape shape;
  DType dtype = DType::f32;
};

struct Graph {
  std::vector<GraphOp> ops;  // oldest first
  std::vector<GraphLeaf> leaves;
  /// Bytes that the ops keep, parameters left out; what two ops keep counts once.
  int64_t kept_bytes = 0;
};

/// The graph of `result`; its leaves get their names from `names` (named_parameters(model)).
/// GradError if no recorded op made the tensor: then it has no graph.
Graph graph_of(const Tensor& result, const StateDict& names = {});

/// One line an op. The same graph gives the same text in every run.
std::string to_text(const Graph& graph);

/// For Graphviz: `dot -Tsvg`. Ops of a module stand in a box.
std::string to_dot(const Graph& graph);

}  // namespace loupe
