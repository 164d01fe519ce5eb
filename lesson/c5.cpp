// C5: BatchNorm depends on the batch size, LayerNorm does not.
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

double change_by_mates(const Norm& norm, const Tensor& images, bool training) {
  NoGrad guard;
  Rng rng(7);
  Classifier net(rng, "F1", norm);
  train(net, training);
  const Tensor sample = images.slice(0, 0, 1);
  const Tensor a = net(cat({sample, images.slice(0, 1, 8)}, 0)).slice(0, 0, 1);
  const Tensor b = net(cat({sample, images.slice(0, 8, 15)}, 0)).slice(0, 0, 1);
  return max(abs(a - b)).item();
}

namespace {

bool refuses_one_value_per_channel() {
  BatchNorm1d bn(4);
  try {
    bn(ones({1, 4}));
    return false;
  } catch (const ValueError&) {
    return true;
  }
}

}  // namespace

ClaimResult claim5(Lab& lab) {
  const std::vector<int64_t> groups = lab.profile().full() ? std::vector<int64_t>{64, 32, 16, 8, 4, 2}
                                                           : std::vector<int64_t>{64, 8, 4, 2};
  auto f1 = f1_arms(lab, groups);
  const auto runs = lab.measure(f1);
  const auto group = [&](int64_t g) -> const Records& { return runs.at(fmt::format("BN {}", g)); };
  // The convolutional network whose head has no norm: its statistics average 49 values and more a sample.
  std::vector<Arm<ClassifierSpec>> f0;
  for (int64_t g : {64, 2}) {
    f0.push_back({fmt::format("F0 BN {}", g), {.data = lab.data(), .net = "F0", .group = g}});
    f0.back().spec.steps = lab.profile().steps(256);
  }
  lab.tune(f0, {0.02, 0.06, 0.2});
  const auto conv = lab.measure(f0);

  ClaimResult r{.id = "C5", .title = "Batch size"};
  r.says = "BatchNorm depends on the batch size; LayerNorm does not.";
  r.experiment = {"A small CNN on Fashion-MNIST: three convolutions, then (in F1) a hidden layer of 64 with a norm of its own, or "
                  "(in F0) the output layer at once.",
                  "The optimiser always sees 64 images a step; BatchNorm's statistics come from groups of 2 to 64 of them. Same "
                  "images, same steps, learning rate chosen for each cell.",
                  fmt::format("{} steps, learning rates: {}; {}.", f1[0].spec.steps, chosen_rates(f1), chosen_rates(f0))};
  const auto points = [&](const char* id, const std::string& text, const Records& a, const Records& b, Expect expect) {
    return statistical(id, text, compare(outcomes(a, "test_accuracy"), outcomes(b, "test_accuracy"), kChance),
                       kAccuracyMargin, expect, "points", 100);
  };
  r.lines.push_back(points("C5a", "BatchNorm in F1: groups of 64 minus groups of 2", group(64), group(2), Expect::positive));
  r.lines.back().meaning = "The norm after the hidden layer computes mean and variance from 2 values a channel.";
  r.lines.push_back(points("C5b", "BatchNorm in F1: groups of 64 minus groups of 8", group(64), group(8), Expect::positive));
  r.lines.back().meaning = "What is left of the dependence once 8 values make a statistic.";
  r.lines.push_back(points("C5c", "BatchNorm in F0 (convolutions only): groups of 64 minus groups of 2", conv.at("F0 BN 64"),
                           conv.at("F0 BN 2"), Expect::positive));
  r.lines.back().meaning = "Here even a group of 2 averages 98 values or more a channel.";
  const Tensor images = lab.data()->test_x;
  const Record mates = lab.compute("batch-mates", {{"net", "F1"}}, [images](Record& record) {
    record.metrics["layer"] = std::max(change_by_mates(layer_norm(), images, true), change_by_mates(layer_norm(), images, false));
    record.metrics["batch"] = change_by_mates(batch_norm(), images, true);
    record.metrics["batch_eval"] = change_by_mates(batch_norm(), images, false);
    record.metrics["refused"] = refuses_one_value_per_channel();
  });
  r.lines.push_back(exact("C5d", "LayerNorm: change of a sample's logits under other batch-mates", mates["layer"] == 0, mates["layer"], "(exact)"));
  r.lines.push_back(exact("C5e", "BatchNorm in training: the same change is not 0", mates["batch"] > 1e-3, mates["batch"], "logits"));
  r.lines.push_back(exact("C5f", "BatchNorm in eval mode: the same change is 0", mates["batch_eval"] == 0, mates["batch_eval"], "(exact)"));
  r.lines.push_back(exact("C5g", "BatchNorm of one value per channel is refused", mates["refused"] == 1, mates["refused"], "(1: refused)"));
  const Line& a = r.lines[0];
  const Line& c = r.lines[2];
  r.meaning = fmt::format(
      "Groups of 2 instead of 64 change F1's accuracy by {:+.1f} points, the purely convolutional F0's by {:+.1f}. What counts is "
      "how many values a statistic averages, not the batch size as such. LayerNorm's output for a sample is the same bit for bit, "
      "whoever shares the batch.", -a.effect.mean, -c.effect.mean);
  r.trap = "Sweeping the real batch size also changes the number of steps and the best learning rate; such a plot shows those. Here only "
           "the normalisation's group varies.";

  Chart chart{.title = "Test accuracy against the samples behind one BatchNorm statistic",
              .x = {.label = "samples per statistic", .log = true}, .y = {.label = "test accuracy, %"}};
  Series bn{.name = "BatchNorm, F1", .look = Look::bn}, ln{.name = "LayerNorm, F1", .look = Look::ln},
      f0_line{.name = "BatchNorm, F0", .look = Look::other, .dashed = true};
  for (auto g = groups.rbegin(); g != groups.rend(); ++g) {
    const auto x = static_cast<double>(*g);
    chart.x.ticks.push_back(x);
    add_point(bn, x, group(*g), "test_accuracy", 100);
    if (*g == 2 || *g == 64) add_point(f0_line, x, conv.at(fmt::format("F0 BN {}", *g)), "test_accuracy", 100);
    add_point(ln, x, runs.at("LN"), "test_accuracy", 100);
  }
  ln.dots.resize(runs.at("LN").size());  // one run a seed: LayerNorm has no groups
  chart.series = {bn, f0_line, ln};
  chart.note = "Lines: mean over the seeds. LayerNorm knows no groups: its seeds are drawn once, at the left.";
  r.charts = {chart};
  std::vector<std::pair<std::string, const Records*>> rows{{"LayerNorm", &runs.at("LN")}, {"no norm", &runs.at("none")}};
  for (int64_t g : groups) rows.emplace_back(fmt::format("BatchNorm, groups of {}", g), &group(g));
  for (const auto& [name, records] : conv) rows.emplace_back(name, &records);
  r.tables = {seed_table("Test accuracy, %", rows, "test_accuracy", 100)};
  r.papers = {{"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"},
              {"Ioffe 2017, Batch Renormalization", "https://arxiv.org/abs/1702.03275"},
              {"Singh & Shrivastava 2019, EvalNorm", "https://arxiv.org/abs/1904.06031"}};
  r.code = "lesson/c5.cpp";
  return r;
}

}  // namespace loupe::lesson
