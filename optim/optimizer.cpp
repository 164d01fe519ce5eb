#include <loupe/autograd/ops/matmul.h>
#include <loupe/core/dmath.h>
#include <loupe/core/kernels/elementwise/optim.h>
#include <loupe/core/raw.h>
#include <loupe/core/stretch.h>
#include <loupe/optim/optimizer.h>

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
double checked_momentum(const char* optimizer, double value) {
  if (!(value >= 0 && std::isfinite(value)))
    fail<ValueError>("{}: the momentum {} is not a number of at least 0", optimizer, value);
  return value;
}
double checked_beta(const char* optimizer, double value) {
  if (!(value >= 0 && value < 1))
    fail<ValueError>("{}: beta {} must lie in [0, 1)", optimizer, value);
  return value;
}
void check_eps(const char* optimizer, double eps) {
  if (!(eps >= 0 && std::isfinite(eps)))
    fail<ValueError>("{}: eps {} is not a number of at least 0", optimizer, eps);
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

// A count of steps from a state.
int64_t count(const Named& n) {
  if (!n.tensor.defined() || n.tensor.dtype() != DType::i64 || n.tensor.numel() != 1 ||
      n.tensor.item<int64_t>() < 0)
    fail<ValueError>("optimizer: the state's \"{}\" is no count of steps", n.name);
  return n.tensor.item<int64_t>();
}

}  // namespace

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
    const Group group{std::move(g.params), g.lr.value_or(lr), g.weight_decay.value_or(weight_decay),
                      g.lr.value_or(lr)};
    checked_rate(group.lr);
    if (!(group.weight_decay >= 0 && std::isfinite(group.weight_decay)))
      fail<ValueError>("optimizer: the weight decay {} is not a number of at least 0",
                       group.weight_decay);
    for (const Named& n : group.params) {
      if (!n.tensor.defined()) fail<ValueError>("optimizer: parameter {} is undefined", n.name);
      if (!names.insert(n.name).second)
        fail<ValueError>("optimizer: parameter {} stands twice", n.name);
      if (!is_floating(n.tensor.dtype()))
        fail<DtypeError>("optimizer: parameter {} is {}", n.name, n.tensor.dtype());
      if (!n.tensor.is_leaf())
        fail<ValueError>("optimizer: parameter {} was computed; only leaves can be trained",
                         n.name);
    }
    groups_.push_back(group);
  }
  if (names.empty()) fail<ValueError>("optimizer: it got no parameters");
  std::vector<Extent> extents;
  for (const Group& g : groups_)
    for (const Named& n : g.params)
      if (n.tensor.numel() > 0) extents.push_back(extent(n));
  check_apart(std::move(extents));
}

