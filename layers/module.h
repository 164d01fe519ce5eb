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
namespace detail {
class CallScope;
class HookedCall;
}  // namespace detail

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

/// All parameters with their names, frozen ones too; a tied tensor counts once, under its first
/// name. More of the kind in layers/state.h.
StateDict named_parameters(Module& m);

/// Called before a module's forward with its (first) input. What it returns takes the input's
/// place; an undefined tensor leaves it.
using ForwardPreHook = std::function<Tensor(Module&, const Tensor& input)>;
/// Called after a module's forward with its (first) input and its (first) output.
using ForwardHook = std::function<void(Module&, const Tensor& input, const Tensor& output)>;
/// Called in the backward pass, once the gradient of a module's (first) output is known and before
/// its own part of the pass. What it returns takes the gradient's place; an undefined tensor leaves
/// it.
using BackwardPreHook = std::function<Tensor(Module&, const Tensor& grad_output)>;
/// Called in the backward pass, once the gradients of a module's (first) input and output are
/// known, as PyTorch's full backward hook. grad_input is undefined where the input needs no
/// gradient. What it returns takes the place of grad_input; an undefined tensor leaves it.
using BackwardHook =
    std::function<Tensor(Module&, const Tensor& grad_input, const Tensor& grad_output)>;

namespace detail {
// The hooks of one module. A handle, and a graph that was recorded, hold it weakly: they may
// outlive the module.
struct ModuleHooks {
  struct Entry {
    uint64_t id;
    ForwardPreHook before;
    ForwardHook after;
    BackwardPreHook before_backward;
    BackwardHook backward;
  };
  Module* module;
  std::vector<Entry> entries;
  uint64_t next_id = 1;
  const Entry* find(uint64_t id) const;
};
}  // namespace detail

/// What adding a hook gives: remove() takes the hook off again. Dropping the handle keeps the hook.
/// The module may be moved, or destroyed first.
class HookHandle {
 public:
  HookHandle() = default;
  void remove();

 private:
  friend class Module;
  std::weak_ptr<detail::ModuleHooks> hooks_;
  uint64_t id_ = 0;
};

/// Base of all layers and models. Movable, not copyable: copy_state(from, to) copies values.
class Module {
 public:
  using ForwardHook = loupe::ForwardHook;

  Module() = default;
  Module(Module&& other) noexcept { *this = std::move(other); }
  Module& operator=(Module&& other) noexcept;
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
  /// forward for a module whose type is not known here; ValueError where forward takes or gives
  /// more than one tensor.
  virtual Tensor call(In x) = 0;

  /// True in training (the default): set by train() and eval() for a whole model.
  bool is_training() const { return training_; }
  void set_training(bool on) { training_ = on; }
  /// The module's name within the model that was called last, e.g. "layer1.0.conv1"; empty for the
  /// model itself.
  const std::string& path() const { return path_; }

  /// Hooks stay until the handle removes them; HookScope (state.h) is for a while. They run in the
  /// order in which they were added. ValueError for an empty function.
  HookHandle add_forward_pre_hook(ForwardPreHook hook);
  HookHandle add_forward_hook(loupe::ForwardHook hook);
  HookHandle add_backward_pre_hook(BackwardPreHook hook);
  HookHandle add_backward_hook(BackwardHook hook);
  /// Removes all hooks that run after forward.
  void clear_forward_hooks();
  bool has_forward_hooks() const;
  /// Whether hooks of any kind watch this module: then it runs by itself, not fused with
  /// neighbours.
  bool has_hooks() const { return hooks_ && !hooks_->entries.empty(); }

 private:
  friend class detail::CallScope;
  friend class detail::HookedCall;
  HookHandle add(detail::ModuleHooks::Entry entry);

