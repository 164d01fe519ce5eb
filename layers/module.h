#pragma once
// Modules: a module lists its members once, with PyTorch's names, in visit(); parameters, buffers,
// state_dict, train(), summary are free functions over that visit.
//
//   struct Mlp : Layer<Mlp> {
//     Linear fc1, fc2;
//     Mlp(Rng& rng) : fc1(rng, 784, 128), fc2(rng, 128, 10) {}
//     Tensor forward(In x) { return fc2(relu(fc1(x))); }
//     void visit(Visitor& v) override { v("fc1", fc1, "fc2", fc2); }
//     std::string type_name() const override { return "Mlp"; }
//   };
#include <loupe/autograd/graph.h>
#include <loupe/core/named.h>

#include <concepts>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace loupe {

class Module;

/// What a module's visit() hands its members to. An undefined Tensor is an absent parameter and is
/// skipped.
class Visitor {
 public:
  virtual ~Visitor() = default;
  /// v("weight", weight, "bias", bias, "fc1", fc1, ...): parameters and children, in PyTorch's
  /// order.
  template <class Member, class... Rest>
  void operator()(const char* name, Member& member, Rest&&... rest) {
    one(name, member);
    if constexpr (sizeof...(rest) > 0) (*this)(std::forward<Rest>(rest)...);
  }
  /// Tensors that are state but not trained.
  template <class... Rest> void buffers(const char* name, Tensor& member, Rest&&... rest) {
    if (member.defined()) buffer(name, member);
    if constexpr (sizeof...(rest) > 0) buffers(std::forward<Rest>(rest)...);
  }
  /// A random stream the module owns (dropout's).
  virtual void stream(const char* /*name*/, Rng& /*rng*/) {}
  /// A child whose name is computed, as in Sequential.
  void child(const std::string& name, Module& m) { module(name, m); }

 protected:
  virtual void parameter(const std::string& /*name*/, Tensor& /*t*/) {}
  virtual void buffer(const std::string& /*name*/, Tensor& /*t*/) {}
  virtual void module(const std::string& name, Module& m) = 0;

 private:
  template <class Member> void one(const char* name, Member& member) {
    if constexpr (std::is_same_v<Member, Tensor>) {
      if (member.defined()) parameter(name, member);
    } else if constexpr (std::is_base_of_v<Module, Member>) {
      module(name, member);
    } else if constexpr (requires { member.has_value(); }) {
      if (member) one(name, *member);
    } else if constexpr (requires { member.index(); }) {
      // A choice among layers adds no level to the names; std::monostate stands for none.
      std::visit(
          [&]<class M>(M& m) {
            if constexpr (!std::is_same_v<M, std::monostate>) one(name, m);
          },
          member);
    } else {
      static_assert(std::is_base_of_v<Module, Member>,
                    "a member is a Tensor, a Module, an optional or a variant of those");
    }
  }
};

/// Trainable tensors with their names; a tied tensor counts once, under its first name. More of the
/// kind in layers/state.h.
StateDict named_parameters(Module& m);

/// Base of all layers and models. Movable, not copyable: copy_state(from, to) copies values.
class Module {
 public:
  /// Called after a module's forward with its (first) input and its output.
  using ForwardHook = std::function<void(Module&, const Tensor& input, const Tensor& output)>;

  Module() = default;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;
  virtual ~Module() = default;

  /// Lists parameters, buffers and children.
  virtual void visit(Visitor& v) = 0;
  /// The type as summary() prints it, e.g. "Linear".
  virtual std::string type_name() const = 0;
  /// Its options in a few words, e.g. "784 -> 128".
  virtual std::string describe() const { return ""; }
  /// Multiplications and additions of one forward call, without those of children; 0 where they do
  /// not count.
  virtual int64_t flops(const Shape& /*input*/, const Shape& /*output*/) const { return 0; }
  /// forward for a module whose type is not known here; ValueError where forward takes more than
  /// one tensor.
  virtual Tensor call(In x) = 0;

  /// True in training (the default): set by train() and eval() for a whole model.
  bool is_training() const { return training_; }
  void set_training(bool on) { training_ = on; }
  /// The module's name within the model that was called last, e.g. "layer1.0.conv1"; empty for the
  /// model itself.
  const std::string& path() const { return path_; }
  /// To stay; HookScope (state.h) is for a while. ValueError for an empty function.
  void add_forward_hook(ForwardHook hook) {
    if (!hook) fail<ValueError>("add_forward_hook: the function is empty");
    hooks_.push_back(std::move(hook));
  }
  void clear_forward_hooks() { hooks_.clear(); }
  bool has_forward_hooks() const { return !hooks_.empty(); }

 protected:
  void run_hooks(const Tensor& input, const Tensor& output) {
    for (const auto& hook : hooks_) hook(*this, input, output);
  }
  /// The path's number for PathScope; names the whole tree at a model's first call.
  int scope_id() {
    if (!named_) name_modules();
    return path_id_;
  }

 private:
  friend struct ModuleNamer;
  friend class HookScope;
  void name_modules();
  bool training_ = true, named_ = false;
  int path_id_ = 0;
  std::string path_;
  std::vector<ForwardHook> hooks_;
};

/// Gives Derived its operator(): opens the module's named scope, calls forward(x, ...), runs hooks.
template <class Derived> class Layer : public Module {
 public:
  template <class... Rest> auto operator()(In x, Rest&&... rest) {
    PathScope scope(scope_id());
    auto y = static_cast<Derived*>(this)->forward(x, std::forward<Rest>(rest)...);
    if constexpr (std::is_same_v<decltype(y), Tensor>) run_hooks(x, y);
    return y;
  }
  Tensor call(In x) override {
    if constexpr (requires(Derived & d) {
                    { d.forward(x) } -> std::same_as<Tensor>;
                  })
      return (*this)(x);
    else fail<ValueError>("{}: forward takes more than one tensor", type_name());
  }
};

}  // namespace loupe
