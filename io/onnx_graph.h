#pragma once
// An ONNX graph under construction, and its file's bytes (onnx.proto: IR version 9, opset 20).
#include <loupe/core/tensor.h>

#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace loupe::onnx {

inline constexpr int64_t kIrVersion = 9, kOpset = 20;

using Names = std::vector<std::string>;
/// A node's attribute: i, f, s, ints or strings.
using Value = std::variant<int64_t, double, std::string, std::vector<int64_t>, Names>;
using Values = std::vector<std::pair<std::string, Value>>;

struct OnnxNode {
  std::string op, name, doc;
  Names inputs, outputs;  // an empty input is an absent one
  Values attributes;
};

/// A size of an input or output; a symbol stands for one that is known only when the model runs.
struct Size {
  int64_t n = 0;
  std::string symbol = "";
};
struct Port {
  std::string name;
  DType dtype = DType::f32;
  std::vector<Size> shape;
};

struct Graph {
  std::string name;
  std::vector<OnnxNode> nodes;                 // in the order they run
  std::map<std::string, Tensor> initializers;  // by name
  std::vector<Port> inputs, outputs;
};

/// Shape, type and every byte of the elements.
bool equal_bytes(const Tensor& a, const Tensor& b);
/// Drops nodes and initializers that no output needs.
void prune(Graph& graph);
/// Conv followed by BatchNormalization becomes one Conv, where nothing else reads the Conv's result
/// and all its weights are initializers: w' = w g, b' = (b - mean) g + beta with
/// g = gamma / sqrt(var + eps), computed in f64.
void fold_batch_norm(Graph& graph);
/// The bytes of the ModelProto. ValueError where the weights come to 2 GiB, protobuf's limit.
std::string serialize(const Graph& graph);

}  // namespace loupe::onnx
