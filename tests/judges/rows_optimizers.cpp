// Optimizers and learning-rate schedules. An optimizer's inputs are its parameters, then for each
// step a gradient for each of them (undefined: none); its outputs the parameters after each step. A
// schedule's output is the learning rate at each epoch, from 0 on.
#include <loupe/optim/optimizer.h>
#include <loupe/optim/schedule.h>

#include "case.h"

namespace judge {

namespace {

// Parameter groups: "groups" lists the count of parameters of each, with its own lr and
// weight_decay; without it all are one group.
std::vector<ParamGroup> groups(const Tensors& x, const Args& a) {
  std::vector<ParamGroup> all;
  size_t next = 0;
  for (const Json& one : a.at("groups").items) {
    const Args own(one);
    ParamGroup group;
    for (int64_t i = 0; i < own.integer("count"); ++i, ++next)
      group.params.push_back({"p" + std::to_string(next), x[next]});
    if (own.has("lr")) group.lr = own.number("lr");
    if (own.has("weight_decay")) group.weight_decay = own.number("weight_decay");
    all.push_back(group);
  }
  return all;
}

template <class O> Tensors run_optimizer(O& optimizer, const Tensors& x, const Args& a) {
  const size_t count = static_cast<size_t>(a.integer("count"));
  Tensors after;
  for (size_t first = count; first + count <= x.size(); first += count) {
    for (size_t i = 0; i < count; ++i) x[i].set_grad(x[first + i]);
    optimizer.step();
    for (size_t i = 0; i < count; ++i) after.push_back(raw::clone(x[i].detach()));
  }
  return after;
}

// The options that Adam and AdamW share.
template <class O> O adam_options(const Args& a, O o) {
  o.lr = a.number("lr", o.lr);
  if (a.has("betas")) {
    o.beta1 = a.at("betas").numbers().at(0);
    o.beta2 = a.at("betas").numbers().at(1);
  }
  o.eps = a.number("eps", o.eps);
  o.weight_decay = a.number("weight_decay", o.weight_decay);
  o.amsgrad = a.flag("amsgrad");
  o.maximize = a.flag("maximize");
  return o;
}

SGD::Options sgd_options(const Args& a) {
  SGD::Options o;
  o.lr = a.number("lr", o.lr);
  o.momentum = a.number("momentum");
  o.dampening = a.number("dampening");
  o.weight_decay = a.number("weight_decay");
  o.nesterov = a.flag("nesterov");
  o.maximize = a.flag("maximize");
  return o;
}

RMSprop::Options rmsprop_options(const Args& a) {
  RMSprop::Options o;
  o.lr = a.number("lr", o.lr);
  o.alpha = a.number("alpha", o.alpha);
  o.eps = a.number("eps", o.eps);
  o.weight_decay = a.number("weight_decay");
  o.momentum = a.number("momentum");
  o.centered = a.flag("centered");
  o.maximize = a.flag("maximize");
  return o;
}

Adagrad::Options adagrad_options(const Args& a) {
  Adagrad::Options o;
  o.lr = a.number("lr", o.lr);
  o.lr_decay = a.number("lr_decay");
  o.weight_decay = a.number("weight_decay");
  o.initial_accumulator_value = a.number("initial_accumulator_value");
  o.eps = a.number("eps", o.eps);
  o.maximize = a.flag("maximize");
  return o;
}

std::unique_ptr<Schedule> make_schedule(Optimizer& o, const Args& a);

std::vector<std::unique_ptr<Schedule>> make_parts(Optimizer& o, const Args& a) {
  std::vector<std::unique_ptr<Schedule>> parts;
  for (const Json& part : a.at("schedulers").items) parts.push_back(make_schedule(o, Args(part)));
  return parts;
}

OneCycleLR::Options one_cycle_options(const Args& a) {
  OneCycleLR::Options o;
  o.max_lr = a.number("max_lr");
  o.total_steps = a.integer("total_steps");
  o.pct_start = a.number("pct_start", o.pct_start);
  o.linear = a.text("anneal_strategy", "cos") == "linear";
  o.cycle_momentum = a.flag("cycle_momentum", true);
  o.base_momentum = a.number("base_momentum", o.base_momentum);
  o.max_momentum = a.number("max_momentum", o.max_momentum);
  o.div_factor = a.number("div_factor", o.div_factor);
  o.final_div_factor = a.number("final_div_factor", o.final_div_factor);
  o.three_phase = a.flag("three_phase");
  return o;
}

ReduceLROnPlateau::Options plateau_options(const Args& a) {
  ReduceLROnPlateau::Options o;
  o.maximize = a.text("mode", "min") == "max";
  o.factor = a.number("factor", o.factor);
  o.patience = a.integer("patience", o.patience);
  o.threshold = a.number("threshold", o.threshold);
  o.relative = a.text("threshold_mode", "rel") == "rel";
  o.cooldown = a.integer("cooldown");
  o.min_lr = a.number("min_lr");
  o.eps = a.number("eps", o.eps);
  return o;
}

std::unique_ptr<Schedule> make_schedule(Optimizer& o, const Args& a) {
  const std::string name = a.text("schedule");
  const int64_t iterations = a.integer("total_iters", 5);
  const double gamma = a.number("gamma", 0.1);
  if (name == "ConstantLR")
    return std::make_unique<ConstantLR>(o, a.number("factor", 1.0 / 3), iterations);
  if (name == "StepLR") return std::make_unique<StepLR>(o, a.integer("step_size"), gamma);
  if (name == "MultiStepLR")
    return std::make_unique<MultiStepLR>(o, a.integers("milestones"), gamma);
  if (name == "ExponentialLR") return std::make_unique<ExponentialLR>(o, gamma);
  if (name == "CosineAnnealingLR")
    return std::make_unique<CosineAnnealingLR>(o, a.integer("T_max"), a.number("eta_min"));
  if (name == "LinearLR")
    return std::make_unique<LinearLR>(o, a.number("start_factor", 1.0 / 3),
                                      a.number("end_factor", 1), iterations);
  if (name == "OneCycleLR") return std::make_unique<OneCycleLR>(o, one_cycle_options(a));
  if (name == "SequentialLR")
    return std::make_unique<SequentialLR>(o, make_parts(o, a), a.integers("milestones"));
  if (name == "ChainedScheduler") return std::make_unique<ChainedScheduler>(o, make_parts(o, a));
  fail<ValueError>("judge: no schedule {}", name);
}

Tensors run_schedule(const Tensors&, const Args& a) {
  const Tensor p = zeros({1}).requires_grad_();
  SGD::Options options;
  options.lr = a.number("lr");
  options.momentum = a.number("momentum");
  SGD optimizer({{{{"p", p}}}}, options);
  std::vector<double> rates;
  if (a.text("schedule") == "ReduceLROnPlateau") {
    ReduceLROnPlateau schedule(optimizer, plateau_options(a));
    for (const double metric : a.at("metrics").numbers()) {
      schedule.step(metric);
      rates.push_back(optimizer.lr());
    }
    return {from_data(rates)};
  }
  const auto schedule = make_schedule(optimizer, a);
  for (int64_t epoch = 0; epoch < a.integer("steps"); ++epoch) {
    rates.push_back(optimizer.lr());
    if (epoch + 1 < a.integer("steps")) schedule->step();
  }
  return {from_data(rates)};
}

const Row kRows[] = {
    {"optim.SGD",
     [](const Tensors& x, const Args& a) {
       SGD optimizer(groups(x, a), sgd_options(a));
       return run_optimizer(optimizer, x, a);
     }},
    {"optim.Adam",
     [](const Tensors& x, const Args& a) {
       Adam optimizer(groups(x, a), adam_options(a, Adam::Options{}));
       return run_optimizer(optimizer, x, a);
     }},
    {"optim.AdamW",
     [](const Tensors& x, const Args& a) {
       AdamW optimizer(groups(x, a), adam_options(a, AdamW::Options{}));
       return run_optimizer(optimizer, x, a);
     }},
    {"optim.RMSprop",
     [](const Tensors& x, const Args& a) {
       RMSprop optimizer(groups(x, a), rmsprop_options(a));
       return run_optimizer(optimizer, x, a);
     }},
    {"optim.Adagrad",
     [](const Tensors& x, const Args& a) {
       Adagrad optimizer(groups(x, a), adagrad_options(a));
       return run_optimizer(optimizer, x, a);
     }},
    {"schedule", run_schedule},
};

}  // namespace

std::span<const Row> optimizer_rows() { return kRows; }

}  // namespace judge
