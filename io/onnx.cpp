// From a traced model to its ONNX graph: the model runs twice, and what both runs do becomes nodes.
#include <loupe/autograd/autograd.h>
#include <loupe/core/raw.h>
#include <loupe/io/file.h>
#include <loupe/io/onnx.h>
#include <loupe/io/onnx_step.h>
#include <loupe/layers/state.h>

#include <algorithm>
#include <set>
#include <unordered_map>

namespace loupe {
namespace onnx {

namespace {

// --- Who made which tensor ---

// Tensors of one run by number: inputs, state, then outputs of ops. The same number in both runs is
// the same thing.
class Book {
 public:
  static constexpr int64_t kAbsent = -1, kUnknown = -2, kChanged = -3;

  void add(const Tensor& t, uint64_t version) {
    known_[t.storage().get()].push_back({t, version, count_});
    ++count_;
  }
  int64_t count() const { return count_; }

  /// The number of the very tensor, else of the youngest with the same elements (a detached one).
  int64_t find(const Tensor& t, uint64_t version) const {
    if (!t.defined()) return kAbsent;
    const auto found = known_.find(t.storage().get());
    if (found == known_.end()) return kUnknown;
    const Entry* best = nullptr;
    for (const Entry& e : found->second)
      if (!best && e.tensor.is_same(t)) best = &e;
    for (auto e = found->second.rbegin(); !best && e != found->second.rend(); ++e)
      if (same_view(e->tensor, t)) best = &*e;
    if (!best) return kUnknown;
    return best->version == version ? best->number : kChanged;
  }

 private:
  struct Entry {
    Tensor tensor;
    uint64_t version;
    int64_t number;
  };
  static bool same_view(const Tensor& a, const Tensor& b) {
    return a.shape() == b.shape() && a.strides() == b.strides() && a.offset() == b.offset() &&
           a.dtype() == b.dtype();
  }
  std::unordered_map<const Storage*, std::vector<Entry>> known_;
  int64_t count_ = 0;
};

// A tensor that an op reads: a number in the books, or (kUnknown) a constant of both runs.
struct Use {
  int64_t number = Book::kAbsent;
  Tensor tensor, other;
  uint64_t version = 0;
};

struct Traced {
  const Trace::Op* op = nullptr;
  const Trace::Op* other = nullptr;
  Attributes options, other_options;
  std::vector<Use> inputs;
  std::map<std::string, Use> read;
  int64_t first_output = 0;  // its number
  bool needed = false;
};

// Whole numbers that a model may take as ids: of three different ones and more, the largest becomes
// the next lower, and the smallest the next higher; of one, every second is one less.
void vary_ids(std::vector<double>& values) {
  const std::set<double> seen(values.begin(), values.end());
  if (seen.size() == 2) return;
  for (size_t i = 0; i < values.size(); ++i) {
    double& v = values[i];
    if (seen.size() == 1) v -= v >= 1 ? static_cast<double>(i % 2) : 0.0;
    else if (v == *seen.rbegin()) v = *std::next(seen.rbegin());
    else if (v == *seen.begin()) v = *std::next(seen.begin());
  }
}

// One sample more, the elements in another order, and other numbers.
Tensor varied(const Tensor& example) {
  const int64_t n = example.size(0), sample = example.numel() / n;
  std::vector<double> values = example.to_vector<double>();
  std::reverse(values.begin(), values.end());
  values.insert(values.end(), values.begin(), values.begin() + sample);
  if (!is_floating(example.dtype())) vary_ids(values);
  else
    for (double& v : values) v = v * 0.875 + 0.0625;
  Shape shape = example.shape();
  shape[0] = n + 1;
  return raw::to(from_data(values, shape), example.dtype());
}

class Exporter {
 public:
  Exporter(Module& model, const StateDict& inputs, const OnnxForward& forward,
           const OnnxOptions& options)
      : options_(options), state_(state_dict(model)), inputs_(inputs) {
    for (const auto& [name, m] : named_modules(model)) modules_[name] = m->type_name();
    check_inputs();
    run(model, forward);
    match();
    mark_needed();
    write();
    finish();
    builder_.graph.name = model.type_name();
  }

