// C1: normalisation stabilises training: activations stay in range, large learning rates are
// survived, gradients flow.
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>
#include <loupe/optim/optimizer.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// --- The runs ---

double norm_of(const Tensor& t) { return std::sqrt(square(t).sum().item()); }

// log10 of the largest over the smallest.
double decades_of(const std::vector<double>& v) {
  const auto [lo, hi] = std::ranges::minmax(v);
  return std::log10(std::max(hi, 1e-30) / std::max(lo, 1e-30));
}

double geometric_mean(const std::vector<double>& v) {
  double logs = 0;
  for (double x : v) logs += std::log10(std::max(x, 1e-30));
  return std::pow(10, logs / static_cast<double>(v.size()));
}

// A multilayer perceptron at its start: how activations and gradients grow through the layers.
struct InitSpec {
  std::shared_ptr<const Data> data;
  std::string net = "M12";
  Norm norm = batch_norm();
  double gain = 1;
  double lr = 0;  // nothing is trained

  Config config() const {
    return {{"experiment", "at initialisation"},   {"net", net},     {"norm", norm.name},
            {"gain", fmt::format("{:.6g}", gain)}, {"batch", "128"}, {"data", data->images_id()}};
  }
  double cost() const { return 0.03; }
  // Series: the deviation of each hidden layer's output before the ReLU, |grad W| / |W| of each
  // hidden layer. Metrics: the decades between the largest and the smallest of each, and the
  // geometric mean of |grad W|.
  void make(Record& r) const {
    Rng rng(r.seed * 16);
    Classifier model(rng, net, norm, gain);
    model.keep_taps = true;
    Rng order(r.seed * 16 + 1);
    const Tensor index = randint(order, 0, data->train_x.size(0), {128});
    const Tensor logits = model(index_select(data->train_x, 0, index).flatten(1));
    cross_entropy(logits, index_select(data->train_y, 0, index)).backward();
    NoGrad guard;
    auto& deviations = r.series["std"];
    for (const Tensor& t : model.taps) deviations.push_back(std(t.detach()).item());
    auto& relative = r.series["gradient"];
    std::vector<double> sizes;
    for (Linear& l : model.hidden) {
      sizes.push_back(grad_norm({l.weight}));
      relative.push_back(sizes.back() / norm_of(l.weight.detach()));
    }
    r.metrics["std_decades"] = decades_of(deviations);
    r.metrics["gradient_decades"] = decades_of(relative);
    r.metrics["gradient_size"] = geometric_mean(sizes);
  }
};

// --- The arms ---

constexpr double kUsable = 1.0;  // final training loss below which a rate counts as usable
constexpr double kDecades = 3;   // margin for "another order of things" at a wrong initial scale
constexpr double kGradientDecades =
    0.3;                        // margin for the spread over layers at the right one: a factor of 2
constexpr double kTrains = 20;  // points of accuracy between training and not training
const std::vector<double> kGains{0.25, 0.5, 1, 2};
// Without BatchNorm 16 layers die between 0.01 and 0.1: there the grid is fine, a third of an octave.
const std::vector<double> kFineGrid{0.003, 0.01,  0.0135, 0.018, 0.024,
                                    0.032, 0.042, 0.056,  0.075, 0.1};

using InitArm = Arm<InitSpec>;

// What is compared: no norm, LayerNorm, BatchNorm.
struct Compared {
  std::string name;
  Style style;
  Norm norm;
  bool fine = true;  // its usable rate is looked for on the fine grid
};

// Of one network with one norm, a cell at each rate.
using Cells = std::vector<ClassifierArm>;

struct Rates {
  std::string net, title;
  std::vector<double> grid;
  Cells none, ln, bn;
  Arms<ClassifierSpec> all() { return pointers(none) + pointers(ln) + pointers(bn); }
};

// The three norms at one place of an experiment.
template <class Spec> struct Three {
  Arm<Spec> none, ln, bn;
  Arms<Spec> all() { return {&none, &ln, &bn}; }
};

