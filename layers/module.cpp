#include <loupe/layers/state.h>

#include <algorithm>
#include <atomic>

namespace loupe {

using detail::ModuleHooks;

// --- Names ---

namespace {

// One number for each naming of a tree, so that a module knows whether its name is of the model
// that runs.
std::atomic<uint64_t> g_namings{0};
// The outermost module that runs on this thread, and the number of its naming.
thread_local Module* t_root = nullptr;
thread_local uint64_t t_naming = 0;
// Where modules that no visit() lists are noted; null most of the time.
thread_local detail::Strangers* t_strangers = nullptr;

// Looks for a module in a tree, by address.
class Finder final : public Visitor {
 public:
  explicit Finder(const Module& wanted) : wanted_(wanted) {}
  bool finds_in(Module& root) {
    if (&root == &wanted_) found_ = true;
    else root.visit(*this);
    return found_;
  }

 private:
  void module(const std::string& /*name*/, Module& m) override {
    if (!found_) finds_in(m);
  }
  const Module& wanted_;
  bool found_ = false;
};

}  // namespace

namespace detail {

StrangerScope::StrangerScope(Module& root, Strangers& found) : before_(t_strangers) {
  CallScope::name_tree(root);
  t_strangers = &found;
}
StrangerScope::~StrangerScope() { t_strangers = before_; }

CallScope::CallScope(Module& m) : root_before_(t_root), naming_before_(t_naming), path_(enter(m)) {}
CallScope::~CallScope() {
  t_root = root_before_;
  t_naming = naming_before_;
}

void CallScope::name_tree(Module& root) {
  const uint64_t naming = g_namings.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::string prefix = root.path_;
  for (const auto& [name, m] : named_modules(root)) {
    if (m->naming_ == naming) continue;  // listed twice: the first name counts
    m->path_ = prefix;
    if (!prefix.empty() && !name.empty()) m->path_ += '.';
    m->path_ += name;
    m->path_id_ = path_id(m->path_);
    m->naming_ = naming;
    m->named_at_ = m;
  }
}

int CallScope::enter(Module& m) {
  if (t_root) {
    if (m.naming_ == t_naming && m.named_at_ == &m) return m.path_id_;
    if (m.outside_ != t_naming) {
      if (Finder(m).finds_in(*t_root)) {
        name_tree(*t_root);
        t_naming = t_root->naming_;
        return m.path_id_;
      }
      m.outside_ = t_naming;
      if (t_strangers) t_strangers->emplace_back(m.type_name(), current_path());
    }
  }
  // The outermost module, or one that no visit() lists: it names its own tree.
  if (m.naming_ == 0) name_tree(m);
  t_root = &m;
  t_naming = m.naming_;
  return m.path_id_;
}

}  // namespace detail

// --- Hooks ---

const ModuleHooks::Entry* ModuleHooks::find(uint64_t id) const {
  const auto found =
      std::find_if(entries.begin(), entries.end(), [id](const Entry& e) { return e.id == id; });
  return found == entries.end() ? nullptr : &*found;
}

void HookHandle::remove() {
  if (const auto hooks = hooks_.lock())
    std::erase_if(hooks->entries, [this](const ModuleHooks::Entry& e) { return e.id == id_; });
}

Module& Module::operator=(Module&& other) noexcept {
  training_ = other.training_;
  hooks_ = std::move(other.hooks_);
  if (hooks_) hooks_->module = this;
  path_ = std::move(other.path_);
  path_id_ = other.path_id_;
  naming_ = other.naming_;
  named_at_ = other.named_at_;
  outside_ = 0;
  return *this;
}

HookHandle Module::add(ModuleHooks::Entry entry) {
  if (!hooks_) hooks_ = std::make_shared<ModuleHooks>(ModuleHooks{this, {}});
  HookHandle handle;
  handle.hooks_ = hooks_;
  handle.id_ = entry.id = hooks_->next_id++;
  hooks_->entries.push_back(std::move(entry));
  return handle;
}

HookHandle Module::add_forward_pre_hook(ForwardPreHook hook) {
  if (!hook) fail<ValueError>("add_forward_pre_hook: the function is empty");
  return add({0, std::move(hook), {}, {}, {}});
}
HookHandle Module::add_forward_hook(loupe::ForwardHook hook) {
  if (!hook) fail<ValueError>("add_forward_hook: the function is empty");
  return add({0, {}, std::move(hook), {}, {}});
}
HookHandle Module::add_backward_pre_hook(BackwardPreHook hook) {
  if (!hook) fail<ValueError>("add_backward_pre_hook: the function is empty");
  return add({0, {}, {}, std::move(hook), {}});
}
HookHandle Module::add_backward_hook(BackwardHook hook) {
  if (!hook) fail<ValueError>("add_backward_hook: the function is empty");
  return add({0, {}, {}, {}, std::move(hook)});
}

void Module::clear_forward_hooks() {
  if (hooks_)
    std::erase_if(hooks_->entries, [](const ModuleHooks::Entry& e) { return bool(e.after); });
}
bool Module::has_forward_hooks() const {
  return hooks_ && std::any_of(hooks_->entries.begin(), hooks_->entries.end(),
                               [](const ModuleHooks::Entry& e) { return bool(e.after); });
}

namespace {

// The identity, whose gradient passes a function: stands at a module's input and output.
struct BackwardHookNode final : Node {
  std::function<Tensor(const Tensor&)> pass;
  const char* name() const override { return "backward_hook"; }
  Tensors replay(const Tensors& x) const override { return {x[0]}; }
  Tensors backward(const Tensors& dy) override { return {pass(dy[0])}; }
};

// Only for a tensor that needs a gradient, in grad mode.
Tensor tapped(const Tensor& x, Site site, std::function<Tensor(const Tensor&)> pass) {
  Tensor y = raw::view(x, x.shape(), x.strides(), 0);
  const auto node = record<BackwardHookNode>({In{x, site.file, site.line}}, y);
  node->pass = std::move(pass);
  return y;
}

}  // namespace

// What the two taps of one call share. It keeps grad_output from the output's tap until the
// input's.
struct detail::HookedCall::Backward {
  std::weak_ptr<ModuleHooks> hooks;
  std::vector<uint64_t> ids;
  bool input_tapped = false;
  Tensor grad_output;

