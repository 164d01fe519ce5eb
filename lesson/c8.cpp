// C8: LayerNorm works well in Transformers.
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

using Cells = std::vector<TransformerArm>;  // one arm at each rate of the grid

// Wider and longer, with gradient clipping: T(4,64,64).
TextArms wide_arms(const Lab& lab) {
  TextArms wide(lab, 0);
  for (TransformerArm* arm : wide.all()) {
    TransformerSpec& s = arm->spec;
    s.net.layers = 4;
    s.net.width = 64;
    s.net.context = 64;
    s.steps = 300;
    s.batch = 8;
    s.clip = 1;
  }
  return wide;
}

class Claim8 : public Claim {
 public:
  explicit Claim8(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  std::vector<const Cells*> all_cells() const { return {&none_, &scaled_, &ln_, &bn_}; }
  double nothing(size_t text) const { return knowing_nothing(data_->texts[text]); }

  std::shared_ptr<const Data> data_;
  Profile profile_;
  std::vector<double> grid_;
  TextArms arms_;                  // each at its own rate
  Cells none_, scaled_, ln_, bn_;  // and at every rate
  WindowArms alone_;               // one window of 16 a batch
  std::vector<TextArms> others_;   // on the other texts
  TextArms wide_;                  // in the full profile
};

Claim8::Claim8(Lab& lab)
    : data_(lab.data()),
      profile_(lab.profile()),
      grid_(text_grid(profile_)),
      arms_(lab, 0),
      alone_(lab, 0, 16, 1),
      wide_(wide_arms(lab)) {
  for (size_t text = 1; text < data_->texts.size(); ++text) others_.emplace_back(lab, text);
}

void Claim8::run(Lab& lab) {
  arms_.tune(lab);
  // Without a norm the network dies at every rate: the full profile shows it.
  none_ = at_rates(arms_.none, profile_.full() ? grid_ : std::vector{arms_.none.spec.lr});
  scaled_ = at_rates(arms_.scaled, grid_);
  ln_ = at_rates(arms_.ln, grid_);
  bn_ = at_rates(arms_.bn, grid_);
  lab.measure(pointers(none_) + pointers(scaled_) + pointers(ln_) + pointers(bn_));
  lab.measure(arms_.all());
  alone_.run(lab);
  for (TextArms& other : others_) {
    other.tune(lab);
    lab.measure(other.all());
  }
  if (!profile_.full()) return;
  lab.tune(wide_.all(), {0.006, 0.015});
  lab.measure(wide_.all());
}

// --- What is asked ---

Question loss(const std::string& id, const Measured& a, const Measured& b, double nothing) {
  return nats(id, of(a, "eval_loss"), of(b, "eval_loss"), nothing, Expect::negative);
}

// Survived: below nine tenths of knowing nothing.
Sample largest_survived(const Cells& cells, double nothing) {
  return {.arms = measured(cells),
          .metric = "eval_loss",
          .pick = Sample::Pick::usable_rate,
          .bound = 0.9 * nothing};
}

std::vector<Question> Claim8::questions() const {
  const double none = nothing(0);
  const Question rates = doublings("C8e", largest_survived(ln_, none),
                                   largest_survived(scaled_, none), 0, Expect::positive);
  std::vector<Question> all{primary(loss("C8a", arms_.ln, arms_.none, none)),
                            limits(pooled(loss("C8b", arms_.ln, arms_.scaled, none), arms_.pool())),
                            pooled(loss("C8c", arms_.ln, arms_.bn, none), arms_.pool()),
                            loss("C8d", alone_.ln, alone_.bn, none), rates};
  for (size_t i = 0; i < others_.size(); ++i) {
    const TextArms& arms = others_[i];
    const std::string text = fmt::format("-{}", i + 2);
    all.push_back(loss("C8a" + text, arms.ln, arms.none, nothing(i + 1)));
    all.push_back(loss("C8b" + text, arms.ln, arms.scaled, nothing(i + 1)));
    all.push_back(loss("C8c" + text, arms.ln, arms.bn, nothing(i + 1)));
  }
  if (!profile_.full()) return all;
  all.push_back(loss("C8f", wide_.ln, wide_.none, none));
  all.push_back(loss("C8g", wide_.ln, wide_.scaled, none));
  all.push_back(loss("C8h", wide_.ln, wide_.bn, none));
  return all;
}

void Claim8::facts(Facts& facts) const {
  const auto median_rate = [&](const Cells& cells) {
    std::vector<double> v;
    for (const Outcome& o : largest_survived(cells, nothing(0)).outcomes(0)) v.push_back(o.value);
    return short_number(median(v));
  };
  facts.text("layers", fmt::format("{}", arms_.ln.spec.net.layers));
  facts.text("steps", fmt::format("{}", arms_.ln.spec.steps));
  facts.text("text", data_->texts[0].name);
  facts.text("symbols", fmt::format("{}", data_->texts[0].symbols));
  facts.text("rates", chosen_rates(arms_.list()));
  facts.text("alone_rates", chosen_rates(alone_.list()));
  facts.text("ln_rate", median_rate(ln_));
  facts.text("scaled_rate", median_rate(scaled_));
  facts.flag("ln_at_end", median_rate(ln_) == short_number(grid_.back()));
}

// --- Charts and tables ---

std::vector<Chart> Claim8::charts() const {
  Chart c{.title = "Held-out loss against the learning rate",
          .x = {.label = "learning rate", .log = true, .ticks = grid_},
          .y = {.label = "loss in eval mode, nats", .log = true},
          .marks = {{nothing(0), "knowing nothing"}}};
  double shift = std::pow(1.05, -1.5);  // so that the markers do not hide each other
  for (const Cells* cells : all_cells()) {
    Series s = series_of(cells->at(0).style);
    for (const TransformerArm& cell : *cells)
      add_point(s, cell.spec.lr * shift, cell.runs, "eval_loss");
    c.series.push_back(std::move(s));
    shift *= 1.05;
  }
  c.note =
      "Lines: mean of the seeds that live. Crosses: runs that ended no better than knowing "
      "nothing.";
  return {c};
}

std::vector<Table> Claim8::tables() const {
  const auto losses = [](const std::string& title, const std::vector<const Measured*>& arms) {
    return seed_table(title, arms, "eval_loss", 1, 3);
  };
  std::vector<const Measured*> cells;
  for (const Cells* of_arm : all_cells())
    for (const TransformerArm& cell : *of_arm) cells.push_back(&cell);
  std::vector<Table> all{
      losses("Held-out loss, nats", cells),
      losses("Held-out loss at each arm's own rate, nats", measured(arms_.list())),
      losses("One window of 16 characters a batch: held-out loss, nats", measured(alone_.list()))};
  for (size_t i = 0; i < others_.size(); ++i)
    all.push_back(losses(fmt::format("{}: held-out loss, nats; rates {}", data_->texts[i + 1].name,
                                     chosen_rates(others_[i].list())),
                         measured(others_[i].list())));
  if (profile_.full())
    all.push_back(losses(
        "4 blocks of width 64, clipped: held-out loss, nats; rates " + chosen_rates(wide_.list()),
        measured(wide_.list())));
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim8(Lab& lab) { return std::make_unique<Claim8>(lab); }

}  // namespace loupe::lesson
