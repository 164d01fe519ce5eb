#pragma once
// One traced op on its way into an ONNX graph: what a writer (onnx_writers.h) reads and says.
#include <loupe/autograd/trace.h>
#include <loupe/io/onnx_graph.h>

#include <functional>
#include <optional>
#include <string_view>

namespace loupe::onnx {

/// A size in both runs: it varies with the batch where they differ.
struct Extent {
  int64_t n = 0, other = 0;
  bool varies() const { return n != other; }
  friend bool operator==(const Extent&, const Extent&) = default;
};
using Extents = std::vector<Extent>;
/// The sizes of one tensor in both runs.
Extents paired(const Shape& a, const Shape& b);
/// The option of that name; null where there is none.
const Attribute* find(const Attributes& options, std::string_view name);

/// x weight^T + bias, by the names of its parts; an empty bias is none.
struct Product {
  std::string x, weight, bias;
};

/// The graph being built, and the names in it.
class Builder {
 public:
  Graph graph;

  /// `wanted`, with a number behind it if it is taken.
  std::string unique(const std::string& wanted);
  /// An initializer of these elements; equal ones are one.
  std::string ints(const std::vector<int64_t>& values);
  std::string number(double value, DType dtype);
  std::string tensor(const Tensor& t, const std::string& wanted);
  /// The batch of the run, i64 of shape (1): the first axis of the first input.
  std::string batch();
  /// A node with one output, whose name is returned.
  std::string add(const std::string& op, const Names& inputs, const Values& attributes = {});
  Names add(const std::string& op, const Names& inputs, const Values& attributes, size_t outputs);
  /// A shape as a value, i64.
  std::string sizes(const Extents& extents);

  /// Values that are such products: an op that makes its own takes the parts.
  std::map<std::string, Product> products;
  std::string scope, doc;  // of the nodes that are added: "conv1/", "conv2d (a.cpp:3, in conv1)"
  Extent batch_size;

 private:
  std::map<std::string, int> taken_;
  std::string batch_;
};

/// A tensor that an op reads, found in the graph.
struct Read {
  std::string name;  // empty: absent
  Tensor tensor;     // of the first run
  Shape other;       // its shape in the second
};

struct Step {
  Builder& out;
  const Node& node;
  const Node& other;  // the same op in the second run
  std::vector<Read> inputs;
  std::map<std::string, Read> read;  // tensors among the options
  Attributes options, other_options;
  Names results;  // what the writer gave

  /// ValueError: the op, its place, and why.
  [[noreturn]] void refuse(const std::string& why) const;

  bool has(size_t i) const { return i < inputs.size() && !inputs[i].name.empty(); }
  const std::string& in(size_t i) const { return inputs[i].name; }
  const Tensor& x(size_t i) const { return inputs[i].tensor; }
  int rank(size_t i) const { return inputs[i].tensor.dim(); }
  DType dtype() const { return inputs[0].tensor.dtype(); }
  Extents extents(size_t i) const;
  Extents result(size_t k = 0) const;
  /// The size of an axis of input i, which must not vary.
  int64_t fixed(size_t i, int axis) const;

  /// An option; refused if the runs differ in it.
  template <class T> T get(const char* name) const;
  template <class T> T get(const char* name, T otherwise) const;
  /// A tensor among the options; an empty name where it is absent.
  Read value(const char* name) const;

  void give(std::string name) { results.push_back(std::move(name)); }
};

/// Writes the op of a step; null: ONNX has no form for it, or nobody wrote one.
using Writer = std::function<void(Step&)>;
Writer find_writer(std::string_view op);

}  // namespace loupe::onnx
