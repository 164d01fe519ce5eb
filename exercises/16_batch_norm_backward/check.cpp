#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

void compare(Check& c, const std::string& name, const Tensor& x, const Tensor& weight,
             const Tensor& dy, double eps) {
  c.trying(fmt::format("{}, x {}, eps {:.3f}", name, to_string(x.shape()), eps));
  const mine::NormGradients yours = mine::batch_norm_backward(x, weight, dy, eps);
  const Tensor centred = x - x.mean({0}), r = rsqrt(square(centred).mean({0}) + eps);
  const Tensor xhat = centred * r, g = weight * dy, none;
  const Tensor right = differences(
      [&](const Tensor& at) { return batch_norm(at, weight, none, {.eps = eps}); }, x, dy);
  const Tensor projection = xhat * (g * xhat).mean({0});
  const double n = static_cast<double>(x.size(0));
  c.equal(
      "dx", yours.dx, right,
      {{"the statistics are taken for constants: that is eval mode; in training x moves mean and "
        "variance, too",
        [&] { return r * g; }},
       {"the way through the variance is missing: - xhat <g xhat>",
        [&] { return r * (g - g.mean({0})); }},
       {"the way through the mean is missing: - <g>", [&] { return r * (g - projection); }},
       {"the means divide by n - 1: the variance of the output was by n, and so is its gradient",
        [&] { return r * (g - g.sum({0}) / (n - 1) - xhat * (g * xhat).sum({0}) / (n - 1)); }},
       {"the variance divides by n - 1, as var(x, {0}) does by default: var(x, {0}, 0) divides by "
        "n",
        [&] {
          const Tensor s = rsqrt(var(x, {0}, 1) + eps), h = centred * s;
          return s * (g - g.mean({0}) - h * (g * h).mean({0}));
        }},
       {"a sign is wrong: both means are subtracted",
        [&] { return r * (g - g.mean({0}) + projection); }},
       {"a sign is wrong: both means are subtracted",
        [&] { return r * (g + g.mean({0}) - projection); }},
       {"you took sums for means: <.> is the mean over the samples",
        [&] { return r * (g - g.sum({0}) - xhat * (g * xhat).sum({0})); }},
       {"the means run over the features: BatchNorm's statistics are over the samples, dimension "
        "0",
        [&] { return r * (g - g.mean({1}, true) - xhat * (g * xhat).mean({1}, true)); }},
       {"weight is missing: g is weight times dy",
        [&] { return r * (dy - dy.mean({0}) - xhat * (dy * xhat).mean({0})); }},
       {"r is missing in front: dx is r times the bracket",
        [&] { return g - g.mean({0}) - projection; }}},
      1e-6);
  c.equal("dweight", yours.dweight, (dy * xhat).sum({0}),
          {{"dweight is the sum of dy x: it is the sum of dy xhat, for weight multiplies xhat",
            [&] { return (dy * x).sum({0}); }},
           {"dweight is the sum of dy (x - mean): r is missing, weight multiplies xhat",
            [&] { return (dy * centred).sum({0}); }},
           {"dweight is a mean: every sample used the weight, so the gradients add up",
            [&] { return (dy * xhat).mean({0}); }},
           {"dweight has weight in it: it is the sum of dy xhat",
            [&] { return (g * xhat).sum({0}); }}});
  c.equal(
      "dbias", yours.dbias, dy.sum({0}),
      {{"dbias is a mean: every sample used the bias, so the gradients add up",
        [&] { return dy.mean({0}); }},
       {"dbias has weight in it: the bias is added after the weight", [&] { return g.sum({0}); }}});
}

}  // namespace

void run(Check& c) {
  const int64_t n = c.between(4, 6), features = c.between(2, 3);
  compare(c, "a batch", c.normal({n, features}, 2, 1), c.normal({features}),
          c.normal({n, features}), c.uniform(0.01, 0.1));
  compare(c, "as many samples as features", c.normal({3, 3}), c.normal({3}), c.normal({3, 3}),
          0.05);
  c.trying("a case that PyTorch computed");
  const mine::NormGradients torch = mine::batch_norm_backward(
      c.torch("batch_norm.x"), c.torch("batch_norm.weight"), c.torch("batch_norm.dy"), 1e-5);
  c.equal("dx", torch.dx, c.torch("batch_norm.dx"));
  c.equal("dweight", torch.dweight, c.torch("batch_norm.dweight"));
  c.equal("dbias", torch.dbias, c.torch("batch_norm.dbias"));
}

}  // namespace loupe::exercises
