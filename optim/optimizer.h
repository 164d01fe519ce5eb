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
  std::optional<double> lr = {};
  std::optional<double> weight_decay = {};
};

/// Up to two groups of a model's parameters: tensors with two and more dimensions decay, norms and
/// biases do not. A group without parameters is left out.
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

/// Base of the optimizers: holds groups and state, and checks them. A step trains the parameters of
/// a group together. Every parameter stands in it once: ValueError for a name that stands twice,
/// and for two parameters that share memory, whatever their names (a tied weight is one parameter).
class Optimizer : Pinned {
 public:
  struct Group {
    StateDict params;
    double lr;
    double weight_decay;
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
  /// The momentum of SGD, RMSprop and Muon, beta1 of Adam, AdamW and Lion: what OneCycleLR moves.
  /// ValueError below 0; for beta1 also from 1 on.
  virtual void set_momentum(double value) = 0;
  int64_t steps() const { return steps_; }
  /// All parameters of all groups.
  std::vector<Tensor> parameters() const;

  /// Its state by parameter name: "exp_avg.conv1.weight", ..., "step.conv1.weight" (i64), and
  /// "steps" of the optimizer (i64); copies.
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
  /// A state tensor that an optimizer may keep. `used` follows the options of the moment: it can be
  /// switched on after the first step, and the tensor begins then. A saved state may lack it if
  /// `optional`.
  struct StateKind {
    const char* name = nullptr;
    bool used = true;
    bool optional = false;
    double initial = 0;
  };
  struct Slot {
    Tensor p, g;
    State* state;
    bool fresh;  // a state tensor of it begins with this step
  };
  /// The kinds of state tensors, in order; no name for an unused place.
  virtual std::array<StateKind, 3> state_kinds() const = 0;
  /// One step for parameters of one dtype, step count and freshness; state tensors in use exist.
  virtual void apply(std::span<Slot> slots, const Group& group) = 0;

