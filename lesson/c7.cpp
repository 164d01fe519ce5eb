// C7: BatchNorm uses running averages at inference.
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

double running_variance_error(const Norm& norm) {
  Rng rng(3);
  const auto module = norm.make(6, Place::features);
  const Tensor x = 3 * randn(rng, {2, 6});
  NoGrad guard;
  module->call(x);
  for (const Named& b : named_buffers(*module))
    if (b.name == "running_var") return max(abs(b.tensor - (0.9 + 0.1 * var(x, {0})))).item();
  return INFINITY;
}

double formula_error(const Norm& norm, int axis) {
  NoGrad guard;
  Rng rng(9);
  const auto layer = norm.make(128, Place::features);
  const Tensor x = randn(rng, {64, 128}).to(DType::f32);
  const Tensor wide = x.to(DType::f64),
               expected = (wide - mean(wide, {axis}, true)) / sqrt(var(wide, {axis}, 0, true));
  return max(abs(layer->call(x).to(DType::f64) - expected)).item();
}

ClaimResult claim7(Lab& lab) {
  auto arms = f1_arms(lab, {64});
  std::erase_if(arms, [](const auto& a) { return a.name != "BN 64"; });
  const auto all = lab.measure(arms);
  const Records& runs = all.at("BN 64");
  const auto points = [&](const char* id, const std::string& text, const std::string& a,
                          const std::string& b, double margin, Expect e) {
    return statistical(id, text,
                       compare(outcomes(runs, a), outcomes(runs, b), kChance, Better::more), margin,
                       e, "points", 100);
  };
  ClaimResult r{.id = "C7", .title = "Running averages at inference"};
  r.says = "BatchNorm uses running averages at inference.";
  r.experiment = {
      "F1 with BatchNorm trained in batches of 64; then the same weights judged on 1,000 test "
      "images in two ways.",
      "Eval mode (running averages) in batches of 1 and 250; batch statistics in batches of 2 to "
      "250, shuffled and "
      "sorted by class.",
      "The batch statistics are taken on a copy, because training mode would also move the running "
      "averages."};
  const int64_t n = lab.data()->test_x.size(0);
  const int64_t large = n >= 250 ? 64 : 16;  // the tiny profile has few images
  r.lines.push_back(points("C7a", "running averages minus batch statistics of 2 images",
                           "running_1", "batch_2", 20, Expect::positive));
  double gap = 0;
  for (const Record& run : runs)
    gap = std::max(gap, std::abs(run["running_1"] - run["running_250"]));
  r.lines.push_back(exact("C7b", "running averages: accuracy one by one against batches of 250",
                          100 * gap, Holds::at_most, 0, "points"));
  r.lines.push_back(points(
      "C7c", fmt::format("batches of {}: shuffled minus sorted by class", large),
      fmt::format("batch_{}", large), fmt::format("sorted_{}", large), 10, Expect::positive));
  r.lines.push_back(points("C7d", "batch statistics of 250 shuffled images minus running averages",
                           "batch_250", "running_250", 1, Expect::none));
  r.lines.back().beside = true;  // the lesson does not say how much the two differ
  r.lines.push_back(exact(
      "C7e", "running variance after one batch against .9 + .1 n/(n-1) biased variance: error",
      running_variance_error(lab.batch()), Holds::at_most, 1e-5));
  r.lines.push_back(
      exact("C7f",
            "BatchNorm1d(128) in training against (x - mean_batch) / std_batch: largest difference",
            formula_error(lab.batch(), 0), Holds::at_most, 1e-4));
  r.lines.back().meaning =
      "The lesson's formula. The difference is eps = 1e-5 under the root; std_batch is the biased "
      "one.";
  r.lines[0].meaning =
      "Batch statistics of a few images are another function than the one that was trained.";
  r.lines[2].meaning =
      "An answer that depends on the neighbours: a class-sorted stream shifts the statistics.";
  r.lines[3].meaning = "In large shuffled batches: do the two differ at all?";
  const double lost = r.lines[0].effect.mean, by_class = r.lines[2].effect.mean;
  r.meaning = fmt::format(
      "Judged by batch statistics of 2 images, the same weights score {:.1f} points {}; sorted by "
      "class, batches of {} {} "
      "{:.1f}. Running averages "
      "{}. In large shuffled batches the two {}.",
      std::abs(lost), lost > 0 ? "less" : "more", large, by_class > 0 ? "lose" : "gain",
      std::abs(by_class),
      gap == 0 ? "give each image its own answer whatever the batch"
               : "gave answers that depend on the batch",
      by_verdict(r.lines[3], "hardly differ", "hardly differ", "differ",
                 "may differ (not decided)"));
  r.trap =
      "Evaluating in training mode on large shuffled batches hides the mistake, and moves the "
      "running averages as it goes.";
  Chart chart{
      .title = "The same weights, judged in three ways",
      .x = {.label = "images per test batch", .log = true, .ticks = {1, 2, 4, 8, 16, 64, 250}},
      .y = {.label = "test accuracy, %"}};
  Series running{.name = "running averages", .look = Look::bn},
      batch{.name = "batch statistics", .look = Look::other},
      sorted{.name = "sorted by class", .look = Look::extra, .dashed = true};
  add_point(running, 1, runs, "running_1", 100);
  add_point(running, 250, runs, "running_250", 100);
  for (int b : {2, 4, 8, 16, 64, 250}) {
    add_point(batch, b, runs, fmt::format("batch_{}", b), 100);
    add_point(sorted, b, runs, fmt::format("sorted_{}", b), 100);
  }
  chart.series = {running, batch, sorted};
  chart.note =
      "A batch of 1 cannot be judged by batch statistics: one value per channel has no variance, "
      "and Loupe refuses it.";
  r.charts = {chart};
  Table t{.title = "Test accuracy, %", .head = {"judged by"}};
  for (const Record& run : runs) t.head.push_back(fmt::format("seed {}", run.seed));
  t.head.push_back("mean");
  for (const char* m :
       {"running_1", "running_250", "batch_2", "batch_4", "batch_8", "batch_16", "batch_64",
        "batch_250", "sorted_2", "sorted_16", "sorted_64", "sorted_250"})
    t.rows.push_back(seed_row(m, runs, m, 100));
  r.tables = {t};
  r.papers = {
      {"Ioffe & Szegedy 2015, Batch Normalization, section 3.1",
       "https://arxiv.org/abs/1502.03167"},
      {"Wu & Johnson 2021, Rethinking \"Batch\" in BatchNorm", "https://arxiv.org/abs/2105.07576"}};
  r.code = "lesson/c7.cpp";
  return r;
}

}  // namespace loupe::lesson
