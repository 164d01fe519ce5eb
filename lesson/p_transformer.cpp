// Part II, Transformers: where the norm stands and warm-up (P11), norms of queries and keys (P12),
// no norm at all (P16), BatchNorm in the feed-forward part alone (P17).
#include <loupe/lesson/lab.h>

namespace loupe::lesson {
namespace {

constexpr double kSame = 0.05;  // nats within which two losses are equivalent

Question loss(const char* id, const Measured& a, const Measured& b, double nothing, Expect expect) {
  Question q = nats(id, of(a, "eval_loss"), of(b, "eval_loss"), nothing, expect);
  q.margin = kSame;
  return q;
}

Chart losses(const std::vector<const Measured*>& arms) {
  return columns({.title = "",
                  .y_label = "loss on held-out text, nats",
                  .arms = arms,
                  .metric = "eval_loss",
                  .note = "Bars: means. Thin lines join the runs of one seed."});
}

Table loss_table(const std::vector<const Measured*>& arms) {
  return seed_table("Held-out loss, nats", arms, "eval_loss", 1, 3);
}

// Four blocks on the text of C8.
TransformerArm four_blocks(const Lab& lab, const std::string& name, const Style& style,
                           int64_t steps) {
  return {name,
          style,
          {.data = lab.data(),
           .net = {.layers = lab.profile().tiny() ? 2 : 4, .width = 32, .context = 32},
           .norm = lab.layer(),
           .steps = lab.profile().steps(steps)}};
}

// --- P11 ---

class Placement : public Claim {
 public:
  explicit Placement(Lab& lab) : nothing_(knowing_nothing(lab.data()->texts[0])) {
    struct Place {
      const char* name;
      Look look;
      NormAt at;
    };
    for (const auto& [name, look, at] :
         {Place{"pre", Look::orange, NormAt::pre}, Place{"post", Look::purple, NormAt::post},
          Place{"peri", Look::green, NormAt::peri}})
      for (const bool warm : {true, false}) {
        const std::string title = fmt::format("{}, {}", name, warm ? "warm-up" : "without");
        TransformerArm arm =
            four_blocks(lab, std::string(name) + (warm ? "" : " cold"), {title, look, !warm}, 250);
        arm.spec.net.norm_at = at;
        arm.spec.warm_up = warm;
        arms_.push_back(arm);
      }
  }
  void run(Lab& lab) override {
    lab.tune(arms_, {0.001, 0.003, 0.01, 0.03});
    lab.measure(arms_);
  }
  std::vector<Question> questions() const override {
    const auto &pre = arms_[0], &pre_cold = arms_[1], &post = arms_[2], &post_cold = arms_[3],
               &peri = arms_[4], &peri_cold = arms_[5];
    return {primary(loss("P11a", post_cold, post, nothing_, Expect::positive)),
            limits(loss("P11b", pre_cold, pre, nothing_, Expect::none)),
            loss("P11c", post, pre, nothing_, Expect::positive),
            loss("P11d", peri, pre, nothing_, Expect::none),
            loss("P11e", peri_cold, peri, nothing_, Expect::none)};
  }
  void facts(Facts& facts) const override {
    std::vector<const TransformerArm*> all;
    for (const TransformerArm& arm : arms_) all.push_back(&arm);
    facts.text("rates", chosen_rates(all));
    facts.text("steps", fmt::format("{}", arms_[0].spec.steps));
  }
  std::vector<Chart> charts() const override { return {losses(measured(arms_))}; }
  std::vector<Table> tables() const override { return {loss_table(measured(arms_))}; }

 private:
  double nothing_;
  std::vector<TransformerArm> arms_;  // pre, post, peri, each with warm-up and without
};

// --- P12 ---

// Fine where one of the two gives up.
const std::vector<double> kLargeRates{0.03, 0.1, 0.3, 0.4, 0.53, 0.71, 0.95};

class QueryKey : public Claim {
 public:
  explicit QueryKey(Lab& lab) : nothing_(knowing_nothing(lab.data()->texts[0])) {
    TransformerArm plain = four_blocks(lab, "LN", kLayer, 100);
    plain.spec.watch_logits = true;
    TransformerArm qk = plain;
    qk.name = "qk";
    qk.style = {"with QK-norm", Look::purple};
    qk.spec.net.qk_norm = true;
    plain_ = at_rates(plain, kLargeRates);
    qk_ = at_rates(qk, kLargeRates);
  }
  void run(Lab& lab) override { lab.measure(pointers(plain_) + pointers(qk_)); }
  std::vector<Question> questions() const override {
    const auto survived = [&](const std::vector<TransformerArm>& cells) {
      return Sample{.arms = measured(cells),
                    .metric = "eval_loss",
                    .pick = Sample::Pick::usable_rate,
                    .bound = 0.9 * nothing_};
    };
    return {primary(doublings("P12a", survived(qk_), survived(plain_), 0, Expect::positive)),
            limits(doublings("P12b", of(plain_[1], "largest_logit"), of(qk_[1], "largest_logit"), 1,
                             Expect::positive)),
            loss("P12c", qk_[0], plain_[0], nothing_, Expect::none)};
  }
  void facts(Facts& facts) const override {
    facts.text("steps", fmt::format("{}", plain_[0].spec.steps));
  }
  std::vector<Chart> charts() const override {
    return {against_rate("", "loss on held-out text, nats", "eval_loss"),
            against_rate("The largest attention logit", "largest |logit|", "largest_logit")};
  }
  std::vector<Table> tables() const override {
    std::vector<const Measured*> all = measured(plain_);
    for (const Measured* arm : measured(qk_)) all.push_back(arm);
    return {loss_table(all), seed_table("Largest attention logit", all, "largest_logit", 1, 1)};
  }

