#include <loupe/core/raw.h>
#include <loupe/core/version.h>
#include <loupe/io/onnx_graph.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <protozero/pbf_writer.hpp>
#include <set>

namespace loupe::onnx {
namespace {

using protozero::pbf_writer;

// TensorProto.DataType.
int32_t type_number(DType dtype) {
  switch (dtype) {
    case DType::f32: return 1;
    case DType::u8: return 2;
    case DType::i64: return 7;
    case DType::boolean: return 9;
    case DType::f64: return 11;
  }
  return 0;
}

// AttributeProto.
struct WriteValue {
  pbf_writer& attribute;
  void operator()(double v) const {
    attribute.add_float(2, static_cast<float>(v));
    attribute.add_int32(20, 1);
  }
  void operator()(int64_t v) const {
    attribute.add_int64(3, v);
    attribute.add_int32(20, 2);
  }
  void operator()(const std::string& v) const {
    attribute.add_bytes(4, v);
    attribute.add_int32(20, 3);
  }
  void operator()(const std::vector<int64_t>& v) const {
    for (const int64_t i : v) attribute.add_int64(8, i);
    attribute.add_int32(20, 7);
  }
  void operator()(const Names& v) const {
    for (const std::string& word : v) attribute.add_bytes(9, word);
    attribute.add_int32(20, 8);
  }
};

void write_node(pbf_writer& graph, const OnnxNode& node) {
  pbf_writer n{graph, 1};
  for (const std::string& name : node.inputs) n.add_string(1, name);
  for (const std::string& name : node.outputs) n.add_string(2, name);
  n.add_string(3, node.name);
  n.add_string(4, node.op);
  for (const auto& [name, value] : node.attributes) {
    pbf_writer attribute{n, 5};
    attribute.add_string(1, name);
    std::visit(WriteValue{attribute}, value);
  }
  n.add_string(6, node.doc);
}

void write_tensor(pbf_writer& graph, const std::string& name, const Tensor& t) {
  pbf_writer tensor{graph, 5};
  for (const int64_t n : t.shape()) tensor.add_int64(1, n);
  tensor.add_int32(2, type_number(t.dtype()));
  tensor.add_string(8, name);
  const Tensor dense = raw::row_major(t);
  dispatch(t.dtype(), [&]<class T>(Type<T>) {
    const auto elements = dense.data<T>();
    tensor.add_bytes(9, reinterpret_cast<const char*>(elements.data()), elements.size_bytes());
  });
}

void write_port(pbf_writer& graph, protozero::pbf_tag_type field, const Port& port) {
  pbf_writer info{graph, field};
  info.add_string(1, port.name);
  pbf_writer type{info, 2};
  pbf_writer tensor{type, 1};
  tensor.add_int32(1, type_number(port.dtype));
  pbf_writer shape{tensor, 2};
  for (const Size& size : port.shape) {
    pbf_writer dim{shape, 1};
    if (size.symbol.empty()) dim.add_int64(1, size.n);
    else dim.add_string(2, size.symbol);
  }
}

void check_size(const Graph& graph) {
  constexpr uint64_t kLimit = (uint64_t{1} << 31) - (uint64_t{1} << 20);  // leaves room for nodes
  uint64_t bytes = 0;
  for (const auto& [name, t] : graph.initializers)
    bytes += static_cast<uint64_t>(t.numel()) * size_of(t.dtype());
  if (bytes >= kLimit)
    fail<ValueError>(
        "save_onnx: the weights take {} bytes; an ONNX file is a protobuf message and holds less "
        "than 2 GiB: export parts of the model",
        bytes);
}

bool is_initializer(const Graph& graph, const std::string& name) {
  return graph.initializers.contains(name);
}

// How many nodes and outputs read a value.
int64_t readers(const Graph& graph, const std::string& name) {
  int64_t n = 0;
  for (const OnnxNode& node : graph.nodes)
    n += std::count(node.inputs.begin(), node.inputs.end(), name);
  for (const Port& port : graph.outputs) n += port.name == name;
  return n;
}

bool can_fold(const Graph& graph, const OnnxNode& conv, const OnnxNode& norm) {
  if (conv.op != "Conv" || norm.op != "BatchNormalization") return false;
  if (norm.inputs[0] != conv.outputs[0] || readers(graph, conv.outputs[0]) != 1) return false;
  for (size_t i = 1; i < conv.inputs.size(); ++i)
    if (!is_initializer(graph, conv.inputs[i]) || readers(graph, conv.inputs[i]) != 1) return false;
  for (size_t i = 1; i < norm.inputs.size(); ++i)
    if (!is_initializer(graph, norm.inputs[i])) return false;
  return true;
}

double epsilon(const OnnxNode& norm) {
  for (const auto& [name, value] : norm.attributes)
    if (name == "epsilon") return std::get<double>(value);
  return 1e-5;
}

// "conv1.bias" beside "conv1.weight".
std::string bias_name(const Graph& graph, const std::string& weight) {
  const size_t dot = weight.rfind('.');
  std::string name = (dot == std::string::npos ? "" : weight.substr(0, dot + 1)) + "bias";
  while (graph.initializers.contains(name)) name += "_folded";
  return name;
}

// Puts `norm` into the weights of `conv`, which then gives the norm's result.
void fold(Graph& graph, OnnxNode& conv, const OnnxNode& norm) {
  const auto numbers = [&](size_t i) {
    return graph.initializers.at(norm.inputs[i]).to_vector<double>();
  };
  const std::vector<double> gamma = numbers(1), beta = numbers(2), mean = numbers(3),
                            var = numbers(4);
  const Tensor weight = graph.initializers.at(conv.inputs[1]);
  const bool has_bias = conv.inputs.size() > 2;
  if (!has_bias) conv.inputs.push_back(bias_name(graph, conv.inputs[1]));
  std::vector<double> w = weight.to_vector<double>(), b(gamma.size());
  if (has_bias) b = graph.initializers.at(conv.inputs[2]).to_vector<double>();
  const size_t filter = w.size() / gamma.size();
  for (size_t o = 0; o < gamma.size(); ++o) {
    const double gain = gamma[o] / std::sqrt(var[o] + epsilon(norm));
    for (size_t i = 0; i < filter; ++i) w[o * filter + i] *= gain;
    b[o] = (b[o] - mean[o]) * gain + beta[o];
  }
  graph.initializers[conv.inputs[1]] = raw::to(from_data(w, weight.shape()), weight.dtype());
  graph.initializers[conv.inputs[2]] = raw::to(from_data(b), weight.dtype());
  conv.outputs = norm.outputs;
  conv.doc += "; " + norm.doc + " folded";
}

}  // namespace

bool equal_bytes(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Tensor left = raw::row_major(a), right = raw::row_major(b);
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    const auto x = left.data<T>(), y = right.data<T>();
    return std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
  });
}

