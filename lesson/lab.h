#pragma once
// What a claim works with: the profile, the seeds, the data and the scheduler. A claim is a
// function from a Lab to a ClaimResult; all claims run at once, each waiting for its own runs, and
// runs that two claims ask for are made once.
#include <loupe/lesson/report.h>
#include <loupe/lesson/runs.h>
#include <loupe/lesson/training.h>

#include <algorithm>
#include <map>

namespace loupe::lesson {

struct Profile {
  std::string name = "quick";
  int seeds = 3, tuning_seeds = 2;
  int64_t test_images = 2000;
  bool full() const { return name == "full"; }
  bool tiny() const { return name == "tiny"; }
  /// quick, full, tiny (tests: seconds, numbers mean nothing). ValueError for another name.
  static Profile named(const std::string& name);
  /// Steps of a training, cut short in the tiny profile.
  int64_t steps(int64_t n) const { return tiny() ? std::max<int64_t>(6, n / 50) : n; }
};

/// One arm of an experiment: a name and a spec (ClassifierSpec, TransformerSpec, or a claim's own
/// with the same members).
template <class Spec> struct Arm {
  std::string name;
  Spec spec;
};

class Lab {
 public:
  Lab(std::string claim, Profile profile, std::shared_ptr<const Data> data, Scheduler& scheduler,
      Norms norms = {})
      : claim_(std::move(claim)),
        profile_(std::move(profile)),
        data_(std::move(data)),
        scheduler_(&scheduler),
        norms_(std::move(norms)) {}

  const Profile& profile() const { return profile_; }
  const std::shared_ptr<const Data>& data() const { return data_; }
  const Norm& batch() const { return norms_.batch; }
  const Norm& layer() const { return norms_.layer; }
  /// Seeds 1, 2, ... decide verdicts; 1001, 1002, ... choose learning rates and nothing else.
  std::vector<uint64_t> seeds() const { return range(1, profile_.seeds); }
  std::vector<uint64_t> tuning_seeds() const { return range(1001, profile_.tuning_seeds); }

  /// Every arm over the verdict seeds: results by arm, in the order of seeds.
  template <class Spec> std::map<std::string, Records> measure(const std::vector<Arm<Spec>>& arms) {
    return grouped(arms, run(arms, seeds(), false), seeds().size());
  }
  /// Chooses each arm's learning rate: the smallest median validation loss over the tuning seeds,
  /// the smaller rate in a tie; where the best is at an edge, the grid grows there once by the
  /// factor of its last step.
  template <class Spec>
  void tune(std::vector<Arm<Spec>>& arms, const std::vector<double>& grid,
            const std::string& metric = "valid_loss") {
    std::vector<std::map<double, double>> medians(arms.size());  // by learning rate
    std::vector<std::vector<double>> wanted(arms.size(), grid);
    // The verdict runs follow: the time left should know of them.
    for (const auto& arm : arms) scheduler_->announce(profile_.seeds, arm.spec.cost());
    for (int round = 0; round < 2; ++round) {
      std::vector<Arm<Spec>> trials;
      for (size_t a = 0; a < arms.size(); ++a)
        for (double lr : wanted[a]) trials.push_back(arms[a]), trials.back().spec.lr = lr;
      if (trials.empty()) break;
      const Records records = run(trials, tuning_seeds(), true);
      size_t next = 0;
      for (size_t a = 0; a < arms.size(); ++a) {
        for (double lr : wanted[a]) {
          std::vector<double> v;
          for (size_t s = 0; s < tuning_seeds().size(); ++s, ++next)
            v.push_back(records[next].dead ? std::numeric_limits<double>::infinity()
                                           : records[next][metric]);
          medians[a][lr] = median(v);
        }
        arms[a].spec.lr = best(medians[a]);
        wanted[a].clear();
        if (round == 0 && !profile_.tiny() && grid.size() > 1) {
          if (arms[a].spec.lr == grid.front()) wanted[a] = {grid.front() * grid[0] / grid[1]};
          if (arms[a].spec.lr == grid.back())
            wanted[a] = {grid.back() * grid.back() / grid[grid.size() - 2]};
        }
      }
    }
  }

  /// A single computation as a run: shown in the progress, kept in the file. For exact facts.
  Record compute(const std::string& arm, const Config& config, std::function<void(Record&)> make);

 private:
  static std::vector<uint64_t> range(uint64_t first, int n) {
    std::vector<uint64_t> v;
    for (int i = 0; i < n; ++i) v.push_back(first + static_cast<uint64_t>(i));
    return v;
  }
  static double best(const std::map<double, double>& medians) {
    return std::ranges::min_element(medians, {}, [](const auto& m) { return m.second; })->first;
  }
  template <class Spec>
  Records run(const std::vector<Arm<Spec>>& arms, const std::vector<uint64_t>& with, bool tuning) {
    std::vector<Job> jobs;
    for (const auto& arm : arms)
      for (uint64_t seed : with) {
        Job job;
        job.record.claim = claim_;
        job.record.arm = arm.name;
        job.record.seed = seed;
        job.record.tuning = tuning;
        job.record.config = arm.spec.config();
        job.record.config["role"] = tuning ? "tuning" : "verdict";
        job.cost = arm.spec.cost();
        job.make = [spec = arm.spec](Record& r) { spec.make(r); };
        jobs.push_back(std::move(job));
      }
    return scheduler_->run(jobs);
  }
  template <class Spec>
  static std::map<std::string, Records> grouped(const std::vector<Arm<Spec>>& arms,
                                                const Records& all, size_t n) {
    std::map<std::string, Records> by_arm;
    for (size_t a = 0; a < arms.size(); ++a) {
      const auto first = all.begin() + static_cast<std::ptrdiff_t>(a * n);
      by_arm[arms[a].name] = Records(first, first + static_cast<std::ptrdiff_t>(n));
    }
    return by_arm;
  }

