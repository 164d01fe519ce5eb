// Part II, images: GroupNorm and weight standardisation (P13), BatchRenorm (P14) and ghost BatchNorm
// (P15) at small batches, LayerNorm in a modern CNN block (P18), BatchNorm on several workers (P21).
#include <loupe/lesson/lab.h>

namespace loupe::lesson {
namespace {

Sample accuracy(const Measured& arm) { return of(arm, "test_accuracy"); }

Question of_margin(Question q, double margin) {
  q.margin = margin;
  return q;
}

Question none_expected(Question q) {
  q.expect = Expect::none;
  return q;
}

Question no_more(Question q) {
  q.expect = Expect::at_most;
  return q;
}

Chart accuracies(const std::vector<const Measured*>& arms) {
  return columns({.title = "",
                  .y_label = "test accuracy, %",
                  .arms = arms,
                  .metric = "test_accuracy",
                  .scale = 100,
                  .note = "Bars: means. Thin lines join the runs of one seed."});
}

// The shallow CNN of C5 with BatchNorm in groups, and other norms beside it.
class SmallBatches : public Claim {
 public:
  SmallBatches(const Lab& lab, const std::vector<int64_t>& groups,
               CnnArms::Others others = {.group = true})
      : arms_(lab, "F1", others, groups) {}
  void run(Lab& lab) override {
    lab.tune(all_, {0.02, 0.06, 0.2});
    for (auto& [group, arm] : arms_.bn) arm.spec.precise = true;  // as P2 has it: the same runs
    lab.measure(all_);
  }
  void facts(Facts& facts) const override { facts.text("rates", chosen_rates(list())); }
  std::vector<Table> tables() const override {
    return {seed_table("Test accuracy, %", measured(list()), "test_accuracy", 100)};
  }

 protected:
  void name_groups() {
    for (auto& [group, arm] : arms_.bn)
      arm.style.title = fmt::format("{}, groups of {}", arm.style.title, group);
  }
  std::vector<const ClassifierArm*> list() const { return {all_.begin(), all_.end()}; }
  const ClassifierArm& bn(int64_t group) const { return arms_.bn.at(group); }
  ClassifierArm* bn(int64_t group) { return &arms_.bn.at(group); }
  ClassifierArm rival(const std::string& name, const Style& style, const Norm& norm,
                      int64_t group) const {
    ClassifierArm arm = arms_.gn;
    arm.name = name;
    arm.style = style;
    arm.spec.norm = norm;
    arm.spec.group = group;
    return arm;
  }

  CnnArms arms_;
  Arms<ClassifierSpec> all_;  // those that are compared
};

// --- P13 ---

class Standardized : public SmallBatches {
 public:
  explicit Standardized(Lab& lab) : SmallBatches(lab, {64, 2}) {
    ws_ = rival("WS+GN", {"GroupNorm, standardised weights", Look::purple},
                standardized_group_norm(), 64);
    name_groups();
    all_ = {&arms_.gn, &ws_, bn(64), bn(2)};
  }
  std::vector<Question> questions() const override {
    return {primary(points("P13a", accuracy(ws_), accuracy(bn(64)))),
            limits(of_margin(points("P13b", accuracy(arms_.gn), accuracy(bn(2))), 1)),
            points("P13c", accuracy(ws_), accuracy(arms_.gn)),
            none_expected(of_margin(points("P13d", accuracy(arms_.gn), accuracy(bn(64))), 1))};
  }
  std::vector<Chart> charts() const override {
    return {accuracies({&arms_.gn, &ws_, &bn(64), &bn(2)})};
  }

 private:
  ClassifierArm ws_;
};

// --- P14 ---

class Renorm : public SmallBatches {
 public:
  explicit Renorm(Lab& lab) : SmallBatches(lab, {64, 4}) {
    renorm_ = rival("renorm 4", {"BatchRenorm, groups of 4", Look::purple}, batch_renorm(), 4);
    name_groups();
    all_ = {&renorm_, bn(64), bn(4)};
  }
  std::vector<Question> questions() const override {
    return {
        primary(of_margin(points("P14a", accuracy(renorm_), accuracy(bn(4))), 1)),
        limits(none_expected(of_margin(points("P14b", accuracy(renorm_), accuracy(bn(64))), 1)))};
  }
  std::vector<Chart> charts() const override { return {accuracies({&bn(64), &renorm_, &bn(4)})}; }

