#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>
#include <loupe/autograd/watch.h>
#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace loupe {

// A recorded op is only complete once its function has returned (it fills in options after
// recording): so its forward is checked when the next op is recorded, or when the backward pass
// starts.
struct ShadowGuard::State {
  struct Twin {
    Tensors x, y;  // f64 leaves and the graph over them
    // Of the inputs as they are, or, with a salt, rounded at random, but for what `common` holds.
    Twin(const Node& node, const Tensors& inputs, uint64_t salt = 0, const Tensors& common = {});
    Twin() = default;
    // This twin on inputs that are rounded otherwise.
    Twin rounded_inputs(const Node& node, uint64_t salt) const;
    Tensors common_parts(const Node& node) const;
    Tensors gradients(const Node& node, const Tensors& dy, const Tensors& dx,
                      uint64_t salt = 0) const;
  };
  struct Pending {
    std::shared_ptr<Node> node;
    Tensors inputs, outputs;
    std::string kernel;
  };
  double bound;
  std::optional<Pending> pending;
  bool in_rule = false;            // a backward rule runs: its ops are not recorded, but its own
  std::map<uint64_t, Twin> twins;  // by birth
  std::map<std::string, ShadowRow> rows;

  void flush();
  /// `again(salt)`: what `want` would be on inputs that are rounded otherwise.
  template <class Again>
  void compare(const Node& node, const std::string& what, const Tensor& got, const Tensor& want,
               double ShadowRow::*worst, const std::string& kernel, const Again& again);
};

namespace {

thread_local ShadowGuard::State* t_shadow = nullptr;

// Replays must not be shadowed themselves, nor leave the names of their kernels.
struct Paused {
  ShadowGuard::State* const state = t_shadow;
  const detail::WatchPause watch;
  Paused() { t_shadow = nullptr; }
  ~Paused() {
    t_shadow = state;
    clear_kernel_log();
  }
};

// Larger errors are not called so before it is known what rounding alone would do.
constexpr double kSuspicious = 0x1p-18;

// f32 or f64 as f64; with a salt each element is moved by a random part of f32's rounding, of its
// distance to `common` if that is defined.
Tensor rounded(const Tensor& x, uint64_t salt, const Tensor& common = {}) {
  const Tensor wide = raw::to(x, DType::f64);
  if (salt == 0) return wide.detach();
  Rng rng(salt);
  const Tensor noise = uniform(rng, wide.shape(), 1 - 0x1p-24, 1 + 0x1p-24, DType::f64);
  if (!common.defined()) return raw::binary(raw::Binary::mul, wide, noise, "shadow");
  const Tensor rest = raw::binary(raw::Binary::sub, wide, common, "shadow");
  return raw::binary(raw::Binary::add, raw::binary(raw::Binary::mul, rest, noise, "shadow"), common,
                     "shadow");
}

// The largest |a - b| among finite elements.
double distance(const Tensors& a, const Tensors& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined()) continue;
    const std::vector<double> x = a[i].to_vector<double>(), y = b[i].to_vector<double>();
    for (size_t j = 0; j < x.size(); ++j) {
      const double d = std::abs(x[j] - y[j]);
      if (std::isfinite(d)) most = std::max(most, d);
    }
  }
  return most;
}

}  // namespace

ShadowGuard::State::Twin::Twin(const Node& node, const Tensors& inputs, uint64_t salt,
                               const Tensors& common) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& t = inputs[i];
    if (!t.defined() || !is_floating(t.dtype())) {
      x.push_back(t);
      continue;
    }
    x.push_back(rounded(t, salt ? salt + i : 0, i < common.size() ? common[i] : Tensor()));
    if (node.needs(i)) x.back().requires_grad_();
  }
  y = node.replay(x);
}

ShadowGuard::State::Twin ShadowGuard::State::Twin::rounded_inputs(const Node& node,
                                                                  uint64_t salt) const {
  return Twin(node, x, salt, common_parts(node));
}

