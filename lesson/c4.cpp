// C4: normalisation reduces internal covariate shift. Does it, and is that why it helps? (After
// Santurkar et al. 2018.)
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>
#include <loupe/optim/optimizer.h>

#include <cmath>
#include <map>

namespace loupe::lesson {
namespace {

// BatchNorm followed by noise that changes at every step: a scale U(1, 1.25) and a shift U(-.5, .5)
// per channel, and N(0, .1) per sample and channel. More covariate shift, on purpose.
struct NoisyBatchNorm : Layer<NoisyBatchNorm> {
  explicit NoisyBatchNorm(int64_t channels) : bn(channels), rng(static_cast<uint64_t>(channels)) {}
  Tensor forward(In x) {
    const Tensor y = bn(x);
    if (!is_training()) return y;
    const int64_t n = y.size(0), c = y.size(1);
    const Tensor scale = uniform(rng, {1, c, 1, 1}, 1, 1.25),
                 shift = uniform(rng, {1, c, 1, 1}, -0.5, 0.5);
    return y * scale + (shift + 0.1 * randn(rng, {n, c, 1, 1}));
  }
  void visit(Visitor& v) override {
    v("bn", bn);
    v.stream("noise", rng);
  }
  std::string type_name() const override { return "NoisyBatchNorm"; }

  BatchNorm2d bn;
  Rng rng;
};

Norm noisy_batch_norm() {
  return {"noisy batch", [](int64_t c, Place) -> std::unique_ptr<Module> {
            return std::make_unique<NoisyBatchNorm>(c);
          }};
}

struct ShiftSpec {
  std::shared_ptr<const Data> data;
  Norm norm = batch_norm();
  double lr = 0.03;
  int64_t steps = 150, every = 10;
  std::vector<double> etas{0.05, 0.1, 0.2,
                           0.4};  // how far along the gradient the landscape is looked at

  Config config() const {
    std::string along;
    for (double eta : etas) along += fmt::format("{}{}", along.empty() ? "" : " ", eta);
    return {{"experiment", "covariate shift"},
            {"net", "S6"},
            {"norm", norm.name},
            {"lr", fmt::format("{:.6g}", lr)},
            {"batch", "64"},
            {"steps", fmt::format("{}", steps)},
            {"every", fmt::format("{}", every)},
            {"landscape", along},
            {"schedule", "constant"},
            {"optimizer", "sgd momentum 0.9"},
            {"data", data->images_id()}};
  }
  double cost() const { return 0.02 * static_cast<double>(steps); }
  // Metrics: final_loss, and valid_loss of a tuning run. Medians over the measured steps, at W with
  // the batch's gradient G:
  //   shift            |G_l - G'_l| / |G_l|, also over the layers l > 0; G'_l is the gradient of
  //   layer l on the same batch once
  //                    the layers below have taken their step (definition 2.1 of Santurkar et al.)
  //   loss_rise        the largest loss at W - eta G over the etas, minus the loss at W
  //   gradient_change  the largest |G(W - eta G) - G| / |G| over the etas
  // Series: loss; measured_at (steps), lowest and highest loss along the gradient.
  void make(Record& r) const;
};

using Tensors = std::vector<Tensor>;

// One training under the magnifying glass.
class ShiftRun {
 public:
  ShiftRun(const ShiftSpec& spec, Record& record);
  void train();

 private:
  void draw_batch();
  double pass();  // gradients at the present weights; the loss
  void measure(int64_t step);
  void measure_shift(const Tensors& before, const Tensors& after, const Tensors& g);
  void measure_landscape(int64_t step, const Tensors& before, const Tensors& g);
  void put(const Tensors& low, const Tensors& high, size_t below);
  Tensors weights_now() const;
  Tensors gradients_now() const;
  void finish();

