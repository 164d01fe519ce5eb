#include <loupe/autograd/ops.h>
#include <loupe/io/model_graph.h>
#include <loupe/io/monitor.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/norm.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace loupe {
namespace {

constexpr double kDead = 1e-6;

std::string label(const std::string& layer) { return layer.empty() ? "model" : layer; }

std::string layer_of(const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  return dot == parameter.npos ? "model" : parameter.substr(0, dot);
}

double squares(const Tensor& t) { return sum(square(t.to(DType::f64))).item(); }

// Buffers and random streams of a model, put back at the end.
class Restore : Pinned {
 public:
  explicit Restore(Module& m) {
    for (const auto& [name, t] : named_buffers(m)) buffers_.emplace_back(t, raw::clone(t));
    for (const auto& [name, rng] : named_streams(m)) streams_.emplace_back(rng, rng->state());
  }
  ~Restore() {
    NoGrad guard;
    for (const auto& [t, value] : buffers_) t.copy_(value);
    for (const auto& [rng, state] : streams_) rng->set_state(state);
  }

 private:
  std::vector<std::pair<Tensor, Tensor>> buffers_;
  std::vector<std::pair<Rng*, Rng::State>> streams_;
};

const BatchNormState* batch_norm_of(const Module& m) {
  if (const auto* bn = dynamic_cast<const BatchNorm1d*>(&m)) return bn;
  return dynamic_cast<const BatchNorm2d*>(&m);
}

// The dimension that counts the units of a layer's output: channels of images and sequences, else
// features.
int unit_axis(const Module* m, const Tensor& y) {
  if (y.dim() < 3) return std::max(0, y.dim() - 1);
  if (m)
    if (const BatchNormState* bn = batch_norm_of(*m))
      return static_cast<int>(raw::normalize_axes({bn->options.axis}, y.dim(), "Monitor")[0]);
  return y.dim() > 3 || dynamic_cast<const Conv1d*>(m) || dynamic_cast<const GroupNorm*>(m)
             ? 1
             : y.dim() - 1;
}

Dims all_but(int axis, int rank) {
  Dims axes;
  for (int i = 0; i < rank; ++i)
    if (i != axis) axes.push_back(i);
  return axes;
}

double root_mean_square(const Tensor& t) { return std::sqrt(mean(square(t)).item()); }

}  // namespace

Monitor::Monitor(EventWriter& board, Module& model, Options options)
    : board_(board), model_(model), options_(options) {
  if (options.every < 1 || options.histograms_every < 0)
    fail<ValueError>("Monitor: every {} and histograms_every {}; expected at least 1 and 0",
                     options.every, options.histograms_every);
}

void Monitor::forward(int64_t step, const std::function<Tensor()>& run) {
  if (!watches(step)) return;
  const auto modules = named_modules(model_);
  std::map<const Module*, std::string> layers;
  for (const auto& [name, m] : modules) {
    const std::string inside = name.empty() ? "" : name + ".";
    const bool has_children = std::any_of(
        modules.begin(), modules.end(),
        [&, self = m](const auto& o) { return o.second != self && o.first.starts_with(inside); });
    if (!has_children) layers[m] = label(name);
  }
  std::map<const Module*, StateDict>
      running;  // a BatchNorm's statistics before the pass updates them
  for (const auto& [m, layer] : layers)
    if (const BatchNormState* bn = batch_norm_of(*m); bn && bn->running_mean.defined())
      running[m] = {{"mean", bn->running_mean.to(DType::f64).clone()},
                    {"var", bn->running_var.to(DType::f64).clone()}};
  std::map<const GradMeta*, Module*> made_by;
  const Restore restore(model_);
  Tensor output;
  {
    const HookScope hooks(model_, [&](Module& m, const Tensor& x, const Tensor& y) {
      if (y.grad_meta()) made_by.emplace(y.grad_meta().get(), &m);  // the innermost first
      const auto layer = layers.find(&m);
      if (layer == layers.end() || !is_floating(y.dtype()) || y.numel() == 0) return;
      NoGrad guard;
      layer_output(step, m, layer->second, y);
      if (const auto r = running.find(&m); r != running.end())
        running_gap(step, m, layer->second, x, r->second[0].tensor, r->second[1].tensor);
      layers.erase(layer);  // a layer that runs twice is seen once
    });
    output = run();
  }
  dead_units(step, output, made_by);
  if (!drawn_) board_.graph(model_graph(output, named_parameters(model_)));
  drawn_ = true;
}

