// BatchNorm folded into the layer before it, and the layers that stand in a norm's place.
#include "catch.h"
#include "misuse.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/dynamic.h>
#include <loupe/layers/fold.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>

#include <cmath>

using namespace loupe;

namespace {

// Statistics and affine parameters as after a training.
template <class Bn> Bn trained(Rng& rng, int64_t channels, BatchNormOptions o = {}) {
  NoGrad guard;
  Bn bn(channels, o);
  bn.running_mean.copy_(randn(rng, {channels}));
  bn.running_var.copy_(uniform(rng, {channels}, 0.1, 3));
  if (bn.weight.defined()) bn.weight.copy_(randn(rng, {channels}));
  if (bn.bias.defined()) bn.bias.copy_(randn(rng, {channels}));
  train(bn, false);
  return bn;
}

double largest(const Tensor& t) { return max(abs(t)).item(); }

}  // namespace

TEST_CASE("a folded pair is the pair in eval mode, in f32 and f64") {
  NoGrad guard;
  Rng rng(1);
  for (const int64_t groups : {int64_t{1}, int64_t{2}})
    for (const bool bias : {true, false})
      for (const bool affine : {true, false})
        for (const DType dtype : {DType::f32, DType::f64}) {
          CAPTURE(groups, bias, affine, name(dtype));
          Conv2d conv(rng, 4, 6, {.kernel_size = 3, .padding = 1, .groups = groups, .bias = bias});
          auto bn = trained<BatchNorm2d>(rng, 6, {.eps = 1e-3, .affine = affine});
          to(conv, dtype);
          to(bn, dtype);
          const Tensor x = randn(rng, {3, 4, 7, 5}).to(dtype);
          const Conv2d one = fuse_conv_bn_eval(conv, bn);
          CHECK(one.weight.dtype() == dtype);
          CHECK(largest(one.forward(x) - bn(conv.forward(x))) <
                (dtype == DType::f32 ? 2e-5 : 1e-13));
          Linear linear(rng, 5, 7, {.bias = bias});
          auto flat = trained<BatchNorm1d>(rng, 7, {.affine = affine});
          to(linear, dtype);
          to(flat, dtype);
          const Tensor rows = randn(rng, {4, 5}).to(dtype);
          CHECK(largest(fuse_linear_bn_eval(linear, flat).forward(rows) -
                        flat(linear.forward(rows))) < (dtype == DType::f32 ? 2e-5 : 1e-13));
        }
}

TEST_CASE("folding a model: every pair of its Sequentials, names stay") {
  NoGrad guard;
  Rng rng(2);
  Sequential inner(Linear(rng, 32, 16), trained<BatchNorm1d>(rng, 16), ReLU());
  Sequential net(Conv2d(rng, 1, 8, {.kernel_size = 3}), trained<BatchNorm2d>(rng, 8), ReLU(),
                 Conv2d(rng, 8, 2, {.kernel_size = 3, .bias = false}), trained<BatchNorm2d>(rng, 2),
                 Flatten(), std::move(inner), Linear(rng, 16, 10));
  const Tensor x = randn(rng, {5, 1, 8, 8});
  train(net);
  CHECK_THROWS_AS(fold_batch_norm(net), ValueError);
  eval(net);
  const Tensor before = net(x);
  CHECK(fold_batch_norm(net) == 3);
  CHECK(largest(net(x) - before) < 5e-5);
  CHECK(fold_batch_norm(net) == 0);
  std::vector<std::string> names;
  for (const Named& p : named_parameters(net)) names.push_back(p.name);
  CHECK(names == std::vector<std::string>{"0.weight", "0.bias", "3.weight", "3.bias", "6.0.weight",
                                          "6.0.bias", "7.weight", "7.bias"});
  CHECK(named_buffers(net).empty());
}

TEST_CASE("misuse of folding changes nothing") {
  Rng rng(3);
  Conv2d conv(rng, 1, 4, {.kernel_size = 3});
  BatchNorm2d fresh(4);
  CHECK_THROWS_AS(fuse_conv_bn_eval(conv, fresh), ValueError);  // in training mode
  BatchNorm2d narrow = trained<BatchNorm2d>(rng, 3);
  CHECK_THROWS_AS(fuse_conv_bn_eval(conv, narrow), ShapeError);
  BatchNorm2d without(4, {.track_running_stats = false});
  train(without, false);
  CHECK_THROWS_AS(fuse_conv_bn_eval(conv, without), ValueError);
  Sequential net(Conv2d(rng, 1, 4, {.kernel_size = 3}), trained<BatchNorm2d>(rng, 4),
                 Conv2d(rng, 4, 4, {.kernel_size = 3}), trained<BatchNorm2d>(rng, 3));
  CHECK_THROWS_AS(fold_batch_norm(net), ShapeError);
  CHECK(net[1].type_name() == "BatchNorm2d");  // the first pair is whole
}

TEST_CASE("DynamicTanh and DynamicErf: formula, gradient of every parameter, gradcheck") {
  Rng rng(4);
  DynamicTanh dyt(6);
  DynamicErf derf(6, {.alpha_init = 0.8});
  CHECK(dyt.alpha.item() == 0.5);
  {
    NoGrad guard;
    derf.shift.copy_(full({1}, 0.3));
    dyt.weight.copy_(randn(rng, {6}));
  }
  const Tensor x = randn(rng, {3, 6});
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 6; ++j) {
      CHECK(dyt(x)[i][j].item() ==
            Approx(std::tanh(0.5 * x[i][j].item()) * dyt.weight[j].item()).margin(1e-6));
      CHECK(derf(x)[i][j].item() == Approx(std::erf(0.8 * x[i][j].item() + 0.3)).margin(1e-6));
    }
  const auto wide = [&rng](const Shape& shape) { return randn(rng, shape, DType::f64); };
  CHECK(gradcheck(
      [&](const Tensors& in) {
        dyt.alpha = in[1], dyt.weight = in[2], dyt.bias = in[3];
        return dyt(in[0]);
      },
      {wide({2, 6}), wide({1}), wide({6}), wide({6})}));
  CHECK(gradcheck(
      [&](const Tensors& in) {
        derf.alpha = in[1], derf.shift = in[2], derf.weight = in[3], derf.bias = in[4];
        return derf(in[0]);
      },
      {wide({2, 6}), wide({1}), wide({1}), wide({6}), wide({6})}));
}