void Optimizer::step() {
  const Stretch stretch("optimizer step");
  NoGrad guard;
  const auto kinds = state_kinds();
  for (const Tensor& p : parameters())
    if (p.grad().defined() && !raw::is_dense(p))
      fail<ValueError>("optimizer: a parameter of shape {} has gaps in memory; clone() it",
                       p.shape());
  ++steps_;
  for (Group& group : groups_) {
    // Parameters of one element type that have made equally many steps go together.
    std::map<std::tuple<DType, int64_t, bool>, std::vector<Slot>> lists;
    for (const Named& n : group.params) {
      const Tensor& g = n.tensor.grad();
      if (!g.defined()) continue;
      State& state = state_[n.name];
      ++state.step;
      bool fresh = false;
      for (size_t i = 0; i < kinds.size(); ++i) {
        if (!kinds[i].name || !kinds[i].used || state.s[i].defined()) continue;
        state.s[i] = empty_like(n.tensor);
        raw::fill(state.s[i], kinds[i].initial);
        fresh = true;
      }
      // to(model, f64) converts parameters in place: what was kept of them follows.
      for (Tensor& kept : state.s)
        if (kept.defined() && kept.dtype() != n.tensor.dtype()) {
          const Tensor converted = empty_like(n.tensor);
          raw::copy(kept, converted);
          kept = converted;
        }
      // Arrays are walked side by side: all must lie in memory as the parameter does.
      Tensor fitted = g;
      if (g.strides() != n.tensor.strides()) {
        fitted = empty_like(n.tensor);
        raw::copy(g, fitted);
      }
      n.tensor.storage()->bump_version();
      lists[{n.tensor.dtype(), state.step, fresh}].push_back({n.tensor, fitted, &state, fresh});
    }
    for (auto& [key, slots] : lists) apply(slots, group);
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
  std::map<std::string, State> state;
  std::map<std::string, const Tensor*> params;
  for (const Group& g : groups_)
    for (const Named& n : g.params) params[n.name] = &n.tensor;
  const auto kinds = state_kinds();
  std::map<std::string, int64_t> counts;
  int64_t steps = -1;
  for (const Named& n : from) {
    if (n.name == "steps") {
      steps = count(n);
      continue;
    }
    const std::string kind = n.name.substr(0, n.name.find('.')),
                      name = n.name.substr(std::min(kind.size() + 1, n.name.size()));
    const auto p = params.find(name);
    if (p == params.end())
      fail<ValueError>("optimizer: the state has \"{}\", the optimizer has no such parameter",
                       n.name);
    if (kind == "step") {
      counts[name] = state[name].step = count(n);
      continue;
    }
    const auto which = std::find_if(kinds.begin(), kinds.end(),
                                    [&](const StateKind& k) { return k.name && kind == k.name; });
    if (which == kinds.end())
      fail<ValueError>("optimizer: \"{}\" is no state of {}", n.name, this->name());
    if (!n.tensor.defined()) fail<ValueError>("optimizer: state {} is undefined", n.name);
    if (n.tensor.shape() != p->second->shape() || n.tensor.dtype() != p->second->dtype())
      fail<ValueError>("optimizer: state {} is {} {}, the parameter {} {}", n.name,
                       n.tensor.dtype(), n.tensor.shape(), p->second->dtype(), p->second->shape());
    Tensor& s = state[name].s[static_cast<size_t>(which - kinds.begin())];
    s = empty_like(*p->second);
    raw::copy(n.tensor, s);
  }
  if (steps < 0) fail<ValueError>("optimizer: the state has no \"steps\"");
  for (const auto& [name, s] : state) {
    if (!counts.count(name)) fail<ValueError>("optimizer: the state lacks \"step.{}\"", name);
    for (size_t i = 0; i < kinds.size(); ++i)
      if (kinds[i].name && kinds[i].used && !kinds[i].optional && !s.s[i].defined())
        fail<ValueError>("optimizer: the state lacks \"{}.{}\"", kinds[i].name, name);
  }
  state_ = std::move(state);
  steps_ = steps;
}

namespace {

// The arrays of the slots; of the state, those in use (an option may have been switched off).
template <class T, class Slots, class Kinds>
std::vector<kernels::ParamSlot<T>> arrays(const Slots& slots, const Kinds& kinds) {
  std::vector<kernels::ParamSlot<T>> out;
  for (const auto& s : slots) {
    const auto at = [&](size_t i) {
      return kinds[i].name && kinds[i].used ? s.state->s[i].template ptr<T>() : nullptr;
    };
    out.push_back({s.p.template ptr<T>(), s.g.template ptr<T>(), at(0), at(1), at(2), s.p.numel()});
  }
  return out;
}

}  // namespace

SGD::SGD(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  checked_momentum("SGD", o.momentum);
  if (!std::isfinite(o.dampening))
    fail<ValueError>("SGD: dampening {} is not a number", o.dampening);
  if (o.nesterov && (o.momentum <= 0 || o.dampening != 0))
    fail<ValueError>("SGD: nesterov needs a momentum and no dampening");
}
void SGD::set_momentum(double value) { options.momentum = checked_momentum("SGD", value); }
std::array<Optimizer::StateKind, 3> SGD::state_kinds() const {
  return {StateKind{"momentum_buffer", options.momentum != 0, true}};
}
void SGD::apply(std::span<Slot> slots, const Group& group) {
  const kernels::SgdStep o{group.lr,           options.momentum, options.dampening,
                           group.weight_decay, options.nesterov, options.maximize,
                           slots[0].fresh};
  dispatch_floating(slots[0].p.dtype(), "SGD", [&]<class T>(Type<T>) {
    kernels::sgd_step<T>(arrays<T>(slots, state_kinds()), o);
  });
}

Adam::Adam(std::vector<ParamGroup> groups, Options o, bool decoupled)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o), decoupled_(decoupled) {
  checked_beta("Adam", o.beta1);
  checked_beta("Adam", o.beta2);
  check_eps("Adam", o.eps);
}
void Adam::set_momentum(double value) { options.beta1 = checked_beta("Adam", value); }
std::array<Optimizer::StateKind, 3> Adam::state_kinds() const {
  return {StateKind{"exp_avg"}, StateKind{"exp_avg_sq"},
          StateKind{"max_exp_avg_sq", options.amsgrad, true}};
}
void Adam::apply(std::span<Slot> slots, const Group& group) {
  const kernels::AdamStep o{group.lr,         options.beta1,       options.beta2,
                            options.eps,      group.weight_decay,  decoupled_,
                            options.maximize, slots[0].state->step};
  dispatch_floating(slots[0].p.dtype(), "Adam", [&]<class T>(Type<T>) {
    kernels::adam_step<T>(arrays<T>(slots, state_kinds()), o);
  });
}

