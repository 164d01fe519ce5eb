#pragma once
// What a claim works with: the profile, the seeds, the data and the scheduler; and the arms that
// several claims share. All claims run at once, each waiting for its own runs, and runs that two
// claims ask for are made once.
#include <loupe/lesson/arm.h>
#include <loupe/lesson/claim.h>
#include <loupe/lesson/effort.h>
#include <loupe/lesson/rates.h>
#include <loupe/lesson/training.h>

#include <algorithm>
#include <map>

namespace loupe::lesson {

struct Profile {
  std::string name = "quick";
  // How many seeds a line is looked at with: runs are added until it is settled. Lines that explain
  // stop at the second look.
  std::vector<int> looks{4, 8, 12};
  uint64_t first_seed = 1;
  int tuning_seeds = 2;
  int64_t test_images = 10000;
  bool full() const { return name == "full"; }
  bool tiny() const { return name == "tiny"; }
  /// quick, full, tiny (tests: seconds, numbers mean nothing). ValueError for another name.
  static Profile named(const std::string& name);
  /// Steps of a training, cut short in the tiny profile.
  int64_t steps(int64_t n) const { return tiny() ? std::max<int64_t>(6, n / 50) : n; }
};

/// One of the two norms that are compared, as arms are made of it: "BN", its style, the norm.
struct Contestant {
  std::string name;
  Style style;
  Norm norm;
};

/// What a lab needs besides its claim's name.
struct Equipment {
  Profile profile{};
  std::shared_ptr<const Data> data{};
  Scheduler* scheduler = nullptr;
  Norms norms{};                         // what is compared; own in a place of the two: see own.h
  const RateTable* known = nullptr;      // learning rates that need not be looked for
  RateTable* chosen = nullptr;           // is told the others
  const EffortTable* efforts = nullptr;  // what runs cost before: for the time left
};

class Lab {
 public:
  enum class Mode {
    measure,
    plan  // nothing is run: the scheduler is told what will be
  };
  Lab(std::string claim, Equipment equipment, Mode mode = Mode::measure)
      : claim_(std::move(claim)), with_(std::move(equipment)), mode_(mode) {}

  const Profile& profile() const { return with_.profile; }
  const std::shared_ptr<const Data>& data() const { return with_.data; }
  const Norm& batch() const { return with_.norms.batch; }
  const Norm& layer() const { return with_.norms.layer; }
  /// BatchNorm, LayerNorm, or one's own norm in the place of one of them.
  Contestant bn() const { return contestant("BN", kBatch, batch()); }
  Contestant ln() const { return contestant("LN", kLayer, layer()); }
  /// "BatchNorm" or "LayerNorm", whose place one's own norm has; empty: neither's.
  std::string own_place() const;
  /// Is an arm of it one's own norm's?
  bool asks_own(const Question& question) const;
  /// "batch, layer": for the configuration of exact facts.
  std::string norm_names() const { return batch().name + ", " + layer().name; }
  /// Seeds 1, 2, ... (or from the profile's first one on) decide verdicts; 1001, 1002, ... choose learning rates and nothing else.
  std::vector<uint64_t> seeds(const Config& arm) const;
  std::vector<uint64_t> tuning_seeds() const { return range(1001, profile().tuning_seeds); }
  /// From now on the arms of the question have the seeds of the next look. False where there is
  /// none.
  bool look_again(const Question& question);

  /// Every arm over its verdict seeds: fills in their runs.
  template <class Spec> void measure(const Arms<Spec>& arms) {
    std::vector<std::vector<uint64_t>> with;
    for (const Arm<Spec>* arm : arms) with.push_back(seeds(verdict(arm->spec.config())));
    const Records all = run(arms, with, false);
    auto next = all.begin();
    for (size_t i = 0; i < arms.size(); ++i) {
      const auto n = static_cast<std::ptrdiff_t>(with[i].size());
      arms[i]->runs.assign(next, next + n);
      next += n;
    }
  }
  template <class Spec> void measure(std::vector<Arm<Spec>>& arms) { measure(pointers(arms)); }

