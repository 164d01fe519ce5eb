#pragma once
// Exercise 10: what you write, and what you may use.
#include <loupe/exercises/taught/modules.h>

namespace mine {

struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
struct AdamState {
  std::vector<double> m, v;  // of the weights' size, 0 at the start
  int64_t t = 0;             // steps so far
};

void adam_step(std::vector<double>& w, const std::vector<double>& g, AdamState& state,
               const AdamOptions& o);

}  // namespace mine