  Graph& graph() { return builder_.graph; }

 private:
  void check_inputs() {
    if (inputs_.empty()) fail<ValueError>("save_onnx: the list of inputs is empty");
    std::set<std::string> names;
    for (const auto& [name, t] : state_) names.insert(name);
    for (const auto& [name, t] : inputs_) {
      if (!t.defined() || t.dim() == 0 || t.numel() == 0)
        fail<ValueError>("save_onnx: the example {} must have a batch of one or more samples",
                         name);
      if (t.size(0) != inputs_[0].tensor.size(0))
        fail<ShapeError>("save_onnx: the examples {} and {} have batches of {} and {}",
                         inputs_[0].name, name, inputs_[0].tensor.size(0), t.size(0));
      if (name.empty() || !names.insert(name).second)
        fail<ValueError>("save_onnx: the input's name \"{}\" is empty or taken", name);
    }
    for (const std::string& name : options_.outputs)
      if (name.empty() || !names.insert(name).second)
        fail<ValueError>("save_onnx: the output's name \"{}\" is empty or taken", name);
  }

  // Both runs. Inputs are copies, so that they are not taken for a parameter of the model.
  void run(Module& model, const OnnxForward& forward) {
    NoGrad guard;
    const EvalScope evaluating(model);
    for (const auto& [name, t] : inputs_) {
      x_.push_back(raw::clone(t));
      other_x_.push_back(varied(t));
    }
    {
      Trace trace;
      y_ = forward(x_);
      ops_ = trace.ops();
    }
    run_on_more(forward);
    if (y_.size() != options_.outputs.size())
      fail<ValueError>("save_onnx: the model gives {} outputs, options.outputs names {}", y_.size(),
                       options_.outputs.size());
  }

  void run_on_more(const OnnxForward& forward) {
    Trace trace;
    try {
      other_y_ = forward(other_x_);
    } catch (const Error& e) {
      fail<ValueError>(
          "save_onnx: the model takes the example and no batch of {} samples; the first axis of an "
          "input must be the batch: {}",
          other_x_[0].size(0), e.what());
    }
    other_ops_ = trace.ops();
  }

  std::string describe(const Node& node) const {
    const auto found = modules_.find(node.module_path());
    return found == modules_.end() ? node.describe()
                                   : fmt::format("{}, {}", node.describe(), found->second);
  }

  // Numbers all tensors in both runs, and finds what every op reads.
  void match() {
    Book book, other_book;
    for (size_t i = 0; i < x_.size(); ++i) {
      book.add(x_[i], version(x_[i]));
      other_book.add(other_x_[i], version(other_x_[i]));
    }
    for (const auto& [name, t] : state_) {
      book.add(t, version(t));
      other_book.add(t, version(t));
    }
    const size_t count = std::min(ops_.size(), other_ops_.size());
    for (size_t i = 0; i < count; ++i) {
      const Node &a = *ops_[i].node, &b = *other_ops_[i].node;
      if (std::string_view(a.name()) != b.name() ||
          ops_[i].inputs.size() != other_ops_[i].inputs.size() ||
          ops_[i].outputs.size() != other_ops_[i].outputs.size())
        fail<ValueError>(
            "save_onnx: {} runs on one batch where {} runs on another: the model's path depends on "
            "the batch or on the input's values",
            describe(a), describe(b));
      match_op(book, other_book, ops_[i], other_ops_[i]);
    }
    if (ops_.size() != other_ops_.size())
      fail<ValueError>(
          "save_onnx: the model runs {} ops on one batch and {} on another: its path depends on "
          "the batch or on the input's values",
          ops_.size(), other_ops_.size());
    for (size_t k = 0; k < y_.size(); ++k)
      results_.push_back(found(book, other_book, y_[k], other_y_[k], version(y_[k]),
                               version(other_y_[k]), nullptr));
  }

