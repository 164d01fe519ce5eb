// C3: normalisation improves final performance.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {
namespace {

class Claim3 : public Claim {
 public:
  explicit Claim3(Lab& lab)
      : full_(lab.profile().full()), deep_(lab, 8), shallow_(f1_arms(lab, {64})) {}
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  bool full_;
  PlainArms deep_;
  std::vector<ClassifierArm> generous_{};  // no norm in the deep one, at each rate
  CnnArms shallow_;
  ClassifierArm longer_none_, longer_ln_, longer_bn_;  // the shallow ones over five times the steps
};

// Five times the budget and more images: does the gap stay? At the rate of the short budget.
ClassifierArm longer(const ClassifierArm& arm) {
  ClassifierArm more = arm;
  more.spec.steps = 1250;
  more.spec.images = 20000;
  more.spec.inspect = false;
  return more;
}

void Claim3::run(Lab& lab) {
  deep_.run(lab);
  shallow_.run(lab);
  generous_ = generous(deep_.none);
  lab.measure(generous_);
  if (!full_) return;
  longer_none_ = longer(shallow_.none);
  longer_ln_ = longer(shallow_.ln);
  longer_bn_ = longer(shallow_.bn.at(64));
  lab.measure(Arms<ClassifierSpec>{&longer_none_, &longer_ln_, &longer_bn_});
}

std::vector<Question> Claim3::questions() const {
  const auto accuracy = [](const Measured& arm) { return of(arm, "test_accuracy"); };
  const ClassifierArm& bn = shallow_.bn.at(64);
  std::vector<Question> all{
      points("C3a", accuracy(deep_.bn), accuracy(deep_.none)),
      points("C3b", accuracy(deep_.ln), accuracy(deep_.none)),
      primary(pooled(points("C3c", accuracy(bn), accuracy(shallow_.none)), shallow_.pool())),
      limits(
          pooled(points("C3d", accuracy(shallow_.ln), accuracy(shallow_.none)), shallow_.pool())),
      points("C3e", accuracy(deep_.bn), best_valid(generous_, "test_accuracy"))};
  if (!full_) return all;
  all.push_back(points("C3f", accuracy(longer_bn_), accuracy(longer_none_)));
  all.push_back(points("C3g", accuracy(longer_ln_), accuracy(longer_none_)));
  return all;
}

void Claim3::facts(Facts& facts) const {
  facts.text("deep_rates", chosen_rates(deep_.list()));
  facts.text("shallow_rates", chosen_rates(shallow_.list()));
  facts.text("deep_steps", fmt::format("{}", deep_.none.spec.steps));
  facts.text("shallow_steps", fmt::format("{}", shallow_.none.spec.steps));
}

std::vector<Chart> Claim3::charts() const {
  const auto of_three = [](const std::string& title, const ClassifierArm& none,
                           const ClassifierArm& ln, const ClassifierArm& bn) {
    return columns({.title = title,
                    .y_label = "test accuracy, %",
                    .arms = {&none, &ln, &bn},
                    .metric = "test_accuracy",
                    .scale = 100,
                    .note = "Bars: means of the seeds that live. Thin lines join the runs of one "
                            "seed."});
  };
  return {of_three("", shallow_.none, shallow_.ln, shallow_.bn.at(64)),
          of_three("The deep plain CNN, eight convolutions", deep_.none, deep_.ln, deep_.bn)};
}

std::vector<Table> Claim3::tables() const {
  const auto accuracy = [](const std::string& title, const std::vector<const Measured*>& arms) {
    return seed_table(title + ": test accuracy, %", arms, "test_accuracy", 100);
  };
  std::vector<const Measured*> deep{&deep_.none, &deep_.ln, &deep_.bn};
  for (const ClassifierArm& cell : generous_) deep.push_back(&cell);
  std::vector<Table> all{
      accuracy("Deep plain CNN", deep),
      accuracy("Shallow CNN", {&shallow_.none, &shallow_.ln, &shallow_.gn, &shallow_.bn.at(64)})};
  if (full_)
    all.push_back(accuracy("Shallow CNN, 1,250 steps", {&longer_none_, &longer_ln_, &longer_bn_}));
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim3(Lab& lab) { return std::make_unique<Claim3>(lab); }

}  // namespace loupe::lesson
