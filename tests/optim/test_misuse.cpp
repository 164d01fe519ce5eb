// Every public class and function of optim called wrongly: the typed error, with a sentence that
// starts with its name.
#include "misuse.h"

#include <loupe/autograd/ops.h>
#include <loupe/optim/schedule.h>

#include <cmath>
#include <limits>

using namespace loupe;
using misuse::refuses;

namespace {

const double kNan = std::nan(""), kInf = std::numeric_limits<double>::infinity();

StateDict one_parameter() { return {{"w", zeros({2, 3}).requires_grad_()}}; }

}  // namespace

TEST_CASE("misuse: optimizers are made of leaves with names, and of numbers that make sense") {
  refuses<ValueError>("optimizer", [] { SGD({}, {}); });
  refuses<ValueError>("optimizer", [] { SGD({{StateDict{}}}, {}); });
  refuses<ValueError>("optimizer", [] { SGD({{{{"w", Tensor()}}}}, {}); });
  refuses<DtypeError>("optimizer", [] { SGD({{{{"w", zeros({2}, DType::i64)}}}}, {}); });
  refuses<ValueError>("optimizer", [] { SGD({{{{"w", zeros({2}).requires_grad_() * 2.0}}}}, {}); });
  refuses<ValueError>("optimizer", [] { SGD({{one_parameter()}, {one_parameter()}}, {}); });
  const auto numbers = [](auto make) {
    for (const double bad : {-0.1, kNan}) {
      refuses<ValueError>("optimizer", [&] { make(bad, 0); });
      refuses<ValueError>("optimizer", [&] { make(0.1, bad); });
    }
    refuses<ValueError>("optimizer", [&] { make(kInf, 0); });
  };
  numbers(
      [](double lr, double decay) { SGD({{one_parameter()}}, {.lr = lr, .weight_decay = decay}); });
  numbers([](double lr, double decay) {
    Adam({{one_parameter()}}, {.lr = lr, .weight_decay = decay});
  });
  numbers([](double lr, double decay) {
    AdamW({{one_parameter()}}, {.lr = lr, .weight_decay = decay});
  });
  numbers([](double lr, double decay) {
    RMSprop({{one_parameter()}}, {.lr = lr, .weight_decay = decay});
  });
  numbers([](double lr, double decay) { SGD({{one_parameter(), lr, decay}}, {}); });
  for (const double bad : {-0.1, kNan}) {
    refuses<ValueError>("SGD", [&] { SGD({{one_parameter()}}, {.momentum = bad}); });
    refuses<ValueError>("SGD",
                        [&] { SGD({{one_parameter()}}, {.momentum = 0.9, .dampening = kNan}); });
    refuses<ValueError>("Adam", [&] { Adam({{one_parameter()}}, {.beta1 = bad}); });
    refuses<ValueError>("Adam", [&] { Adam({{one_parameter()}}, {.beta2 = bad}); });
    refuses<ValueError>("Adam", [&] { Adam({{one_parameter()}}, {.eps = bad}); });
    refuses<ValueError>("Adam", [&] { AdamW({{one_parameter()}}, {.eps = bad}); });
    refuses<ValueError>("RMSprop", [&] { RMSprop({{one_parameter()}}, {.alpha = bad}); });
    refuses<ValueError>("RMSprop", [&] { RMSprop({{one_parameter()}}, {.eps = bad}); });
    refuses<ValueError>("RMSprop", [&] { RMSprop({{one_parameter()}}, {.momentum = bad}); });
  }
  refuses<ValueError>("Adam", [] { Adam({{one_parameter()}}, {.beta1 = 1}); });
  refuses<ValueError>("SGD", [] { SGD({{one_parameter()}}, {.nesterov = true}); });
  refuses<ValueError>("SGD", [] {
    SGD({{one_parameter()}}, {.momentum = 0.9, .dampening = 0.1, .nesterov = true});
  });
  refuses<ValueError>("tensor", [] { no_decay_on_norms_and_biases({{"w", Tensor()}}); });
}

