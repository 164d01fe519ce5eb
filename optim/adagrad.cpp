#include <loupe/optim/step.h>

namespace loupe {

Adagrad::Adagrad(std::vector<ParamGroup> groups, Options o)
    : Optimizer(std::move(groups), o.lr, o.weight_decay), options(o) {
  for (const double x : {o.lr_decay, o.initial_accumulator_value})
    if (!(x >= 0 && std::isfinite(x)))
      fail<ValueError>(
          "Adagrad: lr_decay {} and initial_accumulator_value {} must be numbers of at least 0",
          o.lr_decay, o.initial_accumulator_value);
  detail::check_optimizer_eps("Adagrad", o.eps);
}

void Adagrad::set_momentum(double /*value*/) {
  fail<ValueError>("Adagrad: it has no momentum to set; give OneCycleLR .cycle_momentum = false");
}

std::array<Optimizer::StateKind, 3> Adagrad::state_kinds() const {
  return {StateKind{.name = "sum", .initial = options.initial_accumulator_value}};
}

void Adagrad::apply(std::span<Slot> slots, const Group& group) {
  const auto steps_before = static_cast<double>(slots[0].state->step - 1);
  const kernels::AdagradStep step{.lr = group.lr / (1 + steps_before * options.lr_decay),
                                  .eps = options.eps,
                                  .weight_decay = group.weight_decay,
                                  .maximize = options.maximize};
  dispatch_floating(slots[0].p.dtype(), "Adagrad", [&]<class T>(Type<T>) {
    kernels::adagrad_step<T>(detail::arrays<T>(slots, state_kinds()), step);
  });
}

}  // namespace loupe
