#include <loupe/optim/optimizer.h>
#include <loupe/optim/schedule.h>

#include <functional>

#include "fixture.h"

using namespace loupe;
using fixture::Fixture;
using fixture::same;

namespace {

const Fixture& file() {
  static const Fixture f("optim.safetensors");
  return f;
}

Tensor row(const Tensor& t, int64_t i) { return raw::clone(raw::select(t, 0, i)); }

StateDict two_parameters(DType dtype) {
  StateDict params;
  for (const char* name : {"p0", "p1"})
    params.push_back(
        {name, row(file().get(std::string("sgd/") + name, dtype), 0).requires_grad_()});
  return params;
}

void set_gradients(const StateDict& params, int64_t step) {
  for (size_t i = 0; i < 2; ++i)
    params[i].tensor.set_grad(
        row(file().get("g" + std::to_string(i), params[i].tensor.dtype()), step));
}

// Ten steps on fixed gradients: the parameters after every one of them.
template <class O> void optimizer_case(const std::string& name, typename O::Options options) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const StateDict params = two_parameters(dtype);
    O optimizer({{params}}, options);
    for (int64_t t = 0; t < 10; ++t) {
      set_gradients(params, t);
      optimizer.step();
      for (const auto& [p, value] : params)
        same(name.substr(0, name.find('_')) + " " + loupe::name(dtype),
             name + " " + p + " after step " + std::to_string(t + 1), value,
             row(file().get(name + "/" + p), t + 1), dtype == DType::f64 ? 1e-12 : 1e-6);
    }
  }
}

// The rates of the first 16 steps. The optimizer starts at 0.2, as in the fixture.
void schedule_case(const std::string& name,
                   const std::function<std::unique_ptr<Schedule>(Optimizer&)>& make) {
  SGD optimizer({{two_parameters(DType::f64)}}, {.lr = 0.2});
  const auto schedule = make(optimizer);
  std::vector<double> rates;
  const int64_t steps = file().get("lr/" + name).numel();
  for (int64_t t = 0; t < steps; ++t) {
    rates.push_back(optimizer.lr());
    if (t < steps - 1) schedule->step();
  }
  same("schedules", name, from_data(rates), file().get("lr/" + name), 1e-14);
}

template <class S, class... A> auto make(A... a) {
  return [=](Optimizer& o) -> std::unique_ptr<Schedule> { return std::make_unique<S>(o, a...); };
}

}  // namespace

