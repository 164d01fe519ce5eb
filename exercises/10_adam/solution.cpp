#include "exercise.h"

void mine::adam_step(std::vector<double>& w, const std::vector<double>& g, AdamState& state,
                     const AdamOptions& o) {
  // >>> your part
  ++state.t;
  const double t = static_cast<double>(state.t);
  for (size_t i = 0; i < w.size(); ++i) {
    w[i] -= o.lr * o.weight_decay * w[i];
    state.m[i] = o.beta1 * state.m[i] + (1 - o.beta1) * g[i];
    state.v[i] = o.beta2 * state.v[i] + (1 - o.beta2) * g[i] * g[i];
    const double m_hat = state.m[i] / (1 - std::pow(o.beta1, t));
    const double v_hat = state.v[i] / (1 - std::pow(o.beta2, t));
    w[i] -= o.lr * m_hat / (std::sqrt(v_hat) + o.eps);
  }
  // <<<
}
