// The backward pass: one loop. Each Node has a birth number, and the youngest pending Node goes
// first; so a Node is met after all its consumers, without counting them.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>
#include <loupe/autograd/watch.h>

#include <map>
#include <unordered_map>

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
    detail::shadow_flush();
    GradMode mode(create_graph_);
    while (!pending_.empty()) {
      Pending now = std::move(pending_.begin()->second);
      pending_.erase(pending_.begin());
      step(now);
    }
    finish_leaves();
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

  void finish_leaves() {
    for (auto& [edge, g] : leaves_) {
      run_hooks(*edge, g);
      if (const auto w = wanted_.find({edge.get(), -1}); w != wanted_.end()) w->second = g;
      if (!store_) continue;
      if (edge->grad.defined()) {
        accumulate(edge->grad, std::move(g), false);
      } else {
        // The memory becomes the leaf's own: a gradient that somebody else sees is copied.
        const bool own = g.use_count() == 1 && g.storage().use_count() == 1 && raw::is_dense(g);
        edge->grad = own ? std::move(g) : raw::clone(g);
      }
    }
  }

  bool create_graph_, retain_graph_, store_;
  std::map<uint64_t, Pending, std::greater<>> pending_;
  std::vector<std::pair<Edge, Tensor>> leaves_;
  std::unordered_map<GradMeta*, size_t> leaf_index_;
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

}  // namespace loupe
