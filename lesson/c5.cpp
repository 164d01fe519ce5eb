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

double change_by_count(const Norm& norm) {
  NoGrad guard;
  Rng rng(8);
  const auto layer = norm.make(128, Place::features);
  const Tensor x = randn(rng, {256, 128});
  double largest = 0;
  for (bool training : {true, false}) {
    train(*layer, training);
    const Tensor alone = layer->call(x.slice(0, 0, 1));
    for (int64_t n : {2, 3, 8, 64, 256})
      largest =
          std::max(largest, max(abs(layer->call(x.slice(0, 0, n)).slice(0, 0, 1) - alone)).item());
  }
  return largest;
}

namespace {

bool refuses_one_value_per_channel(const Norm& norm) {
  const auto layer = norm.make(4, Place::features);
  try {
    layer->call(ones({1, 4}));
    return false;
  } catch (const ValueError&) { return true; }
}

// The trap: the real batch varies, the samples seen stay the same, and the learning rate grows with
// the batch.
std::vector<Arm<ClassifierSpec>> naive_sweep(Lab& lab) {
  std::vector<Arm<ClassifierSpec>> arms;
  for (const auto& [name, norm] :
       {std::pair{"BN", lab.batch()}, {"LN", lab.layer()}, {"none", no_norm()}})
    for (int64_t b : {2, 4, 8, 32, 128}) {
      arms.push_back({fmt::format("naive {} {}", name, b),
                      {.data = lab.data(),
                       .net = "D4",
                       .norm = norm,
                       .group = b,
                       .batch = b,
                       .steps = 8192 / b}});
      arms.back().spec.lr = 0.1 * static_cast<double>(b) / 64;
    }
  return arms;
}

constexpr double kNotZero = 1e-3;  // a change of logits that is no rounding

}  // namespace

