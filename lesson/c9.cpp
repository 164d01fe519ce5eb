// C9: batch statistics are not reliable in sequence models; LayerNorm is stable there. (a) The leak
// of the future and of other samples, (b) training and inference, (c) variable length, (d)
// fluctuation of the statistics.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

constexpr double kLeakMargin = 0.01;    // nats below ln 2
constexpr double kGradientLeak = 1e-4;  // a gradient that is no rounding
constexpr double kPaddingBound = 1e-5;  // logits
constexpr double kPaddingMoves = 1e-3;

// Largest |d logit(t = 3 of sequence 0) / d embedding| over later tokens (0: no leak of the future)
// and, with a batch, over other sequences.
double gradient_leak(const Norm& norm, int64_t batch) {
  Rng rng(5);
  Transformer net(rng, {.layers = 2, .width = 32, .context = 16}, norm);
  Tensor x = randn(rng, {batch, 16, 32});
  x.requires_grad_();
  const Tensor y = net.from_embeddings(x, Tensor()).select(0, 0).select(0, 3);
  const Tensor g = abs(grad({(y * randn(rng, y.shape())).sum()}, {x})[0]);
  double leak = max(g.select(0, 0).slice(0, 4)).item();
  if (batch > 1) leak = std::max(leak, max(g.slice(0, 1)).item());
  return leak;
}

// Largest change of a sequence's logits when its neighbour gets longer and so pads it (pads), or
// gets other symbols (mates).
double change_by_neighbour(const Norm& norm, bool training, bool pads) {
  NoGrad guard;
  Rng rng(6);
  Transformer net(
      rng, {.layers = 2, .width = 32, .context = 32, .symbols = 3, .causal = false, .pool = true},
      norm);
  train(net, training);
  const auto logits = [&](int64_t length, int64_t symbol) {
    const std::vector<int64_t> own{0, 1, 1, 0, 1, 0}, other(static_cast<size_t>(length), symbol);
    const Batch b = pad_sequences({own, other}, 2);
    return net.masked(b.x, b.mask).slice(0, 0, 1);
  };
  return max(abs(logits(6, 1) - (pads ? logits(30, 1) : logits(6, 0)))).item();
}

// The same sequence, padded by a longer row of its own that holds nothing but padding: the
// neighbours' symbols are the same, only the padding differs.
double change_by_padding_alone(const Norm& norm) {
  NoGrad guard;
  Rng rng(6);
  Transformer net(
      rng, {.layers = 2, .width = 32, .context = 32, .symbols = 3, .causal = false, .pool = true},
      norm);
  const auto logits = [&](int64_t length) {
    std::vector<int64_t> symbols, real;
    for (int64_t row = 0; row < 2; ++row)
      for (int64_t t = 0; t < length; ++t) {
        symbols.push_back(t < 6 ? (row + t) % 2 : 2);
        real.push_back(t < 6);
      }
    const Tensor mask = from_data(real).to(DType::boolean).reshape({2, length});
    return net.masked(from_data(symbols).reshape({2, length}), mask).slice(0, 0, 1);
  };
  return max(abs(logits(6) - logits(30))).item();
}

// --- The arms ---

// (a) Random bits. Nothing can be learned from them, so there is no rate to choose.
struct Bits {
  Bits(const Lab& lab, int64_t batch);
  TransformerArm ln, bn;
};

Bits::Bits(const Lab& lab, int64_t batch) {
  const auto with = [&](const Norm& norm) {
    return TransformerSpec{.data = lab.data(),
                           .task = "bits",
                           .net = {.layers = 2, .width = 32, .context = 16},
                           .norm = norm,
                           .batch = batch,
                           .steps = lab.profile().steps(500),
                           .lr = 0.003};
  };
  ln = {fmt::format("{} bits {}", lab.ln().name, batch), lab.ln().style, with(lab.layer())};
  bn = {fmt::format("{} bits {}", lab.bn().name, batch), lab.bn().style, with(lab.batch())};
}

// (b) Text, one window of `context` characters a batch.
struct Windows {
  size_t text;
  int64_t context;
  WindowArms arms;
};

