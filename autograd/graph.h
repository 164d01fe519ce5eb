#pragma once
// The graph that backward() walks.
//
// Ownership:  Tensor -> GradMeta {shape, grad, fn, output index, hooks} -> Node {input edges, saved
// tensors}. An edge is a pointer to the input's GradMeta; it keeps no data alive, only a
// SavedTensor does. A leaf has no fn. A Node that needs its own output saves it detached; unpacking
// attaches the edge to this very Node again, and the engine routes gradients by (fn, output index):
// so there is no cycle, and second derivatives are right.
//
// An op is a Node struct and a function under it; see autograd/ops/arithmetic.cpp for short ones.
// The same mechanism serves ops written outside the library.
#include <loupe/autograd/grad_mode.h>
#include <loupe/core/raw.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace loupe {

using Tensors = std::vector<Tensor>;
class Node;

/// One option of an op: a flag, a number, a word, a list of sizes, or a tensor it reads besides its
/// inputs.
using Attribute =
    std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, Dims, Tensor>;
/// An op's options by name.
using Attributes = std::vector<std::pair<const char*, Attribute>>;

/// The gradient side of a tensor: what an edge points to.
struct GradMeta {
  Shape shape;
  DType dtype = DType::f32;
  bool requires_grad = false;
  Tensor grad;               // accumulated, leaves only
  std::shared_ptr<Node> fn;  // the op that made the tensor; null for a leaf
  int output = 0;            // which of fn's outputs it is
  std::vector<std::function<Tensor(const Tensor&)>> hooks;
  /// Of a leaf: called once `grad` holds the sum of a backward pass.
  std::vector<std::shared_ptr<const std::function<void(const Tensor&)>>> after_accumulate;

  /// Ends chains of any length without recursion: every way from Node to Node passes through a
  /// GradMeta.
  ~GradMeta();
};

/// A tensor that a Node keeps for its backward. Constructed with its Node, and with the name that
/// those who look at the graph read: `SavedTensor x{this, "x"};`.
class SavedTensor : Pinned {
 public:
  explicit SavedTensor(Node* owner, const char* name = "");

  /// Keeps an input, with its edge.
  void input(const Tensor& t);
  /// Keeps an output of the owner, detached: get() attaches the edge again.
  void output(const Tensor& t);
  /// The tensor; undefined if none was kept. GradError if the graph was freed or memory was written
  /// since.
  Tensor get() const;
  bool defined() const { return data_.defined(); }
  const char* name() const { return name_; }
  /// What is kept, for those who look on: no check of its version, no edge; undefined once
  /// released.
  const Tensor& peek() const { return data_; }
  /// Bytes kept alive.
  int64_t bytes() const;

 private:
  friend class Node;
  Node* owner_;
  const char* name_;
  Tensor data_;
  uint64_t version_ = 0;
  int output_ = -1;  // >= 0: output of the owner
};

/// An op that was recorded. Derived structs say what they save and how gradients flow.
class Node : public std::enable_shared_from_this<Node>, Pinned {
 public:
  virtual ~Node() = default;

  /// The op's name, as users know it.
  virtual const char* name() const = 0;
  /// The gradients of the inputs from those of the outputs (dy[i] undefined: output i was not
  /// used). One entry per input; where !needs(i) it is ignored and may be undefined. A gradient may
  /// have the broadcast shape: the engine sums it down.
  virtual Tensors backward(const Tensors& dy) = 0;
  /// True for a rule that cannot be differentiated again: grad(..., {.create_graph = true}) throws
  /// and names the op.
  virtual bool fused() const { return false; }

  /// The op again on other inputs of the same shapes, with the options this Node holds: shadow mode
  /// computes it in f64. Empty if the op has no twin.
  virtual Tensors replay(const Tensors& /*x*/) const { return {}; }

  /// The op's options, for those who read the graph (ONNX export, drawings): with name(), the
  /// inputs and the outputs' shapes they say all that the op computes.
  virtual Attributes attributes() const { return {}; }

