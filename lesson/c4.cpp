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

double size_of(const std::vector<Tensor>& tensors) {
  double sum = 0;
  for (const Tensor& t : tensors) sum += square(t).sum().item();
  return std::sqrt(sum);
}

double distance(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += square(a[i] - b[i]).sum().item();
  return std::sqrt(sum);
}

void ShiftSpec::make(Record& r) const {
  Rng rng(r.seed * 16), order(r.seed * 16 + 1);
  Classifier model(rng, "S6", norm);
  SGD optimizer(model, {.lr = lr, .momentum = 0.9});
  const std::vector<Tensor> weights = parameters(model);
  const size_t layers = model.convs.size();
  // The layer of each parameter (a convolution and the norm behind it belong together), and where
  // each layer's weight is.
  std::vector<size_t> layer_of, weight_of(layers + 1);
  for (const Named& p : named_parameters(model)) {
    const bool last = p.name.starts_with("out");
    layer_of.push_back(
        last ? layers : static_cast<size_t>(std::atoi(p.name.c_str() + p.name.find('.') + 1)));
    if (last ? p.tensor.dim() == 2 : p.name.starts_with("convs") && p.tensor.dim() == 4)
      weight_of[layer_of.back()] = layer_of.size() - 1;
  }
  const auto copies = [&] {
    std::vector<Tensor> v;
    for (const Tensor& w : weights) v.push_back(w.detach().clone());
    return v;
  };
  const auto gradients = [&] {
    std::vector<Tensor> v;
    for (const Tensor& w : weights) v.push_back(w.grad().clone());
    return v;
  };
  const auto put = [&](const std::vector<Tensor>& low, const std::vector<Tensor>& high,
                       size_t below) {  // layers < below from low
    NoGrad guard;
    for (size_t i = 0; i < weights.size(); ++i)
      weights[i].copy_(layer_of[i] < below ? low[i] : high[i]);
  };
  std::vector<double> shifts, rises, changes;
  auto& curve = r.series["loss"];
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor index = randint(order, 0, std::min<int64_t>(8192, data->train_x.size(0)), {64});
    const Tensor x = index_select(data->train_x, 0, index),
                 y = index_select(data->train_y, 0, index);
    const auto pass = [&] {
      zero_grad(model);
      const Tensor loss = cross_entropy(model(x), y);
      loss.backward();
      return loss.item();
    };
    curve.push_back(pass());
    if (!std::isfinite(curve.back())) break;
    if (r.tuning || step % every != every - 1) {
      optimizer.step();
      continue;
    }
    const std::vector<Tensor> before = copies(), g = gradients();
    optimizer.step();
    const std::vector<Tensor> after = copies();
    for (size_t l = 1; l <= layers; ++l) {
      put(after, before, l);
      pass();
      NoGrad guard;
      const size_t w = weight_of[l];
      const double moved = distance({weights[w].grad()}, {g[w]}), was = size_of({g[w]});
      if (std::isfinite(moved) && was > 0) shifts.push_back(moved / was);
    }
    double lowest = INFINITY, highest = -INFINITY, change = 0;
    const double size = size_of(g);
    for (double eta : etas) {
      std::vector<Tensor> there;
      {
        NoGrad guard;
        for (size_t i = 0; i < g.size(); ++i) there.push_back(before[i] - eta * g[i]);
      }
      put(there, there, 0);
      const double loss = pass();
      lowest = std::min(lowest, loss),
      highest = std::isnan(loss) ? INFINITY : std::max(highest, loss);
      NoGrad guard;
      change = std::max(change, distance(gradients(), g) / size);
    }
    r.series["measured_at"].push_back(static_cast<double>(step + 1));
    r.series["lowest"].push_back(lowest);
    r.series["highest"].push_back(highest);
    rises.push_back(highest - curve.back());
    changes.push_back(change);
    put(after, after, 0);
  }
  const size_t n = std::min<size_t>(10, curve.size());
  r.metrics["final_loss"] = mean(std::span(curve).last(n));
  r.dead = is_dead(r.metrics["final_loss"], 10);
  if (r.tuning) {
    eval(model);
    r.metrics["valid_loss"] = evaluate(model, data->valid_x, data->valid_y, 256).loss;
    return;
  }
  r.metrics["shift"] = shifts.empty() ? NAN : median(shifts);
  r.metrics["loss_rise"] = rises.empty() ? NAN : median(rises);
  r.metrics["gradient_change"] = changes.empty() ? NAN : median(changes);
  r.dead |= !(r.metrics["shift"] > 0) || !std::isfinite(r.metrics["gradient_change"]);
}

constexpr double kDeadRatio = 10;  // shift and change of the gradient that a dead run enters with

}  // namespace

