// C3: normalisation improves final performance.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {

ClaimResult claim3(Lab& lab) {
  const auto d8 = d8_arms(lab);
  const auto f1 = f1_arms(lab, {64});
  const auto deep = lab.measure(d8);
  const auto wide = lab.measure(f1);
  ClaimResult r{.id = "C3", .title = "Final performance"};
  r.says = "Normalisation improves final performance.";
  r.experiment = {"Two CNNs on Fashion-MNIST: D8, eight plain convolutions, and F1, three convolutions with a hidden layer.",
                  fmt::format("Test accuracy after {} and {} steps of 64 images: a short budget.", d8[0].spec.steps, f1[0].spec.steps),
                  fmt::format("Learning rates: D8 {}; F1 {}.", chosen_rates(d8), chosen_rates(f1))};
  const auto points = [&](const char* id, const std::string& text, const Records& a, const Records& b) {
    r.lines.push_back(statistical(id, text, compare(outcomes(a, "test_accuracy"), outcomes(b, "test_accuracy"), kChance),
                                  kAccuracyMargin, Expect::positive, "points", 100));
  };
  points("C3a", "D8: BatchNorm minus no norm", deep.at("BN"), deep.at("none"));
  points("C3b", "D8: LayerNorm minus no norm", deep.at("LN"), deep.at("none"));
  points("C3c", "F1: BatchNorm minus no norm", wide.at("BN 64"), wide.at("none"));
  points("C3d", "F1: LayerNorm minus no norm", wide.at("LN"), wide.at("none"));
  r.meaning = fmt::format("BatchNorm: {} in the deep plain CNN, {} in the shallow one. LayerNorm: {} and {}. With a longer budget the gaps shrink.",
                          name(r.lines[0].verdict), name(r.lines[2].verdict), name(r.lines[1].verdict), name(r.lines[3].verdict));
  r.trap = "A dead seed of the network without a norm can make any mean look good: runs that died enter as chance and are counted, and the "
           "single seeds are drawn.";
  const auto chart = [](const std::string& title, const Records& none, const Records& ln, const Records& bn) {
    Chart c{.title = title, .x = {.label = "", .categories = {"no norm", "LayerNorm", "BatchNorm"}},
            .y = {.label = "test accuracy, %"}, .paired = true};
    c.series = {column("no norm", Look::none, 0, none, "test_accuracy", 100), column("LayerNorm", Look::ln, 1, ln, "test_accuracy", 100),
                column("BatchNorm", Look::bn, 2, bn, "test_accuracy", 100)};
    c.note = "Thin lines join the runs of one seed.";
    return c;
  };
  r.charts = {chart("D8, eight plain convolutions", deep.at("none"), deep.at("LN"), deep.at("BN")),
              chart("F1, three convolutions and a hidden layer", wide.at("none"), wide.at("LN"), wide.at("BN 64"))};
  r.tables = {seed_table("D8: test accuracy, %", {{"no norm", &deep.at("none")}, {"LayerNorm", &deep.at("LN")}, {"BatchNorm", &deep.at("BN")}},
                         "test_accuracy", 100),
              seed_table("F1: test accuracy, %", {{"no norm", &wide.at("none")}, {"LayerNorm", &wide.at("LN")}, {"BatchNorm", &wide.at("BN 64")}},
                         "test_accuracy", 100)};
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c3.cpp";
  return r;
}

}  // namespace loupe::lesson
