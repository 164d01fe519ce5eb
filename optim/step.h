#pragma once
// What the sources of the optimizers share: checks of their options, and the arrays of one step.
// For the sources of this folder.
#include <loupe/core/kernels/elementwise/optim.h>
#include <loupe/optim/optimizer.h>

#include <cmath>
#include <vector>

namespace loupe::detail {

inline double checked_momentum(const char* optimizer, double value) {
  if (!(value >= 0 && std::isfinite(value)))
    fail<ValueError>("{}: the momentum {} is not a number of at least 0", optimizer, value);
  return value;
}

inline double checked_beta(const char* optimizer, double value) {
  if (!(value >= 0 && value < 1))
    fail<ValueError>("{}: beta {} must lie in [0, 1)", optimizer, value);
  return value;
}

inline void check_optimizer_eps(const char* optimizer, double eps) {
  if (!(eps >= 0 && std::isfinite(eps)))
    fail<ValueError>("{}: eps {} is not a number of at least 0", optimizer, eps);
}

/// A count of steps from a saved state.
int64_t step_count(const Named& n);

/// The arrays of the slots; of the state, those in use (an option may have been switched off).
template <class T, class Slots, class Kinds>
std::vector<kernels::ParamSlot<T>> arrays(const Slots& slots, const Kinds& kinds) {
  std::vector<kernels::ParamSlot<T>> out;
  for (const auto& slot : slots) {
    const auto state = [&](size_t i) {
      const bool in_use = kinds[i].name && kinds[i].used;
      return in_use ? slot.state->s[i].template ptr<T>() : nullptr;
    };
    out.push_back({.p = slot.p.template ptr<T>(),
                   .g = slot.g.template ptr<T>(),
                   .s0 = state(0),
                   .s1 = state(1),
                   .s2 = state(2),
                   .n = slot.p.numel()});
  }
  return out;
}

}  // namespace loupe::detail
