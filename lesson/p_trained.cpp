// Part II: new statistics at evaluation (P2) and for shifted images (P8); RMSNorm (P9), DyT (P10) and
// Derf (P20) in LayerNorm's place; DyT and Derf on more and less text (P19).
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

// --- P9, P10 and P20: the deep Transformer of C8 with another layer in LayerNorm's place ---

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

// Derf in the same place, and against DyT.
class Derf : public Claim {
 public:
  explicit Derf(Lab& lab) : arms_(lab, 0), grid_(text_grid(lab.profile())) {
    derf_ = rival("Derf", Look::purple, dynamic_erf());
    dyt_ = rival("DyT", Look::green, dynamic_tanh());
  }
  void run(Lab& lab) override {
    arms_.ln.spec.inspect = derf_.spec.inspect = dyt_.spec.inspect = false;
    lab.tune(all(), grid_);
    lab.measure(all());
  }
  std::vector<Question> questions() const override {
    Question same =
        nats("P20a", of(derf_, "eval_loss"), of(arms_.ln, "eval_loss"), 4.2, Expect::none);
    same.margin = 0.05;
    return {primary(same),
            nats("P20b", of(derf_, "eval_loss"), of(dyt_, "eval_loss"), 4.2, Expect::negative)};
  }
  void facts(Facts& facts) const override {
    facts.text("rates", chosen_rates(std::vector<const TransformerArm*>{&arms_.ln, &dyt_, &derf_}));
  }
  std::vector<Chart> charts() const override {
    return {columns({.title = "",
                     .y_label = "loss on held-out text, nats",
                     .arms = {&arms_.ln, &dyt_, &derf_},
                     .metric = "eval_loss",
                     .note = "Bars: means. Thin lines join the runs of one seed."})};
  }
  std::vector<Table> tables() const override {
    return {seed_table("Held-out loss, nats", {&arms_.ln, &dyt_, &derf_}, "eval_loss", 1, 3)};
  }

 private:
  TransformerArm rival(const char* name, Look look, const Norm& norm) const {
    TransformerArm arm = arms_.ln;
    arm.name = name;
    arm.style = {name, look};
    arm.spec.norm = norm;
    return arm;
  }
  Arms<TransformerSpec> all() { return {&arms_.ln, &dyt_, &derf_}; }

  TextArms arms_;
  TransformerArm derf_, dyt_;
  std::vector<double> grid_;
};

// --- P19: less text ---

struct Part {
  double of_text;
  const char *dyt_line, *derf_line;
};
constexpr Part kParts[] = {{0.01, "P19a", "P19d"}, {0.1, "P19c", "P19e"}, {1, "P19b", "P19f"}};

// The arms at one part of the text.
struct OfText {
  Part part;
  TransformerArm ln, dyt, derf;
  Arms<TransformerSpec> all() { return {&ln, &dyt, &derf}; }
};

class LessText : public Claim {
 public:
  explicit LessText(Lab& lab) : nothing_(knowing_nothing(lab.data()->texts[0])) {
    for (const Part& part : kParts) {
      const auto arm = [&](const std::string& name, const Style& style, const Norm& norm) {
        return TransformerArm{fmt::format("{} {}", name, part.of_text),
                              style,
                              {.data = lab.data(),
                               .net = {.layers = 2, .width = 32, .context = 32},
                               .norm = norm,
                               .steps = lab.profile().steps(400),
                               .of_text = part.of_text}};
      };
      of_.push_back({part, arm(lab.ln().name, lab.ln().style, lab.layer()),
                     arm("DyT", {"DyT", Look::green}, dynamic_tanh()),
                     arm("Derf", {"Derf", Look::purple}, dynamic_erf())});
    }
  }
  void run(Lab& lab) override {
    Arms<TransformerSpec> all;
    for (OfText& arms : of_) all = all + arms.all();
    lab.tune(all, {0.003, 0.01, 0.03});
    lab.measure(all);
  }
  std::vector<Question> questions() const override {
    std::vector<Question> all;
    for (const OfText& arms : of_) {
      // The source: better than LayerNorm on little data, worse on much.
      const Expect expect = arms.part.of_text < 1 ? Expect::negative : Expect::positive;
      const auto against_ln = [&](const char* id, const Measured& arm) {
        all.push_back(nats(id, of(arm, "eval_loss"), of(arms.ln, "eval_loss"), nothing_, expect));
      };
      against_ln(arms.part.dyt_line, arms.dyt);
      if (arms.part.of_text == 0.01) all.back().role = Role::primary;
      if (arms.part.of_text == 1) all.back().role = Role::limits;
      against_ln(arms.part.derf_line, arms.derf);
    }
    return all;
  }
  void facts(Facts& facts) const override {
    std::vector<const TransformerArm*> all;
    for (const OfText& arms : of_)
      for (const TransformerArm* arm : {&arms.ln, &arms.dyt, &arms.derf}) all.push_back(arm);
    facts.text("rates", chosen_rates(all));
    facts.text("steps", fmt::format("{}", of_[0].ln.spec.steps));
  }
  std::vector<Chart> charts() const override {
    Chart c{.title = "",
            .x = {.label = "part of the text, %", .log = true, .ticks = {1, 10, 100}},
            .y = {.label = "loss on held-out text, nats"}};
    for (const auto member : {&OfText::ln, &OfText::dyt, &OfText::derf}) {
      Series s = series_of((of_[0].*member).style);
      for (const OfText& arms : of_)
        add_point(s, 100 * arms.part.of_text, (arms.*member).runs, "eval_loss");
      c.series.push_back(std::move(s));
    }
    return {c};
  }
  std::vector<Table> tables() const override {
    std::vector<const Measured*> all;
    for (const OfText& arms : of_)
      for (const Measured* arm : {&arms.ln, &arms.dyt, &arms.derf}) all.push_back(arm);
    return {seed_table("Held-out loss, nats", all, "eval_loss", 1, 3)};
  }

 private:
  double nothing_;
  std::vector<OfText> of_;
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
std::unique_ptr<Claim> rival19(Lab& lab) { return std::make_unique<LessText>(lab); }
std::unique_ptr<Claim> rival20(Lab& lab) { return std::make_unique<Derf>(lab); }

}  // namespace loupe::lesson
