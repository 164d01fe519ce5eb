// The backward pass: one loop. Each Node has a birth number, and the youngest pending Node goes
// first; so a Node is met after all its consumers, without counting them.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>
#include <loupe/autograd/watch.h>

#include <atomic>
#include <map>
#include <unordered_map>
#include <unordered_set>

namespace loupe {
namespace {

using Edge = std::shared_ptr<GradMeta>;

// Adds `g` into `sum` (undefined at first). In place only where nobody else sees sum's memory.
void accumulate(Tensor& sum, Tensor g, bool create_graph) {
  if (!sum.defined()) sum = std::move(g);
  else if (create_graph) sum = sum + g;
  else if (sum.use_count() == 1 && sum.storage().use_count() == 1 && raw::is_dense(sum))
    raw::add_into(sum, g);
  else sum = raw::binary(raw::Binary::add, sum, g, "accumulate");
}

// True if summing dimensions of `from` can give `to`.
bool sums_to(const Shape& from, const Shape& to) {
  const int shift = from.rank() - to.rank();
  if (shift < 0) return false;
  for (int i = 0; i < to.rank(); ++i)
    if (to[i] != from[i + shift] && to[i] != 1) return false;
  return true;
}

// The gradient of input i: broadcast dimensions are summed here and nowhere else.
Tensor fit(const Node& node, size_t i, Tensor g) {
  const GradMeta& meta = *node.edge(i);
  if (g.dtype() != meta.dtype)
    fail<DtypeError>("{}: backward gave a gradient of type {} for input {} of {}, whose type is {}",
                     node.describe(), g.dtype(), i, node.input_count(), meta.dtype);
  if (g.shape() == meta.shape) return g;
  if (!sums_to(g.shape(), meta.shape))
    fail<ShapeError>(
        "{}: backward gave a gradient of shape {} for input {} of {}, whose shape is {}",
        node.describe(), g.shape(), i, node.input_count(), meta.shape);
  if (!grad_enabled() || !g.requires_grad()) return raw::sum_to(g, meta.shape);
  Dims axes;
  const int shift = g.dim() - meta.shape.rank();
  for (int d = 0; d < g.dim(); ++d)
    if (d < shift || (meta.shape[d - shift] == 1 && g.shape()[d] != 1)) axes.push_back(d);
  return axes.empty() ? g.reshape(meta.shape) : g.sum(axes).reshape(meta.shape);
}

// Set by the first hook that asks for gradients in the middle of a pass: before that no pass looks.
std::atomic<bool> g_early_hooks{false};

// The backward pass of this thread: how deep passes are nested, and what waits for the outermost.
struct AfterBackward {
  int depth = 0;
  std::vector<std::function<void()>> calls;
};
thread_local AfterBackward t_after;

class PassScope : Pinned {
 public:
  PassScope() { ++t_after.depth; }
  ~PassScope() {
    if (--t_after.depth == 0) t_after.calls.clear();
  }
  // Runs what waits, still inside the pass' scope: the end of the outermost pass alone.
  static void finish() {
    if (t_after.depth > 1) return;
    for (size_t i = 0; i < t_after.calls.size(); ++i) {
      const auto call = std::move(t_after.calls[i]);
      call();
    }
  }
};

class Engine {
 public:
  explicit Engine(GradOptions options, bool store)
      : create_graph_(options.create_graph),
        retain_graph_(options.retain_graph || options.create_graph),
        store_(store) {}

  /// The gradient of this tensor is wanted as a result.
  void want(const Edge& meta) { wanted_[key(*meta)] = Tensor(); }
  Tensor result(const GradMeta& meta) const { return wanted_.at(key(meta)); }
  void start(const Tensor& output, const Tensor& upstream) {
    deliver(output.grad_meta(), upstream);
  }

  void run() {
    const Stretch stretch("backward");
    const PassScope pass;
    detail::shadow_flush();
    GradMode mode(create_graph_);
    if (store_ && g_early_hooks.load(std::memory_order_relaxed)) count_uses();
    while (!pending_.empty()) {
      Pending now = std::move(pending_.begin()->second);
      pending_.erase(pending_.begin());
      step(now);
    }
    finish_leaves();
    PassScope::finish();
  }

 private:
  struct Pending {
    std::shared_ptr<Node> node;
    Tensors dy;               // by output
    std::vector<Edge> edges;  // whose hooks run once the gradient of that output is complete
  };
  using Key = std::pair<const void*, int>;
  struct Hash {
    size_t operator()(const Key& k) const {
      return std::hash<const void*>()(k.first) * 31 + static_cast<size_t>(k.second);
    }
  };
  static Key key(const GradMeta& meta) {
    return meta.fn ? Key{meta.fn.get(), meta.output} : Key{&meta, -1};
  }