  bool training_ = true;
  std::shared_ptr<detail::ModuleHooks> hooks_;  // null without hooks
  // The name, valid within the call of a model that carries the same number.
  std::string path_;
  int path_id_ = 0;
  uint64_t naming_ = 0;
  const Module* named_at_ = nullptr;  // its address then: a moved module may be another's child
  uint64_t outside_ = 0;              // a naming that it was looked for in, and not found
};

namespace detail {
// The scope of a module's call: its path for ops and errors. The tree of the outermost module is
// named at its first call, and again when a module is met that was added, replaced or moved since,
// or that another model has named.
class CallScope : Pinned {
 public:
  explicit CallScope(Module& m);
  ~CallScope();
  /// Names every module of a tree anew.
  static void name_tree(Module& root);

 private:
  static int enter(Module& m);
  Module* root_before_;
  uint64_t naming_before_;
  PathScope path_;
};

// Type and path of modules that were called and that no visit() lists: noted while the scope lives,
// each once.
using Strangers = std::vector<std::pair<std::string, std::string>>;
class StrangerScope : Pinned {
 public:
  StrangerScope(Module& root, Strangers& found);
  ~StrangerScope();

 private:
  Strangers* before_;
};

// One call of a module that has hooks.
class HookedCall : Pinned {
 public:
  /// Runs the hooks before forward.
  HookedCall(Module& m, In input);
  /// What forward gets.
  const Tensor& input() const { return seen_; }
  /// Runs the hooks after forward, and has `output` watched in the backward pass.
  void finish(Tensor& output);

 private:
  struct Backward;
  Module& module_;
  Site site_;
  std::vector<ModuleHooks::Entry> entries_;
  Tensor input_, seen_;
  std::shared_ptr<Backward> backward_;
};

// The tensor of a forward's result that hooks see: itself, the first of several, or its `output`.
template <class Result> Tensor* main_output(Result& y) {
  if constexpr (std::is_same_v<Result, Tensor>) {
    return &y;
  } else if constexpr (requires {
                         { std::get<0>(y) } -> std::same_as<Tensor&>;
                       }) {
    return &std::get<0>(y);
  } else if constexpr (requires {
                         { (y.output) } -> std::same_as<Tensor&>;
                       }) {
    return &y.output;
  } else {
    return nullptr;
  }
}
}  // namespace detail

/// Gives Derived its operator(): opens the module's named scope, calls forward(x, ...), runs hooks.
template <class Derived> class Layer : public Module {
 public:
  template <class... Rest> auto operator()(In x, Rest&&... rest) {
    return run(x, std::forward<Rest>(rest)...);
  }
  /// Options in braces, for a layer with a type Masks: layer(x, {.key_padding_mask = mask}).
  template <class D = Derived> auto operator()(In x, const typename D::Masks& masks) {
    return run(x, masks);
  }
  template <class D = Derived>
  auto operator()(In x, In memory, const typename D::Masks& target,
                  const typename D::Masks& source = {}) {
    return run(x, memory, target, source);
  }
  template <class D = Derived>
  auto operator()(In query, In key, In value, const typename D::Masks& masks) {
    return run(query, key, value, masks);
  }
  Tensor call(In x) override {
    if constexpr (requires(Derived & d) {
                    { d.forward(x) } -> std::same_as<Tensor>;
                  })
      return (*this)(x);
    else
      fail<ValueError>(
          "{}: forward takes or gives more than one tensor; call it in a module of your own",
          type_name());
  }

 private:
  template <class... Rest> auto run(In x, Rest&&... rest) {
    const detail::CallScope scope(*this);
    Derived& layer = static_cast<Derived&>(*this);
    if (!has_hooks()) return layer.forward(x, std::forward<Rest>(rest)...);
    detail::HookedCall hooked(*this, x);
    const In input{hooked.input(), x.here.file, x.here.line};
    auto y = layer.forward(input, std::forward<Rest>(rest)...);
    if (Tensor* const output = detail::main_output(y)) hooked.finish(*output);
    return y;
  }
};

}  // namespace loupe