  /// Gives each arm its learning rate: the known one, or else that with the smallest median
  /// validation loss over the tuning seeds, the smaller rate in a tie; where the best is at an edge,
  /// the grid grows there once by the factor of its last step.
  template <class Spec> void tune(const Arms<Spec>& arms, const std::vector<double>& grid) {
    Arms<Spec> unknown;
    for (Arm<Spec>* arm : arms) {
      const auto rate = with_.known ? with_.known->find(arm->spec.config()) : std::nullopt;
      if (rate) arm->spec.lr = *rate;
      else unknown.push_back(arm);
    }
    if (!unknown.empty()) search(unknown, grid);
  }
  template <class Spec> void tune(std::vector<Arm<Spec>>& arms, const std::vector<double>& grid) {
    tune(pointers(arms), grid);
  }

  /// A single computation as a run: shown in the progress, kept in the file. For exact facts.
  Measured compute(const std::string& arm, const Config& config, std::function<void(Record&)> make);

 private:
  Contestant contestant(const char* name, const Style& style, const Norm& norm) const;
  static std::vector<uint64_t> range(uint64_t first, int n);
  // As a run's record has it.
  static Config verdict(Config arm) {
    arm["role"] = "verdict";
    return arm;
  }
  static double best(const std::map<double, double>& medians);
  /// The rate one step outside the grid if `lr` is its edge; else none.
  static std::vector<double> beyond_the_edge(double lr, const std::vector<double>& grid);
  /// The median of the validation losses, a dead run's being infinite.
  double median_loss(std::span<const Record> runs) const;

  template <class Spec> void search(const Arms<Spec>& arms, const std::vector<double>& grid) {
    std::vector<std::map<double, double>> medians(arms.size());  // by learning rate
    std::vector<std::vector<double>> wanted(arms.size(), grid);
    for (int round = 0; round < 2; ++round) {
      try_rates(arms, wanted, medians);
      if (mode_ == Mode::plan) return;
      for (size_t a = 0; a < arms.size(); ++a) {
        arms[a]->spec.lr = best(medians[a]);
        wanted[a].clear();
        if (round == 0 && !profile().tiny()) wanted[a] = beyond_the_edge(arms[a]->spec.lr, grid);
      }
    }
    if (!with_.chosen) return;
    for (const Arm<Spec>* arm : arms) with_.chosen->add(arm->spec.config(), arm->spec.lr);
  }
  template <class Spec>
  void try_rates(const Arms<Spec>& arms, const std::vector<std::vector<double>>& wanted,
                 std::vector<std::map<double, double>>& medians) {
    std::vector<Arm<Spec>> trials;
    for (size_t a = 0; a < arms.size(); ++a)
      for (double lr : wanted[a]) {
        trials.push_back(*arms[a]);
        trials.back().spec.lr = lr;
      }
    const std::vector<std::vector<uint64_t>> with(trials.size(), tuning_seeds());
    const Records records = run(pointers(trials), with, true);
    if (mode_ == Mode::plan) return;
    std::span<const Record> rest(records);
    for (size_t a = 0; a < arms.size(); ++a)
      for (double lr : wanted[a]) {
        medians[a][lr] = median_loss(rest.first(tuning_seeds().size()));
        rest = rest.subspan(tuning_seeds().size());
      }
  }
  template <class Spec>
  Records run(const Arms<Spec>& arms, const std::vector<std::vector<uint64_t>>& with, bool tuning) {
    std::vector<Job> jobs;
    for (size_t i = 0; i < arms.size(); ++i)
      for (uint64_t seed : with[i]) {
        const Arm<Spec>& arm = *arms[i];
        Job job;
        job.record.claim = claim_;
        job.record.arm = arm.name;
        job.record.seed = seed;
        job.record.tuning = tuning;
        job.record.config = arm.spec.config();
        job.record.config["role"] = tuning ? "tuning" : "verdict";
        job.cost = cost(job.record.config, arm.spec.cost());
        job.make = [spec = arm.spec](Record& r) { spec.make(r); };
        jobs.push_back(std::move(job));
      }
    return run(jobs);
  }
  // Measured before, else rough.
  double cost(const Config& config, double rough) const;
  /// Makes them, or tells the scheduler of them and returns records without numbers.
  Records run(const std::vector<Job>& jobs);

