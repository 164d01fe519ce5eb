#include "catch.h"

#include <loupe/autograd/ops.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/optim/schedule.h>

#include <cmath>
#include <functional>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

Sequential net(uint64_t seed) {
  Rng rng(seed);
  return Sequential(Linear(rng, 3, 8), Linear(rng, 8, 1));
}

void train_step(Sequential& m, Optimizer& o, int i) {
  Rng rng(static_cast<uint64_t>(i) + 100);
  const Tensor x = randn(rng, {16, 3}), d = m(x) - x.sum({1}, true);
  o.zero_grad();
  (d * d).mean().backward();
  o.step();
}

using Maker = std::function<std::unique_ptr<Optimizer>(Module&)>;
const std::pair<const char*, Maker> kMakers[] = {
    {"sgd",
     [](Module& m) {
       return std::make_unique<SGD>(m, SGD::Options{.lr = 0.05, .momentum = 0.9, .nesterov = true});
     }},
    {"adam",
     [](Module& m) {
       return std::make_unique<Adam>(m, Adam::Options{.lr = 0.02, .amsgrad = true});
     }},
    {"adamw", [](Module& m) { return std::make_unique<AdamW>(m, AdamW::Options{.lr = 0.02}); }},
    {"rmsprop",
     [](Module& m) {
       return std::make_unique<RMSprop>(
           m, RMSprop::Options{.lr = 0.01, .momentum = 0.5, .centered = true});
     }},
};

}  // namespace

TEST_CASE("every optimizer learns, and a restored state continues with the same bits") {
  for (const auto& [name, make] : kMakers) {
    INFO(name);
    Sequential a = net(1);
    auto oa = make(a);
    for (int i = 0; i < 20; ++i) train_step(a, *oa, i);
    Sequential b = net(2);
    copy_state(a, b);
    auto ob = make(b);
    ob->load_state_dict(oa->state_dict());
    REQUIRE(ob->steps() == 20);
    for (int i = 20; i < 200; ++i) {
      train_step(a, *oa, i);
      train_step(b, *ob, i);
    }
    const StateDict sa = state_dict(a), sb = state_dict(b);
    for (size_t i = 0; i < sa.size(); ++i) REQUIRE(equal(sa[i].tensor, sb[i].tensor));
    Rng rng(7);
    const Tensor x = randn(rng, {100, 3});
    REQUIRE(no_grad([&] { return (square(a(x) - x.sum({1}, true))).mean().item(); }) < 0.1);
  }
}

TEST_CASE("groups: norms and biases without decay, unset numbers from the optimizer") {
  Sequential m = net(1);
  AdamW o(no_decay_on_norms_and_biases(m), {.lr = 0.5, .weight_decay = 0.25});
  REQUIRE(o.groups().size() == 2);
  REQUIRE(o.groups()[0].params.size() == 2);
  REQUIRE(o.groups()[0].weight_decay == 0.25);
  REQUIRE(o.groups()[1].weight_decay == 0);
  REQUIRE(o.groups()[1].lr == 0.5);
  // A zero gradient leaves a bias where it is and shrinks a weight by 1 - lr decay.
  for (const Tensor& p : parameters(m)) p.set_grad(zeros_like(p));
  const double w = state_dict(m)[0].tensor[0][0].item(), b = state_dict(m)[1].tensor[0].item();
  o.step();
  REQUIRE(std::abs(state_dict(m)[0].tensor[0][0].item() - w * 0.875) < 1e-7);
  REQUIRE(state_dict(m)[1].tensor[0].item() == b);
}

TEST_CASE("clipping by norm and by value") {
  const Tensor a = zeros({3}).requires_grad_(), b = zeros({1}, DType::f64).requires_grad_(),
               none = zeros({2}).requires_grad_();
  a.set_grad(tensor({3, 0, 0}));
  b.set_grad(tensor({4}, {}, DType::f64));
  REQUIRE(clip_grad_norm_({a, b, none}, 10) == 5);
  REQUIRE(a.grad()[0].item() == 3);
  REQUIRE(clip_grad_norm_({a, b, none}, 1) == 5);
  REQUIRE(std::abs(a.grad()[0].item() - 0.6) < 1e-6);
  REQUIRE(std::abs(grad_norm({a, b}) - 1) < 1e-6);
  clip_grad_value_({a, b}, 0.5);
  REQUIRE(a.grad()[0].item() == 0.5);
  REQUIRE(b.grad()[0].item() == 0.5);
  a.set_grad(tensor({INFINITY, 0, 0}));
  REQUIRE_THROWS_AS(clip_grad_norm_({a, b}, 1, {.error_if_nonfinite = true}), NumericError);
}

