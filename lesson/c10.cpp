// C10: LayerNorm normalises every token alike.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

namespace {
constexpr double kBin = 0.1;         // as in token_statistics()
constexpr double kMeanBound = 1e-4;  // of a token's mean, and
constexpr double kStdBound = 0.01;   // of its deviation's distance from 1: epsilon and rounding
constexpr double kSpread = 0.05;  // of deviations over tokens: below it they would count as alike
constexpr double kAlongBound = 1e-3;
}  // namespace

double gradient_along_token(const Norm& norm) {
  Rng rng(4);
  const auto module = norm.make(32, Place::tokens);
  Tensor x = randn(rng, {16, 32});
  x.requires_grad_();
  const Tensor y = module->call(x);
  const Tensor g = grad({(y * randn(rng, y.shape())).sum()}, {x})[0];
  NoGrad guard;
  const Tensor centred = x.detach() - mean(x.detach(), {1}, true);
  return (max(abs(sum(g * centred, {1}))) /
          max(sqrt(sum(square(g), {1}) * sum(square(centred), {1}))))
      .item();
}

namespace {

class Claim10 : public Claim {
 public:
  explicit Claim10(Lab& lab) : data_(lab.data()), who_(lab.ln()) {
    for (size_t text = 0; text < data_->texts.size(); ++text) models_.emplace_back(lab, text);
  }
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  std::shared_ptr<const Data> data_;
  Contestant who_;
  // C8's models, one set a text: each run looks behind its own norms once it is trained
  // (TransformerSpec with `inspect`).
  std::vector<TextArms> models_;
  Measured exact_;
};

void Claim10::run(Lab& lab) {
  for (TextArms& model : models_) {
    model.tune(lab);
    lab.measure(Arms<TransformerSpec>{&model.ln, &model.bn});
  }
  exact_ = lab.compute("formulas", {{"norms", lab.norm_names()}}, [who = who_](Record& r) {
    r.metrics[who.name + " along"] = gradient_along_token(who.norm);
    r.metrics[who.name + " formula"] = formula_error(who.norm, 1);
  });
}

std::vector<Question> Claim10::questions() const {
  std::vector<Question> all;
  const auto spread = [](const std::string& id, const Sample& a) {
    return Question{.id = id, .a = a, .b = constant(0), .margin = kSpread};
  };
  for (size_t i = 0; i < models_.size(); ++i) {
    const TextArms& m = models_[i];
    const std::string suffix = i ? fmt::format("-{}", i + 1) : "";
    all.push_back(fact("C10a" + suffix, of(m.ln, "token_mean"), Holds::at_most, kMeanBound));
    if (i == 0) all.back().role = Role::primary;
    all.push_back(spread("C10b" + suffix, of(m.bn, "token_std_sd")));
    all.back().role = i ? Role::explains : Role::limits;
    all.push_back(fact("C10c" + suffix, of(m.ln, "token_std_off"), Holds::at_most, kStdBound));
    all.push_back(spread("C10d" + suffix, of(m.ln, "feature_mean")));
    if (i > 0) continue;
    all.push_back(fact("C10e", of(exact_, who_.name + " along"), Holds::at_most, kAlongBound));
    all.push_back(fact("C10f", of(exact_, who_.name + " formula"), Holds::at_most, 1e-4));
  }
  return all;
}

void Claim10::facts(Facts& facts) const {
  const TextArms& m = models_[0];
  facts.text("layers", fmt::format("{}", m.ln.spec.net.layers));
  facts.text("steps", fmt::format("{}", m.ln.spec.steps));
  facts.text("rates", chosen_rates(std::vector{&m.ln, &m.bn}));
}

// The histogram of token_statistics(): each seed's, and their mean.
Series histogram(const TransformerArm& arm) {
  Series s = series_of(arm.style);
  const auto n = static_cast<double>(arm.runs.size());
  for (const Record& run : arm.runs) {
    const auto& shares = run.series.at("token_std");
    if (s.line.empty())
      for (size_t b = 0; b < shares.size(); ++b)
        s.line.push_back({kBin * static_cast<double>(b), 0});
    for (size_t b = 0; b < shares.size(); ++b) {
      const double x = s.line[b].x, y = 100 * shares[b];
      s.line[b].y += y / n;
      if (y > 0)
        s.dots.push_back({x, y,
                          fmt::format("seed {}, {:.1f} to {:.1f}: {:.1f} %", run.seed, x - kBin / 2,
                                      x + kBin / 2, y)});
    }
  }
  return s;
}

std::vector<Chart> Claim10::charts() const {
  Chart c{.title = "Standard deviation of single tokens behind the norms",
          .x = {.label = "standard deviation over the features"},
          .y = {.label = "share of tokens, %"}};
  c.series = {histogram(models_[0].ln), histogram(models_[0].bn)};
  c.note = "All norms of the model, bins of 0.1; lines: mean of the seeds.";
  return {c};
}

std::vector<Table> Claim10::tables() const {
  std::vector<Table> all;
  for (size_t i = 0; i < models_.size(); ++i) {
    const std::string on = i ? data_->texts[i].name + ", " : "";
    all.push_back(seed_table(on + "spread (sd) of the tokens' standard deviation",
                             {&models_[i].ln, &models_[i].bn}, "token_std_sd", 1, 4));
  }
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim10(Lab& lab) { return std::make_unique<Claim10>(lab); }

}  // namespace loupe::lesson
