#pragma once
// ONNX files read back with protozero: a model's nodes, weights and ports, and TensorProtos. A
// reader of its own, for the tests: the library only writes.
#include <loupe/autograd/graph.h>

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace judges {
using namespace loupe;

/// What Loupe cannot express, and why: an entry of the committed list, not a failure.
struct NotExpressible : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct OnnxAttribute {
  double f = 0;
  int64_t i = 0;
  std::string s;
  std::string tensor;  // a TensorProto
  std::vector<double> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
};

struct OnnxNode {
  std::string op, name, domain, doc;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, OnnxAttribute> attributes;
};

struct OnnxPort {
  std::string name;
  int64_t type = 0;                // TensorProto.DataType; 0: no tensor
  std::vector<std::string> shape;  // a number, a symbol, or "" for an unknown size
};

struct OnnxModel {
  int64_t ir_version = 0, opset = 0;
  std::string producer, graph_name;
  std::vector<OnnxNode> nodes;
  std::vector<std::pair<std::string, std::string>> initializers;  // name, TensorProto
  std::vector<OnnxPort> inputs, outputs;
};

OnnxModel parse_model(const std::string& bytes);
/// int32 is read as i64, which holds all of its values. NotExpressible for another element type
/// that Loupe has not.
Tensor parse_tensor(const std::string& bytes);
/// "float16" for 10.
std::string type_name(int64_t type);

/// The outputs of a graph, node by node in Loupe's ops. NotExpressible names the first node without
/// a form.
Tensors run_model(const OnnxModel& model, const Tensors& inputs);

/// One node. `outputs` counts the results that are asked for.
struct OnnxCall {
  const OnnxNode& node;
  Tensors x;  // an undefined tensor is an absent input
  int64_t opset;
  size_t outputs;
  mutable std::set<std::string> asked = {};  // attributes that were looked at

  bool has(size_t i) const { return i < x.size() && x[i].defined(); }
  bool given(const char* name) const { return find(name) != nullptr; }
  int64_t integer(const char* name, int64_t otherwise) const;
  double real(const char* name, double otherwise) const;
  std::string word(const char* name, const char* otherwise) const;
  std::vector<int64_t> list(const char* name) const;
  std::vector<std::string> words(const char* name) const;
  /// Input i as numbers, the attribute of that name where the input is absent.
  std::vector<int64_t> numbers(size_t i, const char* name) const;

 private:
  const OnnxAttribute* find(const char* name) const;
};
/// NotExpressible as well where the node has an attribute that its function never asked for: what
/// could change the result is not passed over.
Tensors run_node(const OnnxCall& call);

}  // namespace judges
