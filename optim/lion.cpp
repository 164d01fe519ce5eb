#include <loupe/optim/step.h>

namespace loupe {

Lion::Lion(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  detail::checked_beta("Lion", o.beta1);
  detail::checked_beta("Lion", o.beta2);
}

void Lion::set_momentum(double value) { options.beta1 = detail::checked_beta("Lion", value); }

std::array<Optimizer::StateKind, 3> Lion::state_kinds() const {
  return {StateKind{.name = "exp_avg"}};
}

void Lion::apply(std::span<Slot> slots, const Group& group) {
  const kernels::LionStep step{.lr = group.lr,
                               .beta1 = options.beta1,
                               .beta2 = options.beta2,
                               .weight_decay = group.weight_decay,
                               .maximize = options.maximize};
  dispatch_floating(slots[0].p.dtype(), "Lion", [&]<class T>(Type<T>) {
    kernels::lion_step<T>(detail::arrays<T>(slots, state_kinds()), step);
  });
}

}  // namespace loupe
