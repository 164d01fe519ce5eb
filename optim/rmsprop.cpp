#include <loupe/optim/step.h>

namespace loupe {

RMSprop::RMSprop(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  detail::checked_momentum("RMSprop", o.momentum);
  if (!(o.alpha >= 0 && o.alpha <= 1))
    fail<ValueError>("RMSprop: alpha {} must lie in [0, 1]", o.alpha);
  detail::check_optimizer_eps("RMSprop", o.eps);
}

void RMSprop::set_momentum(double value) {
  options.momentum = detail::checked_momentum("RMSprop", value);
}

std::array<Optimizer::StateKind, 3> RMSprop::state_kinds() const {
  return {StateKind{.name = "square_avg"},
          StateKind{.name = "momentum_buffer", .used = options.momentum > 0, .optional = true},
          StateKind{.name = "grad_avg", .used = options.centered, .optional = true}};
}

void RMSprop::apply(std::span<Slot> slots, const Group& group) {
  const kernels::RmspropStep step{.lr = group.lr,
                                  .alpha = options.alpha,
                                  .eps = options.eps,
                                  .weight_decay = group.weight_decay,
                                  .momentum = options.momentum,
                                  .centered = options.centered,
                                  .maximize = options.maximize};
  dispatch_floating(slots[0].p.dtype(), "RMSprop", [&]<class T>(Type<T>) {
    kernels::rmsprop_step<T>(detail::arrays<T>(slots, state_kinds()), step);
  });
}

}  // namespace loupe