  void step(Pending& now) {
    Node& node = *now.node;
    for (size_t i = 0; i < now.dy.size(); ++i) {
      if (!now.dy[i].defined()) continue;
      run_hooks(*now.edges[i], now.dy[i]);
      if (wanted_.empty()) continue;
      if (const auto w = wanted_.find({&node, static_cast<int>(i)}); w != wanted_.end())
        w->second = now.dy[i];
    }
    if (create_graph_ && node.fused())
      fail<GradError>(
          "{}: the op is fused and has no second derivative; use the ops it consists of",
          node.describe());
    if (node.released())
      fail<GradError>(
          "{}: backward a second time: what the op saved was freed; pass retain_graph to the first "
          "backward",
          node.describe());
    Tensors dx;
    {
      RuleScope rule(node.name(), node.site(), node.module_path_id());
      detail::shadow_before_rule();
      detail::WatchedRule watched(node);
      dx = node.backward(now.dy);
      watched.done(node, now.dy, dx);
    }
    if (dx.size() != node.input_count())
      fail<GradError>("{}: backward returned {} gradients for {} inputs", node.describe(),
                      dx.size(), node.input_count());
    detail::shadow_backward(node, now.dy, dx);
    now.dy.clear();
    for (size_t i = 0; i < dx.size(); ++i) {
      if (!node.needs(i) || !dx[i].defined()) continue;
      if (anomaly_mode() && raw::has_nonfinite(dx[i]))
        fail<NumericError>(
            "{}: the backward pass produced a NaN or Inf in the gradient of input {}, shape {}",
            node.describe(), i, dx[i].shape());
      deliver(node.edge(i), fit(node, i, std::move(dx[i])));
    }
    if (!uses_left_.empty()) finish_last_used(node);
    if (!retain_graph_) node.release();
  }

  static void run_hooks(GradMeta& meta, Tensor& g) {
    for (const auto& hook : meta.hooks) {
      Tensor changed = hook(g);
      if (!changed.defined()) continue;
      if (changed.shape() != g.shape() || changed.dtype() != g.dtype())
        fail<ShapeError>("register_hook: the hook returned {} {} for a gradient {} {}",
                         changed.dtype(), changed.shape(), g.dtype(), g.shape());
      g = std::move(changed);
    }
  }

  void deliver(const Edge& edge, Tensor g) {
    if (!edge->fn) {
      const auto [it, fresh] = leaf_index_.try_emplace(edge.get(), leaves_.size());
      if (fresh) leaves_.emplace_back(edge, Tensor());
      return accumulate(leaves_[it->second].second, std::move(g), create_graph_);
    }
    Pending& p = pending_[edge->fn->birth()];
    if (!p.node) {
      p.node = edge->fn;
      p.dy.resize(p.node->output_count());
      p.edges.resize(p.node->output_count());
    }
    const size_t i = static_cast<size_t>(edge->output);
    accumulate(p.dy[i], std::move(g), create_graph_);
    if (!p.edges[i] || !edge->hooks.empty()) p.edges[i] = edge;
  }

  // How many inputs of the pass' Nodes each leaf is that has a hook after accumulation.
  void count_uses() {
    std::unordered_set<const Node*> seen;
    std::vector<const Node*> open;
    const auto meet = [&](const Node* node) {
      if (node && seen.insert(node).second) open.push_back(node);
    };
    for (const auto& [birth, p] : pending_) meet(p.node.get());
    while (!open.empty()) {
      const Node& node = *open.back();
      open.pop_back();
      for (size_t i = 0; i < node.input_count(); ++i) {
        if (!node.needs(i)) continue;
        const GradMeta& meta = *node.edge(i);
        meet(meta.fn.get());
        if (!meta.fn && !meta.after_accumulate.empty()) ++uses_left_[&meta];
      }
    }
  }

  // The leaves that no Node after this one uses.
  void finish_last_used(const Node& node) {
    for (size_t i = 0; i < node.input_count(); ++i) {
      if (!node.needs(i)) continue;
      const auto left = uses_left_.find(node.edge(i).get());
      if (left == uses_left_.end() || --left->second > 0) continue;
      uses_left_.erase(left);
      if (const auto at = leaf_index_.find(node.edge(i).get()); at != leaf_index_.end())
        finish_leaf(leaves_[at->second]);
    }
  }

  void finish_leaves() {
    for (auto& leaf : leaves_) finish_leaf(leaf);
  }

  void finish_leaf(std::pair<Edge, Tensor>& leaf) {
    if (!leaf.second.defined()) return;  // finished in the middle of the pass
    Tensor g = std::move(leaf.second);
    leaf.second = Tensor();
    const Edge& edge = leaf.first;
    run_hooks(*edge, g);
    if (const auto w = wanted_.find({edge.get(), -1}); w != wanted_.end()) w->second = g;
    if (!store_) return;
    if (edge->grad.defined()) {
      accumulate(edge->grad, std::move(g), false);
    } else {
      // The memory becomes the leaf's own: a gradient that somebody else sees is copied.
      const bool own = g.use_count() == 1 && g.storage().use_count() == 1 && raw::is_dense(g);
      edge->grad = own ? std::move(g) : raw::clone(g);
    }
    const auto hooks = edge->after_accumulate;  // a hook may remove itself
    for (const auto& hook : hooks) (*hook)(edge->grad);
  }