  const ShiftSpec& s_;
  Record& r_;
  Rng rng_, order_;
  Classifier model_;
  SGD optimizer_;
  const Tensors weights_;
  const size_t layers_;
  // The layer of each parameter (a convolution and the norm behind it belong together), and where
  // each layer's weight is.
  std::vector<size_t> layer_of_, weight_of_;
  Tensor x_, y_;  // the batch
  std::vector<double> shifts_, rises_, changes_;
};

ShiftRun::ShiftRun(const ShiftSpec& spec, Record& record)
    : s_(spec),
      r_(record),
      rng_(record.seed * 16),
      order_(record.seed * 16 + 1),
      model_(rng_, "S6", spec.norm),
      optimizer_(model_, {.lr = spec.lr, .momentum = 0.9}),
      weights_(parameters(model_)),
      layers_(model_.convs.size()),
      weight_of_(layers_ + 1) {
  for (const Named& p : named_parameters(model_)) {
    const bool last = p.name.starts_with("out");
    const auto number = [&] { return std::atoi(p.name.c_str() + p.name.find('.') + 1); };
    layer_of_.push_back(last ? layers_ : static_cast<size_t>(number()));
    const bool weight =
        last ? p.tensor.dim() == 2 : p.name.starts_with("convs") && p.tensor.dim() == 4;
    if (weight) weight_of_[layer_of_.back()] = layer_of_.size() - 1;
  }
}

void ShiftRun::draw_batch() {
  const int64_t images = std::min<int64_t>(8192, s_.data->train_x.size(0));
  const Tensor index = randint(order_, 0, images, {64});
  x_ = index_select(s_.data->train_x, 0, index);
  y_ = index_select(s_.data->train_y, 0, index);
}

double ShiftRun::pass() {
  zero_grad(model_);
  const Tensor loss = cross_entropy(model_(x_), y_);
  loss.backward();
  return loss.item();
}

Tensors ShiftRun::weights_now() const {
  Tensors v;
  for (const Tensor& w : weights_) v.push_back(w.detach().clone());
  return v;
}

Tensors ShiftRun::gradients_now() const {
  Tensors v;
  for (const Tensor& w : weights_) v.push_back(w.grad().clone());
  return v;
}

// Layers < below from `low`, the others from `high`.
void ShiftRun::put(const Tensors& low, const Tensors& high, size_t below) {
  NoGrad guard;
  for (size_t i = 0; i < weights_.size(); ++i)
    weights_[i].copy_(layer_of_[i] < below ? low[i] : high[i]);
}

double size_of(const Tensors& tensors) {
  double sum = 0;
  for (const Tensor& t : tensors) sum += square(t).sum().item();
  return std::sqrt(sum);
}

double distance(const Tensors& a, const Tensors& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += square(a[i] - b[i]).sum().item();
  return std::sqrt(sum);
}

void ShiftRun::measure_shift(const Tensors& before, const Tensors& after, const Tensors& g) {
  for (size_t l = 1; l <= layers_; ++l) {
    put(after, before, l);
    pass();
    NoGrad guard;
    const size_t w = weight_of_[l];
    const double moved = distance({weights_[w].grad()}, {g[w]});
    const double was = size_of({g[w]});
    if (std::isfinite(moved) && was > 0) shifts_.push_back(moved / was);
  }
}

void ShiftRun::measure_landscape(int64_t step, const Tensors& before, const Tensors& g) {
  double lowest = INFINITY, highest = -INFINITY, change = 0;
  const double size = size_of(g);
  for (double eta : s_.etas) {
    Tensors there;
    {
      NoGrad guard;
      for (size_t i = 0; i < g.size(); ++i) there.push_back(before[i] - eta * g[i]);
    }
    put(there, there, 0);
    const double loss = pass();
    lowest = std::min(lowest, loss);
    highest = std::isnan(loss) ? INFINITY : std::max(highest, loss);
    NoGrad guard;
    change = worst_of(change, distance(gradients_now(), g) / size);
  }
  r_.series["measured_at"].push_back(static_cast<double>(step + 1));
  r_.series["lowest"].push_back(lowest);
  r_.series["highest"].push_back(highest);
  rises_.push_back(highest - r_.series.at("loss").back());
  changes_.push_back(change);
}

// Takes the step, and looks at the gradients around it.
void ShiftRun::measure(int64_t step) {
  const Tensors before = weights_now();
  const Tensors g = gradients_now();
  optimizer_.step();
  const Tensors after = weights_now();
  measure_shift(before, after, g);
  measure_landscape(step, before, g);
  put(after, after, 0);
}

void ShiftRun::finish() {
  const auto& curve = r_.series.at("loss");
  r_.metrics["final_loss"] = mean(std::span(curve).last(std::min<size_t>(10, curve.size())));
  r_.dead = is_dead(r_.metrics["final_loss"], 10);
  if (r_.tuning) {
    eval(model_);
    r_.metrics["valid_loss"] = evaluate(model_, s_.data->valid_x, s_.data->valid_y, 256).loss;
    return;
  }
  r_.metrics["shift"] = shifts_.empty() ? NAN : median(shifts_);
  r_.metrics["loss_rise"] = rises_.empty() ? NAN : median(rises_);
  r_.metrics["gradient_change"] = changes_.empty() ? NAN : median(changes_);
  r_.dead |= !(r_.metrics["shift"] > 0) || !std::isfinite(r_.metrics["gradient_change"]);
}

void ShiftRun::train() {
  auto& curve = r_.series["loss"];
  for (int64_t step = 0; step < s_.steps; ++step) {
    draw_batch();
    curve.push_back(pass());
    if (!std::isfinite(curve.back())) break;
    if (r_.tuning || step % s_.every != s_.every - 1) optimizer_.step();
    else measure(step);
  }
  finish();
}

void ShiftSpec::make(Record& r) const { ShiftRun(*this, r).train(); }

// --- The arms ---

constexpr double kDeadRatio = 10;  // shift and change of the gradient that a dead run enters with
const std::vector<double> kRates{0.03, 0.1};

using ShiftArm = Arm<ShiftSpec>;
using Cells = std::vector<ShiftArm>;  // at each of the rates

class Claim4 : public Claim {
 public:
  explicit Claim4(Lab& lab);
  void run(Lab& lab) override;
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override;
  std::vector<Chart> charts() const override;
  std::vector<Table> tables() const override;

