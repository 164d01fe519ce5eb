#include <loupe/autograd/autograd.h>
#include <loupe/view/graph.h>
#include <loupe/view/words.h>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

namespace loupe {
namespace {

// Every Node that leads to `last`, oldest first.
std::vector<const Node*> nodes_to(const Node* last) {
  std::vector<const Node*> found{last};
  std::unordered_set<const Node*> seen{last};
  for (size_t i = 0; i < found.size(); ++i) {
    const Node* node = found[i];
    for (size_t k = 0; k < node->input_count(); ++k) {
      if (!node->edge(k)) continue;
      const Node* from = node->edge(k)->fn.get();
      if (from && seen.insert(from).second) found.push_back(from);
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Node* a, const Node* b) { return a->birth() < b->birth(); });
  return found;
}

KeptTensor kept_tensor(const SavedTensor& saved) {
  const Tensor& t = saved.peek();
  return {saved.name(), t.shape(), t.dtype(), saved.bytes(), t.is_leaf() && t.requires_grad()};
}

// Builds a Graph node by node.
class Builder {
 public:
  explicit Builder(const StateDict& names) {
    for (const auto& [name, t] : names)
      if (t.grad_meta()) names_[t.grad_meta().get()] = name;
  }

  Graph build(const Node* last) {
    for (const Node* node : nodes_to(last)) add(*node);
    return std::move(graph_);
  }

 private:
  void add(const Node& node) {
    GraphOp op{.name = node.name(),
               .path = node.module_path(),
               .site = to_string(node.site()),
               .inputs = {},
               .outputs = {},
               .kept = {},
               .released = node.released(),
               .birth = node.birth()};
    for (size_t i = 0; i < node.input_count(); ++i) op.inputs.push_back(input(node.edge(i).get()));
    for (size_t i = 0; i < node.output_count(); ++i)
      op.outputs.push_back({node.output_shape(i), node.output_dtype(i)});
    for (const SavedTensor* saved : node.saved()) {
      if (!saved->defined()) continue;
      op.kept.push_back(kept_tensor(*saved));
      if (!op.kept.back().parameter && storages_.insert(saved->peek().storage().get()).second)
        graph_.kept_bytes += op.kept.back().bytes;
    }
    numbers_[&node] = graph_.ops.size();
    graph_.ops.push_back(std::move(op));
  }

  GraphInput input(const GradMeta* edge) {
    if (!edge) return {};
    if (edge->fn)
      return {GraphInput::Kind::op, numbers_.at(edge->fn.get()), static_cast<size_t>(edge->output)};
    const auto [leaf, fresh] = leaves_.try_emplace(edge, graph_.leaves.size());
    if (fresh) {
      const auto name = names_.find(edge);
      graph_.leaves.push_back({name == names_.end() ? "" : name->second, edge->shape, edge->dtype});
    }
    return {GraphInput::Kind::leaf, leaf->second, 0};
  }

  Graph graph_;
  std::unordered_map<const GradMeta*, std::string> names_;
  std::unordered_map<const GradMeta*, size_t> leaves_;
  std::unordered_map<const Node*, size_t> numbers_;
  std::unordered_set<const void*> storages_;
};

std::string result_name(const Graph& graph, size_t op, size_t output) {
  return graph.ops[op].outputs.size() == 1 ? fmt::format("%{}", op + 1)
                                           : fmt::format("%{}.{}", op + 1, output);
}

std::string leaf_name(const Graph& graph, size_t leaf) {
  const std::string& name = graph.leaves[leaf].name;
  return name.empty() ? fmt::format("leaf{}", leaf + 1) : name;
}

std::string input_name(const Graph& graph, const GraphInput& in) {
  switch (in.kind) {
    case GraphInput::Kind::op: return result_name(graph, in.index, in.output);
    case GraphInput::Kind::leaf: return leaf_name(graph, in.index);
    default: return "-";
  }
}

std::string kept_words(const GraphOp& op) {
  if (op.released) return "; released";
  std::string out;
  for (const KeptTensor& kept : op.kept) {
    if (kept.parameter) continue;
    out += out.empty() ? "; keeps " : ", ";
    if (!kept.name.empty()) out += kept.name + " ";
    out += fmt::format("{} {}", kept.shape, view::bytes_in_words(kept.bytes));
  }
  return out;
}

// A text inside the quotes of a DOT label.
std::string in_label(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Graph graph_of(const Tensor& result, const StateDict& names) {
  if (!result.defined() || !result.requires_grad() || !result.grad_meta()->fn)
    fail<GradError>(
        "graph_of: the tensor has no graph: no op that needs a gradient made it, or grad mode was "
        "off");
  return Builder(names).build(result.grad_meta()->fn.get());
}

std::string to_text(const Graph& graph) {
  std::vector<std::string> left;
  size_t width = 0;
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    const GraphOp& op = graph.ops[i];
    std::string results, inputs;
    for (size_t k = 0; k < op.outputs.size(); ++k)
      results += fmt::format("{}{} {} {}", k > 0 ? ", " : "", result_name(graph, i, k),
                             name(op.outputs[k].dtype), op.outputs[k].shape);
    for (const GraphInput& in : op.inputs) {
      if (!inputs.empty()) inputs += ", ";
      inputs += input_name(graph, in);
    }
    left.push_back(fmt::format("{} = {}({})", results, op.name, inputs));
    width = std::max(width, left.back().size());
  }
  std::string out;
  constexpr size_t kWidest = 70;  // longer lines stand out by themselves
  width = std::min(width, kWidest);
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    const GraphOp& op = graph.ops[i];
    out += fmt::format("{:<{}}  # {}{}{}{}\n", left[i], width, op.path, op.path.empty() ? "" : ", ",
                       op.site, kept_words(op));
  }
  out += fmt::format("{} ops keep {} for backward\n", graph.ops.size(),
                     view::bytes_in_words(graph.kept_bytes));
  return out;
}

std::string to_dot(const Graph& graph) {
  std::string out = "digraph loupe {\n  node [shape=box, fontname=\"sans-serif\"];\n";
  for (size_t i = 0; i < graph.leaves.size(); ++i)
    out += fmt::format("  leaf{} [shape=ellipse, label=\"{}\\n{}\"];\n", i,
                       in_label(leaf_name(graph, i)), graph.leaves[i].shape);
  std::map<std::string, std::vector<size_t>> modules;
  for (size_t i = 0; i < graph.ops.size(); ++i) modules[graph.ops[i].path].push_back(i);
  size_t box = 0;
  for (const auto& [path, ops] : modules) {
    if (!path.empty())
      out += fmt::format("  subgraph cluster{} {{\n  label=\"{}\";\n", box++, in_label(path));
    for (const size_t i : ops)
      out += fmt::format("  op{} [label=\"{}\\n{}\"];\n", i, in_label(graph.ops[i].name),
                         graph.ops[i].outputs.empty() ? Shape() : graph.ops[i].outputs[0].shape);
    if (!path.empty()) out += "  }\n";
  }
  for (size_t i = 0; i < graph.ops.size(); ++i)
    for (const GraphInput& in : graph.ops[i].inputs)
      if (in.kind != GraphInput::Kind::none)
        out += fmt::format("  {}{} -> op{};\n", in.kind == GraphInput::Kind::op ? "op" : "leaf",
                           in.index, i);
  return out + "}\n";
}

}  // namespace loupe