 private:
  Chart against_rate(const char* title, const char* label, const char* metric) const {
    Chart c{.title = title,
            .x = {.label = "learning rate", .log = true, .ticks = kLargeRates},
            .y = {.label = label, .log = true}};
    for (const auto* cells : {&plain_, &qk_}) {
      Series s = series_of(cells->at(0).style);
      for (const TransformerArm& cell : *cells) add_point(s, cell.spec.lr, cell.runs, metric);
      c.series.push_back(std::move(s));
    }
    c.note = "Crosses: runs that ended no better than knowing nothing.";
    return c;
  }

  double nothing_;
  std::vector<TransformerArm> plain_, qk_;
};

// --- P16 ---

class WithoutNorm : public Claim {
 public:
  explicit WithoutNorm(Lab& lab) : nothing_(knowing_nothing(lab.data()->texts[0])), arms_(lab, 0) {
    grid_ = text_grid(lab.profile());
    arms_.ln.spec.inspect = false;
    const auto without = [&](const char* name, Look look, Branches branches) {
      TransformerArm arm = arms_.none;
      arm.name = name;
      arm.style = {std::string(name) + ", no norm", look};
      arm.spec.net.branches = branches;
      return arm;
    };
    skip_ = without("SkipInit", Look::purple, Branches::skip_init);
    fixup_ = without("Fixup", Look::green, Branches::fixup);
  }
  void run(Lab& lab) override {
    lab.tune(all(), grid_);
    lab.measure(all());
  }
  std::vector<Question> questions() const override {
    return {primary(loss("P16a", skip_, arms_.ln, nothing_, Expect::at_most)),
            limits(loss("P16b", fixup_, arms_.ln, nothing_, Expect::at_most)),
            loss("P16c", skip_, arms_.scaled, nothing_, Expect::none)};
  }
  void facts(Facts& facts) const override {
    facts.text("rates", chosen_rates(std::vector<const TransformerArm*>{&arms_.ln, &arms_.scaled,
                                                                        &skip_, &fixup_}));
  }
  std::vector<Chart> charts() const override {
    return {losses({&arms_.ln, &arms_.scaled, &skip_, &fixup_})};
  }
  std::vector<Table> tables() const override {
    return {loss_table({&arms_.ln, &arms_.scaled, &skip_, &fixup_})};
  }

 private:
  Arms<TransformerSpec> all() { return {&arms_.ln, &arms_.scaled, &skip_, &fixup_}; }
  double nothing_;
  TextArms arms_;
  TransformerArm skip_, fixup_;
  std::vector<double> grid_;
};

// --- P17 ---

class FeedForward : public Claim {
 public:
  explicit FeedForward(Lab& lab) : nothing_(knowing_nothing(lab.data()->texts[0])), arms_(lab, 0) {
    grid_ = text_grid(lab.profile());
    arms_.ln.spec.inspect = arms_.bn.spec.inspect = false;
    feed_ = arms_.ln;
    feed_.name = "BN feed-forward";
    feed_.style = {"BatchNorm before feed-forward alone", Look::purple};
    feed_.spec.net.feed_norm = lab.batch();
  }
  void run(Lab& lab) override {
    const Arms<TransformerSpec> all{&arms_.ln, &feed_, &arms_.bn};
    lab.tune(all, grid_);
    lab.measure(all);
  }
  std::vector<Question> questions() const override {
    return {primary(loss("P17a", feed_, arms_.ln, nothing_, Expect::at_most)),
            loss("P17b", arms_.bn, feed_, nothing_, Expect::positive)};
  }
  void facts(Facts& facts) const override {
    facts.text("rates",
               chosen_rates(std::vector<const TransformerArm*>{&arms_.ln, &feed_, &arms_.bn}));
  }
  std::vector<Chart> charts() const override { return {losses({&arms_.ln, &feed_, &arms_.bn})}; }
  std::vector<Table> tables() const override {
    return {loss_table({&arms_.ln, &feed_, &arms_.bn})};
  }

 private:
  double nothing_;
  TextArms arms_;
  TransformerArm feed_;
  std::vector<double> grid_;
};

}  // namespace

std::unique_ptr<Claim> rival11(Lab& lab) { return std::make_unique<Placement>(lab); }
std::unique_ptr<Claim> rival12(Lab& lab) { return std::make_unique<QueryKey>(lab); }
std::unique_ptr<Claim> rival16(Lab& lab) { return std::make_unique<WithoutNorm>(lab); }
std::unique_ptr<Claim> rival17(Lab& lab) { return std::make_unique<FeedForward>(lab); }

}  // namespace loupe::lesson
