#include "exercise.h"

void mine::sgd_step(std::vector<double>& w, const std::vector<double>& g,
                    std::vector<double>& velocity, const SgdOptions& o) {
  // >>> your part
  for (size_t i = 0; i < w.size(); ++i) {
    const double gradient = g[i] + o.weight_decay * w[i];
    velocity[i] = o.momentum * velocity[i] + gradient;
    w[i] -= o.lr * velocity[i];
  }
  // <<<
}
