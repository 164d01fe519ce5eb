#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>
#include <loupe/autograd/watch.h>
#include <loupe/layers/state.h>
#include <loupe/view/memory_timeline.h>
#include <loupe/view/page.h>
#include <loupe/view/profile.h>
#include <loupe/view/see.h>
#include <loupe/view/words.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace loupe {
namespace {

// One op of the step.
struct SeenOp {
  std::string name, path, site, shape, kernel;
  std::vector<int64_t> inputs;          // ops; -1: from outside
  std::vector<std::string> parameters;  // that it read
  Span forward, backward;
  double threads = 1, backward_threads = 1;  // that were busy, on the average
  double flops = 0;
  int64_t kept = 0;  // bytes, parameters left out
  double error = 0;  // of shadow mode, the larger one of both directions
  bool failed = false;
};

// Follows a step: who read whose result. Results are known by their addresses, and the latest op
// that gave one owns it: what an op reads was not freed since.
class Recorder final : public Watch {
 public:
  explicit Recorder(Module& model) {
    for (const Named& n : named_parameters(model)) {
      parameters_[n.tensor.grad_meta().get()] = n.name;
      leaves_.know(n);
    }
  }

  void forward(const OpRun& run) override {
    finish_last();
    SeenOp op;
    op.path = run.node->module_path();
    op.site = to_string(run.node->site());
    op.kernel = run.kernel;
    op.forward = run.time;
    op.threads = run.threads;
    last_inputs_.clear();
    for (const Tensor* t : run.inputs) {
      last_inputs_.push_back(t->defined() ? t->shape() : Shape());
      if (!t->defined()) continue;
      read(op, *t);
      leaves_.read(*t);
    }
    for (const Tensor& t : run.outputs) {
      if (op.shape.empty()) op.shape = fmt::format("{}", t.shape());
      makers_[address(t)] = static_cast<int64_t>(ops_.size());
    }
    births_[run.node->birth()] = ops_.size();
    last_ = run.node;
    ops_.push_back(std::move(op));
    maker_ = memory_.made_by({});
    memory_.mark();
  }

  void backward(const RuleRun& run) override {
    finish_last();
    const auto found = births_.find(run.node.birth());
    if (found != births_.end()) {
      ops_[found->second].backward = run.time;
      ops_[found->second].backward_threads = run.threads;
    }
    running_ = nullptr;
    memory_.made_by({std::string(run.node.name()) + " backward", run.node.module_path(),
                     to_string(run.node.site())});
    detail::lets_go(memory_, run.node);
    memory_.mark();
  }

  void rule_begins(const Node& node) override { running_ = &node; }

  void shadowed(const Node& node, bool /*backward*/, double error) override {
    const auto found = births_.find(node.birth());
    if (found == births_.end()) return;
    SeenOp& op = ops_[found->second];
    op.error = std::max(op.error, error);
  }

  void stretch(const char* name, Span time) override {
    finish_last();
    stretches_.push_back({name, time});
    memory_.made_by({name, "", ""});
    leaves_.find_gradients();
    memory_.mark();
  }

  void trained(const Named& parameter, std::span<const Tensor> state) override {
    leaves_.trained(parameter, state);
  }

  // The op whose rule was running, or the one that ran last and is said to have failed.
  void mark_failure(const std::string& text) {
    finish_last();
    if (running_) {
      const auto found = births_.find(running_->birth());
      if (found != births_.end()) ops_[found->second].failed = true;
      return;
    }
    const std::string op = text.substr(0, text.find_first_of(" :"));
    if (!ops_.empty() && ops_.back().name == op && text.find("NaN or Inf") != text.npos) {
      ops_.back().failed = true;
      return;
    }
    SeenOp failed;  // it was refused before it ran
    failed.name = op;
    failed.path = ops_.empty() ? "" : ops_.back().path;
    failed.failed = true;
    const size_t at = text.rfind("(in ");
    if (at != text.npos) failed.path = text.substr(at + 4, text.find_first_of(",)", at) - at - 4);
    if (!ops_.empty()) failed.inputs.push_back(static_cast<int64_t>(ops_.size()) - 1);
    ops_.push_back(std::move(failed));
  }

  std::string json(const std::string& title, const std::string& error) {
    finish_last();
    std::string out = fmt::format("{{\"title\": {}, \"error\": {}, \"ops\": [",
                                  view::json_string(title), view::json_string(error));
    for (size_t i = 0; i < ops_.size(); ++i) out += (i > 0 ? ",\n" : "\n") + op_json(ops_[i]);
    out += "],\n\"stretches\": [";
    for (size_t i = 0; i < stretches_.size(); ++i)
      out += fmt::format("{}[{}, {:.7f}, {:.7f}]", i > 0 ? ", " : "",
                         view::json_string(stretches_[i].first),
                         stretches_[i].second.begin - begin_, stretches_[i].second.end - begin_);
    return out + "],\n" + memory_json() + "}";
  }

 private:
  static const void* address(const Tensor& t) {
    // A tensor that needs a gradient is known by its record, which views and handles share.
    return t.grad_meta() ? static_cast<const void*>(t.grad_meta().get())
                         : static_cast<const void*>(t.storage().get());
  }

  void read(SeenOp& op, const Tensor& t) {
    if (const auto p = parameters_.find(t.grad_meta().get());
        t.grad_meta() && p != parameters_.end()) {
      op.parameters.push_back(p->second);
      return;
    }
    const auto maker = makers_.find(address(t));
    op.inputs.push_back(maker == makers_.end() ? -1 : maker->second);
  }

