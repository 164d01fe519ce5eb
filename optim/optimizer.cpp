// What all optimizers share: groups, steps, state.
#include <loupe/autograd/watch.h>
#include <loupe/core/raw.h>
#include <loupe/core/stretch.h>
#include <loupe/optim/step.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

namespace loupe {
namespace {

double checked_rate(double lr) {
  if (!(lr >= 0 && std::isfinite(lr)))
    fail<ValueError>("optimizer: the learning rate {} is not a number of at least 0", lr);
  return lr;
}
void check_parameter(const Named& n) {
  if (!n.tensor.defined()) fail<ValueError>("optimizer: parameter {} is undefined", n.name);
  if (!is_floating(n.tensor.dtype()))
    fail<DtypeError>("optimizer: parameter {} is {}", n.name, n.tensor.dtype());
  if (!n.tensor.is_leaf())
    fail<ValueError>("optimizer: parameter {} was computed; only leaves can be trained", n.name);
}

// The values of t in the type and the memory order of p.
Tensor laid_out_as(const Tensor& p, const Tensor& t) {
  const Tensor copy = empty_like(p);
  raw::copy(t, copy);
  return copy;
}

// Where a tensor lies in memory: the bytes from its first to its last element.
struct Extent {
  const char* begin;
  const char* end;
  const std::string* name;
};
Extent extent(const Named& n) {
  const Tensor& t = n.tensor;
  int64_t last = 0;
  for (int d = 0; d < t.dim(); ++d) last += (t.shape()[d] - 1) * t.strides()[d];
  const auto size = static_cast<int64_t>(size_of(t.dtype()));
  const char* const begin = static_cast<const char*>(t.storage()->data()) + t.offset() * size;
  return {begin, begin + (last + 1) * size, &n.name};
}

// A step walks all parameters at once: two that share memory would be trained twice, in a race.
void check_apart(std::vector<Extent> all) {
  std::sort(all.begin(), all.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 1; i < all.size(); ++i)
    if (all[i].begin < all[i - 1].end)
      fail<ValueError>(
          "optimizer: parameters {} and {} share memory; a tied weight is given once, under one "
          "name",
          *all[i - 1].name, *all[i].name);
}

}  // namespace

int64_t detail::step_count(const Named& n) {
  if (!n.tensor.defined() || n.tensor.dtype() != DType::i64 || n.tensor.numel() != 1 ||
      n.tensor.item<int64_t>() < 0)
    fail<ValueError>("optimizer: the state's \"{}\" is no count of steps", n.name);
  return n.tensor.item<int64_t>();
}

std::vector<ParamGroup> no_decay_on_norms_and_biases(const StateDict& params) {
  std::vector<ParamGroup> groups(2);
  groups[1].weight_decay = 0;
  for (const Named& n : params) groups[n.tensor.dim() >= 2 ? 0 : 1].params.push_back(n);
  std::erase_if(groups, [](const ParamGroup& g) { return g.params.empty(); });
  return groups;
}

Optimizer::Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay) {
  std::set<std::string> names;
  for (ParamGroup& g : groups) {
    const double rate = checked_rate(g.lr.value_or(lr));
    const double decay = g.weight_decay.value_or(weight_decay);
    if (!(decay >= 0 && std::isfinite(decay)))
      fail<ValueError>("optimizer: the weight decay {} is not a number of at least 0", decay);
    for (const Named& n : g.params) {
      check_parameter(n);
      if (!names.insert(n.name).second)
        fail<ValueError>("optimizer: parameter {} stands twice", n.name);
    }
    groups_.push_back(
        {.params = std::move(g.params), .lr = rate, .weight_decay = decay, .initial_lr = rate});
  }
  if (names.empty()) fail<ValueError>("optimizer: it got no parameters");
  std::vector<Extent> extents;
  for (const Group& g : groups_)
    for (const Named& n : g.params)
      if (n.tensor.numel() > 0) extents.push_back(extent(n));
  check_apart(std::move(extents));
}

bool Optimizer::complete_state(const Tensor& p, State& state) const {
  const auto kinds = state_kinds();
  bool fresh = false;
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (!kinds[i].name || !kinds[i].used || state.s[i].defined()) continue;
    state.s[i] = empty_like(p);
    raw::fill(state.s[i], kinds[i].initial);
    fresh = true;
  }
  // to(model, f64) converts parameters in place: what was kept of them follows.
  for (Tensor& kept : state.s)
    if (kept.defined() && kept.dtype() != p.dtype()) kept = laid_out_as(p, kept);
  return fresh;
}

