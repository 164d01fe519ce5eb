#include <loupe/core/dmath.h>
#include <loupe/core/kernels/optim.h>
#include <loupe/core/raw.h>
#include <loupe/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <set>

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
double checked_beta(double value) {
  if (!(value >= 0 && value < 1)) fail<ValueError>("Adam: beta {} must lie in [0, 1)", value);
  return value;
}
void check_eps(const char* optimizer, double eps) {
  if (!(eps >= 0)) fail<ValueError>("{}: eps {} must not be negative", optimizer, eps);
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
    if (!(group.weight_decay >= 0))
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
}

void Optimizer::step() {
  NoGrad guard;
  const auto names = state_names();
  for (const Tensor& p : parameters())
    if (p.grad().defined() && !raw::is_dense(p))
      fail<ValueError>("optimizer: a parameter of shape {} has gaps in memory; clone() it",
                       p.shape());
  ++steps_;
  for (Group& group : groups_) {
    // Parameters of one element type that have made equally many steps go together.
    std::map<std::pair<DType, int64_t>, std::vector<Slot>> lists;
    for (const Named& n : group.params) {
      const Tensor& g = n.tensor.grad();
      if (!g.defined()) continue;
      State& state = state_[n.name];
      ++state.step;
      for (size_t i = 0; i < names.size(); ++i)
        if (names[i] && !state.s[i].defined()) state.s[i] = zeros_like(n.tensor);
      // Arrays are walked side by side: all must lie in memory as the parameter does.
      Tensor fitted = g;
      if (g.strides() != n.tensor.strides()) {
        fitted = empty_like(n.tensor);
        raw::copy(g, fitted);
      }
      n.tensor.storage()->bump_version();
      lists[{n.tensor.dtype(), state.step}].push_back({n.tensor, fitted, &state});
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
  const auto names = state_names();
  for (const auto& [name, state] : state_) {
    out.push_back({"step." + name, full({}, static_cast<double>(state.step), DType::i64)});
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i]) out.push_back({std::string(names[i]) + "." + name, raw::clone(state.s[i])});
  }
  return out;
}

void Optimizer::load_state_dict(const StateDict& from) {
  std::map<std::string, State> state;
  std::map<std::string, const Tensor*> params;
  for (const Group& g : groups_)
    for (const Named& n : g.params) params[n.name] = &n.tensor;
  const auto names = state_names();
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
    const auto which =
        std::find_if(names.begin(), names.end(), [&](const char* s) { return s && kind == s; });
    if (which == names.end())
      fail<ValueError>("optimizer: \"{}\" is no state of {}", n.name, this->name());
    if (!n.tensor.defined()) fail<ValueError>("optimizer: state {} is undefined", n.name);
    if (n.tensor.shape() != p->second->shape() || n.tensor.dtype() != p->second->dtype())
      fail<ValueError>("optimizer: state {} is {} {}, the parameter {} {}", n.name,
                       n.tensor.dtype(), n.tensor.shape(), p->second->dtype(), p->second->shape());
    Tensor& s = state[name].s[static_cast<size_t>(which - names.begin())];
    s = empty_like(*p->second);
    raw::copy(n.tensor, s);
  }
  if (steps < 0) fail<ValueError>("optimizer: the state has no \"steps\"");
  for (const auto& [name, s] : state) {
    if (!counts.count(name)) fail<ValueError>("optimizer: the state lacks \"step.{}\"", name);
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] && !s.s[i].defined())
        fail<ValueError>("optimizer: the state lacks \"{}.{}\"", names[i], name);
  }
  state_ = std::move(state);
  steps_ = steps;
}

