#include <loupe/autograd/ops.h>
#include <loupe/core/error.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/nets.h>
#include <loupe/web/look.h>

#include <algorithm>
#include <cmath>

namespace loupe::live {
namespace {

constexpr int64_t kLookAt = 64;  // samples of the batch that is looked at

double root_mean_square(const Tensor& t) {
  return std::sqrt(mean(square(t.to(DType::f64))).item());
}

// Runs forward once in training mode, telling every module's input and output.
Tensor loss_on_a_batch(Run& run, Module& model, const ForwardHook& hook) {
  train(model);
  const HookScope hooks(model, hook);
  const Task& t = run.task();
  return loss_of(model.call(t.x.slice(0, 0, kLookAt)), t.y.slice(0, 0, kLookAt));
}

bool is_map(Module& m) { return dynamic_cast<Linear*>(&m) || dynamic_cast<Conv2d*>(&m); }

BatchNormState* batch_norm_of(Module& m) {
  if (auto* image = dynamic_cast<BatchNorm2d*>(&m)) return image;
  return dynamic_cast<BatchNorm1d*>(&m);
}

// (N, C, ...) -> (C, all values of a channel).
Tensor by_channel(const Tensor& x) {
  return x.transpose(0, 1).contiguous().reshape({x.size(1), -1}).to(DType::f64);
}

}  // namespace

Score score(Run& run, const Judge& judge, int64_t samples) {
  NoGrad guard;
  const std::unique_ptr<Module> model = run.twin();
  train(*model, judge.training);
  const Task& t = run.task();
  const int64_t n = std::min(samples, t.test_x.size(0)) / judge.batch * judge.batch;
  double loss = 0, right = 0, count = 0;
  for (int64_t i = 0; i < n; i += judge.batch) {
    const Tensor labels = t.test_y.slice(0, i, i + judge.batch);
    const Tensor logits = model->call(t.test_x.slice(0, i, i + judge.batch));
    const double answers = static_cast<double>(labels.numel());
    loss += loss_of(logits, labels).item() * answers;
    right += static_cast<double>(sum(eq(argmax(logits, -1), labels)).item<int64_t>());
    count += answers;
  }
  return {loss / count, right / count};
}

std::vector<LayerLook> look_at_layers(Run& run) {
  const std::unique_ptr<Module> model = run.twin();
  std::vector<std::pair<std::string, double>> outputs;
  loss_on_a_batch(run, *model, [&](Module& m, const Tensor&, const Tensor& y) {
    NoGrad guard;
    if (is_map(m)) outputs.emplace_back(m.path(), std(y.to(DType::f64)).item());
  }).backward();
  std::vector<LayerLook> looks;
  for (auto& [path, module] : named_modules(*model)) {
    if (!is_map(*module)) continue;
    const Tensor weight = named_parameters(*module).front().tensor;
    LayerLook look{.path = path, .output_std = NAN};
    for (const auto& [name, std] : outputs)
      if (name == path) look.output_std = std;
    look.gradient_rms = weight.grad().defined() ? root_mean_square(weight.grad()) : 0;
    look.weight_rms = root_mean_square(weight.detach());
    looks.push_back(look);
  }
  return looks;
}

std::vector<StatisticsLook> look_at_statistics(Run& run) {
  NoGrad guard;
  std::vector<StatisticsLook> looks;
  const std::unique_ptr<Module> model = run.twin();
  for (auto& [path, module] : named_modules(*model))
    if (const BatchNormState* norm = batch_norm_of(*module))
      looks.push_back({.path = path,
                       .running_mean = norm->running_mean.to_vector<float>(),
                       .running_var = norm->running_var.to_vector<float>()});
  if (looks.empty()) return looks;
  loss_on_a_batch(run, *model, [&](Module& m, const Tensor& x, const Tensor&) {
    if (!batch_norm_of(m)) return;
    const Tensor values = by_channel(x);
    for (StatisticsLook& look : looks) {
      if (look.path != m.path()) continue;
      look.batch_mean = mean(values, {1}).to_vector<float>();
      look.batch_var = var(values, {1}, 0).to_vector<float>();
    }
  });
  return looks;
}

std::vector<float> probability_map(Run& run, int64_t size, bool training) {
  if (run.settings().net != "spirals")
    fail<ValueError>("live: only the spirals have a map, not {}", run.settings().net);
  NoGrad guard;
  std::vector<float> points;
  const auto at = [&](int64_t i) {
    return static_cast<float>(2.3 * (static_cast<double>(i) + 0.5) / static_cast<double>(size) -
                              1.15);
  };
  for (int64_t row = 0; row < size; ++row)
    for (int64_t column = 0; column < size; ++column) {
      points.push_back(at(column));
      points.push_back(-at(row));
    }
  const std::unique_ptr<Module> model = run.twin();
  train(*model, training);
  const Tensor logits = model->call(from_data(points, Shape{size * size, 2}));
  return softmax(logits, -1).select(1, 1).to_vector<float>();
}

MatrixLook batch_matrix(Run& run) {
  NoGrad guard;
  Tensor before_norm, first_output;
  const std::unique_ptr<Module> model = run.twin();
  loss_on_a_batch(run, *model, [&](Module& m, const Tensor& x, const Tensor& y) {
    if (dynamic_cast<lesson::NormLayer*>(&m) && !before_norm.defined()) before_norm = x;
    if (is_map(m) && !first_output.defined()) first_output = y;
  });
  Tensor x = before_norm.defined() ? before_norm : first_output;
  if (x.dim() == 4) x = x.select(3, x.size(3) / 2).select(2, x.size(2) / 2);
  x = x.reshape({-1, x.size(-1)}).slice(0, 0, 8).slice(1, 0, 8);
  return {x.to_vector<float>(), x.size(0), x.size(1)};
}

std::vector<float> first_filters(Run& run) {
  for (auto& [path, module] : named_modules(run.model()))
    if (auto* conv = dynamic_cast<Conv2d*>(module)) return conv->weight.to_vector<float>();
  return {};
}

}  // namespace loupe::live
