#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

struct Case {
  Tensor x, weight, bias;
  mine::BatchNormState state;  // before the call
};

Case draw(Check& c, int64_t n, int64_t features, double mean = 1) {
  Case k;
  k.x = c.normal({n, features}, 2, mean);
  k.weight = c.normal({features});
  k.bias = c.normal({features});
  k.state.running_mean = c.normal({features});
  k.state.running_var = square(c.normal({features})) + 0.5;
  k.state.momentum = c.uniform(0.1, 0.3);
  k.state.eps = c.uniform(0.01, 0.1);  // large, so that its place shows
  return k;
}

Tensor scaled(const Case& k, const Tensor& mean, const Tensor& variance) {
  return (k.x - mean) * rsqrt(variance + k.state.eps) * k.weight + k.bias;
}

Tensor mixed(const Case& k, const Tensor& before, const Tensor& batch) {
  return before * (1 - k.state.momentum) + batch * k.state.momentum;
}

void training(Check& c, const Case& k, const std::string& name) {
  c.trying(name + fmt::format(", training, x {}, momentum {:.3f}, eps {:.3f}",
                              to_string(k.x.shape()), k.state.momentum, k.state.eps));
  const Tensor mean = k.x.mean({0}), biased = var(k.x, {0}, 0), unbiased = var(k.x, {0}, 1);
  const Tensor &old_mean = k.state.running_mean, &old_var = k.state.running_var;
  mine::BatchNormState state = k.state;
  const Tensor y = mine::batch_norm(k.x, k.weight, k.bias, state);
  const Tensor centred = k.x - mean;
  c.equal(
      "y", y, scaled(k, mean, biased),
      {{"you divided by n - 1: the normalization uses n; only the running variance uses n - 1",
        [&] { return scaled(k, mean, unbiased); }},
       {"you normalized with the running statistics: in training BatchNorm uses those of the "
        "batch",
        [&] { return scaled(k, old_mean, old_var); }},
       {"you normalized with the new running statistics: in training BatchNorm uses those of the "
        "batch alone",
        [&] { return scaled(k, mixed(k, old_mean, mean), mixed(k, old_var, unbiased)); }},
       {"eps stands outside of the root: it is sqrt(var + eps), not sqrt(var) + eps",
        [&] { return centred / (sqrt(biased) + k.state.eps) * k.weight + k.bias; }},
       {"you left eps out: it is sqrt(var + eps)",
        [&] { return centred * rsqrt(biased) * k.weight + k.bias; }},
       {"you divided by the variance: divide by its root",
        [&] { return centred / (biased + k.state.eps) * k.weight + k.bias; }},
       {"you normalized each row: that is LayerNorm; BatchNorm takes its statistics over the "
        "samples, which is dimension 0",
        [&] {
          const Tensor m = k.x.mean({1}, true), v = var(k.x, {1}, 0, true);
          return (k.x - m) * rsqrt(v + k.state.eps) * k.weight + k.bias;
        }},
       {"weight and bias are missing", [&] { return centred * rsqrt(biased + k.state.eps); }}});
  const std::string turned =
      "momentum is turned around: it is the share of the new batch (0.1 in PyTorch; Keras counts "
      "the "
      "other way)";
  c.equal("running_mean", state.running_mean, mixed(k, old_mean, mean),
          {{turned, [&] { return mixed(k, mean, old_mean); }},
           {"running_mean did not change: training moves it", [&] { return old_mean; }},
           {"running_mean is the batch's mean alone: mix it with what was there",
            [&] { return mean; }}});
  c.equal(
      "running_var", state.running_var, mixed(k, old_var, unbiased),
      {{"running_var took the variance by n: the running variance takes the unbiased one, by n - "
        "1, because it estimates the variance of all data",
        [&] { return mixed(k, old_var, biased); }},
       {turned, [&] { return mixed(k, unbiased, old_var); }},
       {"running_var took the deviation: it holds the variance, without the root",
        [&] { return mixed(k, old_var, sqrt(unbiased)); }},
       {"running_var did not change: training moves it", [&] { return old_var; }},
       {"eps went into running_var: it belongs under the root only",
        [&] { return mixed(k, old_var, unbiased + k.state.eps); }}});
}

void evaluation(Check& c, const Case& k) {
  c.trying(fmt::format("eval mode, x {}", to_string(k.x.shape())));
  const Tensor &mean = k.state.running_mean, &variance = k.state.running_var;
  mine::BatchNormState state = k.state;
  state.training = false;
  const Tensor y = mine::batch_norm(k.x, k.weight, k.bias, state);
  c.equal(
      "y", y, scaled(k, mean, variance),
      {{"you normalized with the batch's statistics in eval mode: there it uses the running ones",
        [&] { return scaled(k, k.x.mean({0}), var(k.x, {0}, 0)); }},
       {"eps stands outside of the root in eval mode: it is sqrt(running_var + eps)",
        [&] { return (k.x - mean) / (sqrt(variance) + k.state.eps) * k.weight + k.bias; }}});
  c.equal("running_mean", state.running_mean, mean,
          {{"eval mode changed the running statistics: only training does",
            [&] { return state.running_mean; }}});
  c.equal("running_var", state.running_var, variance,
          {{"eval mode changed the running statistics: only training does",
            [&] { return state.running_var; }}});
}

// Numbers around a million: the short formula of the variance loses its digits.
void far_from_zero(Check& c) {
  const Case k = draw(c, 6, 3, 1e6);
  c.trying("x around 1,000,000");
  mine::BatchNormState state = k.state;
  const Tensor y = mine::batch_norm(k.x, k.weight, k.bias, state);
  c.equal("y", y, scaled(k, k.x.mean({0}), var(k.x, {0}, 0)),
          {{"the digits are lost: E[x^2] - E[x]^2 subtracts two large, almost equal numbers; take "
            "the mean of (x - mean)^2",
            [&] { return y; }}},
          1e-7);
}

void torch(Check& c) {
  c.trying("a case that PyTorch computed");
  mine::BatchNormState state{c.torch("batch_norm.running_mean"), c.torch("batch_norm.running_var")};
  const Tensor y = mine::batch_norm(c.torch("batch_norm.x"), c.torch("batch_norm.weight"),
                                    c.torch("batch_norm.bias"), state);
  c.equal("y", y, c.torch("batch_norm.y"));
  c.equal("running_mean", state.running_mean, c.torch("batch_norm.new_mean"));
  c.equal("running_var", state.running_var, c.torch("batch_norm.new_var"));
}

}  // namespace

void run(Check& c) {
  training(c, draw(c, c.between(4, 7), c.between(2, 3)), "a batch");
  training(c, draw(c, 3, 3), "as many samples as features");
  evaluation(c, draw(c, c.between(3, 6), 2));
  far_from_zero(c);
  torch(c);
}

}  // namespace loupe::exercises