void prune(Graph& graph) {
  std::set<std::string> needed;
  for (const Port& port : graph.outputs) needed.insert(port.name);
  std::vector<OnnxNode> kept;
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const bool used = std::any_of(node->outputs.begin(), node->outputs.end(),
                                  [&](const std::string& name) { return needed.contains(name); });
    if (!used) continue;
    needed.insert(node->inputs.begin(), node->inputs.end());
    kept.push_back(std::move(*node));
  }
  std::reverse(kept.begin(), kept.end());
  graph.nodes = std::move(kept);
  std::erase_if(graph.initializers, [&](const auto& one) { return !needed.contains(one.first); });
}

void fold_batch_norm(Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const auto conv =
        std::find_if(graph.nodes.begin(), graph.nodes.end(),
                     [&](const OnnxNode& node) { return can_fold(graph, node, graph.nodes[i]); });
    if (conv == graph.nodes.end()) continue;
    fold(graph, *conv, graph.nodes[i]);
    graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
    --i;
  }
  prune(graph);
}

std::string serialize(const Graph& graph) {
  check_size(graph);
  std::string bytes;
  pbf_writer model{bytes};
  model.add_int64(1, kIrVersion);
  model.add_string(2, "loupe");
  model.add_string(3, kVersion);
  {
    pbf_writer g{model, 7};
    for (const OnnxNode& node : graph.nodes) write_node(g, node);
    g.add_string(2, graph.name);
    for (const auto& [name, t] : graph.initializers) write_tensor(g, name, t);
    for (const Port& port : graph.inputs) write_port(g, 11, port);
    for (const Port& port : graph.outputs) write_port(g, 12, port);
  }
  pbf_writer opset{model, 8};
  opset.add_string(1, "");
  opset.add_int64(2, kOpset);
  opset.commit();
  return bytes;
}

}  // namespace loupe::onnx
