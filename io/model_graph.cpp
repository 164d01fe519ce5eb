#include <loupe/autograd/graph.h>
#include <loupe/io/model_graph.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace loupe {
namespace {

std::string slashes(std::string path) {
  std::replace(path.begin(), path.end(), '.', '/');
  return path;
}

}  // namespace

std::vector<GraphNode> model_graph(const Tensor& output, const StateDict& parameters) {
  std::unordered_map<const GradMeta*, std::string> leaf_names;
  for (const auto& [name, tensor] : parameters)
    if (tensor.grad_meta()) leaf_names.emplace(tensor.grad_meta().get(), slashes(name));

  // All ops behind the output, oldest first, so that names count up the way the program ran.
  std::vector<const Node*> nodes, pending;
  std::unordered_set<const Node*> seen;
  const auto visit = [&](const std::shared_ptr<GradMeta>& meta) {
    if (meta && meta->fn && seen.insert(meta->fn.get()).second) pending.push_back(meta->fn.get());
  };
  visit(output.grad_meta());
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    nodes.push_back(node);
    for (size_t i = 0; i < node->input_count(); ++i) visit(node->edge(i));
  }
  std::sort(nodes.begin(), nodes.end(),
            [](const Node* a, const Node* b) { return a->birth() < b->birth(); });

  std::vector<GraphNode> graph;
  std::unordered_map<const void*, std::string> names;
  std::unordered_map<std::string, int> taken;
  const auto unique = [&](const std::string& wanted) {
    const int n = taken[wanted]++;
    return n ? fmt::format("{}_{}", wanted, n) : wanted;
  };
  for (const Node* node : nodes) {
    GraphNode g;
    for (size_t i = 0; i < node->input_count(); ++i) {
      const auto& edge = node->edge(i);
      if (!edge) continue;
      const void* key = edge->fn ? static_cast<const void*>(edge->fn.get()) : edge.get();
      if (!edge->fn && !names.contains(key)) {
        const auto known = leaf_names.find(edge.get());
        GraphNode leaf;
        leaf.name = names[key] = unique(known != leaf_names.end() ? known->second : "input");
        leaf.op = known != leaf_names.end() ? "Parameter" : "Input";
        leaf.output_shapes = {edge->shape};
        graph.push_back(leaf);
      }
      g.inputs.push_back(edge->output ? fmt::format("{}:{}", names[key], edge->output)
                                      : names[key]);
    }
    const std::string path = slashes(node->module_path());
    g.name = names[node] = unique(path.empty() ? node->name() : path + "/" + node->name());
    g.op = node->name();
    for (size_t i = 0; i < node->output_count(); ++i)
      g.output_shapes.push_back(node->output_shape(i));
    if (node->site().line > 0)
      g.attributes["source"] = fmt::format("{}:{}", node->site().file, node->site().line);
    graph.push_back(std::move(g));
  }
  return graph;
}

}  // namespace loupe