// A softmax or a loss does not see a constant that is added along an axis, and may not round by
// its size: log(sum e^x) kept as one number does. So the rounding of such an input is that of what
// lies below the largest element along the axis, which is returned. Tried, not declared: the
// outputs must not move when the largest element is taken off, compared with how rounding moves
// them. Of several inputs that are multiplied the products round: only an op of one input is asked.
Tensors ShadowGuard::State::Twin::common_parts(const Node& node) const {
  size_t which = x.size();
  for (size_t i = 0; i < x.size(); ++i) {
    if (!x[i].defined() || !is_floating(x[i].dtype())) continue;
    if (which < x.size()) return {};
    which = i;
  }
  if (which == x.size() || x[which].numel() == 0) return {};
  const double noise = distance(y, Twin(node, x, 1).y);
  for (int axis = x[which].dim() - 1; axis >= 0; --axis) {
    if (x[which].shape()[axis] == 1) continue;
    Tensors common(x.size());
    common[which] = raw::extremum(x[which], {axis}, true, true);
    if (raw::has_nonfinite(common[which])) continue;
    Tensors moved = x;
    moved[which] = raw::binary(raw::Binary::sub, x[which], common[which], "shadow");
    if (distance(y, Twin(node, moved).y) <= 0x1p-8 * noise) return common;
  }
  return {};
}

// One tensor for each in dx that is defined and wanted, in their order.
Tensors ShadowGuard::State::Twin::gradients(const Node& node, const Tensors& dy, const Tensors& dx,
                                            uint64_t salt) const {
  Tensors outputs, upstream, inputs;
  for (size_t i = 0; i < dy.size(); ++i)
    if (dy[i].defined() && y[i].defined() && y[i].requires_grad()) {
      outputs.push_back(y[i]);
      upstream.push_back(rounded(dy[i], salt ? salt + i + 100 : 0));
    }
  for (size_t i = 0; i < dx.size(); ++i)
    if (node.needs(i) && dx[i].defined()) inputs.push_back(x[i]);
  if (outputs.empty() || inputs.empty()) return {};
  return grad(outputs, inputs, {.retain_graph = true, .allow_unused = true}, upstream);
}

template <class Again>
void ShadowGuard::State::compare(const Node& node, const std::string& what, const Tensor& got,
                                 const Tensor& want, double ShadowRow::*worst,
                                 const std::string& kernel, const Again& again) {
  if (got.shape() != want.shape())
    fail<NumericError>("shadow: {}: {} has shape {}, its f64 twin {}", node.describe(), what,
                       got.shape(), want.shape());
  const std::vector<double> a = got.to_vector<double>(), b = want.to_vector<double>();
  double scale = 1e-37,
         error = 0;  // below f32's normal range there are no relative errors to speak of
  size_t at = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(b[i])) scale = std::max(scale, std::abs(b[i]));
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])) ||
                      static_cast<float>(b[i]) == static_cast<float>(a[i]);
    const double e = same ? 0 : std::abs(a[i] - b[i]);
    if (e > error || e != e) {
      error = e == e ? e : INFINITY;
      at = i;
    }
  }
  // What is left of larger terms (the gradient of a key's bias is 0 in theory) is measured by
  // those: by what rounding the inputs would change, as a multiple of that rounding.
  for (uint64_t salt = 1000; salt <= 2000 && error > kSuspicious * scale; salt += 1000) {
    const Tensor other = again(salt);
    if (!other.defined()) break;
    const std::vector<double> c = other.to_vector<double>();
    for (size_t i = 0; i < c.size(); ++i)
      if (std::isfinite(c[i] - b[i])) scale = std::max(scale, std::abs(c[i] - b[i]) * 0x1p24);
  }
  const double relative = error / scale;
  detail::watch_shadowed(node, worst == &ShadowRow::backward, relative);
  ShadowRow& row = rows[node.name()];
  if (relative > row.*worst) {
    const bool largest = relative > std::max(row.forward, row.backward);
    row.*worst = relative;
    if (largest) {
      row.where =
          fmt::format("{}{}{}, {}", node.module_path(), node.module_path().empty() ? "" : ", ",
                      to_string(node.site()), got.shape());
      row.kernel = kernel;
    }
  }
  if (relative > bound)
    fail<NumericError>(
        "shadow: {}{}: {} of shape {} differs from its f64 twin by {:.3g} of its largest element "
        "(bound {:.3g}): element {} is "
        "{}, should be {}",
        node.describe(), kernel.empty() ? "" : ", kernel " + kernel, what, got.shape(), relative,
        bound, at, a[at], b[at]);
}