TEST_CASE("misuse of optimizers and schedules is a sentence") {
  Sequential m = net(1), other = net(2);
  REQUIRE_THROWS_AS(SGD(m, {.lr = -1}), ValueError);
  REQUIRE_THROWS_AS(SGD(m, {.lr = 1, .nesterov = true}), ValueError);
  REQUIRE_THROWS_AS(Adam(m, {.beta1 = 1}), ValueError);
  REQUIRE_THROWS_AS(Adam(std::vector<ParamGroup>{}, {}), ValueError);
  REQUIRE_THROWS_WITH(
      Adam(std::vector<ParamGroup>{{named_parameters(m)}, {named_parameters(other)}}, {}),
      Contains("stands twice"));
  Adam o(m, {});
  train_step(m, o, 0);
  StateDict s = o.state_dict();
  s.push_back({"exp_avg.nothing", zeros({1})});
  REQUIRE_THROWS_WITH(o.load_state_dict(s), Contains("exp_avg.nothing"));
  s.pop_back();
  s.pop_back();
  REQUIRE_THROWS_WITH(o.load_state_dict(s), Contains("lacks"));
  REQUIRE_THROWS_AS(StepLR(o, 0), ValueError);
  OneCycleLR once(o, {.max_lr = 1, .total_steps = 2});
  once.step();
  once.step();
  REQUIRE_THROWS_AS(once.step(), ValueError);
  ReduceLROnPlateau plateau(o, {});
  REQUIRE_THROWS_AS(plateau.step(), ValueError);
}

TEST_CASE("a schedule's state continues it") {
  Sequential m = net(1);
  const auto make = [](Optimizer& o) {
    std::vector<std::unique_ptr<Schedule>> parts;
    parts.push_back(std::make_unique<LinearLR>(o, 0.1, 1, 4));
    parts.push_back(std::make_unique<CosineAnnealingLR>(o, 10));
    return std::make_unique<SequentialLR>(o, std::move(parts), std::vector<int64_t>{4});
  };
  SGD a(m, {.lr = 1}), b(m, {.lr = 1});
  auto sa = make(a), sb = make(b);
  for (int i = 0; i < 6; ++i) sa->step();
  sb->set_state(sa->state());
  for (int i = 0; i < 8; ++i) {
    REQUIRE(sa->lr() == sb->lr());
    sa->step();
    sb->step();
  }
  WarmupCosine w(a, 2, 4, 0.1);
  std::vector<double> lrs;
  for (int i = 0; i < 5; ++i, w.step()) lrs.push_back(w.lr());
  REQUIRE(lrs[0] == 0.5);
  REQUIRE(lrs[1] == 1);
  REQUIRE(lrs[2] == 1);
  REQUIRE(std::abs(lrs[3] - 0.55) < 1e-12);
  REQUIRE(std::abs(lrs[4] - 0.1) < 1e-12);
}

TEST_CASE("OneCycleLR moves the momentum the other way, as PyTorch's") {
  Sequential m = net(1);
  SGD sgd(m, {.lr = 1, .momentum = 0.5});
  Adam adam(m, {});
  const OneCycleLR::Options options{
      .max_lr = 0.5, .total_steps = 10, .pct_start = 0.4, .three_phase = true};
  OneCycleLR a(sgd, options), b(adam, options);
  for (const double want : {0.95, 0.925, 0.875, 0.85, 0.875, 0.925, 0.95, 0.95, 0.95, 0.95}) {
    REQUIRE(std::abs(sgd.options.momentum - want) < 1e-12);
    REQUIRE(std::abs(adam.options.beta1 - want) < 1e-12);
    a.step();
    b.step();
  }
  RMSprop still(m, {.momentum = 0.3});
  OneCycleLR c(still, {.max_lr = 0.5, .total_steps = 10, .cycle_momentum = false});
  REQUIRE(still.options.momentum == 0.3);
}

TEST_CASE("a plateau cannot be part of another schedule") {
  Sequential m = net(1);
  SGD o(m, {});
  std::vector<std::unique_ptr<Schedule>> parts;
  parts.push_back(std::make_unique<ReduceLROnPlateau>(o, ReduceLROnPlateau::Options{}));
  REQUIRE_THROWS_AS(ChainedScheduler(o, std::move(parts)), ValueError);
}
