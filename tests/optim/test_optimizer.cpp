#include "catch.h"

#include <loupe/autograd/ops.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/optim/schedule.h>

#include <algorithm>
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
    {"adagrad",
     [](Module& m) { return std::make_unique<Adagrad>(m, Adagrad::Options{.lr = 0.1}); }},
    {"lion", [](Module& m) { return std::make_unique<Lion>(m, Lion::Options{.lr = 0.005}); }},
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

TEST_CASE("optimizers are made without options, with PyTorch's defaults") {
  Sequential m = net(1);
  REQUIRE(SGD(m).lr() == 1e-3);
  REQUIRE(Adam(m).lr() == 1e-3);
  REQUIRE(AdamW(m).options.weight_decay == 1e-2);
  REQUIRE(AdamW(m).groups()[0].weight_decay == 1e-2);
  REQUIRE(RMSprop(m).lr() == 1e-2);
  REQUIRE(Adagrad(m).lr() == 1e-2);
  REQUIRE(Lion(m).lr() == 1e-4);
}

TEST_CASE("Lion moves every element by its rate, against the sign") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const double rate = 0.25, decay = 0.5, b1 = 0.9, b2 = 0.99;
    std::vector<double> p{1, -2, 3, 0.5}, m(4, 0);
    const Tensor t = tensor({1, -2, 3, 0.5}, {}, dtype).requires_grad_();
    Lion lion({{{{"t", t}}}}, {.lr = rate, .beta1 = b1, .beta2 = b2, .weight_decay = decay});
    Rng rng(5);
    for (int step = 0; step < 20; ++step) {
      const Tensor g = randn(rng, {4}, dtype);
      t.set_grad(g);
      lion.step();
      for (size_t i = 0; i < 4; ++i) {
        const double gi = g[static_cast<int64_t>(i)].item();
        const double update = b1 * m[i] + (1 - b1) * gi;
        p[i] = p[i] * (1 - rate * decay) - rate * (update > 0 ? 1 : -1);
        m[i] = b2 * m[i] + (1 - b2) * gi;
        REQUIRE(std::abs(t[static_cast<int64_t>(i)].item() - p[i]) <
                (dtype == DType::f64 ? 1e-13 : 1e-5));
      }
    }
  }
}

TEST_CASE("orthogonalize: the singular values come near 1, the singular vectors stay") {
  Rng rng(3);
  for (const Shape& shape : {Shape{40, 8}, Shape{8, 40}, Shape{1, 5}}) {
    const Tensor g = randn(rng, shape, DType::f64);
    const Tensor x = orthogonalize(g);
    const Tensor s = shape[0] < shape[1] ? matmul(x, x.t()) : matmul(x.t(), x);
    const std::vector<double> v = s.to_vector<double>();
    const auto n = static_cast<size_t>(s.size(0));
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) REQUIRE(std::abs(v[i * n + j] - (i == j ? 1 : 0)) < 0.6);
    REQUIRE(sum(x * g).item() > 0);
  }
}

TEST_CASE("a tensor counts once: an optimizer refuses it twice, clipping scales it once") {
  const Tensor p = ones({4}).requires_grad_(), other = ones({4}).requires_grad_();
  REQUIRE_THROWS_WITH(SGD({{{{"a", p}, {"b", p}}}}), Contains("a and b share memory"));
  REQUIRE_THROWS_WITH(SGD({{{{"a", p}}}, {{{"b", p}}}}), Contains("share memory"));
  // A view of the same memory, and a part of it.
  const Tensor view = p.detach().requires_grad_(), part = p.detach().slice(0, 2).requires_grad_();
  REQUIRE_THROWS_WITH(Adam({{{{"a", p}, {"b", view}}}}), Contains("share memory"));
  REQUIRE_THROWS_WITH(Adam({{{{"a", part}, {"b", other}, {"c", p}}}}), Contains("share memory"));
  // Two halves of one block are two parameters.
  const Tensor block = ones({8});
  const Tensor low = block.slice(0, 0, 4).detach().requires_grad_();
  const Tensor high = block.slice(0, 4).detach().requires_grad_();
  REQUIRE_NOTHROW(SGD({{{{"low", low}, {"high", high}}}}));

  p.set_grad(full({4}, 2));
  REQUIRE(clip_grad_norm_({p, p}, 1) == 4);
  REQUIRE(std::abs(grad_norm({p}) - 1) < 1e-6);
  // One gradient tensor given to two parameters: one memory, scaled once.
  const Tensor g = full({4}, 2);
  p.set_grad(g);
  other.set_grad(g);
  clip_grad_norm_({p, other}, 2);
  REQUIRE(std::abs(p.grad()[0].item() - 1) < 1e-6);
}

