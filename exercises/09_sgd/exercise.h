#pragma once
// Exercise 9: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

namespace mine {

struct SgdOptions {
  double lr = 0.01, momentum = 0, weight_decay = 0;
};

/// One step for the weights w with the gradients g. velocity: of the same size, 0 at the start.
void sgd_step(std::vector<double>& w, const std::vector<double>& g, std::vector<double>& velocity,
              const SgdOptions& o);

}  // namespace mine
