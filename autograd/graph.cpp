#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>
#include <loupe/autograd/trace.h>
#include <loupe/autograd/watch.h>

#include <atomic>

namespace loupe {
namespace {

thread_local bool t_grad_enabled = true;
thread_local bool t_anomaly = false;

// One counter for the program: a Node is younger than all it came from, whatever its type and
// thread.
std::atomic<uint64_t> g_births{0};

// Nodes that ~GradMeta wants destroyed wait here while an outer ~GradMeta is at work. A raw pointer
// has no destructor of its own, so that it may be used while statics die.
thread_local std::vector<std::shared_ptr<Node>>* t_doomed = nullptr;

std::string described(const char* op, Site site, const std::string& path) {
  return path.empty() ? fmt::format("{} ({})", op, to_string(site))
                      : fmt::format("{} ({}, in {})", op, to_string(site), path);
}

}  // namespace

bool grad_enabled() { return t_grad_enabled; }
GradMode::GradMode(bool on) : before_(t_grad_enabled) { t_grad_enabled = on; }
GradMode::~GradMode() { t_grad_enabled = before_; }

bool anomaly_mode() { return t_anomaly; }
AnomalyMode::AnomalyMode(bool on) : before_(t_anomaly) { t_anomaly = on; }
AnomalyMode::~AnomalyMode() { t_anomaly = before_; }

GradMeta::~GradMeta() {
  if (!fn) return;
  if (t_doomed) {
    t_doomed->push_back(std::move(fn));
    return;
  }
  std::vector<std::shared_ptr<Node>> doomed;
  t_doomed = &doomed;
  doomed.push_back(std::move(fn));
  while (!doomed.empty()) {
    const std::shared_ptr<Node> last = std::move(doomed.back());
    doomed.pop_back();
  }
  t_doomed = nullptr;
}

SavedTensor::SavedTensor(Node* owner, const char* name) : owner_(owner), name_(name) {
  owner->saved_.push_back(this);
}

void SavedTensor::input(const Tensor& t) {
  if (!t.defined()) return;
  data_ = t;
  version_ = t.storage()->version();
}

void SavedTensor::output(const Tensor& t) {
  data_ = t.detach();
  version_ = t.storage()->version();
  output_ = t.grad_meta() ? t.grad_meta()->output : 0;
}

Tensor SavedTensor::get() const {
  if (owner_->released_)
    fail<GradError>(
        "{}: backward a second time: what the op saved was freed; pass retain_graph to the first "
        "backward",
        owner_->describe());
  if (!data_.defined()) return data_;
  if (data_.storage()->version() != version_)
    fail<GradError>(
        "{}: a tensor of shape {} that backward needs was changed in place: it is at version {}, "
        "saved at "
        "version {}; use an out-of-place op, or clone() before the change",
        owner_->describe(), data_.shape(), data_.storage()->version(), version_);
  if (output_ < 0 || !grad_enabled()) return data_;
  // An output goes back to this very Node under a fresh record: gradients are routed by (fn,
  // output).
  Tensor t = data_.detach();
  auto meta = std::make_shared<GradMeta>();
  meta->shape = t.shape();
  meta->dtype = t.dtype();
  meta->requires_grad = true;
  meta->fn = owner_->shared_from_this();
  meta->output = output_;
  t.set_grad_meta(std::move(meta));
  return t;
}

int64_t SavedTensor::bytes() const {
  return data_.defined() ? static_cast<int64_t>(data_.storage()->bytes()) : 0;
}

std::string Node::describe() const { return described(name(), site_, module_path()); }

void Node::release() {
  if (saved_.empty()) return;
  released_ = true;
  for (SavedTensor* s : saved_) s->data_ = Tensor();
}

namespace {

bool needs_gradient(std::span<const Tensor* const> inputs) {
  if (!t_grad_enabled) return false;
  for (const Tensor* t : inputs)
    if (t->defined() && t->requires_grad()) return true;
  return false;
}

// An op without a gradient, as a Trace keeps it.
struct NotedNode final : Node {
  std::string label;
  Attributes options;
  const char* name() const override { return label.c_str(); }
  Attributes attributes() const override { return options; }
  Tensors backward(const Tensors& /*dy*/) override {
    fail<GradError>("{}: the op has no gradient", label);
  }
};

}  // namespace

bool should_record(std::span<const Tensor* const> inputs) {
  if (detail::tracing() || detail::watching() || needs_gradient(inputs)) return true;
  detail::shadow_unrecorded();
  return false;
}

void Node::born(Site site, std::span<const Tensor> outputs) {
  birth_ = g_births.fetch_add(1, std::memory_order_relaxed);
  site_ = current_site(site);
  path_ = detail::t_place.path;
  outputs_.reserve(outputs.size());
  for (const Tensor& t : outputs) outputs_.push_back({t.shape(), t.dtype()});
}

void note(const char* name, std::initializer_list<In> inputs, Tensor& output, Attributes options) {
  if (!detail::tracing() && !detail::watching()) return;
  const auto noted = std::make_shared<NotedNode>();
  noted->label = name;
  noted->options = std::move(options);
  noted->born(inputs.begin()->here, {&output, 1});
  const std::shared_ptr<Node> node = noted;
  std::vector<const Tensor*> list;
  for (const In& in : inputs) list.push_back(&in.t);
  const detail::WatchedOp watched(node, list, {&output, 1});
  detail::trace_op(node, list, {&output, 1});
}

void link(const std::shared_ptr<Node>& node, Site site, std::span<const Tensor* const> inputs,
          std::span<Tensor> outputs) {
  node->born(site, outputs);
  const detail::WatchedOp watched(node, inputs, outputs);
  detail::trace_op(node, inputs, outputs);
  if (!needs_gradient(inputs)) return detail::shadow_unrecorded();
  node->inputs_.reserve(inputs.size());
  for (const Tensor* t : inputs)
    node->inputs_.push_back(t->defined() && t->requires_grad() ? t->grad_meta() : nullptr);
  int index = 0;
  for (Tensor& t : outputs) {
    auto meta = std::make_shared<GradMeta>();
    meta->shape = t.shape();
    meta->dtype = t.dtype();
    meta->requires_grad = is_floating(t.dtype());
    meta->fn = node;
    meta->output = index++;
    t.set_grad_meta(std::move(meta));
  }
  detail::shadow_forward(node, inputs, outputs);
  if (!t_anomaly) return;
  for (const Tensor& t : outputs)
    if (raw::has_nonfinite(t))
      fail<NumericError>("{}: the forward pass produced a NaN or Inf, shape {}", node->describe(),
                         t.shape());
}

}  // namespace loupe