void ShadowGuard::State::flush() {
  if (!pending) return;
  const Pending now = std::move(*pending);
  pending.reset();
  Paused paused;
  GradMode on(true);
  const Node& node = *now.node;
  Twin twin(node, now.inputs);
  ShadowRow& row = rows[node.name()];
  row.op = node.name();
  if (twin.y.empty()) return;
  ++row.checks;
  for (size_t i = 0; i < twin.y.size(); ++i)
    if (twin.y[i].defined())
      compare(node, twin.y.size() == 1 ? "the output" : fmt::format("output {}", i), now.outputs[i],
              twin.y[i], &ShadowRow::forward, now.kernel,
              [&](uint64_t salt) { return twin.rounded_inputs(node, salt).y[i]; });
  twins[node.birth()] = std::move(twin);
}

ShadowGuard::ShadowGuard(double bound) : state_(std::make_unique<State>()), before_(t_shadow) {
  if (!(bound > 0)) fail<ValueError>("ShadowGuard: the bound {} must be above 0", bound);
  state_->bound = bound;
  t_shadow = state_.get();
  clear_kernel_log();  // of what ran before
}
ShadowGuard::~ShadowGuard() { t_shadow = before_; }

std::vector<ShadowRow> ShadowGuard::rows() {
  state_->flush();
  std::vector<ShadowRow> out;
  for (const auto& [name, row] : state_->rows) out.push_back(row);
  std::stable_sort(out.begin(), out.end(), [](const ShadowRow& a, const ShadowRow& b) {
    return std::max(a.forward, a.backward) > std::max(b.forward, b.backward);
  });
  return out;
}

std::string ShadowGuard::table() {
  std::string out = fmt::format("{:<28} {:>6} {:>9} {:>7} {:>9} {:>7}\n", "op", "checks", "forward",
                                "ulps", "backward", "ulps");
  for (const ShadowRow& r : rows()) {
    if (r.checks == 0) {
      out += fmt::format("{:<28} {:>6} no f64 twin\n", r.op, 0);
      continue;
    }
    out += fmt::format("{:<28} {:>6} {:>9.2e} {:>7.1f} {:>9.2e} {:>7.1f}\n", r.op, r.checks,
                       r.forward, r.forward * 0x1p23, r.backward, r.backward * 0x1p23);
    if (!r.where.empty())
      out += fmt::format("    {}{}{}\n", r.where, r.kernel.empty() ? "" : ", ", r.kernel);
  }
  return out + fmt::format("relative to the largest element; bound {:.1e}; instruction set {}\n",
                           state_->bound, name(cpu_level()));
}

namespace detail {

bool forward_is_checked() { return t_shadow || anomaly_mode(); }

void shadow_flush() {
  if (!t_shadow) return;
  t_shadow->in_rule = false;
  t_shadow->flush();
}

void shadow_unrecorded() {
  if (t_shadow && !t_shadow->in_rule) clear_kernel_log();
}

void shadow_before_rule() {
  if (!t_shadow) return;
  t_shadow->in_rule = true;
  clear_kernel_log();
}

void shadow_forward(const std::shared_ptr<Node>& node, std::span<const Tensor* const> inputs,
                    std::span<Tensor> outputs) {
  if (!t_shadow) return;
  const std::string kernel = last_kernel();
  t_shadow->flush();
  ShadowGuard::State::Pending p{node, {}, {}, kernel};
  for (const Tensor* t : inputs) p.inputs.push_back(t->defined() ? t->detach() : Tensor());
  for (const Tensor& t : outputs) p.outputs.push_back(t.detach());
  t_shadow->pending = std::move(p);
  clear_kernel_log();
}

void shadow_backward(Node& node, const Tensors& dy, const Tensors& dx) {
  if (!t_shadow) return;
  t_shadow->in_rule = false;
  const std::string kernel = last_kernel();
  Paused paused;
  const auto found = paused.state->twins.find(node.birth());
  if (found == paused.state->twins.end()) return;
  const ShadowGuard::State::Twin twin = std::move(found->second);
  paused.state->twins.erase(found);
  GradMode on(true);
  const Tensors want = twin.gradients(node, dy, dx);
  for (size_t i = 0, k = 0; i < dx.size() && k < want.size(); ++i) {
    if (!node.needs(i) || !dx[i].defined()) continue;
    const size_t which = k++;
    if (!want[which].defined()) continue;
    paused.state->compare(
        node, fmt::format("the gradient of input {}", i), raw::sum_to(dx[i], twin.x[i].shape()),
        want[which], &ShadowRow::backward, kernel, [&](uint64_t salt) {
          return twin.rounded_inputs(node, salt).gradients(node, dy, dx, salt)[which];
        });
  }
}

}  // namespace detail

}  // namespace loupe
