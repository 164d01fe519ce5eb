// C11: for small batches LayerNorm is the better choice.
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

constexpr int64_t kSmall = 8;  // up to where the claim is tried: it speaks of small batches

// A size of the batch and the line that asks about it.
struct Asked {
  int64_t size;
  const char* id;
};
constexpr Asked kGroups[] = {{2, "C11a"},  {4, "C11e"},  {8, "C11b"},
                             {16, "C11f"}, {32, "C11g"}, {64, "C11c"}};
constexpr Asked kWindows[] = {{1, "C11d"}, {2, "C11h"}, {4, "C11i"}};

class Claim11 : public Claim {
 public:
  explicit Claim11(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  Question group(const Asked& asked) const;

  std::shared_ptr<const Data> data_;
  bool full_;
  Contestant bn_, ln_;
  CnnArms f1_;                             // C5's
  std::map<int64_t, WindowArms> windows_;  // language models on few windows of 16, C9's
  CnnArms f0_, d4_;                        // convolutions alone, C5's, in the full profile
};

Claim11::Claim11(Lab& lab)
    : data_(lab.data()),
      full_(lab.profile().full()),
      bn_(lab.bn()),
      ln_(lab.ln()),
      f1_(f1_arms(lab, group_sizes(lab))) {
  for (int64_t batch : full_ ? std::vector<int64_t>{1, 2, 4} : std::vector<int64_t>{1})
    windows_.emplace(batch, WindowArms(lab, 0, 16, batch));
  if (!full_) return;
  f0_ = {lab, "F0", {.layer = true}, {64, 16, 4, 2}};
  d4_ = {lab, "D4", {.none = true, .layer = true, .group = true}, {64, 16, 4, 2}};
}

void Claim11::run(Lab& lab) {
  f1_.run(lab);
  for (auto& [batch, arms] : windows_) arms.run(lab);
  if (!full_) return;
  f0_.run(lab);
  d4_.run(lab);
}

// --- What is asked ---

// LayerNorm minus BatchNorm.
Question ahead(const std::string& id, const CnnArms& arms, int64_t group) {
  return points(id, of(arms.ln, "test_accuracy"), of(arms.bn.at(group), "test_accuracy"));
}

Question Claim11::group(const Asked& asked) const {
  Question q = ahead(asked.id, f1_, asked.size);
  if (asked.size >= kSmall) q = pooled(q, f1_.pool());
  return asked.size == kSmall ? limits(q) : q;
}

std::vector<Question> Claim11::questions() const {
  std::vector<Question> all;
  for (const Asked& g : kGroups)
    if (f1_.bn.contains(g.size)) all.push_back(group(g));
  all.front().role = Role::primary;
  for (const Asked& w : kWindows) {
    if (!windows_.contains(w.size)) continue;
    const WindowArms& arms = windows_.at(w.size);
    all.push_back(nats(w.id, of(arms.bn, "eval_loss"), of(arms.ln, "eval_loss"),
                       knowing_nothing(data_->texts[0]), Expect::positive));
  }
  if (!full_) return all;
  all.push_back(ahead("C11j", f0_, 2));
  all.push_back(ahead("C11k", d4_, 2));
  return all;
}

void Claim11::facts(Facts& facts) const { facts.text("rates", chosen_rates(f1_.list())); }

// --- Charts and tables ---

std::vector<Chart> Claim11::charts() const {
  Chart c{.title = ln_.style.title + " minus " + bn_.style.title,
          .x = {.label = "samples per BatchNorm statistic", .log = true},
          .y = {.label = "difference of test accuracy, points"},
          .marks = {{0, "no difference"}}};
  const bool own = ln_.style.look == kOwnLook || bn_.style.look == kOwnLook;
  Series s{.name = own ? c.title : "mean, 95 %", .look = own ? kOwnLook : kLayer.look};
  s.dashed = bn_.style.look == kOwnLook;
  for (const Asked& asked : kGroups) {
    if (!f1_.bn.contains(asked.size)) continue;
    const auto x = static_cast<double>(asked.size);
    c.x.ticks.push_back(x);
    const Line line = answer(group(asked));
    s.line.push_back({x, line.effect.mean});
    if (std::isfinite(line.effect.hi - line.effect.lo))
      s.bars.push_back({x, line.effect.lo, line.effect.hi});
    const Records &ln = f1_.ln.runs, &bn = f1_.bn.at(asked.size).runs;
    const auto score = [](const Record& r) { return r.dead ? kChance : r["test_accuracy"]; };
    for (size_t i = 0; i < std::min(ln.size(), bn.size()); ++i) {
      const double d = 100 * (score(ln[i]) - score(bn[i]));
      s.dots.push_back({x, d, fmt::format("seed {}: {:+.1f} points", ln[i].seed, d)});
    }
  }
  c.series = {s};
  c.note = "Bars: 95 % intervals of the paired difference; dots: seeds.";
  return {c};
}

std::vector<Table> Claim11::tables() const {
  std::vector<const Measured*> arms{&f1_.ln};
  for (auto group = f1_.bn.rbegin(); group != f1_.bn.rend(); ++group)
    arms.push_back(&group->second);
  return {seed_table("Test accuracy (BN: samples a group), %", arms, "test_accuracy", 100)};
}

}  // namespace

std::unique_ptr<Claim> claim11(Lab& lab) { return std::make_unique<Claim11>(lab); }

}  // namespace loupe::lesson
