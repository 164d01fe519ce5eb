#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

Tensor mean_of(const Tensor& t) { return t.mean({-1}, true); }

void forward(Check& c, const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  c.trying(fmt::format("forward, x {}, eps {:.3f}", to_string(x.shape()), eps));
  const Tensor centred = x - mean_of(x), variance = mean_of(square(centred));
  const auto scaled = [&](const Tensor& t) { return t * weight + bias; };
  c.equal(
      "y", mine::layer_norm(x, weight, bias, eps), scaled(centred * rsqrt(variance + eps)),
      {{"you normalized each feature over the samples: that is BatchNorm; LayerNorm's statistics "
        "are over the last dimension",
        [&] {
          const Tensor m = x - x.mean({0}, true);
          return scaled(m * rsqrt(square(m).mean({0}, true) + eps));
        }},
       {"that is the Annotated Transformer's LayerNorm: torch.std divides by n - 1, LayerNorm by "
        "n, and eps belongs under the root",
        [&] { return scaled(centred / (loupe::std(x, {-1}, 1, true) + eps)); }},
       {"you divided by n - 1: LayerNorm divides by n",
        [&] { return scaled(centred * rsqrt(var(x, {-1}, 1, true) + eps)); }},
       {"eps stands outside of the root: it is sqrt(var + eps)",
        [&] { return scaled(centred / (sqrt(variance) + eps)); }},
       {"the mean is not subtracted: that is RMSNorm",
        [&] { return scaled(x * rsqrt(mean_of(square(x)) + eps)); }},
       {"weight and bias are missing", [&] { return centred * rsqrt(variance + eps); }}});
}

void compare(Check& c, const std::string& name, const Tensor& x, const Tensor& weight,
             const Tensor& dy, double eps) {
  c.trying(fmt::format("{}, x {}, eps {:.3f}", name, to_string(x.shape()), eps));
  const mine::NormGradients yours = mine::layer_norm_backward(x, weight, dy, eps);
  const int64_t features = x.size(-1);
  const Tensor centred = x - mean_of(x), r = rsqrt(mean_of(square(centred)) + eps);
  const Tensor xhat = centred * r, g = weight * dy, none;
  const Tensor right = differences(
      [&](const Tensor& at) { return layer_norm(at, {features}, weight, none, eps); }, x, dy);
  c.equal(
      "dx", yours.dx, right,
      {{"the statistics are taken for constants: x moves mean and variance of its row, too",
        [&] { return r * g; }},
       {"the way through the variance is missing: - xhat <g xhat>",
        [&] { return r * (g - mean_of(g)); }},
       {"the way through the mean is missing: - <g> (that is RMSNorm's gradient)",
        [&] { return r * (g - xhat * mean_of(g * xhat)); }},
       {"weight stands outside of the bracket: it differs from feature to feature, so the means "
        "must be taken of weight times dy",
        [&] { return weight * r * (dy - mean_of(dy) - xhat * mean_of(dy * xhat)); }},
       {"weight is missing: g is weight times dy",
        [&] { return r * (dy - mean_of(dy) - xhat * mean_of(dy * xhat)); }},
       {"the means run over dimension 0: that is BatchNorm; LayerNorm's run over the last one",
        [&] { return r * (g - g.mean({0}) - xhat * (g * xhat).mean({0})); }},
       {"the variance divides by n - 1: LayerNorm divides by n",
        [&] {
          const Tensor s = rsqrt(var(x, {-1}, 1, true) + eps), h = centred * s;
          return s * (g - mean_of(g) - h * mean_of(g * h));
        }}},
      1e-6);
  const auto summed = [&](const Tensor& t) { return t.reshape({-1, features}).sum({0}); };
  c.equal("dweight", yours.dweight, summed(dy * xhat),
          {{"dweight sums over dimension 0 only: all dimensions but the last used the weight",
            [&] { return (dy * xhat).sum({0}); }},
           {"dweight sums over the features: it sums over everything else, and keeps the features",
            [&] { return (dy * xhat).sum({-1}); }},
           {"dweight is the sum of dy x: it is the sum of dy xhat", [&] { return summed(dy * x); }},
           {"dweight is a mean: every token used the weight, so the gradients add up", [&] {
              return summed(dy * xhat) *
                     (static_cast<double>(features) / static_cast<double>(x.numel()));
            }}});
  c.equal(
      "dbias", yours.dbias, summed(dy),
      {{"dbias sums over dimension 0 only: all dimensions but the last used the bias",
        [&] { return dy.sum({0}); }},
       {"dbias has weight in it: the bias is added after the weight", [&] { return summed(g); }}});
}

}  // namespace

void run(Check& c) {
  const int64_t n = c.between(4, 5), features = c.between(6, 7);
  forward(c, c.normal({n, features}, 2, 1), c.normal({features}), c.normal({features}), 0.05);
  forward(c, c.normal({2, 3, features}), c.normal({features}), c.normal({features}), 0.05);
  compare(c, "two dimensions", c.normal({n, features}, 2, 1), c.normal({features}),
          c.normal({n, features}), c.uniform(0.01, 0.1));
  compare(c, "three dimensions", c.normal({2, 3, features}), c.normal({features}),
          c.normal({2, 3, features}), c.uniform(0.01, 0.1));
  c.trying("a case that PyTorch computed");
  const mine::NormGradients torch = mine::layer_norm_backward(
      c.torch("layer_norm.x"), c.torch("layer_norm.weight"), c.torch("layer_norm.dy"), 1e-5);
  c.equal("dx", torch.dx, c.torch("layer_norm.dx"));
  c.equal("dweight", torch.dweight, c.torch("layer_norm.dweight"));
  c.equal("dbias", torch.dbias, c.torch("layer_norm.dbias"));
}

}  // namespace loupe::exercises
