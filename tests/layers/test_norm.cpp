#include "catch.h"
#include "misuse.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>

#include <cmath>

using namespace loupe;

namespace {

template <class F> std::string error(const F& f) {
  try {
    f();
  } catch (const Error& e) { return misuse::without_place(e.what()); }
  return "nothing thrown";
}

std::vector<double> values(const Tensor& t) { return t.to_vector<double>(); }

}  // namespace

TEST_CASE("BatchNorm: the counter, the cumulative average, eval mode without side effects") {
  Rng rng(1);
  BatchNorm1d cumulative(2, {.momentum = std::nullopt}), usual(2);
  double mean = 0, var = 0, running = 0;
  for (int step = 1; step <= 4; ++step) {
    const Tensor x = randn(rng, {5, 2});
    cumulative(x), usual(x);
    double m = 0, v = 0;
    for (int64_t i = 0; i < 5; ++i) m += x[i][0].item() / 5;
    for (int64_t i = 0; i < 5; ++i) v += std::pow(x[i][0].item() - m, 2) / 4;  // unbiased
    mean += m, var += v, running = 0.9 * running + 0.1 * m;
    CHECK(cumulative.num_batches_tracked.item<int64_t>() == step);
    CHECK(usual.num_batches_tracked.item<int64_t>() == step);
    CHECK(cumulative.running_mean[0].item() == Approx(mean / step).epsilon(1e-5));
    CHECK(cumulative.running_var[0].item() == Approx(var / step).epsilon(1e-5));
    CHECK(usual.running_mean[0].item() == Approx(running).epsilon(1e-5));
  }
  eval(usual);
  const auto before = values(usual.running_mean);
  const Tensor x = randn(rng, {1, 2}), y = usual(x);  // a batch of one is fine here
  CHECK(values(usual.running_mean) == before);
  CHECK(usual.num_batches_tracked.item<int64_t>() == 4);
  CHECK(y[0][0].item() ==
        Approx((x[0][0].item() - before[0]) / std::sqrt(usual.running_var[0].item() + 1e-5))
            .epsilon(1e-5));
  // A frozen weight changes nothing about the mode.
  train(usual);
  requires_grad_(usual, false);
  usual(randn(rng, {3, 2}));
  CHECK(usual.num_batches_tracked.item<int64_t>() == 5);
}

TEST_CASE("BatchNorm: a call that throws leaves the buffers alone") {
  BatchNorm1d bn(2);
  CHECK_THROWS_AS(bn(ones({1, 2})), ValueError);
  CHECK_THROWS_AS(bn(ones({3, 4})), ShapeError);
  CHECK(bn.num_batches_tracked.item<int64_t>() == 0);
  CHECK(values(bn.running_mean) == std::vector<double>{0, 0});
}

TEST_CASE(
    "BatchNorm: buffers are written though the output is not used, and are neither parameters nor "
    "trained") {
  BatchNorm2d bn(3);
  Rng rng(2);
  {
    NoGrad guard;
    bn(randn(rng, {2, 3, 4, 4}));
  }
  CHECK(bn.running_mean[0].item() != 0);
  CHECK(named_parameters(bn).size() == 2);
  CHECK(named_buffers(bn).size() == 3);
  CHECK(!bn.running_mean.requires_grad());
  std::string order;
  for (const auto& [name, t] : state_dict(bn)) order += name + " ";
  CHECK(order == "weight bias running_mean running_var num_batches_tracked ");
  CHECK(state_dict(bn).back().tensor.dtype() == DType::i64);
}

TEST_CASE("conventions set eps, momentum's meaning and the running variance") {
  const BatchNorm1d torch(3), keras(3, {.convention = NormConvention::keras3});
  CHECK(torch.options.eps == 1e-5);
  CHECK(torch.options.momentum == 0.1);
  CHECK(keras.options.eps == 1e-3);
  CHECK(keras.options.momentum == 0.99);
  BatchNorm1d a(1, {.eps = 0.5, .momentum = 0.25}),
      b(1, {.eps = 0.5, .momentum = 0.75, .convention = NormConvention::keras3});
  const Tensor x = from_data<float>({1, 2, 3, 6}, Shape{4, 1});
  CHECK(values(a(x)) == values(b(x)));  // normalized alike
  CHECK(a.running_mean.item() == Approx(0.25 * 3));
  CHECK(b.running_mean.item() == Approx(0.25 * 3));
  CHECK(a.running_var.item() == Approx(0.75 + 0.25 * 14.0 / 3));
  CHECK(b.running_var.item() == Approx(0.75 + 0.25 * 14.0 / 4));
}

