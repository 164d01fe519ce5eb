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
          worst_of(largest, max(abs(layer->call(x.slice(0, 0, n)).slice(0, 0, 1) - alone)).item());
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

// --- The arms ---

constexpr double kNotZero = 1e-3;  // a change of logits that is no rounding
const std::vector<int64_t> kRealBatches{2, 4, 8, 32, 128};

using Sweep = std::map<int64_t, ClassifierArm>;  // by the real batch

// The trap: the real batch varies, the samples seen stay the same, and the learning rate grows with
// the batch.
Sweep naive_sweep(const Lab& lab, const Contestant& who) {
  Sweep sweep;
  for (int64_t b : kRealBatches)
    sweep[b] = {fmt::format("naive {} {}", who.name, b),
                who.style,
                {.data = lab.data(),
                 .net = "D4",
                 .norm = who.norm,
                 .group = b,
                 .batch = b,
                 .steps = 8192 / b,
                 .lr = 0.1 * static_cast<double>(b) / 64}};
  return sweep;
}

class Claim5 : public Claim {
 public:
  explicit Claim5(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  Measured exact_facts(Lab& lab) const;
  Question gap_of_gaps() const;
  Chart against_group() const;
  Chart trap() const;

  bool full_;
  Contestant bn_, ln_;
  CnnArms f1_, f0_, d4_;  // d4, in the full profile
  std::vector<Sweep> naive_;
  Measured facts_;
};

Claim5::Claim5(Lab& lab)
    : full_(lab.profile().full()),
      bn_(lab.bn()),
      ln_(lab.ln()),
      f1_(f1_arms(lab, group_sizes(lab))) {
  // Convolutions alone (F0, D4): their statistics average 49 values and more a sample.
  const std::vector<int64_t> some =
      full_ ? std::vector<int64_t>{64, 16, 4, 2} : std::vector<int64_t>{64, 2};
  f0_ = {lab, "F0", {.layer = full_}, some};
  if (!full_) return;
  d4_ = {lab, "D4", {.none = true, .layer = true, .group = true}, some};
  naive_ = {naive_sweep(lab, lab.bn()), naive_sweep(lab, lab.ln()),
            naive_sweep(lab, {"none", kNone, no_norm()})};
}

Measured Claim5::exact_facts(Lab& lab) const {
  const Tensor images = lab.data()->test_x;
  return lab.compute("batch-mates", {{"net", "F1"}, {"norms", lab.norm_names()}},
                     [images, bn = bn_, ln = ln_](Record& r) {
                       r.metrics[ln.name + " layer"] = change_by_count(ln.norm);
                       r.metrics[ln.name + " network"] =
                           worst_of(change_by_mates(ln.norm, images, true),
                                    change_by_mates(ln.norm, images, false));
                       r.metrics[bn.name + " training"] = change_by_mates(bn.norm, images, true);
                       r.metrics[bn.name + " eval"] = change_by_mates(bn.norm, images, false);
                       r.metrics[bn.name + " accepted"] = !refuses_one_value_per_channel(bn.norm);
                     });
}

void Claim5::run(Lab& lab) {
  f1_.run(lab);
  f0_.run(lab);
  if (full_) d4_.run(lab);
  for (Sweep& sweep : naive_) {
    Arms<ClassifierSpec> arms;
    for (auto& [batch, arm] : sweep) arms.push_back(&arm);
    lab.measure(arms);
  }
  facts_ = exact_facts(lab);
}

// The groups' cost in one network minus that in the other.
Question Claim5::gap_of_gaps() const {
  const auto cost = [](const CnnArms& arms) {
    return Sample{.arms = {&arms.bn.at(64), &arms.bn.at(2)},
                  .metric = "test_accuracy",
                  .pick = Sample::Pick::gap};
  };
  return points("C5k", cost(f1_), cost(f0_));
}

std::vector<Question> Claim5::questions() const {
  const auto groups = [](const std::string& id, const CnnArms& arms, int64_t many, int64_t few) {
    return points(id, of(arms.bn.at(many), "test_accuracy"), of(arms.bn.at(few), "test_accuracy"));
  };
  std::vector<Question> all{
      primary(groups("C5a", f1_, 64, 2)),
      groups("C5b", f1_, 64, 8),
      limits(groups("C5c", f0_, 64, 2)),
      gap_of_gaps(),
      fact("C5d", of(facts_, ln_.name + " layer"), Holds::at_most, 0),
      fact("C5e", of(facts_, ln_.name + " network"), Holds::at_most, 0, "logits"),
      fact("C5f", of(facts_, bn_.name + " training"), Holds::above, kNotZero, "logits"),
      fact("C5g", of(facts_, bn_.name + " accepted"), Holds::at_most, 0),
      explains(fact("C5h", of(facts_, bn_.name + " eval"), Holds::at_most, 0, "logits"))};
  if (!full_) return all;
  all.push_back(groups("C5i", d4_, 64, 2));
  all.push_back(groups("C5j", f1_, 64, 16));
  return all;
}

void Claim5::facts(Facts& facts) const {
  facts.text("steps", fmt::format("{}", f1_.ln.spec.steps));
  facts.text("f1_rates", chosen_rates(f1_.list()));
  facts.text("f0_rates", chosen_rates(f0_.list()));
  facts.text("d4_rates", chosen_rates(d4_.list()));
}

// --- Charts and tables ---

Series against_group_of(const CnnArms& arms, const std::string& name, const Style& style) {
  Series s{.name = name, .look = style.look, .dashed = style.dashed};
  for (const auto& [group, arm] : arms.bn)
    add_point(s, static_cast<double>(group), arm.runs, "test_accuracy", 100);
  return s;
}

Chart Claim5::against_group() const {
  Chart c{.title = "Test accuracy against the samples behind one BatchNorm statistic",
          .x = {.label = "samples per statistic", .log = true},
          .y = {.label = "test accuracy, %"}};
  Series ln = series_of(ln_.style);
  for (const auto& [group, arm] : f1_.bn) {
    c.x.ticks.push_back(static_cast<double>(group));
    add_point(ln, c.x.ticks.back(), f1_.ln.runs, "test_accuracy", 100);
  }
  ln.dots.resize(f1_.ln.runs.size());  // one run a seed: LayerNorm has no groups
  const bool own = bn_.style.look == kOwnLook;
  const auto other = [&](Look look) { return Style{"", own ? kOwnLook : look, true}; };
  c.series = {against_group_of(f1_, bn_.name + ", hidden layer", bn_.style),
              against_group_of(f0_, bn_.name + ", convolutions", other(Look::purple)), ln};
  if (full_)
    c.series.push_back(against_group_of(d4_, bn_.name + ", four conv.", other(Look::yellow)));
  c.note =
      "Lines: mean over the seeds. LayerNorm knows no groups: its seeds are drawn once, at the "
      "left.";
  return c;
}

Chart Claim5::trap() const {
  Chart c{.title = "The trap: a sweep of the real batch at equal samples",
          .x = {.label = "batch size", .log = true},
          .y = {.label = "test accuracy, %"}};
  for (int64_t b : kRealBatches) c.x.ticks.push_back(static_cast<double>(b));
  for (const Sweep& sweep : naive_) {
    Series s = series_of(sweep.begin()->second.style);
    for (const auto& [batch, arm] : sweep)
      add_point(s, static_cast<double>(batch), arm.runs, "test_accuracy", 100);
    c.series.push_back(std::move(s));
  }
  c.note =
      "Four convolutions, 8,192 images seen in all, learning rate 0.1 at a batch of 64 and in "
      "proportion to it. A "
      "batch of 128 takes 64 steps, one of 2 takes 4,096: no evidence about norms.";
  return c;
}

std::vector<Chart> Claim5::charts() const {
  if (full_) return {against_group(), trap()};
  return {against_group()};
}

std::vector<Table> Claim5::tables() const {
  const auto accuracy = [](const std::string& title, const std::vector<const Measured*>& arms) {
    return seed_table(title + ": test accuracy, %", arms, "test_accuracy", 100);
  };
  std::vector<Table> all{accuracy("Shallow CNN", measured(f1_.list())),
                         accuracy("Convolutions alone", measured(f0_.list()))};
  if (!full_) return all;
  all.push_back(accuracy("Four convolutions", measured(d4_.list())));
  std::vector<const Measured*> swept;
  for (const Sweep& sweep : naive_)
    for (const auto& [batch, arm] : sweep) swept.push_back(&arm);
  all.push_back(accuracy("The naive sweep", swept));
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim5(Lab& lab) { return std::make_unique<Claim5>(lab); }

}  // namespace loupe::lesson
