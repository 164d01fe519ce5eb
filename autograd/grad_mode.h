#pragma once
// Whether ops are recorded: a flag of the thread. (Train/eval is a flag of a module, frozen is
// requires_grad: three different things.)
#include <loupe/core/pinned.h>

namespace loupe {

/// True (the default) while ops on this thread are recorded for backward().
bool grad_enabled();

/// Switches recording for a scope. `NoGrad guard;` is the common case.
class GradMode : Pinned {
 public:
  explicit GradMode(bool on);
  ~GradMode();

 private:
  bool before_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

/// Calls f without recording and returns what it returns.
template <class F> decltype(auto) no_grad(F&& f) {
  NoGrad guard;
  return f();
}

}  // namespace loupe
