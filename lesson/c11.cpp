// C11: for small batches LayerNorm is the better choice.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {

ClaimResult claim11(Lab& lab) {
  const std::vector<int64_t> groups = lab.profile().full() ? std::vector<int64_t>{64, 32, 16, 8, 4, 2} : std::vector<int64_t>{64, 8, 4, 2};
  const auto arms = f1_arms(lab, groups);
  const auto runs = lab.measure(arms);
  ClaimResult r{.id = "C11", .title = "Small batches"};
  r.says = "For small batches LayerNorm is the better choice.";
  r.experiment = {"The runs of C5: F1 on Fashion-MNIST with the optimiser's batch fixed at 64, BatchNorm's statistics from groups of g.",
                  "LayerNorm minus BatchNorm in test accuracy for each g, each arm at its own learning rate.",
                  fmt::format("Learning rates: {}.", chosen_rates(arms))};
  Chart chart{.title = "LayerNorm minus BatchNorm", .x = {.label = "samples per BatchNorm statistic", .log = true},
              .y = {.label = "difference of test accuracy, points"}, .marks = {{0, "no difference"}}};
  Series s{.name = "mean, 95 %", .look = Look::ln};
  int64_t crossover = 0;
  char letter = 'a';
  for (auto g = groups.rbegin(); g != groups.rend(); ++g) {
    const Records& bn = runs.at(fmt::format("BN {}", *g));
    const Records& ln = runs.at("LN");
    Line l = statistical(fmt::format("C11{}", letter++), fmt::format("LayerNorm minus BatchNorm, groups of {}", *g),
                         compare(outcomes(ln, "test_accuracy"), outcomes(bn, "test_accuracy"), kChance), kAccuracyMargin,
                         Expect::positive, "points", 100);
    if (l.effect.lo > 0) crossover = std::max(crossover, *g);
    const auto x = static_cast<double>(*g);
    chart.x.ticks.push_back(x);
    if (!l.survival) {
      s.line.push_back({x, l.effect.mean});
      s.bars.push_back({x, l.effect.lo, l.effect.hi});
      for (size_t i = 0; i < ln.size(); ++i) {
        const double d = 100 * ((ln[i].dead ? kChance : ln[i]["test_accuracy"]) - (bn[i].dead ? kChance : bn[i]["test_accuracy"]));
        s.dots.push_back({x, d, fmt::format("seed {}: {:+.1f} points", ln[i].seed, d)});
      }
    }
    r.lines.push_back(std::move(l));
  }
  r.meaning = crossover ? fmt::format("LayerNorm is ahead up to groups of {}; above, BatchNorm is as good or better in this network. The claim needs its "
                                      "number.", crossover)
                        : "In this network LayerNorm was ahead at no group size.";
  r.trap = "\"Small\" means few values in one statistic. A convolution averages 49 values a sample here, so in purely convolutional networks even a "
           "batch of 2 is not small (C5c).";
  chart.series = {s};
  chart.note = "Bars: 95 % intervals of the paired difference; dots: seeds.";
  r.charts = {chart};
  std::vector<std::pair<std::string, const Records*>> rows{{"LayerNorm", &runs.at("LN")}};
  for (int64_t g : groups) rows.emplace_back(fmt::format("BatchNorm, groups of {}", g), &runs.at(fmt::format("BN {}", g)));
  r.tables = {seed_table("Test accuracy, %", rows, "test_accuracy", 100)};
  r.papers = {{"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"}};
  r.code = "lesson/c11.cpp";
  return r;
}

}  // namespace loupe::lesson