RMSprop::RMSprop(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  checked_momentum("RMSprop", o.momentum);
  if (!(o.alpha >= 0 && o.alpha <= 1))
    fail<ValueError>("RMSprop: alpha {} must lie in [0, 1]", o.alpha);
  check_eps("RMSprop", o.eps);
}
void RMSprop::set_momentum(double value) { options.momentum = checked_momentum("RMSprop", value); }
std::array<Optimizer::StateKind, 3> RMSprop::state_kinds() const {
  return {StateKind{"square_avg"}, StateKind{"momentum_buffer", options.momentum > 0, true},
          StateKind{"grad_avg", options.centered, true}};
}
void RMSprop::apply(std::span<Slot> slots, const Group& group) {
  const kernels::RmspropStep o{group.lr,           options.alpha,    options.eps,
                               group.weight_decay, options.momentum, options.centered,
                               options.maximize};
  dispatch_floating(slots[0].p.dtype(), "RMSprop", [&]<class T>(Type<T>) {
    kernels::rmsprop_step<T>(arrays<T>(slots, state_kinds()), o);
  });
}

Adagrad::Adagrad(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  for (const double x : {o.lr_decay, o.initial_accumulator_value})
    if (!(x >= 0 && std::isfinite(x)))
      fail<ValueError>(
          "Adagrad: lr_decay {} and initial_accumulator_value {} must be numbers of at least 0",
          o.lr_decay, o.initial_accumulator_value);
  check_eps("Adagrad", o.eps);
}
void Adagrad::set_momentum(double /*value*/) {
  fail<ValueError>("Adagrad: it has no momentum to set; give OneCycleLR .cycle_momentum = false");
}
std::array<Optimizer::StateKind, 3> Adagrad::state_kinds() const {
  return {StateKind{"sum", true, false, options.initial_accumulator_value}};
}
void Adagrad::apply(std::span<Slot> slots, const Group& group) {
  const auto before = static_cast<double>(slots[0].state->step - 1);
  const kernels::AdagradStep o{group.lr / (1 + before * options.lr_decay), options.eps,
                               group.weight_decay, options.maximize};
  dispatch_floating(slots[0].p.dtype(), "Adagrad", [&]<class T>(Type<T>) {
    kernels::adagrad_step<T>(arrays<T>(slots, state_kinds()), o);
  });
}

