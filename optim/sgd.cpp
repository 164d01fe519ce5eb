#include <loupe/optim/step.h>

namespace loupe {

SGD::SGD(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  detail::checked_momentum("SGD", o.momentum);
  if (!std::isfinite(o.dampening))
    fail<ValueError>("SGD: dampening {} is not a number", o.dampening);
  if (o.nesterov && (o.momentum <= 0 || o.dampening != 0))
    fail<ValueError>("SGD: nesterov needs a momentum and no dampening");
}

void SGD::set_momentum(double value) { options.momentum = detail::checked_momentum("SGD", value); }

std::array<Optimizer::StateKind, 3> SGD::state_kinds() const {
  return {StateKind{.name = "momentum_buffer", .used = options.momentum != 0, .optional = true}};
}

void SGD::apply(std::span<Slot> slots, const Group& group) {
  const kernels::SgdStep step{.lr = group.lr,
                              .momentum = options.momentum,
                              .dampening = options.dampening,
                              .weight_decay = group.weight_decay,
                              .nesterov = options.nesterov,
                              .maximize = options.maximize,
                              .first = slots[0].fresh};
  dispatch_floating(slots[0].p.dtype(), "SGD", [&]<class T>(Type<T>) {
    kernels::sgd_step<T>(detail::arrays<T>(slots, state_kinds()), step);
  });
}

}  // namespace loupe