TEST_CASE("states that are switched on late can be saved, off late are left alone") {
  const auto gradient = [](const Tensor& t, int i) {
    Rng rng(static_cast<uint64_t>(i) + 50);
    t.set_grad(randn(rng, t.shape(), DType::f64));
  };
  const Tensor a = ones({5}, DType::f64).requires_grad_();
  Adam adam({{{{"a", a}}}}, {.lr = 0.1});
  gradient(a, 0);
  adam.step();
  adam.options.amsgrad = true;
  REQUIRE(adam.state_dict().size() == 4);  // saved before amsgrad's tensor exists
  Adam again({{{{"a", a}}}}, {.lr = 0.1, .amsgrad = true});
  REQUIRE_NOTHROW(again.load_state_dict(adam.state_dict()));
  gradient(a, 1);
  adam.step();
  REQUIRE(adam.state_dict().size() == 5);
  // Off again: the step is plain Adam's.
  adam.options.amsgrad = false;
  const Tensor b = raw::clone(a.detach()).requires_grad_();
  Adam plain({{{{"a", b}}}}, {.lr = 0.1});
  StateDict state = adam.state_dict();
  std::erase_if(state, [](const Named& n) { return n.name.rfind("max", 0) == 0; });
  plain.load_state_dict(state);
  for (const Tensor& t : {a, b}) gradient(t, 2);
  adam.step();
  plain.step();
  REQUIRE(equal(a, b));
}

TEST_CASE("schedules with empty phases stay finite and never exceed their maximum") {
  const auto optimizer = [] {
    return SGD({{{{"p", ones({1}).requires_grad_()}}}}, {.lr = 0.5, .momentum = 0.5});
  };
  for (const int64_t total : {1, 2, 3, 4, 5, 10})
    for (const double share : {0.0, 0.1, 0.2, 0.25, 1.0 / 3, 0.5, 0.9, 1.0})
      for (const bool three : {false, true}) {
        CAPTURE(total, share, three);
        SGD o = optimizer();
        OneCycleLR s(
            o, {.max_lr = 0.5, .total_steps = total, .pct_start = share, .three_phase = three});
        for (int64_t t = 0; t <= total; ++t) {
          REQUIRE((o.lr() >= 0 && o.lr() <= 0.5 * (1 + 1e-12)));
          REQUIRE((o.options.momentum >= 0.85 - 1e-12 && o.options.momentum <= 0.95 + 1e-12));
          if (t < total) s.step();
        }
      }
  for (const int64_t total : {1, 2, 5})
    for (int64_t warmup = 0; warmup <= total; ++warmup) {
      CAPTURE(total, warmup);
      SGD o = optimizer();
      WarmupCosine s(o, warmup, total, 0.125);
      for (int64_t t = 0; t < total + 3; ++t) {
        REQUIRE((o.lr() > 0 && o.lr() <= 0.5));
        if (t >= total) REQUIRE(o.lr() == 0.5 * 0.125);
        s.step();
      }
      SGD other = optimizer();
      REQUIRE_THROWS_WITH(WarmupCosine(other, total + 1, total), Contains("WarmupCosine: warmup"));
    }
  for (const int64_t total : {1, 2}) {
    SGD o = optimizer();
    LinearLR linear(o, 0.5, 1, total);
    CosineAnnealingLR cosine(o, total);
    for (int64_t t = 0; t < 5; ++t) {
      for (const double r : {linear.rate(0.5, t), cosine.rate(0.5, t)})
        REQUIRE((r >= 0 && r <= 0.5));
    }
  }
}

TEST_CASE("ReduceLROnPlateau: a negative metric must get better by the threshold of its size") {
  SGD o({{{{"p", ones({1}).requires_grad_()}}}}, {.lr = 1});
  ReduceLROnPlateau s(o, {.factor = 0.5, .patience = 0, .threshold = 0.1});
  s.step(-10);
  s.step(-11.5);  // better than -11
  REQUIRE(o.lr() == 1);
  s.step(-12);  // not better than -12.65
  REQUIRE(o.lr() == 0.5);
  s.step(-11.4);  // worse
  REQUIRE(o.lr() == 0.25);
}

TEST_CASE("EmaWeights: swapped in to evaluate, swapped out to go on; its state restores") {
  Sequential m = net(1);
  AdamW o(m);
  EmaWeights ema(m, {.decay = 0.9});
  REQUIRE_THROWS_AS(ema.swap(), ValueError);
  for (int i = 0; i < 5; ++i) {
    train_step(m, o, i);
    ema.update();
  }
  const Tensor trained = state_dict(m)[0].tensor.clone();
  const Tensor average = ema.state_dict()[1].tensor;
  ema.swap();
  REQUIRE(equal(state_dict(m)[0].tensor, average));
  REQUIRE(!equal(trained, average));
  ema.swap();
  REQUIRE(equal(state_dict(m)[0].tensor, trained));
  Sequential other = net(1);
  EmaWeights restored(other, {.decay = 0.9});
  restored.load_state_dict(ema.state_dict());
  REQUIRE(restored.updates() == 5);
  REQUIRE(equal(restored.state_dict()[1].tensor, average));
}