Lion::Lion(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  checked_beta("Lion", o.beta1);
  checked_beta("Lion", o.beta2);
}
void Lion::set_momentum(double value) { options.beta1 = checked_beta("Lion", value); }
std::array<Optimizer::StateKind, 3> Lion::state_kinds() const { return {StateKind{"exp_avg"}}; }
void Lion::apply(std::span<Slot> slots, const Group& group) {
  const kernels::LionStep o{group.lr, options.beta1, options.beta2, group.weight_decay,
                            options.maximize};
  dispatch_floating(slots[0].p.dtype(), "Lion", [&]<class T>(Type<T>) {
    kernels::lion_step<T>(arrays<T>(slots, state_kinds()), o);
  });
}

Muon::Muon(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  checked_momentum("Muon", o.momentum);
  check_eps("Muon", o.eps);
  if (o.ns_steps < 0 || o.ns_steps >= 100)
    fail<ValueError>("Muon: ns_steps {} must lie in [0, 100)", o.ns_steps);
  for (const double c : o.ns_coefficients)
    if (!std::isfinite(c)) fail<ValueError>("Muon: the coefficient {} is not a number", c);
  for (const Group& g : this->groups())
    for (const Named& n : g.params)
      if (n.tensor.dim() != 2)
        fail<ValueError>(
            "Muon: parameter {} has shape {}; it trains matrices, give the others to AdamW", n.name,
            n.tensor.shape());
}
void Muon::set_momentum(double value) { options.momentum = checked_momentum("Muon", value); }
std::array<Optimizer::StateKind, 3> Muon::state_kinds() const {
  return {StateKind{"momentum_buffer"}};
}
void Muon::apply(std::span<Slot> slots, const Group& group) {
  for (const Slot& slot : slots) {
    const Tensor& buf = slot.state->s[0];
    raw::scale(buf, options.momentum);
    raw::add_into(buf, slot.g, 1 - options.momentum);
    Tensor update = buf;
    if (options.nesterov) {  // g + momentum (buf - g)
      update = raw::binary(raw::Binary::mul, buf, options.momentum);
      raw::add_into(update, slot.g, 1 - options.momentum);
    }
    const Tensor direction =
        orthogonalize(update, options.ns_coefficients, options.ns_steps, options.eps);
    const auto rows = static_cast<double>(slot.p.size(0));
    const auto columns = static_cast<double>(slot.p.size(1));
    const double factor = options.adjust_lr == MuonRate::original
                              ? std::sqrt(std::max(1.0, rows / columns))
                              : 0.2 * std::sqrt(std::max(rows, columns));
    raw::scale(slot.p, 1 - group.lr * group.weight_decay);
    raw::add_into(slot.p, direction, -group.lr * factor);
  }
}

Tensor orthogonalize(const Tensor& g, std::array<double, 3> coefficients, int64_t steps,
                     double eps) {
  if (g.dim() != 2)
    fail<ShapeError>("orthogonalize: needs a matrix, got a tensor of shape {}", g.shape());
  if (!is_floating(g.dtype()))
    fail<DtypeError>("orthogonalize: needs f32 or f64, got {}", g.dtype());
  if (steps < 0) fail<ValueError>("orthogonalize: steps {} must not be negative", steps);
  check_eps("orthogonalize", eps);
  NoGrad guard;
  const bool tall = g.size(0) > g.size(1);
  Tensor x =
      raw::clone(raw::row_major(tall ? raw::transpose(g, 0, 1) : g));  // x x^T is the smaller
  const double norm =
      std::sqrt(raw::sum(raw::binary(raw::Binary::mul, x, x, "orthogonalize"), {}, false).item());
  raw::scale(x, 1 / std::max(norm, eps));
  const auto [a, b, c] = coefficients;
  for (int64_t i = 0; i < steps; ++i) {
    const Tensor s = matmul(x, raw::transpose(x, 0, 1));
    const Tensor polynomial = matmul(s, s);
    raw::scale(polynomial, c);
    raw::add_into(polynomial, s, b);
    const Tensor next = matmul(polynomial, x);
    raw::add_into(next, x, a);
    x = next;
  }
  return tall ? raw::row_major(raw::transpose(x, 0, 1)) : x;
}

