// C2: normalisation speeds up convergence.
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

constexpr double kThreshold = 1.0;  // training loss, mean of 10 steps; fixed before the runs

// The first step whose last ten losses average below the threshold; the whole budget if there is none.
double steps_to(const Record& r, double budget) {
  const auto& loss = r.series.at("loss");
  double sum = 0;
  for (size_t i = 0; i < loss.size(); ++i) {
    sum += loss[i];
    if (i >= 10) sum -= loss[i - 10];
    if (!std::isfinite(sum)) break;
    if (i >= 9 && sum / 10 < kThreshold) return static_cast<double>(i + 1);
  }
  return budget;
}

std::vector<Outcome> speeds(const Records& runs, double budget) {
  std::vector<Outcome> v;
  for (const Record& r : runs) v.push_back({steps_to(r, budget), r.dead});
  return v;
}

// Median over the seeds of the loss, smoothed over ten steps, with the range of the seeds.
Series curve(const std::string& name, Look look, const Records& runs) {
  Series s{.name = name, .look = look};
  size_t n = 0;
  for (const Record& r : runs) n = std::max(n, r.series.at("loss").size());
  const size_t window = std::min<size_t>(10, n);  // the tiny profile has fewer steps
  for (size_t at = window - 1; at < n; at += 10) {
    std::vector<double> v;
    for (const Record& r : runs) {
      const auto& loss = r.series.at("loss");
      if (at < loss.size()) v.push_back(mean(std::span(loss).subspan(at + 1 - window, window)));
    }
    std::erase_if(v, [](double x) { return !std::isfinite(x); });
    if (v.empty()) break;
    const auto x = static_cast<double>(at + 1);
    s.line.push_back({x, median(v)});
    const auto [lo, hi] = std::ranges::minmax(v);
    s.band.push_back({x, lo, hi});
  }
  return s;
}

}  // namespace

ClaimResult claim2(Lab& lab) {
  const auto arms = d8_arms(lab);
  const auto runs = lab.measure(arms);
  const auto budget = static_cast<double>(arms[0].spec.steps);
  const auto none = speeds(runs.at("none"), budget), ln = speeds(runs.at("LN"), budget), bn = speeds(runs.at("BN"), budget);

  ClaimResult r{.id = "C2", .title = "Speed of convergence"};
  r.says = "Normalisation speeds up convergence.";
  r.experiment = {"A plain CNN of 8 convolutions on 8,192 images of Fashion-MNIST, batches of 64, cosine schedule.",
                  fmt::format("Steps until the training loss (mean of 10 steps) is below {}; a run that never gets there counts with the "
                              "whole budget of {} steps.", kThreshold, budget),
                  fmt::format("Each arm at its own rate, chosen on validation data and other seeds: {}.", chosen_rates(arms))};
  r.lines.push_back(statistical("C2a", "steps without a norm over steps with BatchNorm", compare_log2(none, bn, budget), kRatioMargin,
                                Expect::positive, "doublings"));
  r.lines.push_back(statistical("C2b", "steps without a norm over steps with LayerNorm", compare_log2(none, ln, budget), kRatioMargin,
                                Expect::positive, "doublings"));
  r.lines[0].meaning = r.lines[1].meaning = "1 doubling: half the steps.";
  const auto factor = [&](size_t i) { return short_number(std::round(100 * std::exp2(r.lines[i].effect.mean)) / 100); };
  r.meaning = r.lines[0].survival ? "So many runs died that survival is compared."
                                  : fmt::format("BatchNorm needs {} times fewer steps than no norm in this plain CNN, LayerNorm {} times fewer.",
                                                factor(0), factor(1));
  r.trap = "One shared learning rate: at BatchNorm's best rate the network without a norm dies; at the other's best rate BatchNorm is no faster. "
           "The early fall of the loss is not the end of training either; see C3.";
  Chart chart{.title = "Training loss, each arm at its own learning rate", .x = {.label = "step"},
              .y = {.label = "training loss, nats"}, .marks = {{kThreshold, "threshold"}}};
  chart.series = {curve("no norm", Look::none, runs.at("none")), curve("LayerNorm", Look::ln, runs.at("LN")),
                  curve("BatchNorm", Look::bn, runs.at("BN"))};
  chart.note = "Lines: median of the seeds, means of 10 steps; shaded: all seeds.";
  Chart dots{.title = "Steps to the threshold, each seed", .x = {.label = "", .categories = {"no norm", "LayerNorm", "BatchNorm"}},
             .y = {.label = "steps"}, .marks = {{budget, "budget"}}, .paired = true};
  Table table{.title = "Steps to the threshold", .head = {"arm"}};
  const Look looks[] = {Look::none, Look::ln, Look::bn};
  const std::vector<Outcome>* values[] = {&none, &ln, &bn};
  for (size_t a = 0; a < 3; ++a) {
    Series s{.name = dots.x.categories[a], .look = looks[a]};
    std::vector<std::string> row{s.name};
    double sum = 0;
    for (size_t i = 0; i < values[a]->size(); ++i) {
      const double steps = (*values[a])[i].dead ? budget : (*values[a])[i].value;
      s.dots.push_back({static_cast<double>(a) + 0.07 * (static_cast<double>(i) - 1), steps, fmt::format("seed {}: {} steps", i + 1, steps)});
      row.push_back(fmt::format("{}{}", steps, (*values[a])[i].dead ? " (died)" : ""));
      sum += steps;
    }
    s.line.push_back({static_cast<double>(a), std::round(sum / static_cast<double>(values[a]->size()))});
    dots.series.push_back(s);
    table.rows.push_back(row);
  }
  for (size_t i = 0; i < none.size(); ++i) table.head.push_back(fmt::format("seed {}", i + 1));
  r.charts = {chart, dots};
  r.tables = {table};
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Bjorck et al. 2018, Understanding Batch Normalization", "https://arxiv.org/abs/1806.02375"}};
  r.code = "lesson/c2.cpp";
  return r;
}

}  // namespace loupe::lesson