 private:
  ClassifierArm renorm_;
};

// --- P15 ---

class Ghost : public SmallBatches {
 public:
  explicit Ghost(Lab& lab) : SmallBatches(lab, {64, 16, 8}) {
    name_groups();
    all_ = {bn(64), bn(16), bn(8)};
  }
  std::vector<Question> questions() const override {
    Question fit = nats("P15c", of(bn(16), "final_loss"), of(bn(64), "final_loss"), 2.302585,
                        Expect::positive);
    return {primary(points("P15a", accuracy(bn(16)), accuracy(bn(64)))),
            points("P15b", accuracy(bn(8)), accuracy(bn(64))), fit};
  }
  std::vector<Chart> charts() const override { return {accuracies({&bn(64), &bn(16), &bn(8)})}; }
};

// --- P18 ---

class Modern : public Claim {
 public:
  explicit Modern(Lab& lab) {
    const auto arm = [&](const std::string& name, const Style& style, const char* net,
                         const Norm& norm, int64_t images) {
      ClassifierArm a{name, style, {.data = lab.data(), .net = net, .norm = norm}};
      a.spec.images = images;
      a.spec.steps = lab.profile().steps(images == 8192 ? 200 : 192);
      return a;
    };
    ln_ = arm("modern LN", kLayer, "X3", position_norm(), 16384);
    bn_ = arm("modern BN", kBatch, "X3", batch_norm(), 16384);
    plain_ln_ =
        arm("plain LN", {"LayerNorm, plain", Look::orange, true}, "D8", position_norm(), 8192);
    plain_bn_ = arm("plain BN", {"BatchNorm, plain", Look::blue, true}, "D8", batch_norm(), 8192);
  }
  void run(Lab& lab) override {
    lab.tune(Arms<ClassifierSpec>{&ln_, &bn_}, {0.02, 0.06, 0.2});
    lab.tune(Arms<ClassifierSpec>{&plain_ln_, &plain_bn_}, {0.01, 0.03, 0.1, 0.3});
    lab.measure(Arms<ClassifierSpec>{&ln_, &bn_, &plain_ln_, &plain_bn_});
  }
  std::vector<Question> questions() const override {
    return {primary(no_more(of_margin(points("P18a", accuracy(bn_), accuracy(ln_)), 1))),
            limits(of_margin(points("P18b", accuracy(plain_bn_), accuracy(plain_ln_)), 1))};
  }
  void facts(Facts& facts) const override {
    facts.text("rates", chosen_rates(std::vector{&ln_, &bn_, &plain_ln_, &plain_bn_}));
  }
  std::vector<Chart> charts() const override {
    return {accuracies({&ln_, &bn_, &plain_ln_, &plain_bn_})};
  }
  std::vector<Table> tables() const override {
    return {
        seed_table("Test accuracy, %", {&ln_, &bn_, &plain_ln_, &plain_bn_}, "test_accuracy", 100)};
  }

 private:
  ClassifierArm ln_, bn_, plain_ln_, plain_bn_;
};

// --- P21: a batch of 64 on 1, 4, 8 and 32 workers ---

// A worker of data-parallel training normalises its share of the batch with its share's statistics, and
// the gradients of all workers are averaged: what one process computes with groups of that size.
class Workers : public SmallBatches {
 public:
  explicit Workers(Lab& lab) : SmallBatches(lab, {64, 16, 8, 2}, {.layer = true, .group = true}) {
    all_ = arms_.all();
  }
  std::vector<Question> questions() const override {
    return {primary(of_margin(points("P21a", accuracy(bn(64)), accuracy(bn(2))), 1)),
            limits(none_expected(of_margin(points("P21b", accuracy(bn(64)), accuracy(bn(16))), 1))),
            of_margin(points("P21c", accuracy(bn(64)), of(bn(2), "precise_accuracy")), 1),
            of_margin(points("P21d", accuracy(arms_.gn), accuracy(bn(2))), 1),
            of_margin(points("P21e", accuracy(arms_.ln), accuracy(bn(2))), 1)};
  }
  std::vector<Chart> charts() const override {
    Chart c{.title = "",
            .x = {.label = "images a worker, of a batch of 64", .log = true},
            .y = {.label = "test accuracy, %"}};
    Series alone = series_of({"BatchNorm, each worker its own", Look::blue}),
           precise = series_of({"the same, new statistics", Look::purple, true}),
           gn = series_of(arms_.gn.style), ln = series_of(arms_.ln.style);
    for (const auto& [share, arm] : arms_.bn) {
      const double x = static_cast<double>(share);
      c.x.ticks.push_back(x);
      add_point(alone, x, arm.runs, "test_accuracy", 100);
      add_point(precise, x, arm.runs, "precise_accuracy", 100);
      add_point(gn, x, arms_.gn.runs, "test_accuracy", 100);
      add_point(ln, x, arms_.ln.runs, "test_accuracy", 100);
    }
    gn.dots.resize(arms_.gn.runs.size());  // one run a seed, whatever a worker gets
    ln.dots.resize(arms_.ln.runs.size());
    c.series = {alone, precise, gn, ln};
    c.note =
        "Lines: mean over the seeds. Synchronised BatchNorm is BatchNorm at 64, for any number of "
        "workers. GroupNorm and LayerNorm compute the same on any number: their seeds are drawn "
        "once, at the left.";
    return {c};
  }
};

}  // namespace

std::unique_ptr<Claim> rival13(Lab& lab) { return std::make_unique<Standardized>(lab); }
std::unique_ptr<Claim> rival14(Lab& lab) { return std::make_unique<Renorm>(lab); }
std::unique_ptr<Claim> rival15(Lab& lab) { return std::make_unique<Ghost>(lab); }
std::unique_ptr<Claim> rival18(Lab& lab) { return std::make_unique<Modern>(lab); }
std::unique_ptr<Claim> rival21(Lab& lab) { return std::make_unique<Workers>(lab); }

}  // namespace loupe::lesson