  std::string claim_;
  Profile profile_;
  std::shared_ptr<const Data> data_;
  Scheduler* scheduler_;
  Norms norms_;
};

extern template std::map<std::string, Records> Lab::measure(
    const std::vector<Arm<ClassifierSpec>>&);
extern template std::map<std::string, Records> Lab::measure(
    const std::vector<Arm<TransformerSpec>>&);
extern template void Lab::tune(std::vector<Arm<ClassifierSpec>>&, const std::vector<double>&,
                               const std::string&);
extern template void Lab::tune(std::vector<Arm<TransformerSpec>>&, const std::vector<double>&,
                               const std::string&);

// --- Pieces that several claims share ---

/// Means and single seeds of a metric as a series over x positions.
void add_point(Series& s, double x, const Records& runs, const std::string& metric,
               double scale = 1);
/// One column of a dot plot: single seeds spread a little, and their mean.
Series column(const std::string& name, Look look, size_t position, const Records& runs,
              const std::string& metric, double scale = 1);
/// "none: 0.03, LN: 0.1, ...".
template <class Spec> std::string chosen_rates(const std::vector<Arm<Spec>>& arms) {
  std::string text;
  for (const auto& a : arms)
    text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", a.name, short_number(a.spec.lr));
  return text;
}
/// seed_row for each arm, with a head of seeds.
Table seed_table(const std::string& title,
                 const std::vector<std::pair<std::string, const Records*>>& arms,
                 const std::string& metric, double scale = 1, int digits = 1);

/// The arms of a CNN, tuned: "none", "LN", "GN" as asked for by name, and "BN <g>" for each group
/// size; BatchNorm's widest group is looked at closely (inspect). F1 is shared by C3, C5, C6, C7,
/// C9 and C11.
std::vector<Arm<ClassifierSpec>> cnn_arms(Lab& lab, const std::string& net,
                                          const std::vector<std::string>& others,
                                          const std::vector<int64_t>& groups);
/// cnn_arms of F1: none, LN, GN, and BatchNorm in groups.
std::vector<Arm<ClassifierSpec>> f1_arms(Lab& lab, const std::vector<int64_t>& groups);
/// The sizes of BatchNorm's groups that C5 and C11 compare: fewer in the quick profile.
std::vector<int64_t> group_sizes(const Lab& lab);

/// The arms of the plain CNN D(depth) that C2, C3 and C6 share, tuned: "none", "LN", "BN".
std::vector<Arm<ClassifierSpec>> plain_arms(Lab& lab, int depth);

/// The arms of the character-level Transformer that C8, C9 and C10 share, tuned, on one of the
/// texts: "none", "none scaled", "LN", "BN"; 8 blocks, 16 windows of 32 characters a batch.
std::vector<Arm<TransformerSpec>> text_arms(Lab& lab, size_t text);
/// A rival treated generously: for each seed the run of the learning rate (of plain_arms' grid)
/// with the smallest validation loss, though it is chosen on that very seed.
Records best_rates(Lab& lab, const Arm<ClassifierSpec>& arm);
/// Of several arms over the same seeds, for each seed the run that lives and has the smallest
/// validation loss.
Records best_per_seed(const std::map<std::string, Records>& arms);

/// The learning rates of text_arms.
std::vector<double> text_grid(const Lab& lab);
/// Two blocks on `batch` windows of `context` characters, as C8, C9 and C11 share them, tuned:
/// "LN", "BN".
std::vector<Arm<TransformerSpec>> window_arms(Lab& lab, size_t text, int64_t context,
                                              int64_t batch);

/// Runs against a fixed number: mean of (number - metric) with its interval, the dead entering as
/// `nothing`.
Comparison below(double number, const Records& runs, const std::string& metric, double nothing);

inline constexpr double kChance = 0.1;             // ten classes
inline constexpr double kAccuracyMargin = 0.5;     // points
inline constexpr double kLossMargin = 0.02;        // nats
inline constexpr double kRatioMargin = 0.3219281;  // log2(1.25)

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
ClaimResult claim1(Lab& lab);
ClaimResult claim2(Lab& lab);
ClaimResult claim3(Lab& lab);
ClaimResult claim4(Lab& lab);
ClaimResult claim5(Lab& lab);
ClaimResult claim6(Lab& lab);
ClaimResult claim7(Lab& lab);
ClaimResult claim8(Lab& lab);
ClaimResult claim9(Lab& lab);
ClaimResult claim10(Lab& lab);
ClaimResult claim11(Lab& lab);
ClaimResult claim12(Lab& lab);

}  // namespace loupe::lesson
