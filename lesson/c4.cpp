// C4: normalisation reduces internal covariate shift. Does it, and is that why it helps? (After Santurkar et al. 2018.)
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>
#include <loupe/optim/optimizer.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// BatchNorm followed by noise that changes at every step: a scale U(1, 1.25) and a shift U(-.5, .5) per channel, and
// N(0, .1) per sample and channel. More covariate shift, on purpose.
struct NoisyBatchNorm : Layer<NoisyBatchNorm> {
  explicit NoisyBatchNorm(int64_t channels) : bn(channels), rng(static_cast<uint64_t>(channels)) {}
  Tensor forward(In x) {
    const Tensor y = bn(x);
    if (!is_training()) return y;
    const int64_t n = y.size(0), c = y.size(1);
    const Tensor scale = uniform(rng, {1, c, 1, 1}, 1, 1.25), shift = uniform(rng, {1, c, 1, 1}, -0.5, 0.5);
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
  return {"noisy batch", [](int64_t c, Place) -> std::unique_ptr<Module> { return std::make_unique<NoisyBatchNorm>(c); }};
}

struct ShiftSpec {
  std::shared_ptr<const Data> data;
  Norm norm = batch_norm();
  double lr = 0.03;
  int64_t steps = 150, every = 15;

  Config config() const {
    return {{"experiment", "covariate shift"}, {"net", "S6"}, {"norm", norm.name}, {"lr", fmt::format("{:.6g}", lr)}, {"batch", "64"},
            {"steps", fmt::format("{}", steps)}, {"every", fmt::format("{}", every)}, {"schedule", "constant"},
            {"optimizer", "sgd momentum 0.9"}, {"data", data->images_name + " " + data->images_hash}};
  }
  double cost() const { return 0.016 * static_cast<double>(steps); }
  // Metrics: final_loss; shift: the median over layers and measured steps of |G - G'| / |G|, where G is the gradient of a
  // layer's weights and G' the one on the same batch once the layers below have taken their step (their definition 2.1).
  void make(Record& r) const;
};

void ShiftSpec::make(Record& r) const {
  Rng rng(r.seed * 16), order(r.seed * 16 + 1);
  Classifier model(rng, "S6", norm);
  SGD optimizer(model, {.lr = lr, .momentum = 0.9});
  const std::vector<Tensor> weights = parameters(model);
  const size_t layers = model.convs.size();
  // The layer of each parameter: a convolution and the norm behind it belong together.
  std::vector<size_t> layer_of;
  for (const Named& p : named_parameters(model)) {
    const size_t dot = p.name.find('.');
    layer_of.push_back(p.name.compare(0, 3, "out") == 0 ? layers : static_cast<size_t>(std::atoi(p.name.c_str() + dot + 1)));
  }
  std::vector<double> shifts;
  auto& curve = r.series["loss"];
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor index = randint(order, 0, std::min<int64_t>(8192, data->train_x.size(0)), {64});
    const Tensor x = index_select(data->train_x, 0, index), y = index_select(data->train_y, 0, index);
    zero_grad(model);
    const Tensor loss = cross_entropy(model(x), y);
    loss.backward();
    curve.push_back(loss.item());
    if (!std::isfinite(curve.back())) break;
    const bool measure = step % every == every - 1;
    std::vector<Tensor> before, gradients;
    if (measure) {
      for (const Tensor& w : weights) before.push_back(w.detach().clone());
      for (size_t l = 0; l < layers; ++l) gradients.push_back(model.convs[l].weight.grad().clone());
    }
    optimizer.step();
    if (!measure) continue;
    std::vector<Tensor> after;
    for (const Tensor& w : weights) after.push_back(w.detach().clone());
    const auto put = [&](size_t first_old) {  // layers below first_old have stepped, the others have not
      NoGrad guard;
      for (size_t i = 0; i < weights.size(); ++i) weights[i].copy_(layer_of[i] < first_old ? after[i] : before[i]);
    };
    for (size_t l = 1; l < layers; ++l) {
      put(l);
      zero_grad(model);
      cross_entropy(model(x), y).backward();
      NoGrad guard;
      const double size = grad_norm({model.convs[l].weight}), was = std::sqrt(square(gradients[l]).sum().item());
      const double moved = std::sqrt(square(model.convs[l].weight.grad() - gradients[l]).sum().item());
      if (std::isfinite(moved) && std::isfinite(size) && was > 0) shifts.push_back(moved / was);
    }
    put(layers + 1);
  }
  const size_t n = std::min<size_t>(10, curve.size());
  r.metrics["final_loss"] = mean(std::span(curve).last(n));
  r.metrics["shift"] = shifts.empty() ? NAN : median(shifts);
  r.dead = is_dead(r.metrics["final_loss"], 10) || !(r.metrics["shift"] > 0);
}

}  // namespace

