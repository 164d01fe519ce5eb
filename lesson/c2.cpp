// C2: normalisation speeds up convergence.
#include <loupe/lesson/lab.h>

#include <cmath>
#include <map>

namespace loupe::lesson {
namespace {

constexpr double kThreshold = 1.0;  // training loss, mean of 10 steps; fixed before the runs

// The first step whose last ten losses average below the threshold; the whole budget if there is
// none.
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

// The loss smoothed over ten steps: thin for each seed, and the median of those that live.
Series curve(const std::string& name, Look look, const Records& runs) {
  Series s{.name = name, .look = look};
  std::map<double, std::vector<double>> at_step;
  for (const Record& r : runs) {
    const auto& loss = r.series.at("loss");
    const size_t window = std::min<size_t>(10, loss.size());  // the tiny profile has fewer steps
    s.seeds.push_back({.hover = fmt::format("seed {}", r.seed)});
    for (size_t at = window; at <= loss.size(); at += 10) {
      const double v = mean(std::span(loss).subspan(at - window, window));
      if (!std::isfinite(v)) break;
      s.seeds.back().line.push_back({static_cast<double>(at), v});
      at_step[static_cast<double>(at)].push_back(v);
    }
  }
  for (const auto& [step, v] : at_step) s.line.push_back({step, median(v)});
  return s;
}

// A network's comparison: its arms' steps to the threshold.
struct Race {
  std::string net;
  std::vector<Arm<ClassifierSpec>> arms;
  std::map<std::string, Records> runs;
  double budget;
  std::vector<Outcome> steps(const std::string& arm) const { return speeds(runs.at(arm), budget); }
};

}  // namespace

ClaimResult claim2(Lab& lab) {
  const bool full = lab.profile().full();
  std::vector<Race> races;
  for (int depth : full ? std::vector<int>{8, 14} : std::vector<int>{8}) {
    Race race{
        .net = fmt::format("D{}", depth), .arms = plain_arms(lab, depth), .runs = {}, .budget = 0};
    race.runs = lab.measure(race.arms);
    race.budget = static_cast<double>(race.arms[0].spec.steps);
    if (depth == 8) race.runs["none best"] = best_rates(lab, race.arms[0]);
    races.push_back(std::move(race));
  }
  const Race& d8 = races[0];

  ClaimResult r{.id = "C2", .title = "Speed of convergence"};
  r.says = "Normalisation speeds up convergence.";
  std::string rates = "D8 " + chosen_rates(d8.arms);
  if (full) rates += "; D14 " + chosen_rates(races[1].arms);
  r.experiment = {
      fmt::format("A plain CNN of 8 convolutions, D8{}, on 8,192 images of Fashion-MNIST, batches "
                  "of 64, cosine schedule.",
                  full ? ", and one of 14, D14" : ""),
      fmt::format("Steps until the training loss (mean of 10 steps) is below {}; a run that never "
                  "gets there counts with the "
                  "whole budget of {} steps.",
                  kThreshold, d8.budget),
      "Each arm at its own rate, chosen on validation data and other seeds: " + rates + "."};
  const auto faster = [&](const char* id, const Race& race, const char* slow, const char* fast,
                          const std::string& text) {
    r.lines.push_back(
        statistical(id, race.net + ": " + text,
                    compare_log2(race.steps(slow), race.steps(fast), race.budget, Better::less),
                    kRatioMargin, Expect::positive, "doublings"));
    r.lines.back().meaning = "1 doubling: half the steps.";
  };
  faster("C2a", d8, "none", "BN", "steps without a norm over steps with BatchNorm");
  faster("C2b", d8, "none", "LN", "steps without a norm over steps with LayerNorm");
  faster("C2c", d8, "none best", "BN", "the same as C2a, no norm at the best rate of each seed");
  r.lines.back().meaning =
      "Generous to the network without a norm: its rate is chosen again for every seed, so that no "
      "seed dies of it.";
  if (full) {
    faster("C2d", races[1], "none", "BN", "steps without a norm over steps with BatchNorm");
    faster("C2e", races[1], "none", "LN", "steps without a norm over steps with LayerNorm");
  }
  const auto factor = [](const Line& l) {
    return l.survival ? fmt::format("(survival compared: {})", name(l.verdict))
                      : fmt::format("{:.1f} times ({})", std::exp2(l.effect.mean), name(l.verdict));
  };
  r.meaning = fmt::format(
      "Steps to the threshold in the plain CNN: without a norm {} BatchNorm's, even at each seed's "
      "own best rate {}; and {} "
      "LayerNorm's.",
      factor(r.lines[0]), factor(r.lines[2]), factor(r.lines[1]));
  r.trap =
      "One shared learning rate: at BatchNorm's best rate the network without a norm tends to die; "
      "at the other's best rate "
      "BatchNorm need not be faster. "
      "The early fall of the loss is not the end of training either; see C3.";
  const char* arm_names[] = {"none", "LN", "BN"};
  const std::vector<std::string> titles{"no norm", "LayerNorm", "BatchNorm"};
  const Look looks[] = {Look::none, Look::ln, Look::bn};
  for (const Race& race : races) {
    Chart chart{.title = race.net + ": training loss, each arm at its own learning rate",
                .x = {.label = "step"},
                .y = {.label = "training loss, nats"},
                .marks = {{kThreshold, "threshold"}}};
    for (size_t a = 0; a < 3; ++a)
      chart.series.push_back(curve(titles[a], looks[a], race.runs.at(arm_names[a])));
    chart.note = "Thin lines: the seeds, means of 10 steps; thick: their median.";
    r.charts.push_back(std::move(chart));
  }
  Chart dots{.title = "D8: steps to the threshold, each seed",
             .x = {.label = "", .categories = titles},
             .y = {.label = "steps"},
             .marks = {{d8.budget, "budget"}},
             .paired = true};
  for (size_t a = 0; a < 3; ++a) {
    Records steps = d8.runs.at(arm_names[a]);
    const auto speed = d8.steps(arm_names[a]);
    for (size_t i = 0; i < steps.size(); ++i)
      steps[i].metrics["steps"] = speed[i].dead ? d8.budget : speed[i].value, steps[i].dead = false;
    dots.series.push_back(column(titles[a], looks[a], a, steps, "steps"));
  }
  dots.note = "A run that died or never gets there stands at the budget.";
  r.charts.push_back(std::move(dots));
  for (const Race& race : races) {
    Table table{.title = race.net + ": steps to the threshold", .head = {"arm"}};
    for (const Record& run : race.runs.at("none"))
      table.head.push_back(fmt::format("seed {}", run.seed));
    for (const auto& [arm, runs] : race.runs) {
      table.rows.push_back({arm});
      for (const Outcome& o : race.steps(arm))
        table.rows.back().push_back(o.dead ? "died" : fmt::format("{}", o.value));
    }
    r.tables.push_back(std::move(table));
  }
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Bjorck et al. 2018, Understanding Batch Normalization",
               "https://arxiv.org/abs/1806.02375"}};
  r.code = "lesson/c2.cpp";
  return r;
}

}  // namespace loupe::lesson