void Monitor::layer_output(int64_t step, Module& m, const std::string& layer, const Tensor& y) {
  const auto scalar = [&](const char* what, double value) {
    board_.scalar(std::string(what) + "/" + layer, value, step);
  };
  const Tensor wide = y.to(DType::f64);
  scalar("activation_mean", mean(wide).item());
  scalar("activation_std", std(wide, {}, 0).item());
  if (draws_histograms(step)) board_.histogram("activations/" + layer, y, step);
  if (m.type_name().find("Norm") == std::string::npos) return;
  for (const auto& [name, t] : named_parameters(m)) {
    const std::string word = name == "weight" ? "gamma" : name == "bias" ? "beta" : name;
    scalar((word + "_mean").c_str(), mean(t.to(DType::f64)).item());
    scalar((word + "_std").c_str(), std(t.to(DType::f64), {}, 0).item());
  }
}

void Monitor::running_gap(int64_t step, const Module& bn, const std::string& layer, const Tensor& x,
                          const Tensor& running_mean, const Tensor& running_var) {
  if (x.numel() == running_mean.numel()) return;  // one value a channel has no variance
  const Tensor in = x.to(DType::f64);
  const Dims axes = all_but(unit_axis(&bn, x), x.dim());
  const double eps = *batch_norm_of(bn)->options.eps;
  board_.scalar("running_mean_gap/" + layer,
                root_mean_square((mean(in, axes) - running_mean) / sqrt(running_var + eps)), step);
  board_.scalar("running_var_gap/" + layer,
                root_mean_square(log((var(in, axes) + eps) / (running_var + eps))), step);
}

void Monitor::dead_units(int64_t step, const Tensor& output,
                         const std::map<const GradMeta*, Module*>& made_by) {
  static const std::set<std::string> kActivations{"relu", "gelu", "silu"};
  std::vector<const Node*> pending, activations;
  std::set<const Node*> seen;
  const auto visit = [&](const std::shared_ptr<GradMeta>& meta) {
    if (meta && meta->fn && seen.insert(meta->fn.get()).second) pending.push_back(meta->fn.get());
  };
  visit(output.grad_meta());
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    for (size_t i = 0; i < node->input_count(); ++i) visit(node->edge(i));
    if (kActivations.contains(node->name())) activations.push_back(node);
  }
  std::sort(activations.begin(), activations.end(),
            [](const Node* a, const Node* b) { return a->birth() < b->birth(); });
  std::map<std::string, int> taken;
  NoGrad guard;
  for (const Node* node : activations) {
    // ReLU keeps its output, the others their input: relu(relu(x)) is relu(x).
    const Tensor active = node->replay({node->saved()[0]->get()})[0];
    if (active.numel() == 0) continue;
    const auto made = node->edge(0) ? made_by.find(node->edge(0).get()) : made_by.end();
    const Module* before = made == made_by.end() ? nullptr : made->second;
    const std::string layer = label(before ? before->path() : node->module_path());
    const int n = taken[layer]++;
    const Tensor largest = max(abs(active), all_but(unit_axis(before, active), active.dim()));
    board_.scalar("dead_units/" + layer + (n ? fmt::format("_{}", n + 1) : ""),
                  mean(le(largest, kDead).to(DType::f64)).item(), step);
  }
}

void Monitor::gradients(int64_t step) {
  if (!watches(step)) return;
  NoGrad guard;
  before_.clear();
  std::map<std::string, double> norms;
  for (const auto& [name, p] : named_parameters(model_)) {
    before_.push_back({name, raw::clone(p)});
    if (!p.grad().defined()) continue;
    norms[layer_of(name)] += squares(p.grad());
    if (draws_histograms(step)) board_.histogram("gradients/" + name, p.grad(), step);
  }
  for (const auto& [layer, square] : norms)
    board_.scalar("gradient_norm/" + layer, std::sqrt(square), step);
}

void Monitor::update(int64_t step) {
  if (!watches(step)) return;
  NoGrad guard;
  std::map<std::string, std::pair<double, double>>
      layers;  // squares of the change, of the weights before
  const StateDict now = named_parameters(model_);
  for (size_t i = 0; i < before_.size(); ++i) {
    auto& [change, size] = layers[layer_of(before_[i].name)];
    change += squares(now[i].tensor.to(DType::f64) - before_[i].tensor.to(DType::f64));
    size += squares(before_[i].tensor);
    if (draws_histograms(step)) board_.histogram("weights/" + now[i].name, now[i].tensor, step);
  }
  for (const auto& [layer, squared] : layers)
    if (squared.second > 0)
      board_.scalar("update_ratio/" + layer, std::sqrt(squared.first / squared.second), step);
  before_.clear();
  board_.flush();
}

}  // namespace loupe