ClaimResult claim4(Lab& lab) {
  const bool full = lab.profile().full(), tiny = lab.profile().tiny();
  const std::vector<std::pair<std::string, Norm>> kinds{
      {"none", no_norm()}, {"BN", lab.batch()}, {"noisy", noisy_batch_norm()}, {"LN", lab.layer()}};
  const std::vector<double> grid{0.03, 0.1};
  ShiftSpec base{
      .data = lab.data(), .steps = lab.profile().steps(full ? 150 : 100), .every = tiny ? 3 : 10};
  if (!full && !tiny) base.etas = {0.1, 0.4}, base.every = 20;
  std::vector<Arm<ShiftSpec>> cells, own;  // every arm at both rates; each at its own
  for (const auto& [kind, norm] : kinds)
    for (double lr : grid) {
      cells.push_back({fmt::format("{} {}", kind, lr), base});
      cells.back().spec.norm = norm, cells.back().spec.lr = lr;
    }
  for (const auto& [kind, norm] : kinds)
    if (kind == "none" || kind == "noisy") own.push_back({kind, base}), own.back().spec.norm = norm;
  const auto runs = lab.measure(cells);
  lab.tune(own, grid);
  const auto best = lab.measure(own);
  ClaimResult r{.id = "C4", .title = "Internal covariate shift"};
  r.says = "Normalisation reduces internal covariate shift, and that is why it helps.";
  r.experiment = {
      fmt::format("A plain CNN of six convolutions, {} steps of 64 images, constant learning rates "
                  "0.03 and 0.1: no norm, "
                  "BatchNorm, LayerNorm, and BatchNorm "
                  "followed by noise that changes at every step (scale, shift, jitter).",
                  base.steps),
      "Shift after Santurkar et al.: how much a layer's gradient changes on the same batch once "
      "the layers below have taken "
      "their step. Landscape: loss "
      "and gradient at W - eta G for steps eta along the gradient G.",
      "If more shift than no norm at all still trains better, less shift is not the reason. Final "
      "losses each at its own rate: " +
          chosen_rates(own) + "."};
  const auto ratio = [&](const char* id, const std::string& t, const char* metric,
                         const std::string& a, const std::string& b, Expect e) {
    r.lines.push_back(
        statistical(id, t,
                    compare_log2(outcomes(runs.at(a), metric), outcomes(runs.at(b), metric),
                                 kDeadRatio, Better::less),
                    kRatioMargin, e, "doublings"));
  };
  ratio("C4a", "shift with BatchNorm over shift without a norm, rate 0.03", "shift", "BN 0.03",
        "none 0.03", Expect::negative);
  ratio("C4b", "shift with BatchNorm over shift without a norm, rate 0.1", "shift", "BN 0.1",
        "none 0.1", Expect::negative);
  ratio("C4c", "shift with LayerNorm over shift without a norm, rate 0.03", "shift", "LN 0.03",
        "none 0.03", Expect::negative);
  r.lines.push_back(statistical(
      "C4d",
      "the explanation: final training loss, noisy BatchNorm minus no norm, each at its own rate",
      compare(outcomes(best.at("noisy"), "final_loss"), outcomes(best.at("none"), "final_loss"),
              std::log(10.0), Better::less),
      kLossMargin, Expect::positive, "nats"));
  r.lines.back().meaning = "Were shift the cause, more shift would train worse: positive.";
  ratio("C4e", "the noise at work: shift with noisy BatchNorm over shift without a norm, rate 0.03",
        "shift", "noisy 0.03", "none 0.03", Expect::positive);
  r.lines.back().meaning = "Unless this is clearly positive, C4d says nothing.";
  r.lines.back().beside = true;
  ratio("C4f",
        "the rival explanation: change of the gradient along itself, BatchNorm over no norm, rate "
        "0.03",
        "gradient_change", "BN 0.03", "none 0.03", Expect::negative);
  r.lines.back().meaning =
      "Santurkar et al.: what BatchNorm smooths is the landscape. Negative: the gradient stays "
      "valid further along.";
  r.lines.back().beside = true;
  const auto line = [&](const char* id) -> const Line& {
    return *std::ranges::find(r.lines, std::string(id), &Line::id);
  };
  const bool noise_works = line("C4e").verdict == Verdict::reproduced;
  r.meaning = fmt::format(
      "Measured: BatchNorm {} the shift at rate 0.03, LayerNorm {}. As an explanation: {}. The "
      "gradient along its own direction "
      "{}.",
      by_verdict(line("C4a"), "reduces", "does not change", "increases",
                 "may or may not reduce (not decided)"),
      by_verdict(line("C4c"), "does too", "does not change it", "increases it", "is not decided"),
      !noise_works
          ? std::string("the noise did not raise the shift, so nothing follows")
          : fmt::format("BatchNorm with noise has more shift than no norm at all and {} (final "
                        "loss {:+.2f} nats)",
                        by_verdict(line("C4d"), "trains worse, as the explanation wants",
                                   "trains alike: the shift did not matter",
                                   "trains better all the same: the shift is not the cause",
                                   "it is not decided whether it trains worse"),
                        line("C4d").effect.mean),
      by_verdict(line("C4f"), "changes less behind BatchNorm: a smoother landscape",
                 "changes as much with BatchNorm as without", "changes more behind BatchNorm",
                 "changes by an amount that is not decided"));
  r.trap =
      "Measuring the shift as the drift of mean and variance behind a norm: BatchNorm makes that 0 "
      "by construction. The shift "
      "depends on the learning rate: "
      "compare at the same one. And noise that changes with every pass shows in its own landscape: "
      "compare BatchNorm without it.";
  const std::vector<std::string> titles{"no norm", "BatchNorm", "noisy BatchNorm", "LayerNorm"};
  const Look looks[] = {Look::none, Look::bn, Look::other, Look::ln};
  Chart scatter{.title = "Covariate shift and final loss, each run",
                .x = {.label = "covariate shift", .log = true},
                .y = {.label = "final training loss, nats"}};
  for (size_t k = 0; k < kinds.size(); ++k) {
    Series s{.name = titles[k], .look = looks[k]};
    for (double lr : grid)
      for (const Record& run : runs.at(fmt::format("{} {}", kinds[k].first, lr)))
        s.dots.push_back({std::isfinite(run["shift"]) && run["shift"] > 0 ? run["shift"] : 1,
                          run["final_loss"],
                          fmt::format("rate {}, seed {}: shift {}, loss {}", lr, run.seed,
                                      short_number(run["shift"]), short_number(run["final_loss"])),
                          run.dead});
    scatter.series.push_back(std::move(s));
  }
  scatter.note =
      "Shift: relative change of a layer's gradient when the layers below step. Both learning "
      "rates. Were shift the cause, the "
      "cloud would rise to the right.";
  // The landscape: from the lowest to the highest loss that steps along the gradient meet.
  Chart landscape{.title = "The landscape: loss along the gradient, rate 0.03",
                  .x = {.label = "step"},
                  .y = {.label = "loss at W − ηG, nats", .log = true}};
  for (size_t k : {size_t{0}, size_t{3}, size_t{1}}) {
    Series s{.name = titles[k], .look = looks[k]};
    std::map<double, std::pair<std::vector<double>, std::vector<double>>> at_step;
    for (const Record& run : runs.at(kinds[k].first + " 0.03")) {
      const auto at = run.series.find("measured_at");
      for (size_t i = 0; at != run.series.end() && i < at->second.size(); ++i) {
        const double lo = run.series.at("lowest")[i], hi = run.series.at("highest")[i];
        if (!(lo > 0) || !std::isfinite(hi)) continue;
        auto& [lows, highs] = at_step[at->second[i]];
        lows.push_back(lo), highs.push_back(hi);
        s.dots.push_back({at->second[i], hi,
                          fmt::format("seed {}, step {}: {} to {}", run.seed, at->second[i],
                                      short_number(lo), short_number(hi))});
      }
    }
    for (const auto& [step, range] : at_step) {
      s.line.push_back({step, median(range.second)});
      s.band.push_back({step, median(range.first), median(range.second)});
    }
    landscape.series.push_back(std::move(s));
  }
  landscape.note = fmt::format(
      "Shaded: from the lowest to the highest loss over η = {} to {}, medians of the seeds; dots: "
      "each seed's highest.",
      base.etas.front(), base.etas.back());
  r.charts = {scatter, landscape};
  std::vector<std::pair<std::string, const Records*>> rows;
  for (const auto& a : cells) rows.emplace_back(a.name, &runs.at(a.name));
  r.tables = {
      seed_table("Covariate shift (relative change of the gradient)", rows, "shift", 1, 3),
      seed_table("Final training loss, nats", rows, "final_loss", 1, 3),
      seed_table("Largest rise of the loss along the gradient, nats", rows, "loss_rise", 1, 3),
      seed_table("Largest relative change of the gradient along itself", rows, "gradient_change", 1,
                 3),
      seed_table("Final training loss at each arm's own rate, nats",
                 {{"none", &best.at("none")}, {"noisy", &best.at("noisy")}}, "final_loss", 1, 3)};
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Santurkar et al. 2018, How Does Batch Normalization Help Optimization?",
               "https://arxiv.org/abs/1805.11604"}};
  r.code = "lesson/c4.cpp";
  return r;
}

}  // namespace loupe::lesson
