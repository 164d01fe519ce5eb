// C11: for small batches LayerNorm is the better choice.
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {
constexpr int64_t kSmall = 8;  // larger groups stand beside the claim: it speaks of small batches
}

ClaimResult claim11(Lab& lab) {
  const bool full = lab.profile().full();
  const std::vector<int64_t> groups = group_sizes(lab);
  const auto arms = f1_arms(lab, groups);
  const auto runs = lab.measure(arms);
  // Language models whose batch is a few windows of 16 characters.
  std::map<int64_t, std::map<std::string, Records>> windows;
  for (int64_t b : full ? std::vector<int64_t>{1, 2, 4} : std::vector<int64_t>{1})
    windows[b] = lab.measure(window_arms(lab, 0, 16, b));
  ClaimResult r{.id = "C11", .title = "Small batches"};
  r.says = "For small batches LayerNorm is the better choice.";
  r.experiment = {
      "The runs of C5: F1 on Fashion-MNIST with the optimiser's batch fixed at 64, BatchNorm's "
      "statistics from groups of g.",
      "LayerNorm minus BatchNorm in test accuracy for each g, each arm at its own learning rate. "
      "And a language model on few "
      "windows a batch (C9).",
      fmt::format("Learning rates: {}.", chosen_rates(arms))};
  Chart chart{.title = "LayerNorm minus BatchNorm",
              .x = {.label = "samples per BatchNorm statistic", .log = true},
              .y = {.label = "difference of test accuracy, points"},
              .marks = {{0, "no difference"}}};
  Series s{.name = "mean, 95 %", .look = Look::ln};
  int64_t crossover = 0;
  char letter = 'a';
  for (auto g = groups.rbegin(); g != groups.rend(); ++g) {
    const Records& bn = runs.at(fmt::format("BN {}", *g));
    const Records& ln = runs.at("LN");
    Line l = statistical(fmt::format("C11{}", letter++),
                         fmt::format("LayerNorm minus BatchNorm, groups of {}", *g),
                         compare(outcomes(ln, "test_accuracy"), outcomes(bn, "test_accuracy"),
                                 kChance, Better::more),
                         kAccuracyMargin, Expect::positive, "points", 100);
    l.beside = *g > kSmall;
    if (l.verdict == Verdict::reproduced) crossover = std::max(crossover, *g);
    const auto x = static_cast<double>(*g);
    chart.x.ticks.push_back(x);
    if (!l.survival) {
      s.line.push_back({x, l.effect.mean});
      s.bars.push_back({x, l.effect.lo, l.effect.hi});
      for (size_t i = 0; i < ln.size(); ++i) {
        const double d = 100 * ((ln[i].dead ? kChance : ln[i]["test_accuracy"]) -
                                (bn[i].dead ? kChance : bn[i]["test_accuracy"]));
        s.dots.push_back({x, d, fmt::format("seed {}: {:+.1f} points", ln[i].seed, d)});
      }
    }
    r.lines.push_back(std::move(l));
  }
  const double nothing = std::log(static_cast<double>(lab.data()->texts[0].symbols));
  for (const auto& [b, of] : windows)
    r.lines.push_back(
        statistical(fmt::format("C11{}", letter++),
                    fmt::format("language model, {} window{} of 16 a batch: BatchNorm's loss minus "
                                "LayerNorm's, eval mode",
                                b, b > 1 ? "s" : ""),
                    compare(outcomes(of.at("BN"), "eval_loss"), outcomes(of.at("LN"), "eval_loss"),
                            nothing, Better::less),
                    kLossMargin, Expect::positive, "nats"));
  if (full) {
    // Convolutions alone, C5's networks.
    for (const char* net : {"F0", "D4"}) {
      const auto of =
          lab.measure(cnn_arms(lab, net,
                               net[0] == 'F' ? std::vector<std::string>{"LN"}
                                             : std::vector<std::string>{"none", "LN", "GN"},
                               {64, 16, 4, 2}));
      r.lines.push_back(statistical(
          fmt::format("C11{}", letter++),
          fmt::format("{} (convolutions only): LayerNorm minus BatchNorm, groups of 2", net),
          compare(outcomes(of.at("LN"), "test_accuracy"), outcomes(of.at("BN 2"), "test_accuracy"),
                  kChance, Better::more),
          kAccuracyMargin, Expect::positive, "points", 100));
    }
  }
  r.meaning = crossover ? fmt::format(
                              "In the CNN with a normalised hidden layer LayerNorm is ahead up to "
                              "groups of {}, and not above. "
                              "The claim needs its number.",
                              crossover)
                        : "In the CNN LayerNorm was ahead at no group size.";
  const Line& one = *std::ranges::find_if(
      r.lines, [](const Line& l) { return l.text.starts_with("language model, 1 "); });
  r.meaning += fmt::format(
      " In a language model on one window a batch it {}.",
      by_verdict(one, "is clearly better", "is no better", "is worse", "is not clearly better"));
  r.trap =
      "\"Small\" means few values in one statistic. A convolution averages 49 values a sample or "
      "more here, so that a batch of 2 "
      "gives it 98 (C5c).";
  chart.series = {s};
  chart.note = "Bars: 95 % intervals of the paired difference; dots: seeds.";
  r.charts = {chart};
  std::vector<std::pair<std::string, const Records*>> rows{{"LayerNorm", &runs.at("LN")}};
  for (int64_t g : groups)
    rows.emplace_back(fmt::format("BatchNorm, groups of {}", g), &runs.at(fmt::format("BN {}", g)));
  r.tables = {seed_table("Test accuracy, %", rows, "test_accuracy", 100)};
  r.papers = {{"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"}};
  r.code = "lesson/c11.cpp";
  return r;
}

}  // namespace loupe::lesson