  /// Whether input i takes part in the gradient: save and compute only for those.
  bool needs(size_t i) const { return i < inputs_.size() && inputs_[i] != nullptr; }
  size_t input_count() const { return inputs_.size(); }
  const std::shared_ptr<GradMeta>& edge(size_t i) const { return inputs_[i]; }
  /// Births count up through the whole program: a Node is younger than all it came from.
  uint64_t birth() const { return birth_; }
  Site site() const { return site_; }
  /// Where in the model it ran, e.g. "blocks.0.attn"; empty outside modules.
  const std::string& module_path() const { return path_name(path_); }
  /// The path's number.
  int module_path_id() const { return path_; }
  const std::vector<SavedTensor*>& saved() const { return saved_; }
  size_t output_count() const { return outputs_.size(); }
  const Shape& output_shape(size_t i) const { return outputs_[i].shape; }
  DType output_dtype(size_t i) const { return outputs_[i].dtype; }
  bool released() const { return released_; }
  /// Lets go of what was saved; a later backward through this Node throws, if it had anything
  /// saved.
  void release();
  /// "mul (model.cpp:12, in blocks.0.mlp)".
  std::string describe() const;

 private:
  friend class SavedTensor;
  friend void link(const std::shared_ptr<Node>&, Site, std::span<const Tensor* const>,
                   std::span<Tensor>);
  friend void note(const char*, std::initializer_list<In>, Tensor&, Attributes);
  void born(Site site, std::span<const Tensor> outputs);
  struct Output {
    Shape shape;
    DType dtype;
  };
  std::vector<std::shared_ptr<GradMeta>> inputs_;
  std::vector<Output> outputs_;
  std::vector<SavedTensor*> saved_;
  uint64_t birth_ = 0;
  Site site_;
  int path_ = 0;
  bool released_ = false;
};

/// True if grad mode is on and some input needs a gradient, or a Trace (autograd/trace.h) or a
/// Watch (autograd/watch.h) lives on this thread.
bool should_record(std::span<const Tensor* const> inputs);
/// Gives `node` its birth, site and path and, where a gradient is needed, its edges and the outputs
/// their record. Called by record().
void link(const std::shared_ptr<Node>& node, Site site, std::span<const Tensor* const> inputs,
          std::span<Tensor> outputs);

/// Records an op: links outputs to a new N over `inputs` and returns it, so that the caller fills
/// in what it saves; nullptr if nothing needs recording. Undefined inputs are allowed.
template <class N>
std::shared_ptr<N> record(Site site, std::span<const Tensor* const> inputs,
                          std::span<Tensor> outputs) {
  if (!should_record(inputs)) return nullptr;
  auto node = std::make_shared<N>();
  link(node, site, inputs, outputs);
  return node;
}
/// The same for inputs in braces. The site is the first one's. ValueError for more than
/// kMaxListedInputs.
inline constexpr size_t kMaxListedInputs = 8;
template <class N>
std::shared_ptr<N> record(std::initializer_list<In> inputs, std::span<Tensor> outputs) {
  if (inputs.size() > kMaxListedInputs)
    fail<ValueError>("record: {} inputs in braces, at most {}: hand over a span", inputs.size(),
                     kMaxListedInputs);
  const Tensor* list[kMaxListedInputs];
  size_t n = 0;
  for (const In& in : inputs) list[n++] = &in.t;
  return record<N>(inputs.begin()->here, std::span<const Tensor* const>(list, n), outputs);
}
template <class N> std::shared_ptr<N> record(std::initializer_list<In> inputs, Tensor& output) {
  return record<N>(inputs, std::span<Tensor>(&output, 1));
}
template <class N> std::shared_ptr<N> record(std::initializer_list<In> inputs, Tensors& outputs) {
  return record<N>(inputs, std::span<Tensor>(outputs));
}

/// Tells a running Trace of an op that has no gradient (a comparison); without one it does nothing.
void note(const char* name, std::initializer_list<In> inputs, Tensor& output,
          Attributes options = {});

}  // namespace loupe
