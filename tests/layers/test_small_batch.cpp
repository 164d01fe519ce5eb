// Ghost batch norm, batch renormalization, weight standardization, and what lets residual branches
// start small.
#include "catch.h"

#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/init.h>
#include <loupe/layers/residual.h>
#include <loupe/layers/small_batch.h>
#include <loupe/layers/state.h>

#include <cmath>

using namespace loupe;

namespace {

double largest(const Tensor& t) { return max(abs(t)).item(); }

}  // namespace

TEST_CASE("ghost batch norm is BatchNorm of each piece, one after the other") {
  Rng rng(1);
  GhostBatchNorm2d ghost(3, {.virtual_batch_size = 4});
  BatchNorm2d plain(3);
  no_grad([&] { ghost.weight.copy_(randn(rng, {3})); });
  copy_state(ghost, plain);
  const Tensor x = randn(rng, {10, 3, 2, 2});  // pieces of 4, 4 and 2
  const Tensor pieces =
      cat(Tensors{plain(x.slice(0, 0, 4)), plain(x.slice(0, 4, 8)), plain(x.slice(0, 8, 10))});
  CHECK(largest(ghost(x) - pieces) == 0);
  CHECK(largest(ghost.running_mean - plain.running_mean) == 0);
  CHECK(largest(ghost.running_var - plain.running_var) == 0);
  CHECK(ghost.num_batches_tracked.item<int64_t>() == 3);
  eval(ghost), eval(plain);
  CHECK(largest(ghost(x) - plain(x)) == 0);
  GhostBatchNorm1d whole(3, {.virtual_batch_size = 10});
  BatchNorm1d same(3);
  const Tensor rows = randn(rng, {10, 3});
  CHECK(largest(whole(rows) - same(rows)) == 0);
}

TEST_CASE("batch renormalization: formula, running averages, limits, eval mode") {
  Rng rng(2);
  BatchRenorm1d renorm(2, {.eps = 1e-3, .momentum = 0.1, .r_max = 1.5, .d_max = 0.4});
  no_grad([&] {
    renorm.weight.copy_(randn(rng, {2}));
    renorm.bias.copy_(randn(rng, {2}));
    renorm.running_mean.copy_(from_data(std::vector<float>{0.1F, -3}));
    renorm.running_std.copy_(from_data(std::vector<float>{1.2F, 0.2F}));
  });
  const Tensor x = randn(rng, {6, 2}), y = renorm(x);
  for (int64_t c = 0; c < 2; ++c) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < 6; ++i) mean += x[i][c].item() / 6;
    for (int64_t i = 0; i < 6; ++i) variance += std::pow(x[i][c].item() - mean, 2) / 6;
    const double std = std::sqrt(variance + 1e-3);
    const double old_mean = c == 0 ? 0.1 : -3, old_std = c == 0 ? 1.2 : 0.2;
    const double r = std::clamp(std / old_std, 1 / 1.5, 1.5);
    const double d = std::clamp((mean - old_mean) / old_std, -0.4, 0.4);
    if (c == 1) CHECK((r == 1.5 && d == 0.4));  // both limits are met
    for (int64_t i = 0; i < 6; ++i)
      CHECK(y[i][c].item() ==
            Approx(((x[i][c].item() - mean) / std * r + d) * renorm.weight[c].item() +
                   renorm.bias[c].item())
                .margin(1e-5));
    CHECK(renorm.running_mean[c].item() == Approx(0.9 * old_mean + 0.1 * mean).margin(1e-6));
    CHECK(renorm.running_std[c].item() == Approx(0.9 * old_std + 0.1 * std).margin(1e-6));
  }
  eval(renorm);
  const Tensor expected =
      (x - renorm.running_mean) / renorm.running_std * renorm.weight + renorm.bias;
  CHECK(largest(renorm(x) - expected) <= 1e-5 * largest(expected));
}

TEST_CASE(
    "within its limits batch renormalization trains on what eval mode gives; without any it is "
    "BatchNorm") {
  Rng rng(3);
  const Tensor x = randn(rng, {8, 3, 2, 2});
  BatchRenorm2d wide(3, {.momentum = 0, .r_max = 100, .d_max = 100});
  no_grad([&] { wide.running_mean.copy_(randn(rng, {3})); });
  const Tensor training = wide(x);
  eval(wide);
  CHECK(largest(training - wide(x)) <= 1e-5);
  BatchRenorm2d none(3, {.eps = 1e-5, .r_max = 1, .d_max = 0});
  BatchNorm2d plain(3);
  CHECK(largest(none(x) - plain(x)) <= 1e-6);
}

