// Part II, the trained claims: new statistics at evaluation (P2) and for shifted images (P8),
// RMSNorm (P9) and DyT (P10) in LayerNorm's place.
#include <loupe/layers/dynamic.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// --- P2 and P8: the shallow CNN of C5, its statistics taken again once it is trained ---

class NewStatistics : public Claim {
 public:
  explicit NewStatistics(Lab& lab) : arms_(lab, "F1", {}, {64, 2}) {}
  void run(Lab& lab) override {
    arms_.tune(lab);
    for (auto& [group, arm] : arms_.bn) {
      arm.spec.inspect = false;
      arm.spec.precise = true;
    }
    lab.measure(arms_.all());
  }
  void facts(Facts& facts) const override { facts.text("rates", chosen_rates(arms_.list())); }

 protected:
  static Question ways(const char* id, const Sample& a, const Sample& b, double margin) {
    Question q = points(id, a, b);
    q.margin = margin;
    return q;
  }
  const ClassifierArm& large() const { return arms_.bn.at(64); }
  const ClassifierArm& small() const { return arms_.bn.at(2); }
  CnnArms arms_;
};

class Precise : public NewStatistics {
 public:
  using NewStatistics::NewStatistics;
  std::vector<Question> questions() const override {
    Question left = ways("P2b", of(large(), "test_accuracy"), of(small(), "precise_accuracy"), 1);
    left.expect = Expect::none;
    return {ways("P2a", of(small(), "precise_accuracy"), of(small(), "test_accuracy"), 1),
            primary(left),
            ways("P2c", of(large(), "precise_accuracy"), of(large(), "test_accuracy"), 1)};
  }
  std::vector<Chart> charts() const override {
    Chart c{.title = "", .x = {.label = ""}, .y = {.label = "test accuracy, %"}};
    for (const auto& [arm, words] :
         {std::pair{&small(), "groups of 2"}, {&large(), "groups of 64"}})
      for (const auto& [metric, how] : {std::pair{"test_accuracy", "running averages"},
                                        {"precise_accuracy", "new statistics"}}) {
        const std::string name = fmt::format("{}, {}", words, how);
        c.series.push_back(column(name, how[0] == 'n' ? Look::purple : Look::blue, c.series.size(),
                                  arm->runs, metric, 100));
        c.x.categories.push_back(name);
      }
    return {c};
  }
};

class Shifted : public NewStatistics {
 public:
  using NewStatistics::NewStatistics;
  std::vector<Question> questions() const override {
    return {primary(ways("P8a", of(large(), "dark_precise"), of(large(), "dark_accuracy"), 1)),
            ways("P8b", of(large(), "test_accuracy"), of(large(), "dark_accuracy"), 1),
            explains(ways("P8c", of(large(), "test_accuracy"), of(large(), "dark_precise"), 1))};
  }
  std::vector<Chart> charts() const override {
    Chart c{.title = "", .x = {.label = ""}, .y = {.label = "test accuracy, %"}};
    for (const auto& [metric, name] : {std::pair{"test_accuracy", "images as trained"},
                                       {"dark_accuracy", "dark, running averages"},
                                       {"dark_precise", "dark, new statistics"}}) {
      c.series.push_back(
          column(name, std::string(name).ends_with("new statistics") ? Look::purple : Look::blue,
                 c.series.size(), large().runs, metric, 100));
      c.x.categories.push_back(name);
    }
    return {c};
  }
};

// --- P9 and P10: the deep Transformer of C8 with another layer in LayerNorm's place ---

Norm rms_norm() {
  return {"rms", [](int64_t c, Place) -> std::unique_ptr<Module> {
            return std::make_unique<RMSNorm>(Shape{c}, RMSNorm::Options{.eps = 1e-5});
          }};
}

Norm dynamic_tanh() {
  return {"dynamic tanh", [](int64_t c, Place) -> std::unique_ptr<Module> {
            return std::make_unique<DynamicTanh>(c);
          }};
}

class InLayerNormsPlace : public Claim {
 public:
  InLayerNormsPlace(Lab& lab, const char* id, const std::string& name, const Norm& norm)
      : id_(id), arms_(lab, 0), rival_(arms_.ln) {
    rival_.name = name;
    rival_.style = {name, Look::purple};
    rival_.spec.norm = norm;
    grid_ = text_grid(lab.profile());
  }
  void run(Lab& lab) override {
    arms_.ln.spec.inspect = rival_.spec.inspect = false;
    lab.tune(Arms<TransformerSpec>{&arms_.ln, &rival_}, grid_);
    lab.measure(Arms<TransformerSpec>{&arms_.ln, &rival_});
  }
  std::vector<Question> questions() const override {
    Question q =
        nats(id_ + "a", of(rival_, "eval_loss"), of(arms_.ln, "eval_loss"), 4.2, Expect::none);
    q.margin = 0.05;
    return {primary(q)};
  }
  void facts(Facts& facts) const override {
    facts.text("rates", chosen_rates(std::vector<const TransformerArm*>{&arms_.ln, &rival_}));
  }
  std::vector<Chart> charts() const override {
    return {columns({.title = "",
                     .y_label = "loss on held-out text, nats",
                     .arms = {&arms_.ln, &rival_},
                     .metric = "eval_loss",
                     .note = "Bars: means. Thin lines join the runs of one seed."})};
  }

 private:
  std::string id_;
  TextArms arms_;
  TransformerArm rival_;
  std::vector<double> grid_;
};

}  // namespace

std::unique_ptr<Claim> rival2(Lab& lab) { return std::make_unique<Precise>(lab); }
std::unique_ptr<Claim> rival8(Lab& lab) { return std::make_unique<Shifted>(lab); }
std::unique_ptr<Claim> rival9(Lab& lab) {
  return std::make_unique<InLayerNormsPlace>(lab, "P9", "RMSNorm", rms_norm());
}
std::unique_ptr<Claim> rival10(Lab& lab) {
  return std::make_unique<InLayerNormsPlace>(lab, "P10", "DyT", dynamic_tanh());
}

}  // namespace loupe::lesson
