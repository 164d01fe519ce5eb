// C10: LayerNorm normalises every token alike.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

namespace {
constexpr double kBin = 0.1;  // as in token_statistics()
}  // namespace

double gradient_along_token(const Norm& norm) {
  Rng rng(4);
  const auto module = norm.make(32, Place::tokens);
  Tensor x = randn(rng, {16, 32});
  x.requires_grad_();
  const Tensor y = module->call(x);
  const Tensor g = grad({(y * randn(rng, y.shape())).sum()}, {x})[0];
  NoGrad guard;
  const Tensor centred = x.detach() - mean(x.detach(), {1}, true);
  return (max(abs(sum(g * centred, {1}))) / max(sqrt(sum(square(g), {1}) * sum(square(centred), {1})))).item();
}

ClaimResult claim10(Lab& lab) {
  // The trained models' norms are looked at by the run itself (TransformerSpec with `tokens`).
  TransformerSpec base{.data = lab.data(), .net = {.layers = 4, .width = 32, .context = 32}};
  base.steps = lab.profile().steps(200);
  base.lr = 0.01;
  base.tokens = true;
  std::vector<Arm<TransformerSpec>> arms(2, {"LN", base});
  arms[1].name = "BN", arms[1].spec.norm = batch_norm();
  const auto runs = lab.measure(arms);
  const auto over = [&](const std::string& arm, const std::string& metric) {
    double largest = 0;
    for (const Record& r : runs.at(arm)) largest = std::max(largest, std::isfinite(r[metric]) ? r[metric] : 1e9);
    return largest;
  };
  ClaimResult r{.id = "C10", .title = "Every token alike"};
  r.says = "LayerNorm normalises every token alike, over its features.";
  r.experiment = {fmt::format("Character-level Transformers of 4 blocks, trained for {} steps with LayerNorm and with BatchNorm.", base.steps),
                  "On held-out text in eval mode: mean and standard deviation over the features of every token, behind each norm, before its gain and bias.",
                  "And the mirror image: mean over the tokens of every feature."};
  const double ln_mean = over("LN", "token_mean"), ln_std = over("LN", "token_std_off");
  r.lines.push_back(exact("C10a", "LayerNorm: largest |mean| of a token", ln_mean < 1e-4, ln_mean, "(bound 1e-4)"));
  Comparison spread{t_interval(values(runs.at("BN"), "token_std_sd"))};
  r.lines.push_back(statistical("C10b", "BatchNorm: spread (sd) of the tokens' standard deviation", spread, 0.05, Expect::positive, ""));
  r.lines.push_back(exact("C10c", "LayerNorm: largest |standard deviation - 1| of a token", ln_std < 0.01, ln_std, "(bound 0.01)"));
  Comparison mirror{t_interval(values(runs.at("LN"), "feature_mean"))};
  r.lines.push_back(statistical("C10d", "the mirror: LayerNorm's mean |mean| of a feature over tokens", mirror, 0.05, Expect::positive, ""));
  r.lines[3].meaning = "Per feature it is LayerNorm that varies: each norm fixes what it averages over and nothing else.";
  const double along = gradient_along_token(layer_norm());
  r.lines.push_back(exact("C10e", "LayerNorm's gradient along the token itself (its scale does not matter)", along < 1e-3, along, "(bound 1e-3)"));
  r.meaning = "By construction: every token leaves LayerNorm with mean 0 and deviation 1. Behind BatchNorm tokens differ in scale; behind LayerNorm features do.";
  r.trap = "Looking behind gain and bias, where LayerNorm's tokens are no longer exactly alike; and forgetting epsilon, which shows in tokens of tiny variance.";
  Chart chart{.title = "Standard deviation of single tokens behind the norms", .x = {.label = "standard deviation over the features"},
              .y = {.label = "share of tokens, %"}};
  for (const auto& [arm, title, look] : {std::tuple{"LN", "LayerNorm", Look::ln}, {"BN", "BatchNorm", Look::bn}}) {
    Series s{.name = title, .look = look};
    for (const Record& run : runs.at(arm)) {
      const auto& h = run.series.at("token_std");
      for (size_t b = 0; b < h.size(); ++b) {
        const double x = kBin * (static_cast<double>(b) + 0.5), y = 100 * h[b];
        if (&run == &runs.at(arm)[0]) s.line.push_back({x, 0});
        s.line[b].y += y / static_cast<double>(runs.at(arm).size());
        if (y > 0) s.dots.push_back({x, y, fmt::format("seed {}, {:.1f} to {:.1f}: {:.1f} %", run.seed, x - kBin / 2, x + kBin / 2, y)});
      }
    }
    chart.series.push_back(std::move(s));
  }
  chart.note = "All norms of the model, bins of 0.1; lines: mean of the seeds.";
  r.charts = {chart};
  r.tables = {seed_table("Spread (sd) of the tokens' standard deviation", {{"LayerNorm", &runs.at("LN")}, {"BatchNorm", &runs.at("BN")}},
                         "token_std_sd", 1, 4)};
  r.papers = {{"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c10.cpp";
  return r;
}

}  // namespace loupe::lesson
