// C3: normalisation improves final performance.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {

ClaimResult claim3(Lab& lab) {
  const bool full = lab.profile().full();
  const auto d8 = plain_arms(lab, 8);
  const auto f1 = f1_arms(lab, {64});
  auto deep = lab.measure(d8);
  deep["none best"] = best_rates(lab, d8[0]);
  const auto wide = lab.measure(f1);
  // Five times the budget and more images: does the gap stay? Each arm keeps the rate of the short
  // budget.
  std::vector<Arm<ClassifierSpec>> long_arms;
  if (full)
    for (const auto& arm : f1) {
      if (arm.name == "GN") continue;
      long_arms.push_back(arm);
      long_arms.back().spec.steps = 1250, long_arms.back().spec.images = 20000,
      long_arms.back().spec.inspect = false;
    }
  const auto longer = lab.measure(long_arms);
  ClaimResult r{.id = "C3", .title = "Final performance"};
  r.says = "Normalisation improves final performance.";
  r.experiment = {
      "Two CNNs on Fashion-MNIST: D8, eight plain convolutions, and F1, three convolutions with a "
      "hidden layer.",
      fmt::format("Test accuracy after {} and {} steps of 64 images: a short budget.{}",
                  d8[0].spec.steps, f1[0].spec.steps,
                  full ? " F1 also with 1,250 steps on 20,000 images, at the same rates." : ""),
      fmt::format("Learning rates: D8 {}; F1 {}.", chosen_rates(d8), chosen_rates(f1))};
  const auto points = [&](const char* id, const std::string& text, const Records& a,
                          const Records& b) {
    r.lines.push_back(statistical(
        id, text,
        compare(outcomes(a, "test_accuracy"), outcomes(b, "test_accuracy"), kChance, Better::more),
        kAccuracyMargin, Expect::positive, "points", 100));
  };
  points("C3a", "D8: BatchNorm minus no norm", deep.at("BN"), deep.at("none"));
  points("C3b", "D8: LayerNorm minus no norm", deep.at("LN"), deep.at("none"));
  points("C3c", "F1: BatchNorm minus no norm", wide.at("BN 64"), wide.at("none"));
  points("C3d", "F1: LayerNorm minus no norm", wide.at("LN"), wide.at("none"));
  points("C3e", "D8: BatchNorm minus no norm at the best rate of each seed", deep.at("BN"),
         deep.at("none best"));
  r.lines.back().meaning =
      "Generous to the network without a norm: its rate is chosen again for every seed, on "
      "validation data.";
  if (full) {
    points("C3f", "F1, five times the steps: BatchNorm minus no norm", longer.at("BN 64"),
           longer.at("none"));
    points("C3g", "F1, five times the steps: LayerNorm minus no norm", longer.at("LN"),
           longer.at("none"));
  }
  r.meaning = fmt::format(
      "With a short budget BatchNorm {} in the deep plain CNN (each seed's best rate for the "
      "rival) and {} in the shallow one. "
      "LayerNorm {} "
      "in the deep one and {} in the shallow one.",
      by_verdict(r.lines[4], "wins", "makes no difference", "loses", "is not decided"),
      by_verdict(r.lines[2], "wins", "makes no difference", "loses", "is not decided"),
      by_verdict(r.lines[1], "wins", "makes no difference", "loses", "is not decided"),
      by_verdict(r.lines[3], "wins", "makes no difference", "loses", "is not decided"));
  if (full)
    r.meaning += fmt::format(
        " With five times the steps BatchNorm's gain in the shallow one is {:+.1f} points instead "
        "of {:+.1f}.",
        r.lines[5].effect.mean, r.lines[2].effect.mean);
  r.trap =
      "A dead seed of the network without a norm can make any mean look good: runs that died enter "
      "as chance and are counted, "
      "and the "
      "single seeds are drawn.";
  const auto chart = [](const std::string& title, const Records& none, const Records& ln,
                        const Records& bn) {
    Chart c{.title = title,
            .x = {.label = "", .categories = {"no norm", "LayerNorm", "BatchNorm"}},
            .y = {.label = "test accuracy, %"},
            .paired = true};
    c.series = {column("no norm", Look::none, 0, none, "test_accuracy", 100),
                column("LayerNorm", Look::ln, 1, ln, "test_accuracy", 100),
                column("BatchNorm", Look::bn, 2, bn, "test_accuracy", 100)};
    c.note = "Bars: means of the seeds that live. Thin lines join the runs of one seed.";
    return c;
  };
  r.charts = {chart("D8, eight plain convolutions", deep.at("none"), deep.at("LN"), deep.at("BN")),
              chart("F1, three convolutions and a hidden layer", wide.at("none"), wide.at("LN"),
                    wide.at("BN 64"))};
  const auto rows = [](const std::string& title, const std::map<std::string, Records>& runs) {
    std::vector<std::pair<std::string, const Records*>> all;
    for (const auto& [arm, records] : runs) all.emplace_back(arm, &records);
    return seed_table(title, all, "test_accuracy", 100);
  };
  r.tables = {rows("D8: test accuracy, %", deep), rows("F1: test accuracy, %", wide)};
  if (full) r.tables.push_back(rows("F1, 1,250 steps: test accuracy, %", longer));
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c3.cpp";
  return r;
}

}  // namespace loupe::lesson