// (c) Sequences of 4 to 32 bits, padded to the longest: are there more zeros than ones? (d) And of
// a fixed length, so that the number of real tokens is the same on average.
struct Counts {
  Counts() = default;
  Counts(const Lab& lab, int64_t batch, const std::string& suffix);
  Arms<TransformerSpec> all();
  std::vector<const TransformerArm*> list() const;
  TransformerArm ln, bn, masked, none;  // without names where nothing is wanted
};

Counts::Counts(const Lab& lab, int64_t batch, const std::string& suffix) {
  const auto arm = [&](const std::string& name, const Style& style, const Norm& norm) {
    return TransformerArm{name + suffix,
                          style,
                          {.data = lab.data(),
                           .task = "count",
                           .net = {.layers = 2, .width = 32, .context = 32},
                           .norm = norm,
                           .batch = batch,
                           .steps = lab.profile().steps(lab.profile().full() ? 500 : 400)}};
  };
  ln = arm(lab.ln().name, lab.ln().style, lab.layer());
  bn = arm(lab.bn().name, lab.bn().style, lab.batch());
  masked = arm("BN masked", kMasked, masked_batch_norm());
  none = arm("none", kNone, no_norm());
}

Arms<TransformerSpec> Counts::all() {
  Arms<TransformerSpec> arms;
  for (TransformerArm* arm : {&ln, &bn, &masked, &none})
    if (!arm->name.empty()) arms.push_back(arm);
  return arms;
}

std::vector<const TransformerArm*> Counts::list() const {
  std::vector<const TransformerArm*> arms;
  for (const TransformerArm* arm : {&ln, &bn, &masked, &none})
    if (!arm->name.empty()) arms.push_back(arm);
  return arms;
}