  static uint64_t version(const Tensor& t) { return t.defined() ? t.storage()->version() : 0; }

  Use found(const Book& book, const Book& other_book, const Tensor& a, const Tensor& b,
            uint64_t version_a, uint64_t version_b, const Node* reader) const {
    const int64_t i = book.find(a, version_a), j = other_book.find(b, version_b);
    if (i != j || i == Book::kChanged || (a.defined() && a.dim() != b.dim()))
      fail<ValueError>("save_onnx: {} reads a tensor of shape {} that {}",
                       reader ? describe(*reader) : std::string("the output"),
                       a.defined() ? a.shape() : Shape(),
                       i == Book::kChanged || j == Book::kChanged
                           ? "was changed in place: use an op that gives a new tensor"
                           : "has another origin on another batch");
    return {i, a, b, version_a};
  }

  void match_op(Book& book, Book& other_book, const Trace::Op& a, const Trace::Op& b) {
    Traced t;
    t.op = &a;
    t.other = &b;
    t.options = a.node->attributes();
    t.other_options = b.node->attributes();
    for (size_t i = 0; i < a.inputs.size(); ++i)
      t.inputs.push_back(found(book, other_book, a.inputs[i], b.inputs[i], a.versions[i],
                               b.versions[i], a.node.get()));
    for (const auto& [name, value] : t.options) {
      const auto* const tensor = std::get_if<Tensor>(&value);
      if (!tensor) continue;
      const Tensor& second = std::get<Tensor>(*find(t.other_options, name));
      t.read[name] =
          found(book, other_book, *tensor, second, version(*tensor), version(second), a.node.get());
    }
    t.first_output = book.count();
    for (size_t k = 0; k < a.outputs.size(); ++k) {
      book.add(a.outputs[k], a.output_versions[k]);
      other_book.add(b.outputs[k], b.output_versions[k]);
    }
    traced_.push_back(std::move(t));
  }

  void mark_needed() {
    std::set<int64_t> numbers;
    for (const Use& use : results_) numbers.insert(use.number);
    for (auto t = traced_.rbegin(); t != traced_.rend(); ++t) {
      const auto count = static_cast<int64_t>(t->op->outputs.size());
      const auto first = numbers.lower_bound(t->first_output);
      t->needed = first != numbers.end() && *first < t->first_output + count;
      if (!t->needed) continue;
      for (const Use& use : t->inputs) numbers.insert(use.number);
      for (const auto& [name, use] : t->read) numbers.insert(use.number);
    }
  }

  // The value of what an op reads.
  Read read(const Use& use, const std::string& reader) {
    if (use.number == Book::kAbsent) return {};
    if (use.number != Book::kUnknown) return {names_.at(use.number), use.tensor, use.other.shape()};
    return {constant(use, reader), use.tensor, use.other.shape()};
  }

  // A tensor that no op made. It is a constant if both runs agree in it; along axes that grow with
  // the batch it must repeat itself.
  std::string constant(const Use& use, const std::string& reader) {
    Tensor a = use.tensor, b = use.other;
    const Extents sizes = paired(a.shape(), b.shape());
    bool repeats = true;
    for (int d = 0; d < a.dim(); ++d) {
      if (!sizes[static_cast<size_t>(d)].varies()) continue;
      const Tensor first = raw::slice(a, d, 0, 1, 1), second = raw::slice(b, d, 0, 1, 1);
      repeats = repeats && equal_bytes(raw::expand(first, a.shape()), a) &&
                equal_bytes(raw::expand(second, b.shape()), b);
      a = first;
      b = second;
    }
    if (!repeats || !equal_bytes(a, b))
      fail<ValueError>(
          "save_onnx: {} reads a tensor of shape {} whose elements depend on the input, and no op "
          "tells how: it was made from numbers that were read out, or by an op that is not "
          "recorded",
          reader, use.tensor.shape());
    if (version(use.tensor) != use.version)
      fail<ValueError>(
          "save_onnx: {} reads a tensor of shape {} that was changed in place afterwards", reader,
          use.tensor.shape());
    const std::string name = builder_.tensor(raw::clone(a), builder_.scope + "constant");
    if (a.shape() == use.tensor.shape()) return name;
    Extents to = sizes;
    for (Extent& e : to)
      if (!e.varies()) e = {1, 1};
    return builder_.add("Expand", {name, builder_.sizes(to)});
  }