  bool create_graph_, retain_graph_, store_;
  std::map<uint64_t, Pending, std::greater<>> pending_;
  std::vector<std::pair<Edge, Tensor>> leaves_;
  std::unordered_map<GradMeta*, size_t> leaf_index_;
  std::unordered_map<const GradMeta*, int64_t> uses_left_;
  std::unordered_map<Key, Tensor, Hash> wanted_;
};

Tensor checked_upstream(const Tensor& output, const Tensor& upstream, const char* op) {
  if (!output.defined()) fail<GradError>("{}: the output is undefined", op);
  if (!output.requires_grad())
    fail<GradError>(
        "{}: the tensor needs no gradient: no input of its computation has requires_grad_(), or "
        "grad mode was off",
        op);
  if (!upstream.defined()) {
    if (output.numel() != 1)
      fail<GradError>(
          "{}: only a single number has an implied upstream gradient, got shape {}; sum() it or "
          "pass one",
          op, output.shape());
    return ones_like(output);
  }
  if (upstream.shape() != output.shape() || upstream.dtype() != output.dtype())
    fail<ShapeError>("{}: the upstream gradient is {} {}, the tensor is {} {}", op,
                     upstream.dtype(), upstream.shape(), output.dtype(), output.shape());
  return upstream;
}

}  // namespace

void Tensor::backward(const Tensor& upstream, bool retain_graph, Here /*here*/) const {
  Engine engine({.retain_graph = retain_graph}, true);
  engine.start(*this, checked_upstream(*this, upstream.defined() ? upstream.detach() : upstream,
                                       "backward"));
  engine.run();
}

Tensors grad(const Tensors& outputs, const Tensors& inputs, GradOptions options,
             const Tensors& upstream, Here /*here*/) {
  if (!upstream.empty() && upstream.size() != outputs.size())
    fail<ValueError>("grad: {} upstream gradients for {} outputs", upstream.size(), outputs.size());
  Engine engine(options, false);
  for (const Tensor& x : inputs) {
    if (!x.requires_grad())
      fail<GradError>(
          "grad: an input of shape {} needs no gradient; call requires_grad_() before using it",
          x.shape());
    engine.want(x.grad_meta());
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    engine.start(outputs[i],
                 checked_upstream(outputs[i], upstream.empty() ? Tensor() : upstream[i], "grad"));
  engine.run();
  Tensors results;
  for (const Tensor& x : inputs) {
    results.push_back(engine.result(*x.grad_meta()));
    if (!results.back().defined() && !options.allow_unused)
      fail<GradError>(
          "grad: no output depends on an input of shape {}; pass allow_unused to get an undefined "
          "tensor",
          x.shape());
  }
  return results;
}

void register_hook(const Tensor& t, std::function<Tensor(const Tensor&)> f, Here /*here*/) {
  if (!t.requires_grad())
    fail<GradError>("register_hook: the tensor of shape {} needs no gradient", t.shape());
  if (!f) fail<ValueError>("register_hook: the function is empty");
  t.grad_meta()->hooks.push_back(std::move(f));
}

void GradHookHandle::remove() {
  const auto meta = meta_.lock();
  const auto hook = hook_.lock();
  if (meta && hook) std::erase(meta->after_accumulate, hook);
}

GradHookHandle register_post_accumulate_grad_hook(const Tensor& t,
                                                  std::function<void(const Tensor&)> f,
                                                  Here /*here*/) {
  if (!t.requires_grad() || !t.is_leaf())
    fail<GradError>(
        "register_post_accumulate_grad_hook: needs a leaf with requires_grad_(), got {} of shape "
        "{}",
        t.requires_grad() ? "a computed tensor" : "a tensor that needs no gradient", t.shape());
  if (!f) fail<ValueError>("register_post_accumulate_grad_hook: the function is empty");
  g_early_hooks = true;
  const auto hook = std::make_shared<const std::function<void(const Tensor&)>>(std::move(f));
  t.grad_meta()->after_accumulate.push_back(hook);
  GradHookHandle handle;
  handle.meta_ = t.grad_meta();
  handle.hook_ = hook;
  return handle;
}

void call_after_backward(std::function<void()> f, Here /*here*/) {
  if (!f) fail<ValueError>("call_after_backward: the function is empty");
  if (t_after.depth == 0) fail<GradError>("call_after_backward: no backward pass runs");
  t_after.calls.push_back(std::move(f));
}

}  // namespace loupe
