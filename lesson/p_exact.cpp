// Part II, the exact claims: gradient accumulation (P1), weights before a norm (P3), gradients at
// initialisation (P4), LayerNorm as a non-linearity (P5) and as RMSNorm (P6), folding (P7).
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/fold.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace loupe::lesson {
namespace {

using Tensors = std::vector<Tensor>;

double size_of(const Tensors& tensors) {
  double sum = 0;
  for (const Tensor& t : tensors) sum += square(t.to(DType::f64)).sum().item();
  return std::sqrt(sum);
}

Tensors gradients(Module& m) {
  Tensors all;
  for (const Tensor& p : parameters(m)) all.push_back(p.grad().clone());
  return all;
}

// |a - b| / |b|.
double relative(const Tensors& a, const Tensors& b) {
  Tensors difference;
  for (size_t i = 0; i < a.size(); ++i) difference.push_back(a[i] - b[i]);
  return size_of(difference) / size_of(b);
}

std::vector<Contestant> compared(const Lab& lab) {
  return {{"none", kNone, no_norm()}, lab.ln(), lab.bn()};
}

// As a series of a run.
void keep(Record& r, const std::string& name, const Tensor& t) {
  r.series[name] = t.detach().to(DType::f64).to_vector<double>();
}

// A point for each pair of numbers.
Series points_of(const Style& style, const std::vector<double>& x, const std::vector<double>& y) {
  Series s = series_of(style);
  for (size_t i = 0; i < x.size(); ++i) s.dots.push_back({x[i], y[i]});
  return s;
}

// On it both coordinates are equal.
Series diagonal(const std::vector<double>& x) {
  const auto [lo, hi] = std::ranges::minmax(x);
  return {.name = "equal", .look = Look::ink, .line = {{lo, lo}, {hi, hi}}, .dashed = true};
}

// --- P1 ---

// The gradient of 64 images at once, or summed over micro-batches.
Tensors accumulated(Classifier& net, const Tensor& x, const Tensor& y, int64_t micro) {
  zero_grad(net);
  for (int64_t i = 0; i < x.size(0); i += micro) {
    const Tensor loss = cross_entropy(net(x.slice(0, i, i + micro)), y.slice(0, i, i + micro));
    (loss * (static_cast<double>(micro) / static_cast<double>(x.size(0)))).backward();
  }
  return gradients(net);
}

const std::vector<int64_t> kMicro{2, 8, 32};

class Accumulation : public Claim {
 public:
  explicit Accumulation(Lab& lab) : data_(lab.data()), arms_(compared(lab)) {}
  void run(Lab& lab) override {
    facts_ = lab.compute("accumulation", {{"net", "F1"}, {"norms", lab.norm_names()}},
                         [data = data_, arms = arms_](Record& r) {
                           const Tensor x = data->train_x.slice(0, 0, 64);
                           const Tensor y = data->train_y.slice(0, 0, 64);
                           for (const Contestant& c : arms) {
                             Rng rng(11);
                             Classifier net(rng, "F1", c.norm);
                             const Tensors whole = accumulated(net, x, y, 64);
                             for (int64_t micro : kMicro)
                               r.metrics[fmt::format("{} {}", c.name, micro)] =
                                   relative(accumulated(net, x, y, micro), whole);
                           }
                         });
  }
  std::vector<Question> questions() const override {
    return {primary(fact("P1a", of(facts_, bn() + " 8"), Holds::above, 0.05)),
            fact("P1b", of(facts_, ln() + " 2"), Holds::at_most, 1e-4),
            explains(fact("P1c", of(facts_, "none 2"), Holds::at_most, 1e-4)),
            explains(fact("P1d", of(facts_, bn() + " 32"), Holds::above, 0.05)),
            explains(fact("P1e", of(facts_, bn() + " 2"), Holds::above, 0.05))};
  }
  void facts(Facts&) const override {}
  std::vector<Chart> charts() const override {
    Chart c{.title = "",
            .x = {.label = "images a micro-batch", .log = true, .ticks = {2, 8, 32}},
            .y = {.label = "change of the gradient, relative", .log = true}};
    const Record& r = facts_.runs.at(0);
    for (const Contestant& arm : arms_) {
      Series s = series_of(arm.style);
      for (int64_t micro : kMicro)
        s.line.push_back({static_cast<double>(micro), r[fmt::format("{} {}", arm.name, micro)]});
      s.dots = s.line;
      c.series.push_back(s);
    }
    return {c};
  }

 private:
  const std::string& ln() const { return arms_[1].name; }
  const std::string& bn() const { return arms_[2].name; }
  std::shared_ptr<const Data> data_;
  std::vector<Contestant> arms_;
  Measured facts_;
};

// --- P3 ---

// The weights that a norm follows: all but the last layer's.
std::vector<Tensor> normed_weights(Classifier& net) {
  std::vector<Tensor> all;
  for (const Named& p : named_parameters(net))
    if (p.tensor.dim() > 1 && !p.name.starts_with("out")) all.push_back(p.tensor);
  return all;
}

double dot(const Tensor& a, const Tensor& b) {
  return sum(a.detach().to(DType::f64) * b.to(DType::f64)).item();
}

// Largest |<W, G>| / (|W| |G|).
double along_weights(Classifier& net) {
  double largest = 0;
  for (const Tensor& w : normed_weights(net))
    largest = worst_of(largest,
                       std::abs(dot(w, w.grad())) / (size_of({w.detach()}) * size_of({w.grad()})));
  return largest;
}

const std::vector<double> kFactors{1, 2, 5, 10};  // of the weights

void measure_scale(const Data& data, const Norm& norm, const std::string& name, Record& r) {
  const Tensor x = data.train_x.slice(0, 0, 64), y = data.train_y.slice(0, 0, 64);
  Rng rng(12);
  Classifier net(rng, "F1", norm);
  const auto pass = [&] {
    zero_grad(net);
    const Tensor logits = net(x);
    cross_entropy(logits, y).backward();
    return logits.detach();
  };
  const Tensor logits = pass();
  r.metrics[name + " along"] = along_weights(net);
  Tensors start, before;
  for (const Tensor& w : normed_weights(net)) {
    start.push_back(w.detach().clone());
    before.push_back(w.grad().clone());
  }
  Tensor scaled_logits;
  Tensors after;  // times the factor: the same where the gradient shrinks as the weights grow
  auto& sizes = r.series[name + " gradient"];
  for (double factor : kFactors) {
    {
      NoGrad guard;
      size_t i = 0;
      for (const Tensor& w : normed_weights(net)) w.copy_(factor * start[i++]);
    }
    scaled_logits = pass();
    after.clear();
    for (const Tensor& w : normed_weights(net)) after.push_back(factor * w.grad());
    sizes.push_back(size_of(after) / (factor * size_of(before)));
  }
  NoGrad guard;
  r.metrics[name + " logits"] = max(abs(scaled_logits - logits)).item();
  r.metrics[name + " gradient"] = relative(after, before);
}

// |W| after so many steps of plain SGD over |W| before, with a weight decay.
double grown(const Data& data, const Norm& norm, double decay) {
  Rng rng(13);
  Classifier net(rng, "F1", norm);
  Tensors before;
  for (const Tensor& w : normed_weights(net)) before.push_back(w.detach().clone());
  for (int64_t step = 0; step < 40; ++step) {
    const int64_t at = step % 8 * 64;
    zero_grad(net);
    cross_entropy(net(data.train_x.slice(0, at, at + 64)), data.train_y.slice(0, at, at + 64))
        .backward();
    NoGrad guard;
    for (const Tensor& p : parameters(net)) p.add_(-0.2 * (p.grad() + decay * p.detach()));
  }
  Tensors after;
  for (const Tensor& w : normed_weights(net)) after.push_back(w.detach());
  return size_of(after) / size_of(before);
}

class ScaleFree : public Claim {
 public:
  explicit ScaleFree(Lab& lab) : data_(lab.data()), arms_(compared(lab)) {}
  void run(Lab& lab) override {
    facts_ = lab.compute("scale", {{"net", "F1"}, {"norms", lab.norm_names()}},
                         [data = data_, arms = arms_](Record& r) {
                           for (const Contestant& c : arms) measure_scale(*data, c.norm, c.name, r);
                           const Contestant& bn = arms[2];
                           r.metrics[bn.name + " growth"] = grown(*data, bn.norm, 0) - 1;
                           r.metrics[bn.name + " decayed"] = grown(*data, bn.norm, 0.1);
                         });
  }
  std::vector<Question> questions() const override {
    return {primary(fact("P3a", of(facts_, bn() + " along"), Holds::at_most, 1e-4)),
            explains(fact("P3g", of(facts_, ln() + " along"), Holds::at_most, 1e-4)),
            explains(fact("P3b", of(facts_, "none along"), Holds::above, 1e-3)),
            fact("P3c", of(facts_, bn() + " logits"), Holds::at_most, 1e-2, "logits"),
            fact("P3d", of(facts_, bn() + " gradient"), Holds::at_most, 0.02),
            fact("P3e", of(facts_, bn() + " growth"), Holds::above, 0),
            explains(fact("P3f", of(facts_, bn() + " decayed"), Holds::at_most, 1))};
  }
  void facts(Facts&) const override {}
  std::vector<Chart> charts() const override {
    Chart c{.title = "",
            .x = {.label = "weights, times", .log = true, .ticks = kFactors},
            .y = {.label = "size of their gradient, relative", .log = true}};
    const Record& r = facts_.runs.at(0);
    for (const Contestant& arm : arms_) {
      Series s = points_of(arm.style, kFactors, r.series.at(arm.name + " gradient"));
      s.line = s.dots;
      c.series.push_back(s);
    }
    c.note = "Behind a norm the gradient shrinks as the weights grow: at ten times, to a tenth.";
    return {c};
  }

 private:
  const std::string& ln() const { return arms_[1].name; }
  const std::string& bn() const { return arms_[2].name; }
  std::shared_ptr<const Data> data_;
  std::vector<Contestant> arms_;
  Measured facts_;
};

// --- P4 ---

constexpr double kPredicted = 1.2110;  // sqrt(pi / (pi - 1)), Yang et al. 2019

// By which factor a layer's gradient is larger than that of the layer above, at initialisation:
// geometric mean over the middle of 32 layers.
struct GrowthSpec {
  std::shared_ptr<const Data> data;
  Norm norm;
  double lr = 0;
  Config config() const {
    return {{"experiment", "gradient growth"},
            {"net", "M33"},
            {"norm", norm.name},
            {"batch", "128"},
            {"data", data->images_id()}};
  }
  double cost() const { return 0.05; }
  void make(Record& r) const {
    Rng rng(r.seed * 16), order(r.seed * 16 + 1);
    Classifier net(rng, "M33", norm);
    const Tensor index = randint(order, 0, data->train_x.size(0), {128});
    cross_entropy(net(index_select(data->train_x, 0, index).flatten(1)),
                  index_select(data->train_y, 0, index))
        .backward();
    auto& sizes = r.series["gradient"];
    for (Linear& l : net.hidden) sizes.push_back(size_of({l.weight.grad()}));
    const size_t first = 4, last = sizes.size() - 4;
    r.metrics["growth"] =
        std::pow(sizes[first] / sizes[last], 1 / static_cast<double>(last - first));
  }
};

class Growth : public Claim {
 public:
  explicit Growth(Lab& lab) {
    bn_ = {lab.bn().name, lab.bn().style, {.data = lab.data(), .norm = lab.batch()}};
    ln_ = {lab.ln().name, lab.ln().style, {.data = lab.data(), .norm = lab.layer()}};
    none_ = {"none", kNone, {.data = lab.data(), .norm = no_norm()}};
  }
  void run(Lab& lab) override { lab.measure(Arms<GrowthSpec>{&bn_, &ln_, &none_}); }
  std::vector<Question> questions() const override {
    const auto factor = [](const char* id, const Measured& arm, double predicted) {
      return Question{.id = id,
                      .a = of(arm, "growth"),
                      .b = constant(predicted),
                      .margin = 0.05,
                      .expect = Expect::none};
    };
    return {primary(factor("P4a", bn_, kPredicted)), explains(factor("P4b", ln_, 1)),
            explains(factor("P4c", none_, 1))};
  }
  void facts(Facts& facts) const override {
    std::vector<double> v = values(bn_.runs, "growth");
    facts.text("factor", fmt::format("{:.2f}", mean(v)));
  }
  std::vector<Chart> charts() const override {
    Chart c{.title = "",
            .x = {.label = "hidden layer"},
            .y = {.label = "size of the gradient", .log = true}};
    for (const Arm<GrowthSpec>* arm : {&none_, &ln_, &bn_}) {
      Series s = series_of(arm->style);
      const auto& sizes = arm->runs.at(0).series.at("gradient");
      for (size_t l = 0; l < sizes.size(); ++l)
        s.line.push_back({static_cast<double>(l + 1), sizes[l]});
      s.dots = s.line;
      c.series.push_back(s);
    }
    c.note = "The first seed, one step backwards at initialisation.";
    return {c};
  }

 private:
  Arm<GrowthSpec> bn_, ln_, none_;
};

// --- P5 and P6 ---

// f(00) + f(11) - f(01) - f(10) of the third output behind the norm of (x1, x2, 2): 0 for whatever
// is affine.
double bend(const Norm& norm, std::vector<double>& third) {
  NoGrad guard;
  const auto layer = norm.make(3, Place::features);
  const Tensor h =
      from_data(std::vector<float>{0, 0, 2, 1, 1, 2, 0, 1, 2, 1, 0, 2}).reshape({4, 3});
  layer->call(h);  // BatchNorm needs statistics once
  train(*layer, false);
  const Tensor y = layer->call(h);
  for (int64_t row = 0; row < 4; ++row) third.push_back(y[row][2].item());
  return std::abs(third[0] + third[1] - third[2] - third[3]);
}

class Bend : public Claim {
 public:
  explicit Bend(Lab& lab) : bn_(lab.bn()), ln_(lab.ln()) {}
  void run(Lab& lab) override {
    facts_ = lab.compute("bend", {{"norms", lab.norm_names()}}, [bn = bn_, ln = ln_](Record& r) {
      for (const Contestant& c : {ln, bn})
        r.metrics[c.name + " bend"] = bend(c.norm, r.series[c.name + " third"]);
    });
  }
  std::vector<Question> questions() const override {
    return {primary(fact("P5a", of(facts_, ln_.name + " bend"), Holds::above, 0.1)),
            fact("P5b", of(facts_, bn_.name + " bend"), Holds::at_most, 1e-5)};
  }
  void facts(Facts&) const override {}
  std::vector<Chart> charts() const override {
    Chart c{.title = "",
            .x = {.label = "x1, x2", .categories = {"0, 0", "1, 1", "0, 1", "1, 0"}},
            .y = {.label = "third output"}};
    const Record& r = facts_.runs.at(0);
    for (const Contestant& arm : {ln_, bn_})
      c.series.push_back(points_of(arm.style, {0, 1, 2, 3}, r.series.at(arm.name + " third")));
    c.note =
        "XOR is told by one number if the two at the left lie on one side of it and the two at the "
        "right on the other.";
    return {c};
  }

 private:
  Contestant bn_, ln_;
  Measured facts_;
};

// |LayerNorm(W x + b) - RMSNorm(W' x + b')|, W' and b' with their mean over the outputs taken off.
double apart(bool centred, Record& r) {
  NoGrad guard;
  Rng rng(14);
  Linear linear(rng, 48, 64);
  const Tensor x = randn(rng, {8, 48});
  LayerNorm ln(Shape{64});
  RMSNorm rms(Shape{64}, {.eps = 1e-5});
  const Tensor wanted = ln(linear(x));
  if (centred) {
    linear.weight.copy_(linear.weight - mean(linear.weight, {0}, true));
    linear.bias.copy_(linear.bias - mean(linear.bias, {0}, true));
  }
  const Tensor got = rms(linear(x));
  keep(r, "LayerNorm", wanted);
  keep(r, centred ? "centred" : "not centred", got - wanted);
  return max(abs(wanted - got)).item();
}

class Centred : public Claim {
 public:
  explicit Centred(Lab&) {}
  void run(Lab& lab) override {
    facts_ = lab.compute("centred", {{"width", "64"}}, [](Record& r) {
      r.metrics["centred"] = apart(true, r);
      r.metrics["not"] = apart(false, r);
    });
  }
  std::vector<Question> questions() const override {
    return {primary(fact("P6a", of(facts_, "centred"), Holds::at_most, 1e-5)),
            explains(fact("P6b", of(facts_, "not"), Holds::above, 0.01))};
  }
  void facts(Facts&) const override {}
  std::vector<Chart> charts() const override {
    const auto& series = facts_.runs.at(0).series;
    const std::vector<double>& wanted = series.at("LayerNorm");
    return {{.title = "",
             .x = {.label = "LayerNorm's output"},
             .y = {.label = "RMSNorm minus LayerNorm"},
             .series = {points_of({"not centred", Look::gray}, wanted, series.at("not centred")),
                        points_of({"centred", Look::purple}, wanted, series.at("centred"))},
             .note = "The 64 outputs of eight inputs."}};
  }

 private:
  Measured facts_;
};

// --- P7 ---

double seconds_of(const std::function<void()>& work) {
  double best = INFINITY;
  for (int i = 0; i < 30; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

constexpr int64_t kShown = 8;  // images

void measure_folding(const Data& data, Record& r) {
  NoGrad guard;
  Rng rng(15);
  Sequential net(Conv2d(rng, 1, 16, {.kernel_size = 3, .stride = 2, .padding = 1, .bias = false}),
                 BatchNorm2d(16), ReLU(),
                 Conv2d(rng, 16, 32, {.kernel_size = 3, .stride = 2, .padding = 1, .bias = false}),
                 BatchNorm2d(32), ReLU(),
                 Conv2d(rng, 32, 32, {.kernel_size = 3, .padding = 1, .bias = false}),
                 BatchNorm2d(32), ReLU(), Flatten(), Linear(rng, 1568, 64), BatchNorm1d(64), ReLU(),
                 Linear(rng, 64, 10));
  const int64_t seen = std::min<int64_t>(512, data.train_x.size(0));
  for (int64_t at = 0; at + 64 <= seen; at += 64) net(data.train_x.slice(0, at, at + 64));
  eval(net);
  const Tensor x = data.train_x.slice(0, 0, 64);
  const Tensor before = net(x);
  const double slow = seconds_of([&] { net(x); });
  r.metrics["pairs"] = static_cast<double>(fold_batch_norm(net));
  const Tensor after = net(x);
  r.metrics["logits"] = max(abs(after - before)).item();
  keep(r, "before", before.slice(0, 0, kShown));
  keep(r, "after", after.slice(0, 0, kShown));
  r.metrics["saved"] = 100 * (1 - seconds_of([&] { net(x); }) / slow);
}

class Folding : public Claim {
 public:
  explicit Folding(Lab& lab) : data_(lab.data()) {}
  void run(Lab& lab) override {
    facts_ = lab.compute("folding", {{"net", "three convolutions and a hidden layer"}},
                         [data = data_](Record& r) { measure_folding(*data, r); });
  }
  std::vector<Question> questions() const override {
    return {primary(fact("P7a", of(facts_, "logits"), Holds::at_most, 1e-4, "logits")),
            explains(fact("P7b", of(facts_, "pairs"), Holds::above, 3))};
  }
  void facts(Facts& facts) const override {
    facts.text("saved", fmt::format("{:.0f}", facts_.runs.at(0)["saved"]));
  }
  std::vector<Chart> charts() const override {
    const auto& series = facts_.runs.at(0).series;
    const std::vector<double>& before = series.at("before");
    return {{.title = "",
             .x = {.label = "logit with the norms"},
             .y = {.label = "logit, folded"},
             .series = {diagonal(before),
                        points_of({"BatchNorm folded", Look::blue}, before, series.at("after"))},
             .note = fmt::format("The ten logits of {} images.", kShown)}};
  }

 private:
  std::shared_ptr<const Data> data_;
  Measured facts_;
};

}  // namespace

std::unique_ptr<Claim> rival1(Lab& lab) { return std::make_unique<Accumulation>(lab); }
std::unique_ptr<Claim> rival3(Lab& lab) { return std::make_unique<ScaleFree>(lab); }
std::unique_ptr<Claim> rival4(Lab& lab) { return std::make_unique<Growth>(lab); }
std::unique_ptr<Claim> rival5(Lab& lab) { return std::make_unique<Bend>(lab); }
std::unique_ptr<Claim> rival6(Lab& lab) { return std::make_unique<Centred>(lab); }
std::unique_ptr<Claim> rival7(Lab& lab) { return std::make_unique<Folding>(lab); }

}  // namespace loupe::lesson