TEST_CASE("misuse: Adagrad, Lion, Muon, orthogonalize") {
  for (const double bad : {-0.1, kNan, kInf}) {
    refuses<ValueError>("Adagrad", [&] { Adagrad({{one_parameter()}}, {.lr_decay = bad}); });
    refuses<ValueError>("Adagrad",
                        [&] { Adagrad({{one_parameter()}}, {.initial_accumulator_value = bad}); });
    refuses<ValueError>("Adagrad", [&] { Adagrad({{one_parameter()}}, {.eps = bad}); });
    refuses<ValueError>("Lion", [&] { Lion({{one_parameter()}}, {.beta1 = bad}); });
    refuses<ValueError>("Lion", [&] { Lion({{one_parameter()}}, {.beta2 = bad}); });
    refuses<ValueError>("Muon", [&] { Muon({{one_parameter()}}, {.momentum = bad}); });
    refuses<ValueError>("Muon", [&] { Muon({{one_parameter()}}, {.eps = bad}); });
    refuses<ValueError>("orthogonalize", [&] { orthogonalize(ones({2, 2}), {1, 1, 1}, 5, bad); });
    refuses<ValueError>("optimizer", [&] { Lion({{one_parameter()}}, {.weight_decay = bad}); });
  }
  for (const int64_t bad : {-1, 100})
    refuses<ValueError>("Muon", [&] { Muon({{one_parameter()}}, {.ns_steps = bad}); });
  refuses<ValueError>("Muon", [] { Muon({{one_parameter()}}, {.ns_coefficients = {1, kNan, 1}}); });
  refuses<ValueError>("Muon", [] { Muon({{{{"bias", ones({3}).requires_grad_()}}}}); });
  refuses<ShapeError>("orthogonalize", [] { orthogonalize(ones({3})); });
  refuses<DtypeError>("orthogonalize", [] { orthogonalize(ones({3, 3}, DType::i64)); });
  refuses<ValueError>("orthogonalize", [] { orthogonalize(ones({3, 3}), {1, 1, 1}, -1); });
  Adagrad adagrad({{one_parameter()}});
  refuses<ValueError>("Adagrad", [&] { adagrad.set_momentum(0.9); });
}

TEST_CASE("misuse: EmaWeights") {
  for (const double bad : {-0.1, 1.1, kNan})
    refuses<ValueError>("EmaWeights", [&] { EmaWeights(one_parameter(), {.decay = bad}); });
  refuses<ValueError>("EmaWeights", [] { EmaWeights(StateDict{}); });
  refuses<ValueError>("EmaWeights", [] { EmaWeights(StateDict{{"w", Tensor()}}); });
  refuses<ValueError>("EmaWeights", [] { EmaWeights(StateDict{{"w", ones({2}, DType::i64)}}); });
  EmaWeights ema(one_parameter());
  refuses<ValueError>("EmaWeights", [&] { ema.swap(); });
  const Tensor updates = zeros({}, DType::i64);
  refuses<ValueError>("EmaWeights", [&] { ema.load_state_dict({}); });
  refuses<ValueError>("EmaWeights", [&] {
    ema.load_state_dict({{"updates", updates}, {"average.v", zeros({2, 3})}});
  });
  refuses<ValueError>("EmaWeights", [&] {
    ema.load_state_dict({{"updates", updates}, {"average.w", zeros({3, 2})}});
  });
  refuses<ValueError>("EmaWeights", [&] {
    ema.load_state_dict({{"updates", updates}, {"average.w", zeros({2, 3}, DType::f64)}});
  });
}