ClaimResult claim5(Lab& lab) {
  const bool full = lab.profile().full();
  const std::vector<int64_t> groups = group_sizes(lab);
  const auto f1 = f1_arms(lab, groups);
  const auto runs = lab.measure(f1);
  // Convolutions alone (F0, D4): their statistics average 49 values and more a sample.
  const std::vector<int64_t> some =
      full ? std::vector<int64_t>{64, 16, 4, 2} : std::vector<int64_t>{64, 2};
  const auto f0 =
      cnn_arms(lab, "F0", full ? std::vector<std::string>{"LN"} : std::vector<std::string>{}, some);
  const auto conv = lab.measure(f0);
  std::vector<Arm<ClassifierSpec>> d4, naive;
  if (full) d4 = cnn_arms(lab, "D4", {"none", "LN", "GN"}, some), naive = naive_sweep(lab);
  const auto deep = lab.measure(d4);
  const auto swept = lab.measure(naive);
  const auto group = [&](int64_t g) -> const Records& { return runs.at(fmt::format("BN {}", g)); };

  ClaimResult r{.id = "C5", .title = "Batch size"};
  r.says = "BatchNorm depends on the batch size; LayerNorm does not.";
  r.experiment = {
      fmt::format("Small CNNs on Fashion-MNIST: three convolutions, then (in F1) a hidden layer of "
                  "64 with a norm of "
                  "its own, or (in F0) the output "
                  "layer at once{}.",
                  full ? "; D4: four convolutions and the mean over the image" : ""),
      "The optimiser always sees 64 images a step; BatchNorm's statistics come from groups of 2 to "
      "64 of them. Same "
      "images, same steps, learning rate chosen for each cell.",
      fmt::format("{} steps, learning rates: F1 {}; F0 {}{}.", f1[0].spec.steps, chosen_rates(f1),
                  chosen_rates(f0), full ? "; D4 " + chosen_rates(d4) : "")};
  const auto points = [&](const char* id, const std::string& text, const Records& a,
                          const Records& b) {
    r.lines.push_back(statistical(
        id, text,
        compare(outcomes(a, "test_accuracy"), outcomes(b, "test_accuracy"), kChance, Better::more),
        kAccuracyMargin, Expect::positive, "points", 100));
  };
  points("C5a", "BatchNorm in F1: groups of 64 minus groups of 2", group(64), group(2));
  r.lines.back().meaning =
      "The norm after the hidden layer computes mean and variance from 2 values a channel.";
  points("C5b", "BatchNorm in F1: groups of 64 minus groups of 8", group(64), group(8));
  r.lines.back().meaning = "What is left of the dependence once 8 values make a statistic.";
  points("C5c", "BatchNorm in F0 (convolutions only): groups of 64 minus groups of 2",
         conv.at("BN 64"), conv.at("BN 2"));
  r.lines.back().meaning = "Here even a group of 2 averages 98 values or more a channel.";
  const Tensor images = lab.data()->test_x;
  const Record mates = lab.compute(
      "batch-mates", {{"net", "F1"}, {"norms", lab.batch().name + ", " + lab.layer().name}},
      [images, bn = lab.batch(), ln = lab.layer()](Record& record) {
        record.metrics["layer"] = change_by_count(ln);
        record.metrics["network"] =
            std::max(change_by_mates(ln, images, true), change_by_mates(ln, images, false));
        record.metrics["batch"] = change_by_mates(bn, images, true);
        record.metrics["batch_eval"] = change_by_mates(bn, images, false);
        record.metrics["accepted"] = !refuses_one_value_per_channel(bn);
      });
  r.lines.push_back(exact("C5d",
                          "LayerNorm(128): change of a sample's output with 0 to 255 batch-mates",
                          mates["layer"], Holds::at_most, 0));
  r.lines.push_back(exact("C5e",
                          "F1 with LayerNorm: change of a sample's logits under other batch-mates",
                          mates["network"], Holds::at_most, 0, "logits"));
  r.lines.push_back(exact("C5f", "F1 with BatchNorm in training: the same change", mates["batch"],
                          Holds::above, kNotZero, "logits"));
  r.lines.push_back(
      exact("C5g", "BatchNorm batches of one value per channel that are accepted in training",
            mates["accepted"], Holds::at_most, 0));
  r.lines.back().meaning = "One value has no variance: Loupe refuses it, as PyTorch does.";
  r.lines.push_back(exact(
      "C5h", "F1 with BatchNorm in eval mode: change of a sample's logits under other batch-mates",
      mates["batch_eval"], Holds::at_most, 0, "logits"));
  r.lines.back().beside = true;  // the other half of C7
  if (full) {
    points("C5i", "BatchNorm in D4 (convolutions only): groups of 64 minus groups of 2",
           deep.at("BN 64"), deep.at("BN 2"));
    r.lines.back().meaning =
        "A narrower network, whose statistics average 98 values and more a channel at groups of 2.";
    points("C5j", "BatchNorm in F1: groups of 64 minus groups of 16", group(64), group(16));
  }
  r.meaning = fmt::format(
      "Groups of 2 instead of 64 change F1's accuracy by {:+.1f} points ({}), the purely "
      "convolutional F0's by {:+.1f} ({}). "
      "LayerNorm's output for a sample "
      "{}, whoever shares the batch.",
      -r.lines[0].effect.mean, name(r.lines[0].verdict), -r.lines[2].effect.mean,
      name(r.lines[2].verdict),
      mates["layer"] == 0 && mates["network"] == 0 ? "is the same bit for bit" : "changes");
  if (r.lines[0].verdict == Verdict::reproduced && r.lines[2].verdict != Verdict::reproduced)
    r.meaning +=
        " What counts is how many values a statistic averages, not the batch size as such.";
  r.trap =
      "Sweeping the real batch size also changes the number of steps and the best learning rate; "
      "such a plot shows those";
  r.trap += full ? " (second chart: even the network without any norm \"depends on the batch\"). "
                   "Here only the normalisation's "
                   "group varies."
                 : ". Here only the normalisation's group varies.";

  Chart chart{.title = "Test accuracy against the samples behind one BatchNorm statistic",
              .x = {.label = "samples per statistic", .log = true},
              .y = {.label = "test accuracy, %"}};
  Series bn{.name = "BatchNorm, F1", .look = Look::bn},
      ln{.name = "LayerNorm, F1", .look = Look::ln},
      f0_line{.name = "BatchNorm, F0", .look = Look::other, .dashed = true},
      d4_line{.name = "BatchNorm, D4", .look = Look::extra, .dashed = true};
  for (auto g = groups.rbegin(); g != groups.rend(); ++g) {
    const auto x = static_cast<double>(*g);
    const std::string arm = fmt::format("BN {}", *g);
    chart.x.ticks.push_back(x);
    add_point(bn, x, group(*g), "test_accuracy", 100);
    if (conv.contains(arm)) add_point(f0_line, x, conv.at(arm), "test_accuracy", 100);
    if (deep.contains(arm)) add_point(d4_line, x, deep.at(arm), "test_accuracy", 100);
    add_point(ln, x, runs.at("LN"), "test_accuracy", 100);
  }
  ln.dots.resize(runs.at("LN").size());  // one run a seed: LayerNorm has no groups
  chart.series = {bn, f0_line, ln};
  if (full) chart.series.push_back(d4_line);
  chart.note =
      "Lines: mean over the seeds. LayerNorm knows no groups: its seeds are drawn once, at the "
      "left.";
  r.charts = {chart};
  if (full) {
    Chart trap{.title = "The trap: a sweep of the real batch at equal samples",
               .x = {.label = "batch size", .log = true, .ticks = {2, 4, 8, 32, 128}},
               .y = {.label = "test accuracy, %"}};
    for (const auto& [arm, title, look] : {std::tuple{"BN", "BatchNorm", Look::bn},
                                           {"LN", "LayerNorm", Look::ln},
                                           {"none", "no norm", Look::none}}) {
      Series s{.name = title, .look = look};
      for (double b : trap.x.ticks)
        add_point(s, b, swept.at(fmt::format("naive {} {}", arm, b)), "test_accuracy", 100);
      trap.series.push_back(std::move(s));
    }
    trap.note =
        "D4, 8,192 images seen in all, learning rate 0.1 at a batch of 64 and in proportion to it. "
        "A batch of 128 takes 64 "
        "steps, one of 2 takes 4,096: no evidence about norms.";
    r.charts.push_back(std::move(trap));
  }
  const auto rows = [](const std::string& title, const std::map<std::string, Records>& of) {
    std::vector<std::pair<std::string, const Records*>> all;
    for (const auto& [arm, records] : of) all.emplace_back(arm, &records);
    return seed_table(title, all, "test_accuracy", 100);
  };
  r.tables = {rows("F1: test accuracy, %", runs), rows("F0: test accuracy, %", conv)};
  if (full)
    r.tables.push_back(rows("D4: test accuracy, %", deep)),
        r.tables.push_back(rows("The naive sweep: test accuracy, %", swept));
  r.papers = {{"Wu & He 2018, Group Normalization", "https://arxiv.org/abs/1803.08494"},
              {"Ioffe 2017, Batch Renormalization", "https://arxiv.org/abs/1702.03275"},
              {"Singh & Shrivastava 2019, EvalNorm", "https://arxiv.org/abs/1904.06031"}};
  r.code = "lesson/c5.cpp";
  return r;
}

}  // namespace loupe::lesson