  std::string claim_;
  Equipment with_;
  Mode mode_;
  std::map<Config, size_t> look_;  // of an arm, from 0; those that are not here have the first
};

extern template void Lab::measure(const Arms<ClassifierSpec>&);
extern template void Lab::measure(const Arms<TransformerSpec>&);
extern template void Lab::tune(const Arms<ClassifierSpec>&, const std::vector<double>&);
extern template void Lab::tune(const Arms<TransformerSpec>&, const std::vector<double>&);

// --- Arms that several claims share ---

using ClassifierArm = Arm<ClassifierSpec>;
using TransformerArm = Arm<TransformerSpec>;

/// The arms of a CNN: no norm, LayerNorm, GroupNorm as asked for, and BatchNorm for each group
/// size; in F1 the widest group is looked at closely (inspect). F1 is shared by C3, C5, C6, C7, C9 and
/// C11.
struct CnnArms {
  struct Others {
    bool none = false, layer = false, group = false;
  };
  /// No arms.
  CnnArms() = default;
  CnnArms(const Lab& lab, const std::string& net, Others others,
          const std::vector<int64_t>& groups);
  Arms<ClassifierSpec> all();
  std::vector<const ClassifierArm*> list() const;
  /// Those that cannot die and are alike in spread: all but BatchNorm's groups of 2 and 4.
  std::vector<const Measured*> pool() const;
  void tune(Lab& lab);
  /// Tunes, then measures.
  void run(Lab& lab);

  ClassifierArm none, ln, gn;
  std::map<int64_t, ClassifierArm> bn;
};
/// F1 with all of them.
CnnArms f1_arms(const Lab& lab, const std::vector<int64_t>& groups);
/// The sizes of BatchNorm's groups that C5 and C11 compare: fewer in the quick profile.
std::vector<int64_t> group_sizes(const Lab& lab);

/// The arms of the plain CNN D(depth) that C2, C3 and C6 share.
struct PlainArms {
  PlainArms(const Lab& lab, int depth);
  Arms<ClassifierSpec> all() { return {&none, &ln, &bn}; }
  std::vector<const ClassifierArm*> list() const { return {&none, &ln, &bn}; }
  void run(Lab& lab);

  ClassifierArm none, ln, bn;
};
/// A rival treated generously: a cell at each rate that a seed may live at, of which a sample picks
/// each seed's best.
std::vector<ClassifierArm> generous(const ClassifierArm& arm);
/// Of the cells, by validation loss.
Sample best_valid(const std::vector<ClassifierArm>& cells, const std::string& metric);

/// The arms of the character-level Transformer that C8, C9 and C10 share, on one of the texts; 8
/// blocks, 16 windows of 32 characters a batch.
struct TextArms {
  TextArms(const Lab& lab, size_t text);
  Arms<TransformerSpec> all() { return {&none, &scaled, &ln, &bn}; }
  std::vector<const TransformerArm*> list() const { return {&none, &scaled, &ln, &bn}; }
  /// Those that cannot die.
  std::vector<const Measured*> pool() const { return {&scaled, &ln, &bn}; }
  void tune(Lab& lab);

  TransformerArm none, scaled, ln, bn;
};
/// The learning rates of TextArms.
std::vector<double> text_grid(const Profile& profile);

/// Two blocks on `batch` windows of `context` characters, as C8, C9 and C11 share them.
struct WindowArms {
  WindowArms(const Lab& lab, size_t text, int64_t context, int64_t batch);
  Arms<TransformerSpec> all() { return {&ln, &bn}; }
  std::vector<const TransformerArm*> list() const { return {&ln, &bn}; }
  void run(Lab& lab);

