#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using Numbers = std::vector<double>;
using Step = std::function<void(double& w, double g, double& v, const mine::SgdOptions& o)>;

void right_step(double& w, double g, double& v, const mine::SgdOptions& o) {
  v = o.momentum * v + g + o.weight_decay * w;
  w -= o.lr * v;
}

const std::vector<std::pair<std::string, Step>> kWrong{
    {"the step goes up: subtract lr times the velocity",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v + g + o.weight_decay * w;
       w += o.lr * v;
     }},
    {"the velocity is a mean, with a factor 1 - momentum: PyTorch adds the gradient as it is",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v + (1 - o.momentum) * (g + o.weight_decay * w);
       w -= o.lr * v;
     }},
    {"lr is inside of the velocity: when the rate changes, old gradients must move with the new "
     "rate",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v + o.lr * (g + o.weight_decay * w);
       w -= v;
     }},
    {"lr is inside of the velocity: when the rate changes, old gradients must move with the new "
     "rate",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v - o.lr * (g + o.weight_decay * w);
       w += v;
     }},
    {"the velocity forgets: it is not kept for the next step",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       w -= o.lr * (o.momentum * v + g + o.weight_decay * w);
     }},
    {"the step takes the old velocity: the new one has this step's gradient in it",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       const double old = v;
       v = o.momentum * v + g + o.weight_decay * w;
       w -= o.lr * old;
     }},
    {"weight decay is missing",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v + g;
       w -= o.lr * v;
     }},
    {"weight decay has the wrong sign: it pulls to 0, so it is added to the gradient",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v + g - o.weight_decay * w;
       w -= o.lr * v;
     }},
    {"weight decay is beside the velocity: in SGD it is part of the gradient (AdamW does it your "
     "way)",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       v = o.momentum * v + g;
       w -= o.lr * (v + o.weight_decay * w);
     }},
    {"this is Nesterov's form: the plain one steps along the velocity alone",
     [](double& w, double g, double& v, const mine::SgdOptions& o) {
       const double gradient = g + o.weight_decay * w;
       v = o.momentum * v + gradient;
       w -= o.lr * (gradient + o.momentum * v);
     }}};

Numbers after(const Step& step, Numbers w, const std::vector<Numbers>& gradients,
              mine::SgdOptions o, const Numbers& rates) {
  Numbers v(w.size());
  for (size_t t = 0; t < gradients.size(); ++t) {
    o.lr = rates[t];
    for (size_t i = 0; i < w.size(); ++i) step(w[i], gradients[t][i], v[i], o);
  }
  return w;
}

void compare(Check& c, const std::string& name, const Numbers& start,
             const std::vector<Numbers>& gradients, mine::SgdOptions o, const Numbers& rates) {
  c.trying(fmt::format("{}: {} steps, momentum {:.3g}, weight_decay {:.3g}, lr {:.3g}", name,
                       gradients.size(), o.momentum, o.weight_decay, fmt::join(rates, ", ")));
  Numbers w = start, v(w.size());
  for (size_t t = 0; t < gradients.size(); ++t) {
    o.lr = rates[t];
    mine::sgd_step(w, gradients[t], v, o);
  }
  Ideas ideas;
  for (const auto& [says, step] : kWrong)
    ideas.push_back(
        {says, [&, step = step] { return numbers(after(step, start, gradients, o, rates)); }});
  c.equal("w", w, after(right_step, start, gradients, o, rates), ideas);
}

}  // namespace

void run(Check& c) {
  const auto draw = [&](int64_t n) { return c.normal({n}).to_vector<double>(); };
  const int64_t n = c.between(3, 5);
  const Numbers w = draw(n);
  const std::vector<Numbers> g{draw(n), draw(n), draw(n)};
  const double lr = c.uniform(0.05, 0.1), decay = c.uniform(0.1, 0.3), m = c.uniform(0.6, 0.8);
  compare(c, "plain", w, {g[0]}, {}, {lr});
  compare(c, "with weight decay", w, {g[0]}, {.weight_decay = decay}, {lr});
  compare(c, "with momentum", w, g, {.momentum = m}, {lr, lr, lr});
  compare(c, "with a rate that changes", w, g, {.momentum = m}, {lr, lr / 2, lr / 10});
  compare(c, "all together", w, g, {.momentum = m, .weight_decay = decay}, {lr, lr / 2, lr / 10});
  c.trying("five steps that PyTorch computed");
  const Tensor gradients = c.torch("sgd.gradients"), path = c.torch("sgd.path");
  Numbers v(4), x = c.torch("sgd.start").to_vector<double>();
  for (int64_t t = 0; t < 5; ++t) {
    mine::sgd_step(x, gradients[t].to_vector<double>(), v,
                   {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.01});
    c.equal(fmt::format("w after step {}", t + 1), x, path[t].to_vector<double>());
  }
}

}  // namespace loupe::exercises