TEST_CASE("BatchNorm with a mask: what stands in the padding does not matter") {
  Rng rng(3);
  for (NormConvention convention : {NormConvention::torch, NormConvention::keras3}) {
    const Tensor x = randn(rng, {2, 3, 5}), mask = full({2, 5}, 1, DType::boolean);
    mask.slice(1, 3).select(0, 1).fill_(0);
    const Tensor other = x.clone();
    other.slice(2, 3).select(0, 1).fill_(1e4);
    BatchNorm1d a(3, {.convention = convention}), b(3, {.convention = convention});
    const Tensor ya = a(x, mask), yb = b(other, mask);
    CHECK(values(a.running_mean) == values(b.running_mean));
    CHECK(values(a.running_var) == values(b.running_var));
    CHECK(values(ya.slice(2, 0, 3)) == values(yb.slice(2, 0, 3)));
    BatchNorm1d c(3, {.convention = convention});
    c(other);
    CHECK(values(c.running_mean) != values(a.running_mean));
  }
}

TEST_CASE("LayerNorm over other axes is LayerNorm of the permuted input") {
  Rng rng(4);
  const Tensor x = randn(rng, {2, 3, 4, 5}, DType::f64).requires_grad_();
  LayerNorm ln({3, 5}, {.eps = 1e-3, .axes = {1, -1}}), last({3, 5}, {.eps = 1e-3});
  to(ln, DType::f64);
  {
    NoGrad guard;
    ln.weight.normal_(rng), ln.bias.normal_(rng);
  }
  to(last, DType::f64);
  copy_state(ln, last);
  const Tensor y = ln(x), z = last(x.permute({0, 2, 1, 3})).permute({0, 2, 1, 3}),
               up = randn(rng, x.shape(), DType::f64);
  CHECK(values(y) == values(z));
  CHECK(values(grad({y}, {x}, {}, {up})[0]) == values(grad({z}, {x}, {}, {up})[0]));
}

TEST_CASE("fused BatchNorm2d runs the parts when switched off, and gives the same") {
  const bool before = fusion();
  Rng rng(5);
  for (int64_t channels : {3, 16, 32})
    for (bool training : {true, false}) {
      const Tensor x = randn(rng, {4, channels, 7, 8}), up = randn(rng, {4, channels, 3, 4}),
                   up_relu = randn(rng, {4, channels, 7, 8});
      auto run = [&](bool fused) {
        set_fusion(fused);
        Rng same(6);
        BatchNorm2d bn(channels);
        {
          NoGrad guard;
          bn.weight.normal_(same), bn.bias.normal_(same);
        }
        train(bn, training);
        const Tensor in = x.clone().requires_grad_();
        const Tensor y = bn_relu_max_pool(bn, in), z = bn_relu(bn, in);
        Tensors out{y, z};
        for (const Tensor& g : grad({y}, {in, bn.weight, bn.bias}, {}, {up})) out.push_back(g);
        for (const Tensor& g : grad({z}, {in, bn.weight, bn.bias}, {}, {up_relu})) out.push_back(g);
        out.push_back(bn.running_mean), out.push_back(bn.running_var),
            out.push_back(bn.num_batches_tracked);
        return out;
      };
      const Tensors parts = run(false), fused = run(true);
      for (size_t i = 0; i < parts.size(); ++i) {
        INFO("tensor " << i << " channels " << channels << " training " << training);
        const auto a = values(parts[i]), b = values(fused[i]);
        REQUIRE(a.size() == b.size());
        // Outputs and buffers to the bit; gradients but for the order of their sums.
        const double bound = i < 2 || i >= parts.size() - 3 ? 0 : 1e-5;
        double largest = 1;
        for (double v : a) largest = std::max(largest, std::abs(v));
        for (size_t j = 0; j < a.size(); ++j) REQUIRE(std::abs(a[j] - b[j]) <= bound * largest);
      }
    }
  // A hook sees what BatchNorm2d itself gives: then the parts run.
  set_fusion(true);
  BatchNorm2d bn(3);
  double smallest = 0;
  bn.add_forward_hook([&](Module&, const Tensor&, const Tensor& y) { smallest = min(y).item(); });
  bn_relu(bn, randn(rng, {2, 3, 4, 4}));
  CHECK(smallest < 0);
  set_fusion(before);
}