  Tensor at_output(Tensor dy) {
    each([&](Module& m, const ModuleHooks::Entry& entry) {
      if (entry.before_backward)
        replace(dy, entry.before_backward(m, dy), m, "add_backward_pre_hook");
    });
    if (input_tapped) grad_output = dy;
    else after(Tensor(), dy);
    return dy;
  }
  Tensor at_input(const Tensor& dx) {
    const Tensor dy = std::move(grad_output);
    grad_output = Tensor();
    return after(dx, dy);
  }

 private:
  Tensor after(Tensor dx, const Tensor& dy) {
    each([&](Module& m, const ModuleHooks::Entry& entry) {
      if (entry.backward) replace(dx, entry.backward(m, dx, dy), m, "add_backward_hook");
    });
    return dx;
  }

  // The hooks of the call that are still there: the module may be gone, a hook removed.
  template <class F> void each(const F& f) {
    for (const uint64_t id : ids) {
      const auto alive = hooks.lock();
      const ModuleHooks::Entry* const entry = alive ? alive->find(id) : nullptr;
      if (!entry) continue;
      const ModuleHooks::Entry kept = *entry;  // it may remove itself
      f(*alive->module, kept);
    }
  }

  static void replace(Tensor& gradient, Tensor changed, const Module& m, const char* op) {
    if (!changed.defined()) return;
    if (!gradient.defined())
      fail<ValueError>("{}: the hook returned a gradient, but the input of {} needs none", op,
                       m.type_name());
    if (changed.shape() != gradient.shape())
      fail<ShapeError>("{}: the hook returned shape {} for a gradient of shape {}", op,
                       changed.shape(), gradient.shape());
    if (changed.dtype() != gradient.dtype())
      fail<DtypeError>("{}: the hook returned {} for a gradient of {}", op, changed.dtype(),
                       gradient.dtype());
    gradient = std::move(changed);
  }
};

detail::HookedCall::HookedCall(Module& m, In input)
    : module_(m), site_(input.here), entries_(m.hooks_->entries), input_(input) {
  for (const auto& entry : entries_) {
    if (!entry.before) continue;
    if (const Tensor changed = entry.before(m, input_); changed.defined()) input_ = changed;
  }
  seen_ = input_;
  backward_ = std::make_shared<Backward>();
  for (const auto& entry : entries_)
    if (entry.before_backward || entry.backward) backward_->ids.push_back(entry.id);
  if (backward_->ids.empty() || !grad_enabled()) return;
  backward_->hooks = m.hooks_;
  if (!input_.defined() || !input_.requires_grad()) return;
  backward_->input_tapped = true;
  seen_ = tapped(input_, site_, [b = backward_](const Tensor& dx) { return b->at_input(dx); });
}

void detail::HookedCall::finish(Tensor& output) {
  for (const auto& entry : entries_)
    if (entry.after) entry.after(module_, input_, output);
  if (backward_->ids.empty() || !grad_enabled() || !output.defined() || !output.requires_grad())
    return;
  output = tapped(output, site_, [b = backward_](const Tensor& dy) { return b->at_output(dy); });
}

}  // namespace loupe
