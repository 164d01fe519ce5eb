// C10: LayerNorm normalises every token alike.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

namespace {
constexpr double kBin = 0.1;         // as in token_statistics()
constexpr double kMeanBound = 1e-4;  // of a token's mean, and
constexpr double kStdBound = 0.01;   // of its deviation's distance from 1: epsilon and rounding
constexpr double kSpread = 0.05;  // of deviations over tokens: below it they would count as alike
constexpr double kAlongBound = 1e-3;
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
  return (max(abs(sum(g * centred, {1}))) /
          max(sqrt(sum(square(g), {1}) * sum(square(centred), {1}))))
      .item();
}

ClaimResult claim10(Lab& lab) {
  const std::vector<TextData>& texts = lab.data()->texts;
  ClaimResult r{.id = "C10", .title = "Every token alike"};
  r.says = "LayerNorm normalises every token alike, over its features.";
  Chart chart{.title = "Standard deviation of single tokens behind the norms",
              .x = {.label = "standard deviation over the features"},
              .y = {.label = "share of tokens, %"}};
  char letter = 'a';
  const auto next = [&letter] { return fmt::format("C10{}", letter++); };
  bool alike = true;
  for (size_t t = 0; t < texts.size(); ++t) {
    // C8's models: each run looks behind its own norms once it is trained (TransformerSpec with
    // `inspect`).
    auto arms = text_arms(lab, t);
    arms.erase(arms.begin(), arms.begin() + 2);  // the two without a norm
    const auto runs = lab.measure(arms);
    const auto largest = [&](const std::string& metric) {
      double v = 0;
      for (const Record& run : runs.at("LN"))
        v = std::max(v, std::isfinite(run[metric]) ? run[metric] : INFINITY);
      return v;
    };
    const std::string on = t ? texts[t].name + ", " : "";
    r.lines.push_back(exact(next(), on + "LayerNorm: largest |mean| of a token",
                            largest("token_mean"), Holds::at_most, kMeanBound));
    r.lines.push_back(statistical(
        next(), on + "BatchNorm: spread (sd) of the tokens' standard deviation",
        {t_interval(values(runs.at("BN"), "token_std_sd"))}, kSpread, Expect::positive, ""));
    r.lines.push_back(exact(next(), on + "LayerNorm: largest |standard deviation - 1| of a token",
                            largest("token_std_off"), Holds::at_most, kStdBound));
    r.lines.push_back(statistical(
        next(), on + "the mirror: LayerNorm's mean |mean| of a feature over tokens",
        {t_interval(values(runs.at("LN"), "feature_mean"))}, kSpread, Expect::positive, ""));
    r.lines.back().meaning =
        "Per feature it is LayerNorm that varies: each norm fixes what it averages over and "
        "nothing else.";
    r.lines.back().beside = true;
    r.tables.push_back(seed_table(on + "spread (sd) of the tokens' standard deviation",
                                  {{"LayerNorm", &runs.at("LN")}, {"BatchNorm", &runs.at("BN")}},
                                  "token_std_sd", 1, 4));
    if (t > 0) continue;
    for (const Line& l : r.lines)
      alike &= l.kind != Kind::exact || l.verdict == Verdict::reproduced;
    r.lines.push_back(exact(next(), "LayerNorm: part of the gradient along the token itself",
                            gradient_along_token(lab.layer()), Holds::at_most, kAlongBound));
    r.lines.back().meaning =
        "A token's scale does not matter, so the gradient has no part along it; one whose "
        "deviation were taken as constant "
        "would.";
    r.lines.push_back(exact(
        next(), "LayerNorm(128) against (x - mean_features) / std_features: largest difference",
        formula_error(lab.layer(), 1), Holds::at_most, 1e-4));
    r.lines.back().meaning =
        "The lesson's formula. The difference is eps = 1e-5 under the root; std_features is the "
        "biased one.";
    r.experiment = {fmt::format("C8's character-level Transformers of {} blocks with LayerNorm and "
                                "with BatchNorm, trained for {} steps; rates {}.",
                                arms[0].spec.net.layers, arms[0].spec.steps, chosen_rates(arms)),
                    "On held-out text in eval mode: mean and standard deviation over the features "
                    "of every token, behind each norm, before "
                    "its gain and bias.",
                    "And the mirror image: mean over the tokens of every feature."};
    for (const auto& [arm, title, look] :
         {std::tuple{"LN", "LayerNorm", Look::ln}, {"BN", "BatchNorm", Look::bn}}) {
      Series s{.name = title, .look = look};
      const Records& of = runs.at(arm);
      for (const Record& run : of) {
        const auto& h = run.series.at("token_std");
        for (size_t b = 0; b < h.size(); ++b) {
          const double x = kBin * (static_cast<double>(b) + 0.5), y = 100 * h[b];
          if (&run == &of[0]) s.line.push_back({x, 0});
          s.line[b].y += y / static_cast<double>(of.size());
          if (y > 0)
            s.dots.push_back({x, y,
                              fmt::format("seed {}, {:.1f} to {:.1f}: {:.1f} %", run.seed,
                                          x - kBin / 2, x + kBin / 2, y)});
        }
      }
      chart.series.push_back(std::move(s));
    }
  }
  r.meaning = fmt::format(
      "Every token {} LayerNorm with mean 0 and deviation 1, by construction. Behind BatchNorm "
      "tokens differ in scale {}; behind "
      "LayerNorm features do.",
      alike ? "leaves" : "does not leave",
      by_verdict(r.lines[1], "clearly", "hardly", "less than nothing", "(not decided)"));
  r.trap =
      "Looking behind gain and bias, where LayerNorm's tokens are no longer exactly alike; and "
      "forgetting epsilon, which shows "
      "in tokens of tiny variance.";
  chart.note = "All norms of the model, bins of 0.1; lines: mean of the seeds.";
  r.charts = {chart};
  r.papers = {{"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c10.cpp";
  return r;
}

}  // namespace loupe::lesson