EmaWeights::EmaWeights(StateDict params, Options o) : params_(std::move(params)), options_(o) {
  if (!(o.decay >= 0 && o.decay <= 1))
    fail<ValueError>("EmaWeights: decay {} must lie in [0, 1]", o.decay);
  if (params_.empty()) fail<ValueError>("EmaWeights: it got no parameters");
  for (const Named& n : params_) {
    if (!n.tensor.defined()) fail<ValueError>("EmaWeights: parameter {} is undefined", n.name);
    if (!is_floating(n.tensor.dtype()))
      fail<ValueError>("EmaWeights: parameter {} is {}", n.name, n.tensor.dtype());
    averages_.push_back({n.name, raw::clone(n.tensor)});
  }
}

namespace {

// to(model, f64) converts parameters in place: their averages follow.
void follow_types(const StateDict& params, StateDict& averages) {
  for (size_t i = 0; i < params.size(); ++i)
    averages[i].tensor = raw::to(averages[i].tensor, params[i].tensor.dtype());
}

}  // namespace

void EmaWeights::update() {
  follow_types(params_, averages_);
  for (size_t i = 0; i < params_.size(); ++i) {
    const Tensor &p = params_[i].tensor, &average = averages_[i].tensor;
    if (updates_ == 0) {
      raw::copy(p, average);
      continue;
    }
    raw::scale(average, options_.decay);
    raw::add_into(average, p, 1 - options_.decay);
  }
  ++updates_;
}

void EmaWeights::swap() {
  if (updates_ == 0) fail<ValueError>("EmaWeights: swap before the first update: nothing to show");
  follow_types(params_, averages_);
  for (size_t i = 0; i < params_.size(); ++i) {
    const Tensor &p = params_[i].tensor, &average = averages_[i].tensor;
    const Tensor before = raw::clone(p);
    raw::copy(average, p);
    raw::copy(before, average);
    p.storage()->bump_version();
  }
}

StateDict EmaWeights::state_dict() const {
  StateDict out{{"updates", full({}, static_cast<double>(updates_), DType::i64)}};
  for (const Named& n : averages_) out.push_back({"average." + n.name, raw::clone(n.tensor)});
  return out;
}

void EmaWeights::load_state_dict(const StateDict& from) {
  if (from.size() != averages_.size() + 1 || from[0].name != "updates")
    fail<ValueError>("EmaWeights: a state of {} entries, expected \"updates\" and {} averages",
                     from.size(), averages_.size());
  const int64_t updates = count(from[0]);
  for (size_t i = 0; i < averages_.size(); ++i) {
    const Named &have = from[i + 1], &want = averages_[i];
    if (have.name != "average." + want.name)
      fail<ValueError>("EmaWeights: the state has \"{}\" where \"average.{}\" is expected",
                       have.name, want.name);
    if (!have.tensor.defined() || have.tensor.shape() != want.tensor.shape() ||
        have.tensor.dtype() != want.tensor.dtype())
      fail<ValueError>("EmaWeights: \"{}\" does not fit the parameter's {} {}", have.name,
                       want.tensor.dtype(), want.tensor.shape());
  }
  for (size_t i = 0; i < averages_.size(); ++i) raw::copy(from[i + 1].tensor, averages_[i].tensor);
  updates_ = updates;
}

}  // namespace loupe