namespace {

void train_step_f64(Sequential& m, Optimizer& o, int i) {
  Rng rng(static_cast<uint64_t>(i) + 100);
  const Tensor x = randn(rng, {16, 3}, DType::f64), d = m(x) - x.sum({1}, true);
  o.zero_grad();
  (d * d).mean().backward();
  o.step();
}

}  // namespace

TEST_CASE("an optimizer goes on with a model that was converted, and with what it kept of it") {
  for (const auto& [name, make] : kMakers) {
    INFO(name);
    Sequential a = net(1), b = net(2);
    auto oa = make(a);
    for (int i = 0; i < 5; ++i) train_step(a, *oa, i);
    const Tensor held = parameters(a)[0];
    to(a, DType::f64);
    CHECK(held.is_same(parameters(a)[0]));
    CHECK(held.dtype() == DType::f64);
    // A model and an optimizer that are f64 from the start, from the same values.
    to(b, DType::f64);
    copy_state(a, b);
    auto ob = make(b);
    StateDict kept = oa->state_dict();
    for (Named& n : kept)
      if (n.tensor.dtype() == DType::f32) n.tensor = n.tensor.to(DType::f64);
    ob->load_state_dict(kept);
    const Tensor before = held.clone();
    for (int i = 5; i < 10; ++i) {
      train_step_f64(a, *oa, i);
      train_step_f64(b, *ob, i);
    }
    CHECK_FALSE(equal(held, before));
    const std::vector<Tensor> pa = parameters(a), pb = parameters(b);
    for (size_t i = 0; i < pa.size(); ++i) CHECK(equal(pa[i], pb[i]));
    to(a, DType::f32);  // and back
    train_step(a, *oa, 10);
    CHECK(held.dtype() == DType::f32);
  }
}

TEST_CASE("averages of weights follow a model that was converted") {
  Sequential a = net(1);
  EmaWeights average(a, {.decay = 0.5});
  average.update();
  const Tensor first = parameters(a)[0].to(DType::f64);
  to(a, DType::f64);
  no_grad([&] { parameters(a)[0].add_(full({}, 2, DType::f64)); });
  average.update();
  average.swap();
  CHECK(parameters(a)[0].dtype() == DType::f64);
  CHECK(allclose(parameters(a)[0], first + 1.0, 0, 1e-15));
}

TEST_CASE("an EMA state restores from any order, as a file gives it") {
  Sequential a = net(1), b = net(2);
  EmaWeights ema(a), other(b);
  ema.update();
  StateDict state = ema.state_dict();
  std::sort(state.begin(), state.end(),
            [](const Named& x, const Named& y) { return x.name < y.name; });
  other.load_state_dict(state);
  CHECK(other.updates() == 1);
  CHECK(equal(other.state_dict()[1].tensor, ema.state_dict()[1].tensor));
  state.back().name = "other";
  CHECK_THROWS_AS(other.load_state_dict(state), ValueError);
}

TEST_CASE("a parameter without a gradient neither moves, decays nor gets a state") {
  const Tensor used = ones({2, 2}).requires_grad_(), idle = ones({2, 2}).requires_grad_();
  AdamW o({{{{"used", used}, {"idle", idle}}}}, {.lr = 0.1, .weight_decay = 0.5});
  used.set_grad(ones({2, 2}));
  o.step();
  CHECK(equal(idle, ones({2, 2})));
  CHECK_FALSE(equal(used, ones({2, 2})));
  for (const Named& n : o.state_dict()) CHECK(n.name.find("idle") == std::string::npos);
}

TEST_CASE("no group without parameters") {
  const auto groups = no_decay_on_norms_and_biases(StateDict{{"w", ones({2, 2}).requires_grad_()}});
  REQUIRE(groups.size() == 1);
  CHECK(!groups[0].weight_decay);
}

TEST_CASE("orthogonalize: singular values from 1/500 of the norm on end between 0.68 and 1.21") {
  const std::vector<double> s{1, 0.3, 0.05, 0.0022, 0.0002};  // their norm is 1.045
  const Tensor g = zeros({5, 5}, DType::f64);
  for (int64_t i = 0; i < 5; ++i) g.select(0, i).select(0, i).fill_(s[static_cast<size_t>(i)]);
  const Tensor x = orthogonalize(g);
  for (int64_t i = 0; i < 4; ++i) {
    CHECK(x[i][i].item() >= 0.68);
    CHECK(x[i][i].item() <= 1.21);
  }
  CHECK(x[4][4].item() < 0.68);
}