TEST_CASE("misuse: steps and states of optimizers") {
  StateDict params = one_parameter();
  Adam adam({{params}}, {});
  refuses<ValueError>("optimizer", [&] { adam.set_lr(-1); });
  refuses<ValueError>("optimizer", [&] { adam.set_lr(kNan); });
  refuses<ValueError>("Adam", [&] { adam.set_momentum(1); });
  refuses<ValueError>("Adam", [&] { adam.set_momentum(kNan); });
  SGD sgd({{params}}, {.momentum = 0.5});
  refuses<ValueError>("SGD", [&] { sgd.set_momentum(-1); });
  RMSprop rmsprop({{params}}, {.momentum = 0.5});
  refuses<ValueError>("RMSprop", [&] { rmsprop.set_momentum(-1); });

  params[0].tensor.set_grad(ones({2, 3}));
  adam.step();
  const StateDict good = adam.state_dict();
  CHECK(good.size() == 4);  // steps, step.w, exp_avg.w, exp_avg_sq.w
  const auto with = [&](const std::string& name, const Tensor& t) {
    StateDict s;
    for (const Named& n : good)
      if (n.name != name) s.push_back(n);
    if (t.defined()) s.push_back({name, t});
    return s;
  };
  for (const char* name : {"steps", "exp_avg.w", "exp_avg_sq.w", "step.w"})
    refuses<ValueError>("optimizer", [&] { adam.load_state_dict(with(name, {})); });
  refuses<ValueError>("optimizer", [&] { adam.load_state_dict({}); });
  refuses<ValueError>("optimizer", [&] { adam.load_state_dict({{"steps", Tensor()}}); });
  refuses<ValueError>("optimizer", [&] { adam.load_state_dict(with("exp_avg.w", zeros({3, 2}))); });
  refuses<ValueError>("optimizer", [&] {
    adam.load_state_dict(with("exp_avg.w", zeros({2, 3}, DType::f64)));
  });
  refuses<ValueError>("optimizer",
                      [&] { adam.load_state_dict(with("steps", zeros({2}, DType::i64))); });
  refuses<ValueError>("optimizer",
                      [&] { adam.load_state_dict(with("steps", full({}, -1, DType::i64))); });
  refuses<ValueError>("optimizer", [&] { adam.load_state_dict(with("step.w", scalar(1))); });
  refuses<ValueError>("optimizer",
                      [&] { adam.load_state_dict(with("step.w", full({}, -1, DType::i64))); });
  refuses<ValueError>("optimizer", [&] { adam.load_state_dict(with("exp_avg.v", zeros({2, 3}))); });
  refuses<ValueError>("optimizer", [&] {
    adam.load_state_dict(with("momentum_buffer.w", zeros({2, 3})));
  });
  CHECK(adam.steps() == 1);
  // What was refused has changed nothing.
  const StateDict after = adam.state_dict();
  for (size_t i = 0; i < good.size(); ++i) CHECK(equal(good[i].tensor, after[i].tensor));
  adam.load_state_dict(good);

  const Tensor gaps = zeros({2, 6}).slice(1, 0, 6, 2).requires_grad_();
  gaps.set_grad(ones({2, 3}));
  SGD with_gaps({{{{"gaps", gaps}}}}, {.lr = 0.1});
  refuses<ValueError>("optimizer", [&] { with_gaps.step(); });
  const Tensor whole = ones({2}).requires_grad_();
  whole.set_grad(ones({2}));
  SGD both({{{{"whole", whole}, {"gaps", gaps}}}}, {.lr = 0.1});
  refuses<ValueError>("optimizer", [&] { both.step(); });
  CHECK(equal(whole, ones({2})));  // nothing has changed
  CHECK(both.steps() == 0);
  CHECK(gaps.sum().item() == 0);
}

TEST_CASE("misuse: clipping") {
  const StateDict params = one_parameter();
  const std::vector<Tensor> p{params[0].tensor};
  p[0].set_grad(full({2, 3}, 2));
  for (const double bad : {-1.0, kNan}) {
    refuses<ValueError>("clip_grad_norm_", [&] { clip_grad_norm_(p, bad); });
    refuses<ValueError>("clip_grad_value_", [&] { clip_grad_value_(p, bad); });
  }
  refuses<ValueError>("grad_norm", [&] { grad_norm(p, 0); });
  refuses<ValueError>("grad_norm", [&] { grad_norm(p, kNan); });
  refuses<ValueError>("tensor", [] { grad_norm({Tensor()}); });
  refuses<ValueError>("tensor", [] { clip_grad_value_({Tensor()}, 1); });
  CHECK(p[0].grad().sum().item() == 12);
  p[0].set_grad(full({2, 3}, kNan));
  refuses<NumericError>("clip_grad_norm_",
                        [&] { clip_grad_norm_(p, 1, {.error_if_nonfinite = true}); });
  CHECK(grad_norm({}) == 0);
}