  void write() {
    builder_.batch_size = {x_[0].size(0), other_x_[0].size(0)};
    int64_t number = 0;
    for (size_t i = 0; i < x_.size(); ++i) {
      const std::string name = builder_.unique(inputs_[i].name);
      builder_.graph.inputs.push_back(port(name, x_[i], other_x_[i].shape()));
      names_[number++] = name;
    }
    for (const auto& [name, t] : state_) {
      // A tied tensor is found under its first name.
      names_[number++] = builder_.unique(name);
      builder_.graph.initializers[name] = t;
    }
    for (const std::string& name : options_.outputs) builder_.unique(name);
    for (const Traced& t : traced_)
      if (t.needed) write_op(t);
  }

  void write_op(const Traced& t) {
    const Node& node = *t.op->node;
    builder_.scope = node.module_path().empty() ? "" : node.module_path() + "/";
    builder_.doc = describe(node);
    Step step{builder_, node, *t.other->node, {}, {}, t.options, t.other_options, {}};
    const Writer writer = find_writer(node.name());
    if (!writer) step.refuse("Loupe knows no ONNX form of this op");
    for (const Use& use : t.inputs) step.inputs.push_back(read(use, builder_.doc));
    for (const auto& [name, use] : t.read) step.read[name] = read(use, builder_.doc);
    writer(step);
    for (size_t k = 0; k < step.results.size(); ++k)
      names_[t.first_output + static_cast<int64_t>(k)] = step.results[k];
  }

  Port port(const std::string& name, const Tensor& t, const Shape& other) const {
    Port p{name, t.dtype(), {}};
    for (const Extent& e : paired(t.shape(), other)) {
      const int64_t n = builder_.batch_size.n, factor = e.n / n;
      const std::string symbol = factor == 1 ? "N" : fmt::format("N*{}", factor);
      p.shape.push_back({e.n, e.varies() ? symbol : ""});
    }
    return p;
  }

  // Gives the outputs their names.
  void finish() {
    builder_.scope = "";
    builder_.doc = "the output";
    for (size_t k = 0; k < results_.size(); ++k) {
      const std::string& name = options_.outputs[k];
      const Read value = read(results_[k], builder_.doc);
      builder_.graph.nodes.push_back({"Identity", name, "output", {value.name}, {name}, {}});
      builder_.graph.outputs.push_back(port(name, value.tensor, value.other));
    }
  }

  const OnnxOptions& options_;
  StateDict state_, inputs_;
  std::map<std::string, std::string> modules_;  // path -> type
  Tensors x_, other_x_, y_, other_y_;
  std::vector<Trace::Op> ops_, other_ops_;
  std::vector<Traced> traced_;
  std::vector<Use> results_;
  std::map<int64_t, std::string> names_;
  Builder builder_;
};

}  // namespace
}  // namespace onnx

void save_onnx(Module& model, const StateDict& inputs, const OnnxForward& forward,
               const std::string& path, const OnnxOptions& options) {
  if (!forward) fail<ValueError>("save_onnx: the function is empty");
  onnx::Exporter exporter(model, inputs, forward, options);
  onnx::prune(exporter.graph());
  if (options.fold_batch_norm) onnx::fold_batch_norm(exporter.graph());
  write_file(path, onnx::serialize(exporter.graph()));
}

void save_onnx(Module& model, const Tensor& example, const std::string& path,
               const OnnxOptions& options) {
  save_onnx(
      model, {{options.input, example}},
      [&](const Tensors& x) { return Tensors{model.call(x[0])}; }, path, options);
}

}  // namespace loupe