ClaimResult claim4(Lab& lab) {
  std::vector<Arm<ShiftSpec>> arms;
  std::vector<std::pair<const char*, Norm>> kinds{{"none", no_norm()}, {"BN", batch_norm()}, {"noisy", noisy_batch_norm()}};
  if (lab.profile().full()) kinds.emplace_back("LN", layer_norm());
  for (const auto& [kind, norm] : kinds)
    for (double lr : {0.03, 0.1})
      arms.push_back({fmt::format("{} {}", kind, lr), {lab.data(), norm, lr, lab.profile().steps(150), lab.profile().tiny() ? 3 : 15}});
  const auto runs = lab.measure(arms);
  ClaimResult r{.id = "C4", .title = "Internal covariate shift"};
  r.says = "BatchNorm reduces internal covariate shift, and that is why it helps.";
  r.experiment = {"A plain CNN of six convolutions, batches of 64, constant learning rates 0.03 and 0.1; no norm, BatchNorm, and BatchNorm followed by noise "
                  "that changes at every step (scale, shift, jitter).",
                  "Covariate shift as Santurkar et al. define it: how much a layer's gradient changes on the same batch once the layers below have stepped.",
                  "The explanation is tested by the noise: if more shift trains better than no norm, less shift is not the reason."};
  const double large = 10;  // a dead run's shift, for the ratio
  const auto ratio = [&](const char* id, const std::string& t, const std::string& a, const std::string& b, Expect e) {
    r.lines.push_back(statistical(id, t, compare_log2(outcomes(runs.at(a), "shift"), outcomes(runs.at(b), "shift"), large), kRatioMargin, e, "doublings"));
  };
  ratio("C4a", "shift with BatchNorm over shift without a norm, rate 0.03", "BN 0.03", "none 0.03", Expect::negative);
  r.lines.back().meaning = "The first half of the claim.";
  ratio("C4b", "shift with noisy BatchNorm over shift without a norm, rate 0.03", "noisy 0.03", "none 0.03", Expect::positive);
  r.lines.back().meaning = "The noise does what it should: more shift than no norm at all.";
  r.lines.push_back(statistical("C4c", "final training loss: noisy BatchNorm (rate 0.1) minus no norm (rate 0.03)",
                                compare(outcomes(runs.at("noisy 0.1"), "final_loss"), outcomes(runs.at("none 0.03"), "final_loss"), std::log(10.0)),
                                kLossMargin, Expect::positive, "nats"));
  r.lines.back().meaning = "If shift were the cause, more shift would train worse: positive. Each at the better of the two rates in trials.";
  ratio("C4d", "shift with BatchNorm over shift without a norm, rate 0.1", "BN 0.1", "none 0.1", Expect::negative);
  if (lab.profile().full()) ratio("C4e", "shift with LayerNorm over shift without a norm, rate 0.03", "LN 0.03", "none 0.03", Expect::negative);
  r.meaning = fmt::format("Measured: BatchNorm reduces the shift ({}). As an explanation: with more shift than no norm at all, noisy BatchNorm's final loss differs by {:+.2f} nats from "
                          "no norm's ({} for shift as the cause).", name(r.lines[0].verdict), r.lines[2].effect.mean, name(r.lines[2].verdict));
  r.trap = "Measuring the shift as the drift of mean and variance behind a norm: BatchNorm makes that 0 by construction. And the shift depends on the "
           "learning rate: compare at the same one.";
  Chart chart{.title = "Covariate shift and final loss, each run", .x = {.label = "covariate shift", .log = true},
              .y = {.label = "final training loss, nats"}};
  const char* titles[] = {"no norm", "BatchNorm", "noisy BatchNorm", "LayerNorm"};
  const Look looks[] = {Look::none, Look::bn, Look::other, Look::ln};
  for (size_t k = 0; k < kinds.size(); ++k) {
    Series s{.name = titles[k], .look = looks[k]};
    for (const char* lr : {"0.03", "0.1"})
      for (const Record& run : runs.at(fmt::format("{} {}", kinds[k].first, lr)))
        s.dots.push_back({std::isfinite(run["shift"]) ? run["shift"] : 1, run["final_loss"], fmt::format("rate {}, seed {}: shift {}, loss {}", lr, run.seed, short_number(run["shift"]), short_number(run["final_loss"])), run.dead});
    chart.series.push_back(std::move(s));
  }
  chart.note = "Shift: relative change of a layer's gradient when the layers below step. Both learning rates. Were shift the cause, the cloud would rise to the right.";
  r.charts = {chart};
  std::vector<std::pair<std::string, const Records*>> rows;
  for (const auto& a : arms) rows.emplace_back(a.name, &runs.at(a.name));
  r.tables = {seed_table("Covariate shift (relative change of the gradient)", rows, "shift", 1, 3), seed_table("Final training loss, nats", rows, "final_loss", 1, 3)};
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"Santurkar et al. 2018, How Does Batch Normalization Help Optimization?", "https://arxiv.org/abs/1805.11604"}};
  r.code = "lesson/c4.cpp";
  return r;
}

}  // namespace loupe::lesson
