#pragma once
// Exercise 11: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

namespace mine {

/// grads: the gradient of each parameter. Scales all of them if their norm is above max_norm. Gives
/// the norm before that.
double clip_grad_norm(std::vector<std::vector<double>>& grads, double max_norm);

}  // namespace mine