TEST_CASE("misuse: schedules") {
  SGD o({{one_parameter()}}, {.lr = 0.1});
  for (const int64_t bad : {int64_t{0}, int64_t{-5}}) {
    refuses<ValueError>("StepLR", [&] { StepLR(o, bad); });
    refuses<ValueError>("CosineAnnealingLR", [&] { CosineAnnealingLR(o, bad); });
    refuses<ValueError>("LinearLR", [&] { LinearLR(o, 0.5, 1, bad); });
    refuses<ValueError>("OneCycleLR", [&] { OneCycleLR(o, {.total_steps = bad}); });
    refuses<ValueError>("WarmupCosine", [&] { WarmupCosine(o, 0, bad); });
  }
  refuses<ValueError>("WarmupCosine", [&] { WarmupCosine(o, -1, 5); });
  refuses<ValueError>("ConstantLR", [&] { ConstantLR(o, -1); });
  refuses<ValueError>("ConstantLR", [&] { ConstantLR(o, kNan); });
  refuses<ValueError>("StepLR", [&] { StepLR(o, 2, kNan); });
  refuses<ValueError>("MultiStepLR", [&] { MultiStepLR(o, {1, 2}, -1); });
  refuses<ValueError>("ExponentialLR", [&] { ExponentialLR(o, kNan); });
  refuses<ValueError>("CosineAnnealingLR", [&] { CosineAnnealingLR(o, 5, -1); });
  for (const double bad : {0.0, 1.5, kNan})
    refuses<ValueError>("LinearLR", [&] { LinearLR(o, bad); });
  refuses<ValueError>("LinearLR", [&] { LinearLR(o, 0.5, kNan); });
  refuses<ValueError>("WarmupCosine", [&] { WarmupCosine(o, 1, 5, kNan); });
  for (const double bad : {-0.1, 1.1, kNan})
    refuses<ValueError>("OneCycleLR", [&] { OneCycleLR(o, {.total_steps = 5, .pct_start = bad}); });
  for (const double bad : {0.0, -1.0, kNan}) {
    refuses<ValueError>("OneCycleLR",
                        [&] { OneCycleLR(o, {.total_steps = 5, .div_factor = bad}); });
    refuses<ValueError>("OneCycleLR",
                        [&] { OneCycleLR(o, {.total_steps = 5, .final_div_factor = bad}); });
  }
  refuses<ValueError>("OneCycleLR", [&] { OneCycleLR(o, {.max_lr = kNan, .total_steps = 5}); });
  refuses<ValueError>("OneCycleLR",
                      [&] { OneCycleLR(o, {.total_steps = 5, .base_momentum = kNan}); });
  OneCycleLR cycle(o, {.total_steps = 2, .cycle_momentum = false});
  cycle.step(), cycle.step();
  refuses<ValueError>("OneCycleLR", [&] { cycle.step(); });

  for (const double bad : {1.0, -0.1, kNan})
    refuses<ValueError>("ReduceLROnPlateau", [&] { ReduceLROnPlateau(o, {.factor = bad}); });
  refuses<ValueError>("ReduceLROnPlateau", [&] { ReduceLROnPlateau(o, {.patience = -1}); });
  refuses<ValueError>("ReduceLROnPlateau", [&] { ReduceLROnPlateau(o, {.threshold = kNan}); });
  ReduceLROnPlateau plateau(o, {});
  refuses<ValueError>("ReduceLROnPlateau", [&] { plateau.step(); });
  refuses<ValueError>("ReduceLROnPlateau", [&] { plateau.rate(0.1, 0); });
  refuses<ValueError>("ReduceLROnPlateau", [&] { plateau.set_state({1}); });
  refuses<ValueError>("ReduceLROnPlateau", [&] { plateau.set_state({kNan, 0, 0, 0, 0.1}); });
  StepLR step(o, 2);
  refuses<ValueError>("schedule", [&] { step.set_state({}); });
  refuses<ValueError>("schedule", [&] { step.set_state({1, 2}); });
  for (const double bad : {kNan, 1e300, -1.0, 0.5})
    refuses<ValueError>("schedule", [&] { step.set_state({bad}); });
  CHECK(step.epoch() == 0);

  const auto several = [&](auto... made) {
    std::vector<std::unique_ptr<Schedule>> all;
    (all.push_back(std::move(made)), ...);
    return all;
  };
  refuses<ValueError>("SequentialLR", [&] { SequentialLR(o, {}, {}); });
  refuses<ValueError>("SequentialLR",
                      [&] { SequentialLR(o, several(std::make_unique<StepLR>(o, 2)), {1}); });
  refuses<ValueError>("SequentialLR", [&] {
    SequentialLR(o, several(std::make_unique<StepLR>(o, 2), nullptr), {1});
  });
  refuses<ValueError>("SequentialLR", [&] {
    SequentialLR(o,
                 several(std::make_unique<StepLR>(o, 2), std::make_unique<StepLR>(o, 2),
                         std::make_unique<StepLR>(o, 2)),
                 {5, 2});
  });
  refuses<ValueError>("ChainedScheduler", [&] { ChainedScheduler(o, {}); });
  refuses<ValueError>("ChainedScheduler",
                      [&] { ChainedScheduler(o, several(std::unique_ptr<Schedule>())); });
}