class Claim9 : public Claim {
 public:
  explicit Claim9(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  double nothing(size_t text) const { return knowing_nothing(data_->texts[text]); }
  void ask_leak(std::vector<Question>& all) const;
  void ask_windows(std::vector<Question>& all) const;
  void ask_lengths(std::vector<Question>& all) const;
  void ask_fluctuation(std::vector<Question>& all) const;
  Chart bits_chart() const;
  Chart modes_chart() const;
  Chart fluctuation_chart() const;
  std::vector<Measured> watched() const;

  std::shared_ptr<const Data> data_;
  bool full_;
  Contestant bn_, ln_;
  std::map<int64_t, Bits> bits_;  // by batch
  std::vector<Windows> windows_;
  TextArms many_;          // 16 windows a batch, from C8
  Counts four_, sixteen_;  // sequences a batch; sixteen in the full profile
  CnnArms cnn_;            // of which BatchNorm is trained
  Measured facts_;
};

Claim9::Claim9(Lab& lab)
    : data_(lab.data()),
      full_(lab.profile().full()),
      bn_(lab.bn()),
      ln_(lab.ln()),
      many_(lab, 0),
      four_(lab, 4, ""),
      cnn_(f1_arms(lab, {64})) {
  for (int64_t b : full_ ? std::vector<int64_t>{1, 2, 4, 16} : std::vector<int64_t>{1, 2, 16})
    bits_.emplace(b, Bits(lab, b));
  for (size_t text = 0; text < data_->texts.size(); ++text)
    for (int64_t context : full_ ? std::vector<int64_t>{16, 32} : std::vector<int64_t>{16})
      windows_.push_back({text, context, WindowArms(lab, text, context, 1)});
  if (full_) sixteen_ = Counts(lab, 16, " 16");
}

Measured exact_facts(Lab& lab) {
  return lab.compute("leaks", {{"net", "T(2,32,16)"}, {"norms", lab.norm_names()}},
                     [bn = lab.bn(), ln = lab.ln()](Record& r) {
                       const Norm masked = masked_batch_norm();
                       r.metrics[ln.name + " leak"] =
                           worst_of(gradient_leak(ln.norm, 1), gradient_leak(ln.norm, 4));
                       r.metrics[bn.name + " leak 16"] = gradient_leak(bn.norm, 16);
                       r.metrics[ln.name + " padding"] =
                           worst_of(change_by_neighbour(ln.norm, true, true),
                                    change_by_neighbour(ln.norm, false, true));
                       r.metrics[bn.name + " padding"] = change_by_padding_alone(bn.norm);
                       r.metrics["padding masked"] = change_by_padding_alone(masked);
                       r.metrics["mates masked"] = change_by_neighbour(masked, true, false);
                     });
}

void Claim9::run(Lab& lab) {
  Arms<TransformerSpec> bits;
  for (auto& [batch, arms] : bits_) bits = bits + Arms<TransformerSpec>{&arms.ln, &arms.bn};
  lab.measure(bits);
  for (Windows& w : windows_) w.arms.run(lab);
  many_.tune(lab);
  lab.measure(Arms<TransformerSpec>{&many_.ln, &many_.bn});
  const Arms<TransformerSpec> counts = four_.all() + sixteen_.all();
  lab.tune(counts, {0.001, 0.003, 0.01});
  four_.masked.spec.inspect = true;
  lab.measure(counts);
  cnn_.tune(lab);
  lab.measure(Arms<ClassifierSpec>{&cnn_.bn.at(64)});
  facts_ = exact_facts(lab);
}

// --- What is asked ---

std::vector<Question> Claim9::questions() const {
  std::vector<Question> all;
  ask_leak(all);
  ask_windows(all);
  ask_lengths(all);
  ask_fluctuation(all);
  return all;
}

void Claim9::ask_leak(std::vector<Question>& all) const {
  const double ln2 = std::log(2.0);
  const auto below_ln2 = [&](const char* id, const Measured& arm, Expect expect,
                             Role role = Role::explains) {
    Question q = nats(id, constant(ln2), of(arm, "train_mode_loss"), ln2, expect);
    q.margin = kLeakMargin;
    q.role = role;
    all.push_back(q);
  };
  below_ln2("C9a1", bits_.at(1).bn, Expect::positive, Role::primary);
  below_ln2("C9a2", bits_.at(1).ln, Expect::none);
  below_ln2("C9a3", bits_.at(2).bn, Expect::positive);
  below_ln2("C9a4", bits_.at(16).bn, Expect::positive);
  all.push_back(fact("C9a5", of(facts_, ln_.name + " leak"), Holds::at_most, 0));
  all.push_back(fact("C9a6", of(facts_, bn_.name + " leak 16"), Holds::above, kGradientLeak));
}

// BatchNorm's loss in eval mode minus its own in training mode.
Question mode_gap(const std::string& id, const Measured& arm, double nothing) {
  return nats(id, of(arm, "eval_loss"), of(arm, "train_mode_loss"), nothing, Expect::positive);
}

void Claim9::ask_windows(std::vector<Question>& all) const {
  for (const Windows& w : windows_) {
    const bool first = &w == &windows_[0];
    const std::string suffix = w.text ? fmt::format("-{}", w.text + 1) : "";
    const int number = w.context == 16 ? 1 : 6;
    const auto id = [&](int i) { return fmt::format("C9b{}{}", number + i, suffix); };
    const WindowArms& arms = w.arms;
    const auto against_ln = [&](int i, const char* metric, Expect expect) {
      all.push_back(nats(id(i), of(arms.bn, metric), of(arms.ln, metric), nothing(w.text), expect));
    };
    against_ln(0, "eval_loss", Expect::positive);
    against_ln(1, "train_mode_loss", Expect::negative);
    all.push_back(mode_gap(id(2), arms.bn, nothing(w.text)));
    if (!first) continue;
    all.push_back(
        largest_gap("C9b4", of(arms.ln, "eval_loss"), of(arms.ln, "train_mode_loss"), 0, "nats"));
    all.push_back(mode_gap("C9b5", many_.bn, nothing(0)));
  }
}

Question accuracy(const std::string& id, const Measured& a, const Measured& b) {
  Question q = points(id, of(a, "accuracy"), of(b, "accuracy"));
  q.nothing = 0.5;  // two answers
  return q;
}

void Claim9::ask_lengths(std::vector<Question>& all) const {
  const auto ask = [&all](Question q) { all.push_back(std::move(q)); };
  const auto pool = measured(four_.list());
  ask(pooled(accuracy("C9c1", four_.ln, four_.bn), pool));
  ask(pooled(accuracy("C9c2", four_.ln, four_.masked), pool));
  ask(fact("C9c3", of(facts_, ln_.name + " padding"), Holds::at_most, kPaddingBound, "logits"));
  ask(fact("C9c4", of(facts_, bn_.name + " padding"), Holds::above, kPaddingMoves, "logits"));
  ask(explains(
      fact("C9c5", of(facts_, "padding masked"), Holds::at_most, kPaddingBound, "logits")));
  ask(fact("C9c6", of(facts_, "mates masked"), Holds::above, kPaddingMoves, "logits"));
  ask(pooled(accuracy("C9c7", four_.ln, four_.none), pool));
  if (!full_) return;
  ask(accuracy("C9c8", sixteen_.ln, sixteen_.bn));
  ask(accuracy("C9c9", sixteen_.ln, sixteen_.masked));
}

void Claim9::ask_fluctuation(std::vector<Question>& all) const {
  const Measured& cnn = cnn_.bn.at(64);
  const auto over = [&all](const char* id, const Sample& a, const Sample& b) {
    all.push_back(doublings(id, a, b, 1, Expect::positive));
  };
  over("C9d1", of(many_.bn, "fluctuation_mean_16"), of(cnn, "fluctuation_mean_16"));
  all.back().role = Role::limits;
  over("C9d2", of(many_.bn, "fluctuation_variance_16"), of(cnn, "fluctuation_variance_16"));
  // One model on three kinds of batch.
  over("C9d3", of(four_.masked, "fluctuation_mean_counted"),
       of(four_.masked, "fluctuation_mean_fixed"));
  over("C9d4", of(four_.masked, "fluctuation_mean_real"),
       of(four_.masked, "fluctuation_mean_fixed"));
}

// How many values stand behind one statistic.
std::string values_behind(const Measured& arm, const std::string& metric) {
  const auto alive = std::ranges::find(arm.runs, false, &Record::dead);
  return alive == arm.runs.end() ? "?" : fmt::format("{:.0f}", (*alive)[metric]);
}

void Claim9::facts(Facts& facts) const {
  facts.text("text", data_->texts[0].name);
  facts.text("window_rates", chosen_rates(windows_[0].arms.list()));
  auto counts = four_.list();
  for (const TransformerArm* arm : sixteen_.list()) counts.push_back(arm);
  facts.text("count_rates", chosen_rates(counts));
  facts.text("values_text", values_behind(many_.bn, "values_16"));
  facts.text("values_cnn", values_behind(cnn_.bn.at(64), "values_16"));
  facts.text("values_padded", values_behind(four_.masked, "values_counted"));
  facts.text("values_fixed", values_behind(four_.masked, "values_fixed"));
  facts.text("values_masked", values_behind(four_.masked, "values_real"));
}

// --- Charts and tables ---

Chart Claim9::bits_chart() const {
  Chart c{.title = "(a) Random bits: loss in training mode against the batch",
          .x = {.label = "sequences per batch", .log = true},
          .y = {.label = "loss, nats"},
          .marks = {{std::log(2.0), "ln 2: no better is possible"}}};
  Series ln = series_of(ln_.style), bn = series_of(bn_.style);
  for (const auto& [batch, arms] : bits_) {
    const auto x = static_cast<double>(batch);
    c.x.ticks.push_back(x);
    add_point(ln, x * 0.96, arms.ln.runs, "train_mode_loss");
    add_point(bn, x * 1.04, arms.bn.runs, "train_mode_loss");
  }
  c.series = {ln, bn};
  return c;
}

Chart Claim9::modes_chart() const {
  Chart c{.title = "(b) Text, one window of 16 a batch: training mode against eval mode",
          .x = {.label = ""},
          .y = {.label = "loss on held-out text, nats"}};
  for (const TransformerArm* arm : windows_[0].arms.list())
    for (const char* mode : {"training", "eval"}) {
      const std::string name = arm->style.title + " " + mode;
      const char* metric = mode[0] == 't' ? "train_mode_loss" : "eval_loss";
      c.series.push_back(column(name, arm->style.look, c.series.size(), arm->runs, metric));
      c.x.categories.push_back(name);
    }
  return c;
}

// The arms of the fluctuation chart, their metric under one name.
std::vector<Measured> Claim9::watched() const {
  const auto as = [](const std::string& name, Look look, const Measured& arm,
                     const std::string& batch) {
    Measured m{name, {name, look}, arm.runs};
    for (Record& r : m.runs)
      for (const char* of : {"fluctuation_mean", "fluctuation_variance", "values"})
        r.metrics[of] = r.dead ? NAN : r[fmt::format("{}_{}", of, batch)];
    return m;
  };
  const bool own = bn_.style.look == kOwnLook;
  const auto named = [&](const char* name) { return own ? bn_.name + ", " + name : name; };
  return {as(named("CNN"), own ? kOwnLook : Look::blue, cnn_.bn.at(64), "16"),
          as(named("text, fixed length"), own ? kOwnLook : Look::purple, many_.bn, "16"),
          as("bits, fixed length", Look::green, four_.masked, "fixed"),
          as("bits, padding counted", Look::yellow, four_.masked, "counted"),
          as("bits, padding left out", Look::gray, four_.masked, "real")};
}

std::vector<const Measured*> pointers_to(const std::vector<Measured>& arms) {
  std::vector<const Measured*> all;
  for (const Measured& arm : arms) all.push_back(&arm);
  return all;
}

Chart Claim9::fluctuation_chart() const {
  const std::vector<Measured> arms = watched();
  Chart c =
      columns({.title = "(d) Fluctuation of the batch mean, 16 images or sequences a batch",
               .y_label = "fluctuation / deviation of the data",
               .arms = pointers_to(arms),
               .metric = "fluctuation_mean",
               .paired = false,
               .note = "How far the mean of a channel strays from batch to batch, in units of that "
                       "channel's deviation; average of the layers."});
  c.y.lo = 0;
  return c;
}

std::vector<Chart> Claim9::charts() const {
  return {bits_chart(), modes_chart(),
          columns({.title = "(c) Padded sequences, batch of 4: accuracy in eval mode",
                   .y_label = "accuracy, %",
                   .arms = {&four_.none, &four_.ln, &four_.bn, &four_.masked},
                   .metric = "accuracy",
                   .scale = 100,
                   .note = "Masked: padding left out. Thin lines join the runs of one seed."}),
          fluctuation_chart()};
}

std::vector<Table> Claim9::tables() const {
  std::vector<Measured> losses;
  for (const auto& [batch, arms] : bits_)
    for (const TransformerArm* arm : {&arms.ln, &arms.bn}) losses.push_back(*arm);
  for (const Windows& w : windows_)
    for (const TransformerArm* arm : w.arms.list()) {
      losses.push_back(*arm);
      losses.back().name =
          fmt::format("{}, window of {}: {}", data_->texts[w.text].name, w.context, arm->name);
    }
  std::vector<const Measured*> counts = measured(four_.list());
  for (const TransformerArm* arm : sixteen_.list()) counts.push_back(arm);
  std::vector<Table> all{
      seed_table("Loss in training mode, nats", pointers_to(losses), "train_mode_loss", 1, 3),
      seed_table("Loss in eval mode, nats", pointers_to(losses), "eval_loss", 1, 3),
      seed_table("Counting task: accuracy in eval mode, %", counts, "accuracy", 100)};
  const std::vector<Measured> arms = watched();
  for (const char* what : {"mean", "variance"})
    all.push_back(seed_table(fmt::format("Fluctuation of the batch {}, 16 a batch", what),
                             pointers_to(arms), fmt::format("fluctuation_{}", what), 1, 3));
  all.push_back(
      seed_table("Values behind one statistic, 16 a batch (average of layers and batches)",
                 pointers_to(arms), "values", 1, 0));
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim9(Lab& lab) { return std::make_unique<Claim9>(lab); }

}  // namespace loupe::lesson
