// C6: BatchNorm works well in CNNs.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {

ClaimResult claim6(Lab& lab) {
  const auto arms = f1_arms(lab, {64});
  const auto runs = lab.measure(arms);
  const auto deep = lab.measure(plain_arms(lab, 8));
  const bool full = lab.profile().full();
  std::vector<Arm<ClassifierSpec>> d4;
  if (full) d4 = cnn_arms(lab, "D4", {"none", "LN", "GN"}, {64});
  const auto pooled = lab.measure(d4);
  ClaimResult r{.id = "C6", .title = "BatchNorm in CNNs"};
  r.says = "BatchNorm works well in CNNs.";
  r.experiment = {
      "The small CNN F1 on Fashion-MNIST with no norm, LayerNorm, GroupNorm (4 groups) and "
      "BatchNorm (batches of 64); LayerNorm "
      "over all of an image's values with a gain per channel.",
      fmt::format("Test accuracy after {} steps. Learning rates: {}.", arms[0].spec.steps,
                  chosen_rates(arms)),
      fmt::format("And the plain CNN of eight convolutions, D8, for a second architecture{}.",
                  full ? ", and D4, of four, for a third" : "")};
  const auto points = [&](const char* id, const std::string& text, const Records& a,
                          const Records& b) {
    r.lines.push_back(statistical(
        id, text,
        compare(outcomes(a, "test_accuracy"), outcomes(b, "test_accuracy"), kChance, Better::more),
        kAccuracyMargin, Expect::positive, "points", 100));
  };
  points("C6a", "F1: BatchNorm minus no norm", runs.at("BN 64"), runs.at("none"));
  points("C6b", "F1: BatchNorm minus LayerNorm", runs.at("BN 64"), runs.at("LN"));
  points("C6c", "F1: BatchNorm minus GroupNorm", runs.at("BN 64"), runs.at("GN"));
  points("C6d", "D8: BatchNorm minus LayerNorm", deep.at("BN"), deep.at("LN"));
  if (full) {
    points("C6e", "D4: BatchNorm minus no norm", pooled.at("BN 64"), pooled.at("none"));
    points("C6f", "D4: BatchNorm minus LayerNorm", pooled.at("BN 64"), pooled.at("LN"));
    points("C6g", "D4: BatchNorm minus GroupNorm", pooled.at("BN 64"), pooled.at("GN"));
  }
  const auto word = [&](size_t i) {
    return by_verdict(r.lines[i], "better than", "as good as", "worse than",
                      "not decidedly better than");
  };
  r.meaning = fmt::format(
      "At batches of 64 BatchNorm is, in the shallow CNN, {} no norm, {} LayerNorm and {} "
      "GroupNorm; in the deep plain one it is "
      "{} LayerNorm.",
      word(0), word(1), word(2), word(3));
  r.trap =
      "BatchNorm's best learning rate is several times the others': any shared rate is unfair to "
      "someone.";
  Chart chart{.title = "Test accuracy of F1, each seed",
              .x = {.label = "", .categories = {"no norm", "LayerNorm", "GroupNorm", "BatchNorm"}},
              .y = {.label = "test accuracy, %"},
              .paired = true};
  chart.series = {column("no norm", Look::none, 0, runs.at("none"), "test_accuracy", 100),
                  column("LayerNorm", Look::ln, 1, runs.at("LN"), "test_accuracy", 100),
                  column("GroupNorm", Look::gn, 2, runs.at("GN"), "test_accuracy", 100),
                  column("BatchNorm", Look::bn, 3, runs.at("BN 64"), "test_accuracy", 100)};
  chart.note = "Bars: means. Thin lines join the runs of one seed.";
  r.charts = {chart};
  r.tables = {seed_table("F1: test accuracy, %",
                         {{"no norm", &runs.at("none")},
                          {"LayerNorm", &runs.at("LN")},
                          {"GroupNorm", &runs.at("GN")},
                          {"BatchNorm", &runs.at("BN 64")}},
                         "test_accuracy", 100)};
  if (full) {
    r.tables.push_back(seed_table("D4: test accuracy, %",
                                  {{"no norm", &pooled.at("none")},
                                   {"LayerNorm", &pooled.at("LN")},
                                   {"GroupNorm", &pooled.at("GN")},
                                   {"BatchNorm", &pooled.at("BN 64")}},
                                  "test_accuracy", 100));
  }
  r.tables.push_back(seed_table(
      "D8: test accuracy, %",
      {{"no norm", &deep.at("none")}, {"LayerNorm", &deep.at("LN")}, {"BatchNorm", &deep.at("BN")}},
      "test_accuracy", 100));
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"}};
  r.code = "lesson/c6.cpp";
  return r;
}

}  // namespace loupe::lesson
