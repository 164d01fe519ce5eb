// C7: BatchNorm uses running averages at inference.
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

double running_variance_error(const Norm& norm) {
  Rng rng(3);
  const auto module = norm.make(6, Place::features);
  const Tensor x = 3 * randn(rng, {2, 6});
  NoGrad guard;
  module->call(x);
  for (const Named& b : named_buffers(*module))
    if (b.name == "running_var") return max(abs(b.tensor - (0.9 + 0.1 * var(x, {0})))).item();
  return INFINITY;
}

double formula_error(const Norm& norm, int axis) {
  NoGrad guard;
  Rng rng(9);
  const auto layer = norm.make(128, Place::features);
  const Tensor x = randn(rng, {64, 128}).to(DType::f32);
  const Tensor wide = x.to(DType::f64),
               expected = (wide - mean(wide, {axis}, true)) / sqrt(var(wide, {axis}, 0, true));
  return max(abs(layer->call(x).to(DType::f64) - expected)).item();
}

namespace {

class Claim7 : public Claim {
 public:
  explicit Claim7(Lab& lab) : who_(lab.bn()), f1_(f1_arms(lab, {64})) {
    // The tiny profile has few images.
    large_ = lab.data()->test_x.defined() && lab.data()->test_x.size(0) < 250 ? 16 : 64;
  }
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  const ClassifierArm& bn() const { return f1_.bn.at(64); }
  Contestant who_;
  CnnArms f1_;  // of which BatchNorm is trained
  int64_t large_;
  Measured exact_;
};

void Claim7::run(Lab& lab) {
  f1_.tune(lab);
  lab.measure(Arms<ClassifierSpec>{&f1_.bn.at(64)});
  exact_ = lab.compute("formulas", {{"norms", lab.norm_names()}}, [who = who_](Record& r) {
    r.metrics[who.name + " running variance"] = running_variance_error(who.norm);
    r.metrics[who.name + " formula"] = formula_error(who.norm, 0);
  });
}

std::vector<Question> Claim7::questions() const {
  const auto score = [this](const std::string& way) { return of(bn(), way); };
  const auto ways = [](const std::string& id, const Sample& a, const Sample& b, double margin,
                       Expect expect) {
    Question q = points(id, a, b);
    q.margin = margin;
    q.expect = expect;
    return q;
  };
  const std::string large = fmt::format("{}", large_);
  return {primary(ways("C7a", score("running_1"), score("batch_2"), 20, Expect::positive)),
          largest_gap("C7b", score("running_1"), score("running_250"), 0, "points", 100),
          ways("C7c", score("batch_" + large), score("sorted_" + large), 10, Expect::positive),
          ways("C7d", score("batch_250"), score("running_250"), 1, Expect::none),
          fact("C7e", of(exact_, who_.name + " running variance"), Holds::at_most, 1e-5),
          fact("C7f", of(exact_, who_.name + " formula"), Holds::at_most, 1e-4)};
}

void Claim7::facts(Facts& facts) const { facts.text("large", fmt::format("{}", large_)); }

std::vector<Chart> Claim7::charts() const {
  Chart c{.title = "The same weights, judged in three ways",
          .x = {.label = "images per test batch", .log = true, .ticks = {1, 2, 4, 8, 16, 64, 250}},
          .y = {.label = "test accuracy, %"}};
  const bool own = who_.style.look == kOwnLook;
  const std::string of_own = own ? who_.name + ", " : "";
  Series running{.name = of_own + "running averages", .look = who_.style.look};
  Series batch{.name = of_own + "batch statistics", .look = own ? kOwnLook : Look::purple};
  Series sorted{.name = of_own + "sorted by class", .look = own ? kOwnLook : Look::yellow};
  sorted.dashed = true;
  batch.dotted = own;
  add_point(running, 1, bn().runs, "running_1", 100);
  add_point(running, 250, bn().runs, "running_250", 100);
  for (int b : {2, 4, 8, 16, 64, 250}) {
    add_point(batch, b, bn().runs, fmt::format("batch_{}", b), 100);
    add_point(sorted, b, bn().runs, fmt::format("sorted_{}", b), 100);
  }
  c.series = {running, batch, sorted};
  c.note =
      "A batch of 1 cannot be judged by batch statistics: one value per channel has no variance, "
      "and Loupe refuses it.";
  return {c};
}

std::vector<Table> Claim7::tables() const {
  Table t{.title = "Test accuracy, %", .head = {"judged by"}};
  for (const Record& run : bn().runs) t.head.push_back(fmt::format("seed {}", run.seed));
  t.head.push_back("mean");
  for (const char* way :
       {"running_1", "running_250", "batch_2", "batch_4", "batch_8", "batch_16", "batch_64",
        "batch_250", "sorted_2", "sorted_16", "sorted_64", "sorted_250"})
    t.rows.push_back(seed_row(way, bn().runs, way, 100));
  return {t};
}

}  // namespace

std::unique_ptr<Claim> claim7(Lab& lab) { return std::make_unique<Claim7>(lab); }

}  // namespace loupe::lesson