TEST_CASE("batch renormalization: gradcheck, r and d being constants") {
  Rng rng(4);
  const auto wide = [&rng](const Shape& shape) { return randn(rng, shape, DType::f64); };
  const Tensor mean = wide({3}), std = uniform(rng, {3}, 0.5, 2, DType::f64);
  BatchRenorm1d renorm(3, {.momentum = 0, .r_max = 1.3, .d_max = 0.2});
  to(renorm, DType::f64);
  renorm.running_mean = mean, renorm.running_std = std;
  const Tensor x = wide({5, 3}), w = wide({3}), b = wide({3});
  CHECK(gradcheck(
      [&](const Tensors& in) {
        renorm.weight = in[0], renorm.bias = in[1];
        return renorm(x);
      },
      {w, b}));
  // By x: the gradient of BatchNorm with the weight times r.
  Tensor a = x.clone(), c = x.clone();
  a.requires_grad_(), c.requires_grad_();
  const Tensor up = wide({5, 3});
  (renorm(a) * up).sum().backward();
  const Tensor r = clamp(sqrt(var(x, {0}, 0) + 1e-3) / std, 1 / 1.3, 1.3);
  (batch_norm(c, w * r, zeros({3}, DType::f64), {.training = true, .eps = 1e-3}) * up)
      .sum()
      .backward();
  CHECK(largest(a.grad() - c.grad()) <= 1e-12);
}

TEST_CASE("weight standardization: formula, gradcheck, and a scale that does not matter") {
  Rng rng(5);
  WeightStandardizedConv2d conv(rng, 2, 3, {.conv = {.kernel_size = 3, .padding = 1}, .eps = 1e-4});
  const Tensor x = randn(rng, {2, 2, 5, 5});
  const std::vector<float> w = conv.weight.detach().to_vector<float>();
  std::vector<float> standard;
  for (size_t out = 0; out < 3; ++out) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < 18; ++i) mean += w[18 * out + i] / 18.0;
    for (size_t i = 0; i < 18; ++i) variance += std::pow(w[18 * out + i] - mean, 2) / 18;
    for (size_t i = 0; i < 18; ++i)
      standard.push_back(static_cast<float>((w[18 * out + i] - mean) / std::sqrt(variance + 1e-4)));
  }
  const Tensor expected =
      conv2d(x, from_data(standard).reshape({3, 2, 3, 3}), conv.bias, {.padding = 1});
  CHECK(largest(conv(x) - expected) <= 1e-4);
  WeightStandardizedConv2d exact(rng, 2, 3, {.conv = {.kernel_size = 3, .bias = false}, .eps = 0});
  const Tensor before = exact(x);
  no_grad([&] { exact.weight.mul_(7).add_(scalar(2)); });
  CHECK(largest(exact(x) - before) <= 1e-4 * largest(before));
  const auto wide = [&rng](const Shape& shape) { return randn(rng, shape, DType::f64); };
  CHECK(gradcheck(
      [&](const Tensors& in) {
        conv.weight = in[1], conv.bias = in[2];
        return conv(in[0]);
      },
      {wide({1, 2, 3, 3}), wide({3, 2, 3, 3}), wide({3})}));
}

TEST_CASE("SkipInit and LayerScale: formula, start, gradcheck") {
  Rng rng(6);
  const Tensor x = randn(rng, {3, 4});
  SkipInit skip;
  LayerScale scale(4, {.init_values = 0.1});
  CHECK(largest(skip(x)) == 0);
  CHECK(largest(SkipInit(2)(x) - 2 * x) == 0);
  CHECK(largest(scale(x) - 0.1 * x) <= 1e-7);
  CHECK(LayerScale(4).gamma[0].item() == Approx(1e-5));
  const auto wide = [&rng](const Shape& shape) { return randn(rng, shape, DType::f64); };
  CHECK(gradcheck(
      [&](const Tensors& in) {
        skip.gain = in[1], scale.gamma = in[2];
        return skip(in[0]) + scale(in[0]);
      },
      {wide({3, 4}), wide({1}), wide({4})}));
}

TEST_CASE("Fixup: all but the last weight of a branch shrink, the last is 0") {
  const Tensor a = ones({2, 2}), b = ones({2, 2}), c = ones({2, 2});
  init::fixup_({a, b, c}, 16);
  CHECK(a[0][0].item() == Approx(0.5));  // 16^(-1/4)
  CHECK(b[1][1].item() == Approx(0.5));
  CHECK(largest(c) == 0);
  init::fixup_({a, c}, 4);
  CHECK(a[0][0].item() == Approx(0.25));  // 4^(-1/2)
}
