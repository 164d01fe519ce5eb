// C6: BatchNorm works well in CNNs.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {

ClaimResult claim6(Lab& lab) {
  const auto arms = f1_arms(lab, {64});
  const auto runs = lab.measure(arms);
  const auto deep = lab.measure(d8_arms(lab));
  ClaimResult r{.id = "C6", .title = "BatchNorm in CNNs"};
  r.says = "BatchNorm works well in CNNs.";
  r.experiment = {"The small CNN F1 on Fashion-MNIST with no norm, LayerNorm, GroupNorm (4 groups) and BatchNorm (batches of 64); LayerNorm "
                  "over all of an image's values with a gain per channel.",
                  fmt::format("Test accuracy after {} steps. Learning rates: {}.", arms[0].spec.steps, chosen_rates(arms)),
                  "And the plain CNN of eight convolutions, D8, for a second architecture."};
  const auto points = [&](const char* id, const std::string& text, const Records& a, const Records& b) {
    r.lines.push_back(statistical(id, text, compare(outcomes(a, "test_accuracy"), outcomes(b, "test_accuracy"), kChance),
                                  kAccuracyMargin, Expect::positive, "points", 100));
  };
  points("C6a", "F1: BatchNorm minus no norm", runs.at("BN 64"), runs.at("none"));
  points("C6b", "F1: BatchNorm minus LayerNorm", runs.at("BN 64"), runs.at("LN"));
  points("C6c", "F1: BatchNorm minus GroupNorm", runs.at("BN 64"), runs.at("GN"));
  points("C6d", "D8: BatchNorm minus LayerNorm", deep.at("BN"), deep.at("LN"));
  r.meaning = fmt::format("At a comfortable batch BatchNorm against no norm: {}; against LayerNorm: {} in F1 and {} in D8; against GroupNorm: {}.",
                          name(r.lines[0].verdict), name(r.lines[1].verdict), name(r.lines[3].verdict), name(r.lines[2].verdict));
  r.trap = "BatchNorm's best learning rate is several times the others': any shared rate is unfair to someone.";
  Chart chart{.title = "Test accuracy of F1, each seed",
              .x = {.label = "", .categories = {"no norm", "LayerNorm", "GroupNorm", "BatchNorm"}},
              .y = {.label = "test accuracy, %"}, .paired = true};
  chart.series = {column("no norm", Look::none, 0, runs.at("none"), "test_accuracy", 100),
                  column("LayerNorm", Look::ln, 1, runs.at("LN"), "test_accuracy", 100),
                  column("GroupNorm", Look::gn, 2, runs.at("GN"), "test_accuracy", 100),
                  column("BatchNorm", Look::bn, 3, runs.at("BN 64"), "test_accuracy", 100)};
  chart.note = "Bars: means. Thin lines join the runs of one seed.";
  r.charts = {chart};
  r.tables = {seed_table("F1: test accuracy, %", {{"no norm", &runs.at("none")}, {"LayerNorm", &runs.at("LN")}, {"GroupNorm", &runs.at("GN")},
                                                  {"BatchNorm", &runs.at("BN 64")}}, "test_accuracy", 100)};
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"}};
  r.code = "lesson/c6.cpp";
  return r;
}

}  // namespace loupe::lesson