TEST_CASE("optimizers equal PyTorch's after each of ten steps") {
  optimizer_case<SGD>("sgd", {.lr = 0.1});
  optimizer_case<SGD>("sgd_momentum", {.lr = 0.1, .momentum = 0.9});
  optimizer_case<SGD>("sgd_dampening", {.lr = 0.1, .momentum = 0.9, .dampening = 0.3});
  optimizer_case<SGD>("sgd_nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true});
  optimizer_case<SGD>("sgd_decay",
                      {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.1, .nesterov = true});
  optimizer_case<Adam>("adam", {});
  optimizer_case<Adam>("adam_options",
                       {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-4, .weight_decay = 0.1});
  optimizer_case<Adam>("adam_amsgrad", {.lr = 0.05, .beta1 = 0.8, .beta2 = 0.9, .amsgrad = true});
  optimizer_case<AdamW>("adamw", {});
  optimizer_case<AdamW>("adamw_options", {.lr = 0.05, .beta2 = 0.99, .weight_decay = 0.2});
  optimizer_case<RMSprop>("rmsprop", {});
  optimizer_case<RMSprop>("rmsprop_options",
                          {.lr = 0.02, .alpha = 0.9, .eps = 1e-6, .weight_decay = 0.1});
  optimizer_case<RMSprop>("rmsprop_centered", {.lr = 0.02, .centered = true});
  optimizer_case<RMSprop>("rmsprop_momentum", {.lr = 0.02, .momentum = 0.9});
  optimizer_case<Adagrad>("adagrad", {});
  optimizer_case<Adagrad>("adagrad_options", {.lr = 0.1,
                                              .lr_decay = 0.05,
                                              .weight_decay = 0.1,
                                              .initial_accumulator_value = 0.2,
                                              .eps = 1e-6});
  optimizer_case<RMSprop>("rmsprop_all",
                          {.lr = 0.02, .weight_decay = 0.05, .momentum = 0.9, .centered = true});
}

TEST_CASE("Muon equals PyTorch's formula after each of ten steps") {
  const std::pair<const char*, Muon::Options> cases[] = {
      {"muon", {}},
      {"muon_options",
       {.lr = 0.1,
        .weight_decay = 0.05,
        .momentum = 0.8,
        .nesterov = false,
        .ns_steps = 3,
        .adjust_lr = MuonRate::match_rms_adamw}},
  };
  for (const auto& [name, options] : cases)
    for (const DType dtype : {DType::f64, DType::f32}) {
      StateDict params;
      for (const char* p : {"p0", "p1"})
        params.push_back(
            {p, row(file().get(std::string(name) + "/" + p, dtype), 0).requires_grad_()});
      Muon optimizer({{params}}, options);
      for (int64_t t = 0; t < 10; ++t) {
        const Tensor g = row(file().get("g0", dtype), t);
        params[0].tensor.set_grad(g);
        params[1].tensor.set_grad(raw::transpose(g, 0, 1));
        optimizer.step();
        for (const auto& [p, value] : params)
          same(std::string("muon ") + loupe::name(dtype),
               std::string(name) + " " + p + " after step " + std::to_string(t + 1), value,
               row(file().get(std::string(name) + "/" + p), t + 1),
               dtype == DType::f64 ? 1e-12 : 4e-6);
      }
    }
}

TEST_CASE("a momentum that is switched on late starts as PyTorch's does, and survives a restart") {
  for (const bool restart : {false, true}) {
    const StateDict params = two_parameters(DType::f64);
    const auto make = [&] {
      return std::make_unique<SGD>(std::vector<ParamGroup>{{params}},
                                   SGD::Options{.lr = 0.1, .dampening = 0.3});
    };
    auto optimizer = make();
    for (int64_t t = 0; t < 10; ++t) {
      if (t == 4) optimizer->set_momentum(0.9);
      if (restart && (t == 4 || t == 7)) {  // the state has no momentum buffer yet, and has one
        const StateDict state = optimizer->state_dict();
        optimizer = make();
        optimizer->set_momentum(0.9);
        optimizer->load_state_dict(state);
      }
      set_gradients(params, t);
      optimizer->step();
      for (const auto& [p, value] : params)
        same("late momentum", p, value, row(file().get("sgd_late/" + p), t + 1), 1e-12);
    }
  }
  const StateDict params = two_parameters(DType::f64);
  RMSprop optimizer({{params}}, {.lr = 0.02});
  for (int64_t t = 0; t < 10; ++t) {
    if (t == 4) optimizer.set_momentum(0.9);
    set_gradients(params, t);
    optimizer.step();
    for (const auto& [p, value] : params)
      same("late momentum", p, value, row(file().get("rmsprop_late/" + p), t + 1), 1e-12);
  }
}

TEST_CASE("the average of weights equals PyTorch's AveragedModel") {
  const Tensor p = row(file().get("g0"), 0);
  EmaWeights ema(StateDict{{"p", p}}, {.decay = 0.9});
  for (int64_t t = 0; t < 10; ++t) {
    p.copy_(row(file().get("g0"), t));
    ema.update();
    same("ema", "average", ema.state_dict()[1].tensor, row(file().get("ema/p0"), t), 1e-14);
  }
}

TEST_CASE("schedules give PyTorch's learning rates") {
  schedule_case("constant", make<ConstantLR>(0.5, 4));
  schedule_case("step", make<StepLR>(3, 0.5));
  schedule_case("multi_step", make<MultiStepLR>(std::vector<int64_t>{2, 5, 5, 11}, 0.3));
  schedule_case("cosine", make<CosineAnnealingLR>(10, 0.01));
  schedule_case("linear", make<LinearLR>(0.1, 1.0, 6));
  schedule_case("linear_default", make<LinearLR>());
  schedule_case("exponential", make<ExponentialLR>(0.9));
  schedule_case("one_cycle",
                make<OneCycleLR>(OneCycleLR::Options{.max_lr = 0.5, .total_steps = 16}));
  schedule_case("one_cycle_three", make<OneCycleLR>(OneCycleLR::Options{
                                       .max_lr = 0.5, .total_steps = 16, .three_phase = true}));
  schedule_case("one_cycle_linear", make<OneCycleLR>(OneCycleLR::Options{.max_lr = 0.5,
                                                                         .total_steps = 16,
                                                                         .pct_start = 0.25,
                                                                         .linear = true,
                                                                         .div_factor = 10,
                                                                         .final_div_factor = 100}));
  for (const auto& [total, phases] :
       std::map<int64_t, std::vector<std::string>>{{1, {"0.0", "0.25", "0.3"}},
                                                   {2, {"0.0", "0.25", "0.3", "1.0"}},
                                                   {3, {"0.0", "0.25", "0.3", "1.0"}},
                                                   {7, {"0.0", "0.25", "0.3", "1.0"}}})
    for (const std::string& share : phases)
      schedule_case("one_cycle_" + std::to_string(total) + "_" + share,
                    make<OneCycleLR>(OneCycleLR::Options{.max_lr = 0.5,
                                                         .total_steps = total,
                                                         .pct_start = std::stod(share),
                                                         .cycle_momentum = false}));
  schedule_case("sequential", [](Optimizer& o) -> std::unique_ptr<Schedule> {
    std::vector<std::unique_ptr<Schedule>> parts;
    parts.push_back(std::make_unique<LinearLR>(o, 0.1, 1.0, 4));
    parts.push_back(std::make_unique<CosineAnnealingLR>(o, 12));
    return std::make_unique<SequentialLR>(o, std::move(parts), std::vector<int64_t>{4});
  });
  schedule_case("chained", [](Optimizer& o) -> std::unique_ptr<Schedule> {
    std::vector<std::unique_ptr<Schedule>> parts;
    parts.push_back(std::make_unique<LinearLR>(o, 0.2, 1.0, 4));
    parts.push_back(std::make_unique<ExponentialLR>(o, 0.9));
    return std::make_unique<ChainedScheduler>(o, std::move(parts));
  });
}

TEST_CASE("ReduceLROnPlateau gives PyTorch's learning rates") {
  const auto metric = file().get("lr/plateau/metric").to_vector<double>();
  for (const auto& [name, options] : std::map<std::string, ReduceLROnPlateau::Options>{
           {"plateau", {.factor = 0.5, .patience = 2}},
           {"plateau_cooldown", {.factor = 0.1, .patience = 1, .cooldown = 2}},
           {"plateau_max_abs",
            {.maximize = true,
            .factor = 0.5,
            .patience = 1,
            .threshold = 0.02,
            .relative = false,
            .min_lr = 0.03}}}) {
    SGD optimizer({{two_parameters(DType::f64)}}, {.lr = 0.2});
    ReduceLROnPlateau schedule(optimizer, options);
    std::vector<double> rates;
    for (const double m : metric) {
      rates.push_back(optimizer.lr());
      schedule.step(m);
    }
    same("schedules", name, from_data(rates), file().get("lr/" + name), 1e-14);
  }
}

TEST_CASE("clipping equals PyTorch's") {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-12 : 1e-6;
    const StateDict params = two_parameters(dtype);
    const std::vector<Tensor> tensors{params[0].tensor, params[1].tensor};
    const auto check = [&](const std::string& name) {
      for (size_t i = 0; i < 2; ++i)
        same(std::string("clip ") + loupe::name(dtype), name, tensors[i].grad(),
             file().get(name + "/g" + std::to_string(i)), bound);
    };
    for (const auto& [name, most, kind] :
         {std::tuple<std::string, double, double>{"clip_small", 0.5, 2},
          {"clip_large", 1e3, 2},
          {"clip_one", 0.5, 1},
          {"clip_inf", 0.5, std::numeric_limits<double>::infinity()}}) {
      set_gradients(params, 0);
      const double norm = clip_grad_norm_(tensors, most, {.norm_type = kind});
      same(std::string("clip ") + loupe::name(dtype), name, scalar(norm, DType::f64),
           file().get(name + "/norm"), bound);
      check(name);
    }
    set_gradients(params, 0);
    clip_grad_value_(tensors, 0.4);
    check("clip_value");
  }
}
