// C2: normalisation speeds up convergence.
#include <loupe/lesson/lab.h>

#include <cmath>
#include <map>

namespace loupe::lesson {
namespace {

constexpr double kThreshold = kStepsLoss;  // training loss, mean of 10 steps

// A network's race: its arms, and that of no norm at each rate.
struct Race {
  Race(const Lab& lab, int depth)
      : title(fmt::format("{} plain convolutions", depth)),
        arms(lab, depth),
        budget(static_cast<double>(arms.none.spec.steps)) {}
  std::string title;
  PlainArms arms;
  std::vector<ClassifierArm> generous{};
  double budget;
};

class Claim2 : public Claim {
 public:
  explicit Claim2(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  const Race& d8() const { return races_[0]; }
  std::vector<Race> races_;  // D8; in the full profile D14
};

Claim2::Claim2(Lab& lab) {
  races_.emplace_back(lab, 8);
  if (lab.profile().full()) races_.emplace_back(lab, 14);
}

void Claim2::run(Lab& lab) {
  for (Race& race : races_) race.arms.run(lab);
  races_[0].generous = generous(d8().arms.none);
  lab.measure(races_[0].generous);
}

// --- What is asked ---

Question faster(const std::string& id, const Race& race, const Sample& slow,
                const ClassifierArm& fast) {
  return doublings(id, slow, of(fast, kSteps), race.budget, Expect::positive);
}

std::vector<Question> Claim2::questions() const {
  const auto none = [](const Race& race) { return of(race.arms.none, kSteps); };
  std::vector<Question> all{
      faster("C2a", d8(), none(d8()), d8().arms.bn),
      limits(faster("C2b", d8(), none(d8()), d8().arms.ln)),
      primary(faster("C2c", d8(), best_valid(d8().generous, kSteps), d8().arms.bn))};
  if (races_.size() > 1) {
    const Race& d14 = races_[1];
    all.push_back(faster("C2d", d14, none(d14), d14.arms.bn));
    all.push_back(faster("C2e", d14, none(d14), d14.arms.ln));
  }
  return all;
}

void Claim2::facts(Facts& facts) const {
  std::string rates;
  for (const Race& race : races_) {
    const std::vector<const ClassifierArm*> arms{&race.arms.none, &race.arms.ln, &race.arms.bn};
    rates += fmt::format("{}{} {}", rates.empty() ? "" : "; ", race.title, chosen_rates(arms));
  }
  facts.text("rates", rates);
  facts.text("threshold", short_number(kThreshold));
  facts.text("budget", short_number(d8().budget));
}

// --- Charts and tables ---

// The loss smoothed over ten steps: thin for each seed, and the median of those that live.
Series curve(const ClassifierArm& arm) {
  Series s = series_of(arm.style);
  std::map<double, std::vector<double>> at_step;
  for (const Record& r : arm.runs) {
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

Chart curves(const Race& race) {
  Chart c{.title = race.title + ": training loss, each arm at its own learning rate",
          .x = {.label = "step"},
          .y = {.label = "training loss, nats"},
          .marks = {{kThreshold, "threshold"}}};
  c.series = {curve(race.arms.none), curve(race.arms.ln), curve(race.arms.bn)};
  c.note = "Thin lines: the seeds, means of 10 steps; thick: their median.";
  return c;
}

// A run that died or never got there stands at the budget.
ClassifierArm at_budget(ClassifierArm arm, double budget) {
  for (Record& r : arm.runs) {
    double& steps = r.metrics[kSteps];
    if (r.dead || std::isnan(steps)) steps = budget;
    r.dead = false;
  }
  return arm;
}

Chart steps_of_seeds(const Race& race) {
  const ClassifierArm none = at_budget(race.arms.none, race.budget);
  const ClassifierArm ln = at_budget(race.arms.ln, race.budget);
  const ClassifierArm bn = at_budget(race.arms.bn, race.budget);
  Chart c = columns({.title = "Deep plain CNN: steps to the threshold, each seed",
                     .y_label = "steps",
                     .arms = {&none, &ln, &bn},
                     .metric = "steps",
                     .note = "A run that died or never gets there stands at the budget."});
  c.marks = {{race.budget, "budget"}};
  return c;
}

std::vector<Chart> Claim2::charts() const {
  std::vector<Chart> all;
  for (const Race& race : races_) all.push_back(curves(race));
  all.push_back(steps_of_seeds(d8()));
  return all;
}

std::vector<Table> Claim2::tables() const {
  std::vector<Table> all;
  for (const Race& race : races_) {
    std::vector<const Measured*> arms{&race.arms.none, &race.arms.ln, &race.arms.bn};
    for (const ClassifierArm& cell : race.generous) arms.push_back(&cell);
    all.push_back(seed_table(race.title + ": steps to the threshold", arms, "steps", 1, 0));
  }
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim2(Lab& lab) { return std::make_unique<Claim2>(lab); }

}  // namespace loupe::lesson
