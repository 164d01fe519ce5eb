#include <loupe/optim/step.h>

namespace loupe {

Adam::Adam(std::vector<ParamGroup> groups, Options o, bool decoupled)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o), decoupled_(decoupled) {
  detail::checked_beta("Adam", o.beta1);
  detail::checked_beta("Adam", o.beta2);
  detail::check_optimizer_eps("Adam", o.eps);
}

void Adam::set_momentum(double value) { options.beta1 = detail::checked_beta("Adam", value); }

std::array<Optimizer::StateKind, 3> Adam::state_kinds() const {
  return {StateKind{.name = "exp_avg"}, StateKind{.name = "exp_avg_sq"},
          StateKind{.name = "max_exp_avg_sq", .used = options.amsgrad, .optional = true}};
}

void Adam::apply(std::span<Slot> slots, const Group& group) {
  const kernels::AdamStep step{.lr = group.lr,
                               .beta1 = options.beta1,
                               .beta2 = options.beta2,
                               .eps = options.eps,
                               .weight_decay = group.weight_decay,
                               .decoupled = decoupled_,
                               .maximize = options.maximize,
                               .step = slots[0].state->step};
  dispatch_floating(slots[0].p.dtype(), "Adam", [&]<class T>(Type<T>) {
    kernels::adam_step<T>(detail::arrays<T>(slots, state_kinds()), step);
  });
}

AdamW::AdamW(std::vector<ParamGroup> groups, Options o)
    : Adam(std::move(groups),
           {.lr = o.lr,
            .beta1 = o.beta1,
            .beta2 = o.beta2,
            .eps = o.eps,
            .weight_decay = o.weight_decay,
            .amsgrad = o.amsgrad,
            .maximize = o.maximize},
           true) {}

}  // namespace loupe