void Optimizer::step() {
  const Stretch stretch("optimizer step");
  NoGrad guard;
  for (const Tensor& p : parameters())
    if (p.grad().defined() && !raw::is_dense(p))
      fail<ValueError>("optimizer: a parameter of shape {} has gaps in memory; clone() it",
                       p.shape());
  ++steps_;
  for (Group& group : groups_) {
    // Parameters of one element type that have made equally many steps go together.
    std::map<std::tuple<DType, int64_t, bool>, std::vector<Slot>> lists;
    for (const auto& [name, p] : group.params) {
      const Tensor& g = p.grad();
      if (!g.defined()) continue;
      State& state = state_[name];
      ++state.step;
      const bool fresh = complete_state(p, state);
      // Arrays are walked side by side: all must lie in memory as the parameter does.
      const Tensor fitted = g.strides() == p.strides() ? g : laid_out_as(p, g);
      p.storage()->bump_version();
      lists[{p.dtype(), state.step, fresh}].push_back({p, fitted, &state, fresh});
    }
    for (auto& [key, slots] : lists) apply(slots, group);
    if (detail::watching()) [[unlikely]]
      for (const Named& n : group.params)
        if (n.tensor.grad().defined()) detail::watch_trained(n, state_[n.name].s);
  }
}

void Optimizer::zero_grad() {
  for (const Tensor& t : parameters()) t.zero_grad();
}

void Optimizer::set_lr(double lr) {
  for (Group& g : groups_) g.lr = checked_rate(lr);
}

std::vector<Tensor> Optimizer::parameters() const {
  std::vector<Tensor> out;
  for (const Group& g : groups_)
    for (const Named& n : g.params) out.push_back(n.tensor);
  return out;
}

StateDict Optimizer::state_dict() const {
  StateDict out{{"steps", full({}, static_cast<double>(steps_), DType::i64)}};
  const auto kinds = state_kinds();
  for (const auto& [name, state] : state_) {
    out.push_back({"step." + name, full({}, static_cast<double>(state.step), DType::i64)});
    for (size_t i = 0; i < kinds.size(); ++i)
      if (state.s[i].defined())
        out.push_back({std::string(kinds[i].name) + "." + name, raw::clone(state.s[i])});
  }
  return out;
}

void Optimizer::load_state_dict(const StateDict& from) {
  std::map<std::string, Tensor> params;
  for (const Group& g : groups_)
    for (const Named& n : g.params) params[n.name] = n.tensor;
  const auto kinds = state_kinds();
  std::map<std::string, State> state;
  std::set<std::string> counted;  // parameters whose count of steps was given
  std::optional<int64_t> steps;
  for (const Named& n : from) {
    if (n.name == "steps") {
      steps = detail::step_count(n);
      continue;
    }
    // "exp_avg.conv1.weight" is the state exp_avg of the parameter conv1.weight.
    const size_t dot = std::min(n.name.find('.'), n.name.size());
    const std::string kind = n.name.substr(0, dot);
    const std::string name = n.name.substr(std::min(dot + 1, n.name.size()));
    const auto found = params.find(name);
    if (found == params.end())
      fail<ValueError>("optimizer: the state has \"{}\", the optimizer has no such parameter",
                       n.name);
    const Tensor& p = found->second;
    if (kind == "step") {
      state[name].step = detail::step_count(n);
      counted.insert(name);
      continue;
    }
    const auto which = std::find_if(kinds.begin(), kinds.end(),
                                    [&](const StateKind& k) { return k.name && kind == k.name; });
    if (which == kinds.end())
      fail<ValueError>("optimizer: \"{}\" is no state of {}", n.name, this->name());
    if (!n.tensor.defined()) fail<ValueError>("optimizer: state {} is undefined", n.name);
    if (n.tensor.shape() != p.shape() || n.tensor.dtype() != p.dtype())
      fail<ValueError>("optimizer: state {} is {} {}, the parameter {} {}", n.name,
                       n.tensor.dtype(), n.tensor.shape(), p.dtype(), p.shape());
    state[name].s[which - kinds.begin()] = laid_out_as(p, n.tensor);
  }
  if (!steps) fail<ValueError>("optimizer: the state has no \"steps\"");
  for (const auto& [name, s] : state) {
    if (!counted.count(name)) fail<ValueError>("optimizer: the state lacks \"step.{}\"", name);
    for (size_t i = 0; i < kinds.size(); ++i) {
      const bool needed = kinds[i].name && kinds[i].used && !kinds[i].optional;
      if (needed && !s.s[i].defined())
        fail<ValueError>("optimizer: the state lacks \"{}.{}\"", kinds[i].name, name);
    }
  }
  state_ = std::move(state);
  steps_ = *steps;
}

}  // namespace loupe