  TransformerArm ln, bn;
};
/// The loss of knowing nothing about a text: ln(symbols).
double knowing_nothing(const TextData& text);

// --- Pieces that several claims share ---

/// Means and single seeds of a metric as a series over x positions.
void add_point(Series& s, double x, const Records& runs, const std::string& metric,
               double scale = 1);
/// A series in the arm's style, empty.
Series series_of(const Style& style);
/// Columns of a dot plot, one an arm: single seeds spread a little, and their mean.
struct Columns {
  std::string title;
  std::string y_label;
  std::vector<const Measured*> arms;
  std::string metric;
  double scale = 1;
  bool paired = true;
  std::string note{};
};
Chart columns(const Columns& plot);
/// One such column.
Series column(const std::string& name, Look look, size_t position, const Records& runs,
              const std::string& metric, double scale = 1);
/// "none: 0.03, LN: 0.1, ...".
template <class ArmPointers> std::string chosen_rates(const ArmPointers& arms) {
  std::string text;
  for (const auto* a : arms)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", a->name, short_number(a->spec.lr));
  return text;
}
/// seed_row for each arm by its name, with a head of seeds.
Table seed_table(const std::string& title, const std::vector<const Measured*>& arms,
                 const std::string& metric, double scale = 1, int digits = 1);
template <class Spec>
std::vector<const Measured*> measured(const std::vector<const Arm<Spec>*>& arms) {
  return {arms.begin(), arms.end()};
}
template <class Spec> std::vector<const Measured*> measured(const std::vector<Arm<Spec>>& arms) {
  std::vector<const Measured*> all;
  for (const auto& arm : arms) all.push_back(&arm);
  return all;
}

// --- Checks of a norm that hold exactly or to rounding; a broken norm fails one of them ---

/// The largest change of a sample's logits in F1 when its seven batch-mates are exchanged (c5.cpp).
/// images: 15 or more.
double change_by_mates(const Norm& norm, const Tensor& images, bool training);
/// The layer alone: the largest change of a row's output when the number of its batch-mates goes
/// from 0 to 255 (c5.cpp).
double change_by_count(const Norm& norm);
/// |running variance - (.9 + .1 unbiased variance)| after one batch of two samples; infinite
/// without one (c7.cpp).
double running_variance_error(const Norm& norm);
/// The largest |norm(x) - (x - mean) / std| in training, (64, 128) standard normal values, mean and
/// (biased) std over the axis: the lesson's two formulas (c7.cpp).
double formula_error(const Norm& norm, int axis);
/// The part of a token's gradient along the normalised token, relative to the whole: 0, since its
/// scale does not matter (c10.cpp).
double gradient_along_token(const Norm& norm);

// --- The claims ---
std::unique_ptr<Claim> claim1(Lab& lab);
std::unique_ptr<Claim> claim2(Lab& lab);
std::unique_ptr<Claim> claim3(Lab& lab);
std::unique_ptr<Claim> claim4(Lab& lab);
std::unique_ptr<Claim> claim5(Lab& lab);
std::unique_ptr<Claim> claim6(Lab& lab);
std::unique_ptr<Claim> claim7(Lab& lab);
std::unique_ptr<Claim> claim8(Lab& lab);
std::unique_ptr<Claim> claim9(Lab& lab);
std::unique_ptr<Claim> claim10(Lab& lab);
std::unique_ptr<Claim> claim11(Lab& lab);
std::unique_ptr<Claim> claim12(Lab& lab);
// Part II.
std::unique_ptr<Claim> rival1(Lab& lab);
std::unique_ptr<Claim> rival2(Lab& lab);
std::unique_ptr<Claim> rival3(Lab& lab);
std::unique_ptr<Claim> rival4(Lab& lab);
std::unique_ptr<Claim> rival5(Lab& lab);
std::unique_ptr<Claim> rival6(Lab& lab);
std::unique_ptr<Claim> rival7(Lab& lab);
std::unique_ptr<Claim> rival8(Lab& lab);
std::unique_ptr<Claim> rival9(Lab& lab);
std::unique_ptr<Claim> rival10(Lab& lab);
std::unique_ptr<Claim> rival11(Lab& lab);
std::unique_ptr<Claim> rival12(Lab& lab);
std::unique_ptr<Claim> rival13(Lab& lab);
std::unique_ptr<Claim> rival14(Lab& lab);
std::unique_ptr<Claim> rival15(Lab& lab);
std::unique_ptr<Claim> rival16(Lab& lab);
std::unique_ptr<Claim> rival17(Lab& lab);
std::unique_ptr<Claim> rival18(Lab& lab);
std::unique_ptr<Claim> rival19(Lab& lab);
std::unique_ptr<Claim> rival20(Lab& lab);
std::unique_ptr<Claim> rival21(Lab& lab);

}  // namespace loupe::lesson
