#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using Numbers = std::vector<double>;

enum class Mistake {
  none,
  no_correction,
  m_only,
  correct_from_0,
  eps_under_root,
  betas_exchanged,
  no_root,
  g_for_square,
  sum_for_mean,
  decay_in_gradient,
  no_decay,
  up,
  forgotten
};

Numbers after(Mistake wrong, Numbers w, const std::vector<Numbers>& gradients,
              mine::AdamOptions o) {
  if (wrong == Mistake::betas_exchanged) std::swap(o.beta1, o.beta2);
  Numbers m(w.size()), v(w.size());
  double t = wrong == Mistake::correct_from_0 ? -1 : 0;
  for (const Numbers& now : gradients) {
    ++t;
    if (wrong == Mistake::forgotten) m = v = Numbers(w.size());
    for (size_t i = 0; i < w.size(); ++i) {
      double g = now[i];
      if (wrong == Mistake::decay_in_gradient) g += o.weight_decay * w[i];
      else if (wrong != Mistake::no_decay) w[i] -= o.lr * o.weight_decay * w[i];
      const double part = wrong == Mistake::sum_for_mean ? 1 : 1 - o.beta1;
      m[i] = o.beta1 * m[i] + part * g;
      v[i] =
          o.beta2 * v[i] + (1 - o.beta2) * (wrong == Mistake::g_for_square ? std::abs(g) : g * g);
      double m_hat = m[i] / (1 - std::pow(o.beta1, t)), v_hat = v[i] / (1 - std::pow(o.beta2, t));
      if (wrong == Mistake::no_correction) m_hat = m[i];
      if (wrong == Mistake::no_correction || wrong == Mistake::m_only) v_hat = v[i];
      double below = std::sqrt(v_hat) + o.eps;
      if (wrong == Mistake::eps_under_root) below = std::sqrt(v_hat + o.eps);
      if (wrong == Mistake::no_root) below = v_hat + o.eps;
      w[i] -= (wrong == Mistake::up ? -1 : 1) * o.lr * m_hat / below;
    }
  }
  return w;
}

const std::vector<std::pair<std::string, Mistake>> kWrong{
    {"the bias correction is missing: m and v start at 0 and are too small at first",
     Mistake::no_correction},
    {"only m is corrected: v starts at 0, too", Mistake::m_only},
    {"t is 0 in the first step: then 1 - beta^t is 0; raise t first", Mistake::correct_from_0},
    {"eps is under the root: it is sqrt(v_hat) + eps", Mistake::eps_under_root},
    {"beta1 and beta2 are exchanged: beta1 belongs to m, beta2 to v", Mistake::betas_exchanged},
    {"the root is missing: the step divides by sqrt(v_hat)", Mistake::no_root},
    {"v is a mean of |g|: it is one of g^2", Mistake::g_for_square},
    {"m is a sum: the new gradient has the factor 1 - beta1", Mistake::sum_for_mean},
    {"weight decay went into the gradient: that is Adam with L2, where a weight with large "
     "gradients "
     "hardly decays; AdamW pulls at the weight itself",
     Mistake::decay_in_gradient},
    {"weight decay is missing", Mistake::no_decay},
    {"m and v are forgotten after each step: write them to state.m and state.v",
     Mistake::forgotten},
    {"the step goes up: subtract", Mistake::up}};

void compare(Check& c, const std::string& name, const Numbers& start,
             const std::vector<Numbers>& gradients, const mine::AdamOptions& o) {
  c.trying(
      fmt::format("{}: {} steps, lr {:.3g}, betas {:.3g}, {:.3g}, eps {:.3g}, weight_decay {:.3g}",
                  name, gradients.size(), o.lr, o.beta1, o.beta2, o.eps, o.weight_decay));
  Numbers w = start;
  mine::AdamState state{Numbers(w.size()), Numbers(w.size())};
  for (const Numbers& g : gradients) mine::adam_step(w, g, state, o);
  Ideas ideas;
  for (const auto& [says, wrong] : kWrong)
    ideas.push_back(
        {says, [&, wrong = wrong] { return numbers(after(wrong, start, gradients, o)); }});
  c.equal("w", w, after(Mistake::none, start, gradients, o), ideas, 1e-10);
  c.expect(state.t == static_cast<int64_t>(gradients.size()),
           fmt::format("t is {} after {} steps: it rises once a step, for all weights together",
                       state.t, gradients.size()));
}

}  // namespace

void run(Check& c) {
  const auto draw = [&](int64_t n) { return c.normal({n}).to_vector<double>(); };
  const int64_t n = c.between(3, 5);
  const Numbers w = draw(n);
  const std::vector<Numbers> g{draw(n), draw(n), draw(n), draw(n)};
  const mine::AdamOptions o{.lr = c.uniform(0.01, 0.05),
                            .beta1 = c.uniform(0.7, 0.9),
                            .beta2 = c.uniform(0.95, 0.99),
                            .eps = c.uniform(0.01, 0.05)};
  compare(c, "the first step", w, {g[0]}, o);
  compare(c, "four steps", w, g, o);
  mine::AdamOptions decay = o;
  decay.weight_decay = c.uniform(0.1, 0.5);
  compare(c, "with weight decay", w, g, decay);
  c.trying("five steps that PyTorch computed");
  const Tensor gradients = c.torch("adam.gradients"), path = c.torch("adam.path");
  Numbers x = c.torch("adam.start").to_vector<double>();
  mine::AdamState state{Numbers(4), Numbers(4)};
  for (int64_t t = 0; t < 5; ++t) {
    mine::adam_step(x, gradients[t].to_vector<double>(), state, {.lr = 0.01});
    c.equal(fmt::format("w after step {}", t + 1), x, path[t].to_vector<double>());
  }
}

}  // namespace loupe::exercises
