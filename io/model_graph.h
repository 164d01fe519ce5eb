#pragma once
// The recorded graph of a tensor as TensorBoard draws it: ops nested by the modules they ran in,
// parameters by name.
#include <loupe/io/tensorboard.h>
#include <loupe/layers/state.h>

namespace loupe {

/// The nodes from which `output` was computed. `parameters` (of named_parameters) gives leaves
/// their names. Call it before backward() frees the graph, or on a graph of a forward pass made for
/// it.
std::vector<GraphNode> model_graph(const Tensor& output, const StateDict& parameters = {});

}  // namespace loupe