 private:
  // Begins the state tensors that p needs and has not; true if there were some.
  bool complete_state(const Tensor& p, State& state) const;

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
    double lr = 1e-3;
    double momentum = 0;
    double dampening = 0;
    double weight_decay = 0;
    bool nesterov = false;
    bool maximize = false;
  };
  SGD(std::vector<ParamGroup> groups, Options o);
  explicit SGD(std::vector<ParamGroup> groups) : SGD(std::move(groups), Options{}) {}
  template <HasParameters M> SGD(M& m, Options o) : SGD({{named_parameters(m)}}, o) {}
  template <HasParameters M> explicit SGD(M& m) : SGD(m, Options{}) {}
  const char* name() const override { return "sgd"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<StateKind, 3> state_kinds() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

/// m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2; p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t))
/// + eps). Kingma and Ba, "Adam", 2014. weight_decay is added to the gradient; amsgrad takes the
/// largest v so far.
class Adam : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 0;
    bool amsgrad = false;
    bool maximize = false;
  };
  Adam(std::vector<ParamGroup> groups, Options o) : Adam(std::move(groups), o, false) {}
  explicit Adam(std::vector<ParamGroup> groups) : Adam(std::move(groups), Options{}) {}
  template <HasParameters M> Adam(M& m, Options o) : Adam({{named_parameters(m)}}, o) {}
  template <HasParameters M> explicit Adam(M& m) : Adam(m, Options{}) {}
  const char* name() const override { return decoupled_ ? "adamw" : "adam"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  Adam(std::vector<ParamGroup> groups, Options o, bool decoupled);
  std::array<StateKind, 3> state_kinds() const override;
  void apply(std::span<Slot> slots, const Group& group) override;

 private:
  bool decoupled_;
};

/// Adam whose weight decay acts on the parameter itself: p *= 1 - lr weight_decay. Loshchilov and
/// Hutter, 2017.
class AdamW : public Adam {
 public:
  struct Options {
    double lr = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    double weight_decay = 1e-2;
    bool amsgrad = false;
    bool maximize = false;
  };
  AdamW(std::vector<ParamGroup> groups, Options o);
  explicit AdamW(std::vector<ParamGroup> groups) : AdamW(std::move(groups), Options{}) {}
  template <HasParameters M> AdamW(M& m, Options o) : AdamW({{named_parameters(m)}}, o) {}
  template <HasParameters M> explicit AdamW(M& m) : AdamW(m, Options{}) {}
};

/// sq = alpha sq + (1 - alpha) g^2; p -= lr g / (sqrt(sq) + eps). Hinton's lecture 6e, 2012.
/// centered subtracts the squared mean gradient from sq. With momentum: buf = momentum buf +
/// g / (sqrt(sq) + eps), p -= lr buf.
class RMSprop : public Optimizer {
 public:
  struct Options {
    double lr = 1e-2;
    double alpha = 0.99;
    double eps = 1e-8;
    double weight_decay = 0;
    double momentum = 0;
    bool centered = false;
    bool maximize = false;
  };
  RMSprop(std::vector<ParamGroup> groups, Options o);
  explicit RMSprop(std::vector<ParamGroup> groups) : RMSprop(std::move(groups), Options{}) {}
  template <HasParameters M> RMSprop(M& m, Options o) : RMSprop({{named_parameters(m)}}, o) {}
  template <HasParameters M> explicit RMSprop(M& m) : RMSprop(m, Options{}) {}
  const char* name() const override { return "rmsprop"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<StateKind, 3> state_kinds() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

/// sum += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(sum) + eps), t the step from 1; sum
/// begins at initial_accumulator_value. Duchi, Hazan and Singer, "Adaptive subgradient methods",
/// 2011.
class Adagrad : public Optimizer {
 public:
  struct Options {
    double lr = 1e-2;
    double lr_decay = 0;
    double weight_decay = 0;
    double initial_accumulator_value = 0;
    double eps = 1e-10;
    bool maximize = false;
  };
  Adagrad(std::vector<ParamGroup> groups, Options o);
  explicit Adagrad(std::vector<ParamGroup> groups) : Adagrad(std::move(groups), Options{}) {}
  template <HasParameters M> Adagrad(M& m, Options o) : Adagrad({{named_parameters(m)}}, o) {}
  template <HasParameters M> explicit Adagrad(M& m) : Adagrad(m, Options{}) {}
  const char* name() const override { return "adagrad"; }
  /// ValueError: Adagrad has no momentum.
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<StateKind, 3> state_kinds() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

/// p *= 1 - lr weight_decay; p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g. Every element
/// moves by lr, so rates are three to ten times smaller than Adam's. Chen et al., "Symbolic
/// discovery of optimization algorithms", 2023. set_momentum sets b1.
class Lion : public Optimizer {
 public:
  struct Options {
    double lr = 1e-4;
    double beta1 = 0.9;
    double beta2 = 0.99;
    double weight_decay = 0;
    bool maximize = false;
  };
  Lion(std::vector<ParamGroup> groups, Options o);
  explicit Lion(std::vector<ParamGroup> groups) : Lion(std::move(groups), Options{}) {}
  template <HasParameters M> Lion(M& m, Options o) : Lion({{named_parameters(m)}}, o) {}
  template <HasParameters M> explicit Lion(M& m) : Lion(m, Options{}) {}
  const char* name() const override { return "lion"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<StateKind, 3> state_kinds() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

/// How Muon scales its rate for a matrix of `rows` x `columns`. original: sqrt(max(1, rows /
/// columns)), Jordan's; match_rms_adamw: 0.2 sqrt(max(rows, columns)), so that rates of AdamW fit.
enum class MuonRate { original, match_rms_adamw };

/// Momentum, made orthogonal: for a matrix p, buf += (1 - momentum)(g - buf); u = buf, or with
/// nesterov g + momentum (buf - g); p *= 1 - lr weight_decay; p -= lr scale orthogonalize(u). For
/// the matrices of hidden layers alone: give embeddings, heads, norms and biases to AdamW.
/// ValueError for a parameter without exactly two dimensions. Jordan et al., "Muon", 2024;
/// PyTorch's formula, computed in the parameter's type (PyTorch rounds the iteration to bfloat16).
class Muon : public Optimizer {
 public:
  struct Options {
    double lr = 1e-3;
    double weight_decay = 0.1;
    double momentum = 0.95;
    bool nesterov = true;
    std::array<double, 3> ns_coefficients = {3.4445, -4.7750, 2.0315};
    double eps = 1e-7;
    int64_t ns_steps = 5;
    MuonRate adjust_lr = MuonRate::original;
  };
  Muon(std::vector<ParamGroup> groups, Options o);
  explicit Muon(std::vector<ParamGroup> groups) : Muon(std::move(groups), Options{}) {}
  const char* name() const override { return "muon"; }
  void set_momentum(double value) override;
  Options options;

 protected:
  std::array<StateKind, 3> state_kinds() const override;
  void apply(std::span<Slot> slots, const Group& group) override;
};

/// A matrix with g's singular vectors and singular values near 1: x = g / max(|g|, eps) with |g|
/// the Frobenius norm, then `steps` times x = a x + (b s + c s^2) x with s = x x^T. A Newton-Schulz
/// iteration. With the default numbers a singular value of at least |g| / 500 ends between 0.68 and
/// 1.21; smaller ones end lower. ShapeError unless g has two dimensions.
Tensor orthogonalize(const Tensor& g,
                     std::array<double, 3> coefficients = {3.4445, -4.7750, 2.0315},
                     int64_t steps = 5, double eps = 1e-7);

/// An exponential moving average of parameters: average += (1 - decay)(p - average) at each
/// update(); the first update() copies. The formula of PyTorch's AveragedModel with
/// get_ema_multi_avg_fn. Buffers, such as BatchNorm's running statistics, are left as the model has
/// them.
class EmaWeights : Pinned {
 public:
  struct Options {
    double decay = 0.999;
  };
  /// ValueError unless 0 <= decay <= 1, for no parameters, and for undefined or integer ones.
  EmaWeights(StateDict params, Options o);
  explicit EmaWeights(StateDict params) : EmaWeights(std::move(params), Options{}) {}
  template <HasParameters M> EmaWeights(M& m, Options o) : EmaWeights(named_parameters(m), o) {}
  template <HasParameters M> explicit EmaWeights(M& m) : EmaWeights(m, Options{}) {}
  /// Call after each Optimizer::step().
  void update();
  int64_t updates() const { return updates_; }
  /// Exchanges the model's weights and the averages: once to evaluate the averages, once more to go
  /// on training. ValueError before the first update().
  void swap();
  /// The averages as "average.NAME", and "updates" (i64), copies.
  StateDict state_dict() const;
  /// In any order. ValueError if names, types or shapes do not fit; nothing has been changed then.
  void load_state_dict(const StateDict& state);

 private:
  StateDict params_, averages_;
  Options options_;
  int64_t updates_ = 0;
};

struct ClipOptions {
  double norm_type = 2;  // p of the norm (sum |g|^p)^(1/p); infinity: the largest |g|
  bool error_if_nonfinite = false;
};
/// Scales all gradients so that their norm together is at most max_norm; returns the norm before. A
/// tensor that stands twice in the list counts once, and so does memory that two gradients share.
/// As PyTorch: the factor is max_norm / (norm + 1e-6), at most 1. ValueError unless max_norm >= 0;
/// NumericError if the norm is not finite and error_if_nonfinite is set.
double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm,
                       ClipOptions options = {});
/// Limits every element of every gradient to [-limit, limit].
void clip_grad_value_(const std::vector<Tensor>& parameters, double limit);
/// The norm of all gradients together.
double grad_norm(const std::vector<Tensor>& parameters, double norm_type = 2);

}  // namespace loupe