namespace {

template <class T, class Slots> std::vector<kernels::ParamSlot<T>> arrays(const Slots& slots) {
  std::vector<kernels::ParamSlot<T>> out;
  for (const auto& s : slots) {
    const auto at = [&](size_t i) {
      return s.state->s[i].defined() ? s.state->s[i].template ptr<T>() : nullptr;
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
std::array<const char*, 3> SGD::state_names() const {
  return {options.momentum != 0 ? "momentum_buffer" : nullptr, nullptr, nullptr};
}
void SGD::apply(std::span<Slot> slots, const Group& group) {
  const kernels::SgdStep o{
      group.lr,         options.momentum, options.dampening,        group.weight_decay,
      options.nesterov, options.maximize, slots[0].state->step == 1};
  dispatch_floating(slots[0].p.dtype(), "SGD",
                    [&]<class T>(Type<T>) { kernels::sgd_step<T>(arrays<T>(slots), o); });
}

Adam::Adam(std::vector<ParamGroup> groups, Options o, bool decoupled)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o), decoupled_(decoupled) {
  checked_beta(o.beta1), checked_beta(o.beta2);
  check_eps("Adam", o.eps);
}
void Adam::set_momentum(double value) { options.beta1 = checked_beta(value); }
std::array<const char*, 3> Adam::state_names() const {
  return {"exp_avg", "exp_avg_sq", options.amsgrad ? "max_exp_avg_sq" : nullptr};
}
void Adam::apply(std::span<Slot> slots, const Group& group) {
  const kernels::AdamStep o{group.lr,         options.beta1,       options.beta2,
                            options.eps,      group.weight_decay,  decoupled_,
                            options.maximize, slots[0].state->step};
  dispatch_floating(slots[0].p.dtype(), "Adam",
                    [&]<class T>(Type<T>) { kernels::adam_step<T>(arrays<T>(slots), o); });
}

RMSprop::RMSprop(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  checked_momentum("RMSprop", o.momentum);
  if (!(o.alpha >= 0 && o.alpha <= 1))
    fail<ValueError>("RMSprop: alpha {} must lie in [0, 1]", o.alpha);
  check_eps("RMSprop", o.eps);
}
void RMSprop::set_momentum(double value) { options.momentum = checked_momentum("RMSprop", value); }
std::array<const char*, 3> RMSprop::state_names() const {
  return {"square_avg", options.momentum > 0 ? "momentum_buffer" : nullptr,
          options.centered ? "grad_avg" : nullptr};
}
void RMSprop::apply(std::span<Slot> slots, const Group& group) {
  const kernels::RmspropStep o{group.lr,           options.alpha,    options.eps,
                               group.weight_decay, options.momentum, options.centered,
                               options.maximize};
  dispatch_floating(slots[0].p.dtype(), "RMSprop",
                    [&]<class T>(Type<T>) { kernels::rmsprop_step<T>(arrays<T>(slots), o); });
}

namespace {

// The gradients of one element type, made dense where they are not.
template <class T>
std::vector<kernels::ArraySlot<T>> gradients(const std::vector<Tensor>& parameters) {
  std::vector<kernels::ArraySlot<T>> out;
  for (const Tensor& p : parameters) {
    if (!p.grad().defined() || p.grad().dtype() != dtype_of<T>()) continue;
    if (!raw::is_dense(p.grad())) p.set_grad(raw::row_major(p.grad()));
    out.push_back({p.grad().ptr<T>(), p.grad().numel()});
  }
  return out;
}

template <class F> void for_each_dtype(const std::vector<Tensor>& parameters, const F& f) {
  const auto one = [&]<class T>(Type<T>) {
    const auto slots = gradients<T>(parameters);
    if (!slots.empty()) f(std::span<const kernels::ArraySlot<T>>(slots));
  };
  one(Type<float>{});
  one(Type<double>{});
}

}  // namespace

double grad_norm(const std::vector<Tensor>& parameters, double norm_type) {
  if (!(norm_type > 0)) fail<ValueError>("grad_norm: norm_type {} must be above 0", norm_type);
  double total = 0;
  for_each_dtype(parameters, [&]<class T>(std::span<const kernels::ArraySlot<T>> slots) {
    if (norm_type == 2) {
      const Scratch<double> scratch(kernels::sum_squares_scratch<T>(slots));
      total += kernels::sum_squares<T>(slots, scratch);
      return;
    }
    for (const auto& slot : slots)
      for (const T x : std::span(slot.data, static_cast<size_t>(slot.n))) {
        const double a = std::fabs(static_cast<double>(x));
        if (norm_type == dmath::kInf) total = a > total || a != a ? a : total;
        else total += norm_type == 1 ? a : dmath::pow(a, norm_type);
      }
  });
  return norm_type == 2                               ? std::sqrt(total)
         : norm_type == 1 || norm_type == dmath::kInf ? total
                                                      : dmath::pow(total, 1 / norm_type);
}

double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm,
                       ClipOptions options) {
  if (!(max_norm >= 0))
    fail<ValueError>("clip_grad_norm_: max_norm {} must not be negative", max_norm);
  const double norm = grad_norm(parameters, options.norm_type);
  if (options.error_if_nonfinite && !std::isfinite(norm))
    fail<NumericError>("clip_grad_norm_: the norm of the gradients is {}", norm);
  const double factor = max_norm / (norm + 1e-6);
  if (!(factor >= 1))
    for_each_dtype(parameters, [&]<class T>(std::span<const kernels::ArraySlot<T>> slots) {
      kernels::scale_all<T>(slots, factor);
    });
  return norm;
}

void clip_grad_value_(const std::vector<Tensor>& parameters, double limit) {
  if (!(limit >= 0)) fail<ValueError>("clip_grad_value_: the limit {} must not be negative", limit);
  for (const Tensor& p : parameters)
    if (p.grad().defined()) p.set_grad(raw::clamp(p.grad(), -limit, limit));
}

}  // namespace loupe