  // An op's name, its options and what it keeps are known at the next event.
  void finish_last() {
    const std::shared_ptr<Node> node = std::move(last_);
    if (!node) return;
    SeenOp& op = ops_.back();
    op.name = node->name();
    op.flops = op_flops(*node, last_inputs_);
    memory_.name(maker_, {op.name, op.path, op.site});
    detail::keeps(memory_, *node, maker_);
    if (node->input_count() == 0) return;  // no backward pass will come: it keeps nothing
    for (const SavedTensor* saved : node->saved()) {
      const Tensor& t = saved->peek();
      if (t.defined() && !(t.is_leaf() && t.requires_grad())) op.kept += saved->bytes();
    }
  }

  std::string op_json(const SeenOp& op) const {
    std::string inputs, parameters;
    for (const int64_t i : op.inputs) inputs += fmt::format("{}{}", inputs.empty() ? "" : ", ", i);
    for (const std::string& p : op.parameters)
      parameters += (parameters.empty() ? "" : ", ") + view::json_string(p);
    return fmt::format(
        "{{\"name\": {}, \"path\": {}, \"site\": {}, \"shape\": {}, \"kernel\": {}, \"inputs\": "
        "[{}], \"parameters\": [{}], \"forward\": [{:.7f}, {:.7f}], \"backward\": [{:.7f}, "
        "{:.7f}], \"threads\": [{:.2f}, {:.2f}], \"flops\": {:.0f}, \"kept\": {}, \"error\": "
        "{:.4e}, \"failed\": {}}}",
        view::json_string(op.name), view::json_string(op.path), view::json_string(op.site),
        view::json_string(op.shape), view::json_string(op.kernel), inputs, parameters,
        since(op.forward.begin), since(op.forward.end), since(op.backward.begin),
        since(op.backward.end), op.threads, op.backward_threads, op.flops, op.kept, op.error,
        op.failed);
  }

  // Every point of the timeline by use, and what was alive at the peak.
  std::string memory_json() const {
    std::string out = "\"memory\": [";
    for (const MemoryPoint& m : memory_.points())
      out += fmt::format("{}[{:.7f}, {}]", out.back() == '[' ? "" : ", ", m.time,
                         fmt::join(m.bytes, ", "));
    const MemoryPoint peak = memory_.peak();
    out += fmt::format("],\n\"peak\": [{:.7f}, {}],\n\"alive\": [", peak.time,
                       fmt::join(peak.bytes, ", "));
    for (const AliveAtPeak& a : memory_.alive_at_peak())
      out += fmt::format(
          "{}{{\"use\": \"{}\", \"op\": {}, \"path\": {}, \"site\": {}, \"bytes\": {}, "
          "\"blocks\": {}}}",
          out.back() == '[' ? "\n" : ",\n", to_string(a.use), view::json_string(a.op),
          view::json_string(a.module), view::json_string(a.line), a.bytes, a.blocks);
    return out + "]";
  }
  double since(double time) const { return time == 0 ? 0 : time - begin_; }

  double begin_ = clock_seconds();
  std::vector<SeenOp> ops_;
  std::unordered_map<uint64_t, size_t> births_;
  std::unordered_map<const void*, int64_t> makers_;
  std::unordered_map<const void*, std::string> parameters_;
  std::shared_ptr<Node> last_;
  std::vector<Shape> last_inputs_;
  const Node* running_ = nullptr;
  std::vector<std::pair<std::string, Span>> stretches_;
  MemoryTimeline memory_;
  detail::UsesOfLeaves leaves_{memory_};
  int maker_ = 0;  // of what the op that ran last allocated
};

void write_page(const std::string& path, const std::string& json) {
  const std::string page(view::embedded("view/see.html"));
  const std::string mark = "\"the step\"";  // where the page takes its data
  const size_t at = page.find(mark);
  const std::string whole = page.substr(0, at) + json + page.substr(at + mark.size());
  view::write_text(path, whole, "see");
}

// Throws the same error if it is an E, with a text that also says where the page is.
template <class E> void throw_again(const std::exception& error, const std::string& path) {
  if (typeid(error) == typeid(E))
    throw E(fmt::format("{}\nthe graph so far, with the op in red: {}", error.what(), path));
}
template <class... E> void throw_again_as(const std::exception& error, const std::string& path) {
  (throw_again<E>(error, path), ...);
}

}  // namespace

void see(const std::string& path, Module& model, const std::function<void()>& step,
         const SeeOptions& options) {
  if (!step) fail<ValueError>("see: the step is empty");
  const std::string title = options.title.empty() ? model.type_name() : options.title;
  Recorder recorder(model);
  std::optional<AnomalyMode> anomaly;
  if (options.anomaly) anomaly.emplace();
  std::optional<ShadowGuard> shadow;
  if (options.shadow) shadow.emplace();
  try {
    step();
    if (shadow) shadow->rows();  // checks what is still pending
  } catch (const std::exception& e) {
    recorder.mark_failure(e.what());
    write_page(path, recorder.json(title, e.what()));
    throw_again_as<ShapeError, DtypeError, IndexError, ValueError, GradError, NumericError, IoError,
                   OutOfMemory, Error>(e, path);
    throw;
  }
  write_page(path, recorder.json(title, ""));
}

}  // namespace loupe
