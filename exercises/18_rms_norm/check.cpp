#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

Tensor mean_of(const Tensor& t) { return t.mean({-1}, true); }

void forward(Check& c, const Tensor& x, const Tensor& weight, double eps) {
  c.trying(fmt::format("forward, x {}, eps {:.3f}", to_string(x.shape()), eps));
  const Tensor squares = mean_of(square(x)), centred = x - mean_of(x);
  c.equal(
      "y", mine::rms_norm(x, weight, eps), weight * x * rsqrt(squares + eps),
      {{"the mean is subtracted: that is LayerNorm; RMSNorm has no centre",
        [&] { return weight * centred * rsqrt(mean_of(square(centred)) + eps); }},
       {"the variance is taken for the mean square: RMSNorm has no centre",
        [&] { return weight * x * rsqrt(mean_of(square(centred)) + eps); }},
       {"eps stands outside of the root: it is sqrt(mean(x^2) + eps)",
        [&] { return weight * x / (sqrt(squares) + eps); }},
       {"eps is missing: a row of zeros gives NaN", [&] { return weight * x * rsqrt(squares); }},
       {"you took the sum of squares: it is their mean",
        [&] { return weight * x * rsqrt(square(x).sum({-1}, true) + eps); }},
       {"the root is missing", [&] { return weight * x / (squares + eps); }},
       {"you multiplied by 1 + weight: Gemma does, PyTorch multiplies by weight",
        [&] { return (weight + 1) * x * rsqrt(squares + eps); }},
       {"the weight is missing", [&] { return x * rsqrt(squares + eps); }},
       {"the mean runs over dimension 0: it runs over the last one",
        [&] { return weight * x * rsqrt(square(x).mean({0}, true) + eps); }}});
}

void backward(Check& c, const Tensor& x, const Tensor& weight, const Tensor& dy, double eps) {
  c.trying(fmt::format("backward, x {}, eps {:.3f}", to_string(x.shape()), eps));
  const mine::RmsGradients yours = mine::rms_norm_backward(x, weight, dy, eps);
  const Tensor right = differences(
      [&](const Tensor& at) { return weight * at * rsqrt(mean_of(square(at)) + eps); }, x, dy);
  const Tensor r = rsqrt(mean_of(square(x)) + eps), xhat = x * r, g = weight * dy;
  c.equal("dx", yours.dx, right,
          {{"- <g> is there: that is the way through LayerNorm's mean; RMSNorm has none",
            [&] { return r * (g - mean_of(g) - xhat * mean_of(g * xhat)); }},
           {"r is taken for a constant: x moves the mean square, too", [&] { return r * g; }},
           {"weight stands outside of the bracket: it differs from feature to feature",
            [&] { return weight * r * (dy - xhat * mean_of(dy * xhat)); }},
           {"you wrote x for xhat in the second term: it is xhat <g xhat>",
            [&] { return r * (g - x * mean_of(g * x)); }}},
          1e-6);
  const auto summed = [&](const Tensor& t) { return t.reshape({-1, x.size(-1)}).sum({0}); };
  c.equal(
      "dweight", yours.dweight, summed(dy * xhat),
      {{"dweight sums over dimension 0 only: all dimensions but the last used the weight",
        [&] { return (dy * xhat).sum({0}); }},
       {"dweight is the sum of dy x: it is the sum of dy xhat", [&] { return summed(dy * x); }}});
}

}  // namespace

void run(Check& c) {
  const int64_t features = c.between(5, 7);
  for (const Shape& shape : {Shape{4, features}, Shape{2, 3, features}}) {
    const Tensor x = c.normal(shape, 2, 0.5), weight = c.normal({features});
    const double eps = c.uniform(0.05, 0.1);
    forward(c, x, weight, eps);
    backward(c, x, weight, c.normal(shape), eps);
  }
  c.trying("a case that PyTorch computed");
  const Tensor x = c.torch("rms_norm.x"), weight = c.torch("rms_norm.weight");
  c.equal("y", mine::rms_norm(x, weight, 1e-6), c.torch("rms_norm.y"));
  const mine::RmsGradients torch = mine::rms_norm_backward(x, weight, c.torch("rms_norm.dy"), 1e-6);
  c.equal("dx", torch.dx, c.torch("rms_norm.dx"));
  c.equal("dweight", torch.dweight, c.torch("rms_norm.dweight"));
}

}  // namespace loupe::exercises