TEST_CASE(
    "Sequential fuses BatchNorm2d with what follows, under the same names, unless somebody "
    "watches") {
  const bool before = fusion();
  set_fusion(true);
  Rng rng(7);
  const Tensor x = randn(rng, {2, 4, 6, 6});
  const auto last_op = [&](Sequential& net) { return std::string(net(x).grad_meta()->fn->name()); };
  Sequential pooled(BatchNorm2d(4), ReLU(), MaxPool2d({.kernel_size = 2}));
  CHECK(last_op(pooled) == "batch_norm_relu_max_pool");
  CHECK(named_parameters(pooled)[1].name == "0.bias");
  CHECK(pooled(x).grad_meta()->fn->module_path() == "0");
  Sequential overlapping(BatchNorm2d(4), ReLU(), MaxPool2d({.kernel_size = 2, .stride = 1}));
  CHECK(last_op(overlapping) == "max_pool2d");
  Sequential active(BatchNorm2d(4), ReLU());
  CHECK(last_op(active) == "batch_norm_relu");
  Sequential other(BatchNorm2d(4), LeakyReLU());
  CHECK(last_op(other) == "leaky_relu");
  int seen = 0;
  pooled[1].add_forward_hook([&](Module&, const Tensor&, const Tensor&) { ++seen; });
  CHECK(last_op(pooled) == "max_pool2d");
  CHECK(seen == 1);
  set_fusion(false);
  CHECK(last_op(active) == "relu");
  set_fusion(before);
}

TEST_CASE("normalization layers: misuse says what is wrong") {
  CHECK(error([] { BatchNorm1d(0); }) == "BatchNorm1d: num_features must be at least 1, got 0");
  CHECK(error([] { BatchNorm2d(3, {.momentum = 1.5}); }) ==
        "BatchNorm2d: momentum must lie in [0, 1], got 1.5");
  CHECK(error([] {
          BatchNorm2d(3, {.momentum = std::nullopt, .convention = NormConvention::keras3});
        }) == "BatchNorm2d: the cumulative average (momentum = nullopt) is torch's, not keras3's");
  CHECK(error([] {
          BatchNorm1d(3)(ones({2, 3, 4, 5}));
        }) == "BatchNorm1d: expected (N, C) or (N, C, L), got (2, 3, 4, 5)");
  CHECK(error([] {
          BatchNorm2d(3)(ones({2, 3}));
        }) == "BatchNorm2d: expected (N, C, H, W), got (2, 3)");
  CHECK(error([] {
          BatchNorm1d(3)(ones({2, 4}));
        }).find("batch_norm: weight must have shape (4,) for an input of shape (2, 4)") == 0);
  CHECK(error([] { GroupNorm(2, 3); }) == "GroupNorm: 3 channels cannot be split into 2 groups");
  CHECK(error([] {
          GroupNorm(1, 3)(ones({2, 4}));
        }) == "GroupNorm: expected (N, 3, ...), got (2, 4)");
  CHECK(error([] {
          InstanceNorm2d(3)(ones({2, 3}));
        }) == "InstanceNorm2d: expected (N, C, H, W) or (C, H, W), got (2, 3)");
  CHECK(error([] { LayerNorm({3, 0}); }) == "LayerNorm: sizes must be at least 1, got (3, 0)");
  CHECK(error([] {
          LayerNorm(3, {.axes = {1, 2}});
        }) == "LayerNorm: 2 axes for a normalized_shape of (3,)");
  CHECK(error([] {
          LayerNorm(3)(ones({3, 4}));
        }) == "layer_norm: the input's last dimensions must be (3,), got an input of shape (3, 4)");
  CHECK(error([] { RMSNorm(3)(ones({3, 4})); }).find("rms_norm: the input's last dimensions") == 0);
}
