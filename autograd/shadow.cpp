#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/kernel_log.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace loupe {

// A recorded op is only complete once its function has returned (it fills in options after recording): so its forward is
// checked when the next op is recorded, or when the backward pass starts.
struct ShadowGuard::State {
  struct Twin {
    Tensors x, y;  // f64 leaves and the graph over them
  };
  struct Pending {
    std::shared_ptr<Node> node;
    Tensors inputs, outputs;
    std::string kernel;
  };
  double bound;
  std::optional<Pending> pending;
  std::map<uint64_t, Twin> twins;  // by birth
  std::map<std::string, ShadowRow> rows;

  void flush();
  void compare(Node& node, const std::string& what, const Tensor& got, const Tensor& want, double ShadowRow::*worst, const std::string& kernel);
};

namespace {

thread_local ShadowGuard::State* t_shadow = nullptr;

// Replays must not be shadowed themselves.
struct Paused {
  ShadowGuard::State* const state = t_shadow;
  Paused() { t_shadow = nullptr; }
  ~Paused() { t_shadow = state; }
};

}  // namespace

void ShadowGuard::State::compare(Node& node, const std::string& what, const Tensor& got, const Tensor& want, double ShadowRow::*worst,
                                 const std::string& kernel) {
  if (got.shape() != want.shape())
    fail<NumericError>("shadow: {}: {} has shape {}, its f64 twin {}", node.describe(), what, got.shape(), want.shape());
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  double scale = 0, error = 0;
  size_t at = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(b[i])) scale = std::max(scale, std::abs(b[i]));
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])) || static_cast<float>(b[i]) == static_cast<float>(a[i]);
    const double e = same ? 0 : std::abs(a[i] - b[i]);
    if (e > error || e != e) {
      error = e == e ? e : INFINITY;
      at = i;
    }
  }
  // Below f32's normal range there are no relative errors to speak of.
  const double relative = error == 0 ? 0 : error / std::max(scale, 1e-37);
  ShadowRow& row = rows[node.name()];
  row.op = node.name();
  if (relative > row.*worst) {
    const bool largest = relative > std::max(row.forward, row.backward);
    row.*worst = relative;
    if (largest) {
      row.where = fmt::format("{}{}{} {}", node.module_path(), node.module_path().empty() ? "" : " ", to_string(node.site()), got.shape());
      row.kernel = kernel;
    }
  }
  if (relative > bound)
    fail<NumericError>("shadow: {}{}: {} of shape {} differs from its f64 twin by {:.3g} of its largest element (bound {:.3g}): element {} is {}, should be {}",
                       node.describe(), kernel.empty() ? "" : ", kernel " + kernel, what, got.shape(), relative, bound, at, a[at], b[at]);
}

void ShadowGuard::State::flush() {
  if (!pending) return;
  const Pending now = std::move(*pending);
  pending.reset();
  Paused paused;
  GradMode on(true);
  Node& node = *now.node;
  Twin twin;
  for (size_t i = 0; i < now.inputs.size(); ++i) {
    const Tensor& x = now.inputs[i];
    if (!x.defined() || !is_floating(x.dtype())) {
      twin.x.push_back(x);
      continue;
    }
    twin.x.push_back(x.dtype() == DType::f64 ? x.detach() : raw::to(x, DType::f64));
    if (node.needs(i)) twin.x.back().requires_grad_();
  }
  twin.y = node.replay(twin.x);
  ShadowRow& row = rows[node.name()];
  row.op = node.name();
  if (twin.y.empty()) return;
  ++row.checks;
  for (size_t i = 0; i < twin.y.size(); ++i)
    if (twin.y[i].defined())
      compare(node, twin.y.size() == 1 ? "the output" : fmt::format("output {}", i), now.outputs[i], twin.y[i], &ShadowRow::forward, now.kernel);
  twins[node.birth()] = std::move(twin);
}

ShadowGuard::ShadowGuard(double bound) : state_(std::make_unique<State>()), before_(t_shadow) {
  state_->bound = bound;
  t_shadow = state_.get();
}
ShadowGuard::~ShadowGuard() { t_shadow = before_; }

std::vector<ShadowRow> ShadowGuard::rows() {
  state_->flush();
  std::vector<ShadowRow> out;
  for (const auto& [name, row] : state_->rows) out.push_back(row);
  std::stable_sort(out.begin(), out.end(), [](const ShadowRow& a, const ShadowRow& b) { return std::max(a.forward, a.backward) > std::max(b.forward, b.backward); });
  return out;
}

std::string ShadowGuard::table() {
  std::string out = fmt::format("{:<22} {:>6} {:>9} {:>8} {:>9} {:>8}  {}\n", "op", "checks", "forward", "ulps", "backward", "ulps", "largest error at");
  for (const ShadowRow& r : rows())
    out += r.checks == 0 ? fmt::format("{:<22} {:>6}  no f64 twin\n", r.op, 0)
                         : fmt::format("{:<22} {:>6} {:>9.2e} {:>8.1f} {:>9.2e} {:>8.1f}  {}{}\n", r.op, r.checks, r.forward, r.forward * 0x1p23,
                                       r.backward, r.backward * 0x1p23, r.where, r.kernel.empty() ? "" : ", " + r.kernel);
  return out;
}

namespace detail {

void shadow_flush() {
  if (t_shadow) t_shadow->flush();
}

void shadow_forward(const std::shared_ptr<Node>& node, std::span<const Tensor* const> inputs, std::span<Tensor> outputs) {
  if (!t_shadow) return;
  t_shadow->flush();
  ShadowGuard::State::Pending p{node, {}, {}, last_kernel()};
  for (const Tensor* t : inputs) p.inputs.push_back(t->defined() ? t->detach() : Tensor());
  for (const Tensor& t : outputs) p.outputs.push_back(t.detach());
  t_shadow->pending = std::move(p);
  clear_kernel_log();
}

void shadow_backward(Node& node, const Tensors& dy, const Tensors& dx) {
  if (!t_shadow) return;
  const auto found = t_shadow->twins.find(node.birth());
  if (found == t_shadow->twins.end()) return;
  const std::string kernel = last_kernel();
  clear_kernel_log();
  {
    Paused paused;
    GradMode on(true);
    Tensors y, upstream, x;
    std::vector<size_t> which;
    for (size_t i = 0; i < dy.size(); ++i)
      if (dy[i].defined() && found->second.y[i].defined() && found->second.y[i].requires_grad()) {
        y.push_back(found->second.y[i]);
        upstream.push_back(raw::to(dy[i], DType::f64).detach());
      }
    for (size_t i = 0; i < dx.size(); ++i)
      if (node.needs(i) && dx[i].defined()) {
        x.push_back(found->second.x[i]);
        which.push_back(i);
      }
    if (!y.empty() && !x.empty()) {
      const Tensors want = grad(y, x, {.retain_graph = true, .allow_unused = true}, upstream);
      for (size_t k = 0; k < x.size(); ++k)
        if (want[k].defined())
          paused.state->compare(node, fmt::format("the gradient of input {}", which[k]), raw::sum_to(dx[which[k]], x[k].shape()), want[k],
                                &ShadowRow::backward, kernel);
    }
  }
  t_shadow->twins.erase(found);
}

}  // namespace detail

}  // namespace loupe