 private:
  Chart scatter() const;
  Chart landscape() const;

  Cells none_, bn_, noisy_, ln_;
  ShiftArm own_none_, own_noisy_;  // each at its own rate
};

Claim4::Claim4(Lab& lab) {
  const Profile& p = lab.profile();
  ShiftSpec base{.data = lab.data(), .steps = p.steps(p.full() ? 150 : 100)};
  if (p.tiny()) base.every = 3;
  else if (!p.full()) {
    base.etas = {0.1, 0.4};
    base.every = 20;
  }
  const auto arm = [&base](const std::string& name, const Style& style, const Norm& norm) {
    ShiftArm a{name, style, base};
    a.spec.norm = norm;
    return a;
  };
  own_none_ = arm("none", kNone, no_norm());
  own_noisy_ = arm("noisy", kNoisy, noisy_batch_norm());
  none_ = at_rates(own_none_, kRates);
  noisy_ = at_rates(own_noisy_, kRates);
  bn_ = at_rates(arm(lab.bn().name, lab.bn().style, lab.batch()), kRates);
  ln_ = at_rates(arm(lab.ln().name, lab.ln().style, lab.layer()), kRates);
}

void Claim4::run(Lab& lab) {
  lab.measure(pointers(none_) + pointers(bn_) + pointers(noisy_) + pointers(ln_));
  const Arms<ShiftSpec> own{&own_none_, &own_noisy_};
  lab.tune(own, kRates);
  lab.measure(own);
}

std::vector<Question> Claim4::questions() const {
  const std::vector<const Measured*> pool{&none_[0], &bn_[0], &noisy_[0], &ln_[0]};
  const auto shift = [&](const std::string& id, const Cells& cells, size_t rate, Expect expect) {
    const Question q =
        doublings(id, of(cells[rate], "shift"), of(none_[rate], "shift"), kDeadRatio, expect);
    return rate == 0 ? pooled(q, pool) : q;  // no norm can die at the larger rate
  };
  return {primary(shift("C4a", bn_, 0, Expect::negative)),
          shift("C4b", bn_, 1, Expect::negative),
          shift("C4c", ln_, 0, Expect::negative),
          limits(nats("C4d", of(own_noisy_, "final_loss"), of(own_none_, "final_loss"),
                      std::log(10.0), Expect::positive)),
          shift("C4e", noisy_, 0, Expect::positive),
          doublings("C4f", of(bn_[0], "gradient_change"), of(none_[0], "gradient_change"),
                    kDeadRatio, Expect::negative)};
}

void Claim4::facts(Facts& facts) const {
  facts.text("steps", fmt::format("{}", own_none_.spec.steps));
  facts.text("rates", chosen_rates(std::vector{&own_none_, &own_noisy_}));
}

// --- Charts and tables ---

Chart Claim4::scatter() const {
  Chart c{.title = "Covariate shift and final loss, each run",
          .x = {.label = "covariate shift", .log = true},
          .y = {.label = "final training loss, nats"}};
  for (const Cells* cells : {&none_, &bn_, &noisy_, &ln_}) {
    Series s = series_of(cells->at(0).style);
    for (const ShiftArm& cell : *cells)
      for (const Record& run : cell.runs) {
        const double shift = run["shift"];
        s.dots.push_back({std::isfinite(shift) && shift > 0 ? shift : 1, run["final_loss"],
                          fmt::format("rate {}, seed {}: shift {}, loss {}", cell.spec.lr, run.seed,
                                      short_number(shift), short_number(run["final_loss"])),
                          run.dead});
      }
    c.series.push_back(std::move(s));
  }
  c.note =
      "Shift: relative change of a layer's gradient when the layers below step. Both learning "
      "rates. Were shift the cause, the cloud would rise to the right.";
  return c;
}

// From the lowest to the highest loss that steps along the gradient meet.
Series range_of(const ShiftArm& arm) {
  struct Range {
    std::vector<double> lows, highs;
  };
  Series s = series_of(arm.style);
  std::map<double, Range> at_step;
  for (const Record& run : arm.runs) {
    const auto at = run.series.find("measured_at");
    for (size_t i = 0; at != run.series.end() && i < at->second.size(); ++i) {
      const double step = at->second[i];
      const double lo = run.series.at("lowest")[i], hi = run.series.at("highest")[i];
      if (!(lo > 0) || !std::isfinite(hi)) continue;
      at_step[step].lows.push_back(lo);
      at_step[step].highs.push_back(hi);
      s.dots.push_back({step, hi,
                        fmt::format("seed {}, step {}: {} to {}", run.seed, step, short_number(lo),
                                    short_number(hi))});
    }
  }
  for (const auto& [step, range] : at_step) {
    s.line.push_back({step, median(range.highs)});
    s.band.push_back({step, median(range.lows), median(range.highs)});
  }
  return s;
}

Chart Claim4::landscape() const {
  Chart c{.title = "The landscape: loss along the gradient, rate 0.03",
          .x = {.label = "step"},
          .y = {.label = "loss at W − ηG, nats", .log = true}};
  c.series = {range_of(none_[0]), range_of(ln_[0]), range_of(bn_[0])};
  const std::vector<double>& etas = own_none_.spec.etas;
  c.note = fmt::format(
      "Shaded: from the lowest to the highest loss over η = {} to {}, medians of the seeds; dots: "
      "each seed's highest.",
      etas.front(), etas.back());
  return c;
}

std::vector<Chart> Claim4::charts() const { return {scatter(), landscape()}; }

std::vector<Table> Claim4::tables() const {
  std::vector<const Measured*> cells;
  for (const Cells* of_norm : {&none_, &bn_, &noisy_, &ln_})
    for (const ShiftArm& cell : *of_norm) cells.push_back(&cell);
  return {seed_table("Covariate shift (relative change of the gradient)", cells, "shift", 1, 3),
          seed_table("Final training loss, nats", cells, "final_loss", 1, 3),
          seed_table("Largest rise of the loss along the gradient, nats", cells, "loss_rise", 1, 3),
          seed_table("Largest relative change of the gradient along itself", cells,
                     "gradient_change", 1, 3),
          seed_table("Final training loss at each arm's own rate, nats", {&own_none_, &own_noisy_},
                     "final_loss", 1, 3)};
}

}  // namespace

std::unique_ptr<Claim> claim4(Lab& lab) { return std::make_unique<Claim4>(lab); }

}  // namespace loupe::lesson
