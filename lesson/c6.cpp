// C6: BatchNorm works well in CNNs.
#include <loupe/lesson/lab.h>

namespace loupe::lesson {
namespace {

class Claim6 : public Claim {
 public:
  explicit Claim6(Lab& lab)
      : full_(lab.profile().full()), shallow_(f1_arms(lab, {64})), deep_(lab, 8) {
    if (full_) pooled_ = {lab, "D4", {.none = true, .layer = true, .group = true}, {64}};
  }
  void run(Lab& lab) override {
    shallow_.run(lab);
    deep_.run(lab);
    if (full_) pooled_.run(lab);
  }
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  bool full_;
  CnnArms shallow_;
  PlainArms deep_;
  CnnArms pooled_;  // D4, in the full profile
};

std::vector<Question> Claim6::questions() const {
  const auto accuracy = [](const Measured& arm) { return of(arm, "test_accuracy"); };
  const ClassifierArm& bn = shallow_.bn.at(64);
  const auto shallow = [&](const char* id, const Measured& rival) {
    return pooled(points(id, accuracy(bn), accuracy(rival)), shallow_.pool());
  };
  std::vector<Question> all{primary(shallow("C6a", shallow_.none)),
                            limits(shallow("C6b", shallow_.ln)), shallow("C6c", shallow_.gn),
                            points("C6d", accuracy(deep_.bn), accuracy(deep_.ln))};
  if (!full_) return all;
  const ClassifierArm& pooled = pooled_.bn.at(64);
  all.push_back(points("C6e", accuracy(pooled), accuracy(pooled_.none)));
  all.push_back(points("C6f", accuracy(pooled), accuracy(pooled_.ln)));
  all.push_back(points("C6g", accuracy(pooled), accuracy(pooled_.gn)));
  return all;
}

void Claim6::facts(Facts& facts) const {
  facts.text("rates", chosen_rates(shallow_.list()));
  facts.text("steps", fmt::format("{}", shallow_.none.spec.steps));
}

std::vector<const Measured*> four(const CnnArms& arms) {
  return {&arms.none, &arms.ln, &arms.gn, &arms.bn.at(64)};
}

std::vector<Chart> Claim6::charts() const {
  return {columns({.title = "Test accuracy of the shallow CNN, each seed",
                   .y_label = "test accuracy, %",
                   .arms = four(shallow_),
                   .metric = "test_accuracy",
                   .scale = 100,
                   .note = "Bars: means. Thin lines join the runs of one seed."})};
}

std::vector<Table> Claim6::tables() const {
  const auto accuracy = [](const std::string& title, const std::vector<const Measured*>& arms) {
    return seed_table(title + ": test accuracy, %", arms, "test_accuracy", 100);
  };
  std::vector<Table> all{accuracy("Shallow CNN", four(shallow_))};
  if (full_) all.push_back(accuracy("Four convolutions", four(pooled_)));
  all.push_back(accuracy("Deep plain CNN", {&deep_.none, &deep_.ln, &deep_.bn}));
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim6(Lab& lab) { return std::make_unique<Claim6>(lab); }

}  // namespace loupe::lesson
