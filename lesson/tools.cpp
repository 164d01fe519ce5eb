// The lesson's tools (PyTorch, Keras, Hugging Face, TensorBoard): where their conventions differ,
// each with a number that is computed here.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lesson.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// Batches until the running mean is within 1 % of a mean that has jumped from 0 to 1.
int batches_to_follow(const BatchNormOptions& options) {
  NoGrad guard;
  BatchNorm1d norm(1, options);
  const Tensor batch = from_data(std::vector<float>{0.5, 1.5}).reshape({2, 1});
  for (int n = 1; n < 1000; ++n) {
    norm(batch);
    for (const Named& b : named_buffers(norm))
      if (b.name == "running_mean" && std::abs(b.tensor.item() - 1) <= 0.01) return n;
  }
  return 1000;
}

constexpr double kQuiet = 0.03;  // deviation of a feature or token that epsilon can be seen in

// A column or row of deviation kQuiet: +, -, +, -.
Tensor quiet(int64_t n, const Shape& shape) {
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(i % 2 ? -kQuiet : kQuiet));
  return from_data(values).reshape(shape);
}

// The deviation that it leaves BatchNorm with.
double deviation_behind(double eps) {
  NoGrad guard;
  BatchNorm1d norm(1, {.eps = eps});
  return std(norm(quiet(64, {64, 1})), {0}, 0).item();
}

double moved_by_epsilon(double one, double other) {
  NoGrad guard;
  const Tensor token = quiet(64, {1, 64});
  LayerNorm a(Shape{64}, {.eps = one}), b(Shape{64}, {.eps = other});
  return max(abs(a(token) - b(token))).item();
}

int64_t scalars_of(const Record& r) {
  int64_t n = static_cast<int64_t>(r.metrics.size()) + 1;  // and whether it died
  for (const auto& [name, values] : r.series) n += static_cast<int64_t>(values.size());
  return n;
}

}  // namespace

std::vector<Answer> tools(const std::vector<ClaimResult>& claims, const Records& runs) {
  Facts facts = facts_of(claims);
  const auto number = [&facts](const std::string& name, double value) {
    facts.text(name, view::short_number(value));
  };
  const BatchNormOptions keras{.convention = NormConvention::keras3};
  number("torch_batches", batches_to_follow({}));
  number("keras_batches", batches_to_follow(keras));
  number("trap_batches", batches_to_follow({.momentum = 0.99}));
  facts.text("torch_std", fmt::format("{:.3f}", deviation_behind(1e-5)));
  facts.text("keras_std", fmt::format("{:.3f}", deviation_behind(1e-3)));
  facts.text("bert_moves", fmt::format("{:.4f}", moved_by_epsilon(1e-12, 1e-5)));
  int64_t scalars = 0;
  for (const Record& r : runs) scalars += scalars_of(r);
  facts.text("logged_runs", fmt::format("{}", runs.size()));
  facts.text("logged_scalars", fmt::format("{}", scalars));
  std::vector<Answer> all;
  for (const Section& s : embedded_sections("lesson/tools.txt"))
    all.push_back({s.head, fill(s.paragraphs[0], facts)});
  return all;
}

}  // namespace loupe::lesson