class Claim1 : public Claim {
 public:
  explicit Claim1(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  Three<InitSpec> start_of(const std::string& net, double gain, const std::string& suffix) const;
  Three<ClassifierSpec> trained_of(double gain) const;
  Rates rates_of(const std::string& net, const std::string& title, const std::vector<double>& grid,
                 ClassifierSpec base) const;
  Rates perceptron(const std::string& net, const std::string& title) const;
  Rates convolutions() const;
  void full_questions(std::vector<Question>& all) const;

  std::vector<Compared> roles_;
  std::shared_ptr<const Data> data_;
  Profile profile_;
  std::map<double, Three<InitSpec>> starts_;         // 12 layers, by initial scale
  std::map<std::string, Three<InitSpec>> depths_;    // at He's scale, by network
  std::map<std::string, Rates> rates_;               // by network
  std::map<double, Three<ClassifierSpec>> trained_;  // 12 layers, by initial scale
};

Claim1::Claim1(Lab& lab)
    : roles_{{"none", kNone, no_norm()},
             {lab.ln().name, lab.ln().style, lab.layer()},
             {lab.bn().name, lab.bn().style, lab.batch(), false}},
      data_(lab.data()),
      profile_(lab.profile()) {
  const bool full = profile_.full();
  for (double gain : kGains) starts_[gain] = start_of("M12", gain, short_number(gain));
  for (double gain : full ? kGains : std::vector<double>{0.25, 1})
    trained_[gain] = trained_of(gain);
  rates_["M17"] = perceptron("M17", "16 layers");
  if (full) {
    rates_["M5"] = perceptron("M5", "4 layers");
    rates_["M33"] = perceptron("M33", "32 layers");
    rates_["D14"] = convolutions();
  }
  for (const char* net :
       full ? std::vector<const char*>{"M5", "M17", "M33"} : std::vector<const char*>{"M17"})
    depths_[net] = start_of(net, 1, net);
}

Three<InitSpec> Claim1::start_of(const std::string& net, double gain,
                                 const std::string& suffix) const {
  std::vector<InitArm> arms;
  for (const Compared& role : roles_)
    arms.push_back({fmt::format("{} {}", role.name, suffix),
                    role.style,
                    {.data = data_, .net = net, .norm = role.norm, .gain = gain}});
  return {arms[0], arms[1], arms[2]};
}

Three<ClassifierSpec> Claim1::trained_of(double gain) const {
  std::vector<ClassifierArm> arms;
  for (const Compared& role : roles_)
    arms.push_back({fmt::format("{} {}", role.name, gain),
                    role.style,
                    {.data = data_,
                     .net = "M12",
                     .norm = role.norm,
                     .group = 128,
                     .batch = 128,
                     .steps = profile_.steps(100),
                     .images = 8192,
                     .gain = gain,
                     .cosine = false}});
  return {arms[0], arms[1], arms[2]};
}

Rates Claim1::rates_of(const std::string& net, const std::string& title,
                       const std::vector<double>& grid, ClassifierSpec base) const {
  std::vector<Cells> cells;
  for (const Compared& role : roles_) {
    base.norm = role.norm;
    const bool fine = net == "M17" && role.fine;
    cells.push_back(at_rates(ClassifierArm{role.name, role.style, base}, fine ? kFineGrid : grid));
  }
  return {net, title, grid, cells[0], cells[1], cells[2]};
}

Rates Claim1::perceptron(const std::string& net, const std::string& title) const {
  return rates_of(net, title, {0.003, 0.01, 0.03, 0.1, 0.3, 1},
                  {.data = data_,
                   .net = net,
                   .group = 128,
                   .batch = 128,
                   .steps = profile_.steps(200),
                   .images = 8192,
                   .cosine = false});
}

Rates Claim1::convolutions() const {
  return rates_of(
      "D14", "14 convolutions", {0.01, 0.03, 0.1, 0.3},
      {.data = data_, .net = "D14", .steps = profile_.steps(150), .images = 8192, .cosine = false});
}

void Claim1::run(Lab& lab) {
  Arms<InitSpec> starts;
  for (auto& [gain, three] : starts_) starts = starts + three.all();
  for (auto& [net, three] : depths_) starts = starts + three.all();
  lab.measure(starts);
  for (auto& [net, rates] : rates_) lab.measure(rates.all());
  Arms<ClassifierSpec> trained;
  for (auto& [gain, three] : trained_) trained = trained + three.all();
  lab.tune(trained, {0.01, 0.03, 0.1});
  lab.measure(trained);
}

// --- What is asked ---

Question decades(const std::string& id, const Sample& a, const Sample& b, double margin) {
  return {.id = id, .a = a, .b = b, .margin = margin, .unit = "decades"};
}

Question usable(const std::string& id, const Cells& arm, const Cells& rival) {
  const auto rate = [](const Cells& cells) {
    return Sample{.arms = measured(cells),
                  .metric = "final_loss",
                  .pick = Sample::Pick::usable_rate,
                  .bound = kUsable};
  };
  return doublings(id, rate(arm), rate(rival), 0, Expect::positive);
}

// Over layers, at He's scale.
Question uneven(const std::string& id, const Measured& a, const Measured& b) {
  return decades(id, of(a, "gradient_decades"), of(b, "gradient_decades"), kGradientDecades);
}

std::vector<Question> Claim1::questions() const {
  const auto activations = [this](InitArm Three<InitSpec>::*arm) {  // the worse of the wrong scales
    return Sample{.arms = {&(starts_.at(0.25).*arm), &(starts_.at(2).*arm)},
                  .metric = "std_decades",
                  .pick = Sample::Pick::largest};
  };
  const auto gradients = [this](InitArm Three<InitSpec>::*arm) {  // from scale to scale
    Sample s{.metric = "gradient_size", .pick = Sample::Pick::decades};
    for (const auto& [gain, three] : starts_) s.arms.push_back(&(three.*arm));
    return s;
  };
  const auto accuracy = [this](const std::string& id, double gain, double margin) {
    const auto& three = trained_.at(gain);
    Question q = points(id, of(three.bn, "test_accuracy"), of(three.none, "test_accuracy"));
    q.margin = margin;
    return q;
  };
  using Start = Three<InitSpec>;
  const Rates& m17 = rates_.at("M17");
  const Start& deep = depths_.at("M17");
  std::vector<Question> all{
      decades("C1a1", activations(&Start::none), activations(&Start::bn), kDecades),
      decades("C1a2", activations(&Start::none), activations(&Start::ln), kDecades),
      accuracy("C1a3", 0.25, kTrains),
      accuracy("C1a4", 1, kAccuracyMargin),
      primary(usable("C1b1", m17.bn, m17.none)),
      limits(usable("C1b2", m17.ln, m17.none)),
      decades("C1c1", gradients(&Start::none), gradients(&Start::bn), kDecades),
      decades("C1c2", gradients(&Start::none), gradients(&Start::ln), kDecades),
      uneven("C1c3", deep.none, deep.bn),
      uneven("C1c4", deep.none, deep.ln)};
  if (profile_.full()) full_questions(all);
  return all;
}

void Claim1::full_questions(std::vector<Question>& all) const {
  const auto rates = [&](const char* id, const char* net, Cells Rates::*arm) {
    all.push_back(usable(id, rates_.at(net).*arm, rates_.at(net).none));
  };
  rates("C1b3", "M5", &Rates::bn);
  rates("C1b4", "M33", &Rates::bn);
  rates("C1b5", "D14", &Rates::bn);
  rates("C1b6", "D14", &Rates::ln);
  all.push_back(uneven("C1c5", depths_.at("M5").none, depths_.at("M5").bn));
  all.push_back(uneven("C1c6", depths_.at("M33").none, depths_.at("M33").bn));
}

void Claim1::facts(Facts& facts) const {
  std::vector<const ClassifierArm*> trained;
  for (const auto& [gain, three] : trained_)
    for (const ClassifierArm* arm : {&three.none, &three.ln, &three.bn}) trained.push_back(arm);
  facts.text("rates", chosen_rates(trained));
  facts.text("usable", short_number(kUsable));
  facts.text("steps", fmt::format("{}", rates_.at("M17").bn[0].spec.steps));
  facts.text("trained_steps", fmt::format("{}", trained[0]->spec.steps));
}

// --- Charts and tables ---

struct Layered {
  std::string name;
  const InitArm* arm;
  bool dashed = false, dotted = false;
};

// A series of the runs against the layer: each seed, and the geometric mean.
Series through_layers(const Layered& what, const std::string& series) {
  Series s{.name = what.name, .look = what.arm->style.look, .dashed = what.dashed};
  s.dotted = what.dotted;
  const size_t layers = what.arm->runs.at(0).series.at(series).size();
  for (size_t l = 0; l < layers; ++l) {
    const auto x = static_cast<double>(l + 1);
    double logs = 0;
    int alive = 0;
    for (const Record& run : what.arm->runs) {
      const double v = run.series.at(series)[l];
      if (!(v > 0) || !std::isfinite(v)) continue;
      s.dots.push_back(
          {x, v, fmt::format("seed {}, layer {}: {}", run.seed, l + 1, short_number(v))});
      logs += std::log(v);
      ++alive;
    }
    if (alive) s.line.push_back({x, std::exp(logs / alive)});
  }
  return s;
}

Chart against_layer(const std::string& title, const std::string& unit, const std::string& series,
                    const std::vector<Layered>& arms) {
  Chart c{.title = title, .x = {.label = "hidden layer"}, .y = {.label = unit, .log = true}};
  for (const Layered& arm : arms) c.series.push_back(through_layers(arm, series));
  return c;
}

Chart against_rate(const Rates& rates) {
  Chart c{.title = "Training loss against the learning rate, " + rates.title,
          .x = {.label = "learning rate", .log = true, .ticks = rates.grid},
          .y = {.label = "final training loss, nats"},
          .marks = {{kUsable, "usable below"}}};
  double shift = 1 / 1.05;  // so that the markers do not hide each other
  for (const Cells* cells : {&rates.none, &rates.ln, &rates.bn}) {
    Series s = series_of(cells->at(0).style);
    for (const ClassifierArm& cell : *cells)
      add_point(s, cell.spec.lr * shift, cell.runs, "final_loss");
    c.series.push_back(std::move(s));
    shift *= 1.05;
  }
  c.note = "Crosses: runs that diverged or ended no better than knowing nothing.";
  return c;
}

std::vector<Chart> Claim1::charts() const {
  std::vector<Chart> all{against_rate(rates_.at("M17"))};
  if (profile_.full()) all.push_back(against_rate(rates_.at("D14")));
  all.push_back(against_layer(
      "Activations through the layers, at the start", "standard deviation before the ReLU", "std",
      {{"no norm, He × 0.25", &starts_.at(0.25).none, false, true},
       {"no norm, He × 1", &starts_.at(1).none},
       {"no norm, He × 2", &starts_.at(2).none, true},
       {starts_.at(0.25).ln.style.title + ", He × 0.25", &starts_.at(0.25).ln},
       {starts_.at(0.25).bn.style.title + ", He × 0.25", &starts_.at(0.25).bn}}));
  const auto& deep = depths_.at("M17");
  all.push_back(against_layer(
      "Gradients through 16 layers at He's scale, at the start", "|grad W| / |W|", "gradient",
      {{"no norm", &deep.none}, {deep.ln.style.title, &deep.ln}, {deep.bn.style.title, &deep.bn}}));
  return all;
}

std::vector<Table> Claim1::tables() const {
  std::vector<Table> all;
  for (const auto& [net, rates] : rates_) {
    std::vector<const Measured*> arms;
    for (const Cells* cells : {&rates.none, &rates.ln, &rates.bn})
      for (const ClassifierArm& cell : *cells) arms.push_back(&cell);
    all.push_back(
        seed_table(rates.title + ": final training loss by rate, nats", arms, "final_loss", 1, 3));
  }
  std::vector<const Measured*> trained;
  for (const auto& [gain, three] : trained_)
    for (const Measured* arm : {&three.none, &three.ln, &three.bn}) trained.push_back(arm);
  all.push_back(
      seed_table("Test accuracy by initial scale (× He), %", trained, "test_accuracy", 100));
  return all;
}

}  // namespace

std::unique_ptr<Claim> claim1(Lab& lab) { return std::make_unique<Claim1>(lab); }

}  // namespace loupe::lesson
