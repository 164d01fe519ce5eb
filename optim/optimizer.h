#pragma once
// Optimizers with PyTorch's names, defaults and formulas.
#include <loupe/autograd/grad_mode.h>
#include <loupe/core/named.h>

#include <array>
#include <concepts>
#include <map>
#include <span>

namespace loupe {

/// Parameters that share their settings. An unset number means the optimizer's default.
struct ParamGroup {
  StateDict params;
  std::optional<double> lr = {}, weight_decay = {};
};

/// Two groups of a model's parameters: tensors with two and more dimensions decay, norms and biases
/// do not.
std::vector<ParamGroup> no_decay_on_norms_and_biases(const StateDict& params);

/// Anything whose parameters have names: a Module. (Optimizers know no layers; this finds layers'
/// function by its argument.)
template <class M>
concept HasParameters = requires(M& m) {
  { named_parameters(m) } -> std::same_as<StateDict>;
};
template <HasParameters M> std::vector<ParamGroup> no_decay_on_norms_and_biases(M& m) {
  return no_decay_on_norms_and_biases(named_parameters(m));
}

/// Base: holds groups and state, checks, and runs all parameters of a group in one parallel pass.
class Optimizer : Pinned {
 public:
  struct Group {
    StateDict params;
    double lr, weight_decay;
    double initial_lr;  // what schedules start from
  };
  virtual ~Optimizer() = default;

  /// One step from the gradients; parameters without one are left alone. ValueError, before
  /// anything has changed, if a parameter's memory has gaps.
  void step();
  /// Drops the gradients.
  void zero_grad();
  std::vector<Group>& groups() { return groups_; }
  /// Learning rate of the first group.
  double lr() const { return groups_[0].lr; }
  /// Sets it for all groups. ValueError unless it is finite and at least 0.
  void set_lr(double lr);
  /// SGD's and RMSprop's momentum, Adam's beta1: what OneCycleLR moves. ValueError below 0; for
  /// beta1 from 1 on, too.
  virtual void set_momentum(double value) = 0;
  int64_t steps() const { return steps_; }
  /// All parameters of all groups.
  std::vector<Tensor> parameters() const;

  /// Its state by parameter name: "exp_avg.conv1.weight", ... and "step" (i64 per parameter),
  /// copies.
  StateDict state_dict() const;
  /// Restores what state_dict() gave; ValueError if names, types, shapes or counts do not fit, and
  /// nothing has been changed then. Learning rates are not part of it.
  void load_state_dict(const StateDict& state);
  virtual const char* name() const = 0;

 protected:
  Optimizer(std::vector<ParamGroup> groups, double lr, double weight_decay);
  /// What a parameter carries along: its steps and up to three tensors of its shape.
  struct State {
    int64_t step = 0;
    Tensor s[3];
  };
  struct Slot {
    Tensor p, g;
    State* state;
  };
  /// Names of the state tensors in use, in order; nullptr for an unused place.
  virtual std::array<const char*, 3> state_names() const = 0;
  /// One step for parameters of one dtype that have the same step count; state tensors exist and
  /// are zero at first.
  virtual void apply(std::span<Slot> slots, const Group& group) = 0;

 private:
  std::vector<Group> groups_;
  std::map<std::string, State> state_;
  int64_t steps_ = 0;
};

/// p -= lr * d with d = g + weight_decay p, and, with momentum, buf = momentum buf + (1 -
/// dampening) d (the first step: buf = d), d = buf, or d + momentum buf with nesterov (Sutskever et
/// al., 2013).
class SGD : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3, momentum = 0, dampening = 0, weight_decay = 0;
    bool nesterov = false, maximize = false;
  };
  SGD(std::vector<ParamGroup> groups, Options o);
  template <HasParameters M> SGD(M& m, Options o) : SGD({{named_parameters(m)}}, o) {}
  const char* name() const override { return "sgd"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<const char*, 3> state_names() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2; p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t))
/// + eps). Kingma and Ba, "Adam", 2014. weight_decay is added to the gradient; amsgrad takes the
/// largest v so far.
class Adam : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    bool amsgrad = false, maximize = false;
  };
  Adam(std::vector<ParamGroup> groups, Options o) : Adam(std::move(groups), o, false) {}
  template <HasParameters M> Adam(M& m, Options o) : Adam({{named_parameters(m)}}, o) {}
  const char* name() const override { return decoupled_ ? "adamw" : "adam"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  Adam(std::vector<ParamGroup> groups, Options o, bool decoupled);
  std::array<const char*, 3> state_names() const override;
  void apply(std::span<Slot> slots, const Group& group) override;

 private:
  bool decoupled_;
};

/// Adam whose weight decay acts on the parameter itself: p *= 1 - lr weight_decay. Loshchilov and
/// Hutter, 2017.
class AdamW : public Adam {
 public:
  struct Options {
    double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 1e-2;
    bool amsgrad = false, maximize = false;
  };
  AdamW(std::vector<ParamGroup> groups, Options o)
      : Adam(std::move(groups),
             {o.lr, o.beta1, o.beta2, o.eps, o.weight_decay, o.amsgrad, o.maximize}, true) {}
  template <HasParameters M> AdamW(M& m, Options o) : AdamW({{named_parameters(m)}}, o) {}
};

/// sq = alpha sq + (1 - alpha) g^2; p -= lr g / (sqrt(sq) + eps). Hinton's lecture 6e, 2012.
/// centered subtracts the squared mean gradient from sq; momentum as a buffer of the steps.
class RMSprop : public Optimizer {
 public:
  struct Options {
    double lr = 1e-2, alpha = 0.99, eps = 1e-8, weight_decay = 0, momentum = 0;
    bool centered = false, maximize = false;
  };
  RMSprop(std::vector<ParamGroup> groups, Options o);
  template <HasParameters M> RMSprop(M& m, Options o) : RMSprop({{named_parameters(m)}}, o) {}
  const char* name() const override { return "rmsprop"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<const char*, 3> state_names() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

struct ClipOptions {
  double norm_type = 2;  // p of the norm (sum |g|^p)^(1/p); infinity: the largest |g|
  bool error_if_nonfinite = false;
};
/// Scales all gradients so that their norm together is at most max_norm; returns the norm before.
/// As PyTorch: the factor is max_norm / (norm + 1e-6), at most 1. ValueError unless max_norm >= 0;
/// NumericError if the norm is not finite and error_if_nonfinite is set.
double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm,
                       ClipOptions options = {});
/// Limits every element of every gradient to [-limit, limit].
void clip_grad_value_(const std::vector<Tensor>& parameters, double limit);
/// The norm of all gradients together.
double grad_norm(const std::vector<Tensor>& parameters, double norm_type = 2);

}  // namespace loupe
