// C1: normalisation stabilises training: activations stay in range, large learning rates are survived, gradients flow.
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>
#include <loupe/optim/optimizer.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// A multilayer perceptron at its start: how activations and gradients grow through the layers.
struct InitSpec {
  std::shared_ptr<const Data> data;
  std::string net = "M12";
  Norm norm = batch_norm();
  double gain = 1;

  Config config() const {
    return {{"experiment", "at initialisation"}, {"net", net}, {"norm", norm.name}, {"gain", fmt::format("{:.6g}", gain)},
            {"batch", "128"}, {"data", data->images_name + " " + data->images_hash}};
  }
  double cost() const { return 0.03; }
  // Series: std of each layer's output, |grad W| / |W| of each hidden layer. Metrics: decades between the largest and
  // the smallest of each, and the signed growth from first to last.
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
    auto& gradients = r.series["gradient"];
    for (Linear& l : model.hidden) gradients.push_back(grad_norm({l.weight}) / std::sqrt(square(l.weight.detach()).sum().item()));
    const auto decades = [](const std::vector<double>& v) {
      const auto [lo, hi] = std::ranges::minmax(v);
      return std::log10(std::max(hi, 1e-30) / std::max(lo, 1e-30));
    };
    r.metrics["std_decades"] = decades(deviations);
    r.metrics["gradient_decades"] = decades(gradients);
  }
};

constexpr double kUsable = 1.0;  // final training loss below which a rate counts as usable; fixed beforehand
constexpr double kDecades = 3;   // margin for "another order of things" at a wrong initial scale

}  // namespace

ClaimResult claim1(Lab& lab) {
  const Norm norms[] = {no_norm(), layer_norm(), batch_norm()};
  const char* short_names[] = {"none", "LN", "BN"};
  const char* titles[] = {"no norm", "LayerNorm", "BatchNorm"};
  const Look looks[] = {Look::none, Look::ln, Look::bn};
  const std::vector<double> gains{0.25, 0.5, 1, 2};
  std::vector<Arm<InitSpec>> starts;
  std::vector<Arm<ClassifierSpec>> rates;
  const std::vector<double> grid = lab.profile().full() ? std::vector<double>{0.003, 0.01, 0.03, 0.1, 0.3, 1} : std::vector<double>{0.003, 0.01, 0.03, 0.1, 0.3};
  for (size_t n = 0; n < 3; ++n) {
    for (double gain : gains) starts.push_back({fmt::format("{} {}", short_names[n], gain), {lab.data(), "M12", norms[n], gain}});
    starts.push_back({fmt::format("{} deep", short_names[n]), {lab.data(), "M17", norms[n], 1}});
    for (double lr : grid) {
      ClassifierSpec s{.data = lab.data(), .net = "M17", .norm = norms[n], .group = 128, .batch = 128};
      s.steps = lab.profile().steps(200), s.images = 8192, s.lr = lr, s.cosine = false;
      rates.push_back({fmt::format("{} {}", short_names[n], lr), s});
    }
  }
  // Does the network train from a start with the wrong scale? Each arm at the best of three rates.
  std::vector<Arm<ClassifierSpec>> small;
  for (size_t n = 0; n < 3; ++n) {
    ClassifierSpec s{.data = lab.data(), .net = "M12", .norm = norms[n], .group = 128, .batch = 128};
    s.steps = lab.profile().steps(100), s.images = 8192, s.gain = 0.25, s.cosine = false;
    small.push_back({short_names[n], s});
  }
  const auto start = lab.measure(starts);
  const auto rate = lab.measure(rates);
  lab.tune(small, {0.01, 0.03, 0.1});
  const auto trained = lab.measure(small);

  ClaimResult r{.id = "C1", .title = "Stability"};
  r.says = "Normalisation stabilises training: activations stay in range, large learning rates are survived, gradients flow.";
  r.experiment = {"Multilayer perceptrons on Fashion-MNIST: 11 hidden layers started at 0.25, 0.5, 1 and 2 times He's scale, and 16 hidden layers.",
                  fmt::format("Largest constant rate of SGD with momentum, on a grid of factor 3, at which a seed ends {} steps with a training loss below {}.",
                              rates[0].spec.steps, kUsable),
                  fmt::format("Gradient flow: |grad W| / |W| of the hidden layers at the start. Rates at scale 0.25: {}.", chosen_rates(small))};
  // (a) the worst over gains, seed by seed
  const auto worst = [&](const std::string& norm, const std::string& metric, std::initializer_list<double> over) {
    std::vector<double> v(lab.seeds().size(), 0.0);
    for (double gain : over)
      for (size_t i = 0; i < v.size(); ++i) v[i] = std::max(v[i], start.at(fmt::format("{} {}", norm, gain))[i][metric]);
    return v;
  };
  const auto difference = [](const std::vector<double>& a, const std::vector<double>& b) {
    return Comparison{t_interval(paired_difference(a, b))};
  };
  r.lines.push_back(statistical("C1a", "spread of activations over 11 layers, wrong scale: no norm minus BatchNorm",
                                difference(worst("none", "std_decades", {0.25, 2}), worst("BN", "std_decades", {0.25, 2})), kDecades,
                                Expect::positive, "decades"));
  r.lines.back().meaning = "LayerNorm does the same. At He's own scale the plain network has no such spread (chart).";
  // (b) per seed: the largest usable rate below which all are usable
  const auto usable = [&](const std::string& norm) {
    std::vector<double> v;
    for (size_t i = 0; i < lab.seeds().size(); ++i) {
      double largest = grid[0] / 3;
      for (double lr : grid) {
        const Record& run = rate.at(fmt::format("{} {}", norm, lr))[i];
        if (run.dead || !(run["final_loss"] < kUsable)) continue;
        largest = lr;
      }
      v.push_back(largest);
    }
    return v;
  };
  const double step = std::log2(3.0);  // one step of the grid
  r.lines.push_back(statistical("C1b", "largest usable rate, 16 layers: BatchNorm over no norm",
                                {t_interval(paired_log2_ratio(usable("BN"), usable("none")))}, step, Expect::positive, "doublings"));
  r.lines.back().meaning = "The margin is one step of the grid.";
  r.lines.push_back(statistical("C1c", "largest usable rate, 16 layers: LayerNorm over no norm",
                                {t_interval(paired_log2_ratio(usable("LN"), usable("none")))}, step, Expect::positive, "doublings"));
  r.lines.push_back(statistical("C1d", "spread of gradients over the layers, wrong scale: no norm minus BatchNorm",
                                difference(worst("none", "gradient_decades", {0.25, 2}), worst("BN", "gradient_decades", {0.25, 2})), kDecades,
                                Expect::positive, "decades"));
  std::vector<double> none_deep = values(start.at("none deep"), "gradient_decades"), bn_deep = values(start.at("BN deep"), "gradient_decades");
  r.lines.push_back(statistical("C1e", "spread of gradients, 16 layers, He's scale: no norm minus BatchNorm", difference(none_deep, bn_deep), 0.3,
                                Expect::positive, "decades"));
  r.lines.back().meaning = "Negative: BatchNorm makes the gradient grow backwards by a factor a layer (Yang et al. 2019).";
  r.lines.push_back(statistical("C1f", "test accuracy from 0.25 times He's scale: BatchNorm minus no norm",
                                compare(outcomes(trained.at("BN"), "test_accuracy"), outcomes(trained.at("none"), "test_accuracy"), kChance),
                                20, Expect::positive, "points", 100));
  r.meaning = fmt::format("A norm makes the initial scale harmless ({}). Large rates: BatchNorm {}, LayerNorm {}. Gradients flow better only where the scale "
                          "was wrong ({}); at a good one BatchNorm: {}.",
                          name(r.lines[0].verdict), name(r.lines[1].verdict), name(r.lines[2].verdict), name(r.lines[3].verdict), name(r.lines[4].verdict));
  r.trap = "Showing only a bad initialisation is a straw man: at He's scale the plain network has neither vanishing nor exploding activations. 0.41 times "
           "that scale is PyTorch's default for a Linear layer.";
  const auto layers = [&](const std::string& title, const std::string& series, const char* unit, std::vector<std::pair<std::string, size_t>> arms, const std::vector<std::string>& labels) {
    Chart c{.title = title, .x = {.label = "hidden layer"}, .y = {.label = unit, .log = true}};
    for (size_t a = 0; a < arms.size(); ++a) {
      Series s{.name = labels[a], .look = looks[arms[a].second], .dashed = labels[a].find("x 2") != std::string::npos};
      const Records& runs = start.at(arms[a].first);
      const size_t n = runs[0].series.at(series).size();
      for (size_t l = 0; l < n; ++l) {
        double logs = 0;
        int alive = 0;
        for (const Record& run : runs) {
          const double v = run.series.at(series)[l];
          if (!(v > 0) || !std::isfinite(v)) continue;
          s.dots.push_back({static_cast<double>(l + 1), v, fmt::format("seed {}, layer {}: {}", run.seed, l + 1, short_number(v))});
          logs += std::log(v), ++alive;
        }
        if (alive) s.line.push_back({static_cast<double>(l + 1), std::exp(logs / alive)});
      }
      c.series.push_back(std::move(s));
    }
    return c;
  };
  Chart activations = layers("Activations through the layers, at the start", "std", "standard deviation before the ReLU",
                             {{"none 0.25", 0}, {"none 1", 0}, {"none 2", 0}, {"LN 0.25", 1}, {"BN 0.25", 2}},
                             {"no norm, He x 0.25", "no norm, He x 1", "no norm, He x 2", "LayerNorm, He x 0.25", "BatchNorm, He x 0.25"});
  Chart gradients = layers("Gradients through 16 layers at He's scale, at the start", "gradient", "|grad W| / |W|", {{"none deep", 0}, {"LN deep", 1}, {"BN deep", 2}},
                           {titles[0], titles[1], titles[2]});
  Chart loss{.title = "Final training loss against the learning rate, 16 layers", .x = {.label = "learning rate", .log = true, .ticks = grid},
             .y = {.label = "training loss, nats"}, .marks = {{kUsable, "usable below"}}};
  std::vector<std::pair<std::string, const Records*>> rows;
  for (size_t n = 0; n < 3; ++n) {
    Series s{.name = titles[n], .look = looks[n]};
    for (double lr : grid) {
      const Records& runs = rate.at(fmt::format("{} {}", short_names[n], lr));
      add_point(s, lr * std::pow(1.05, static_cast<double>(n) - 1), runs, "final_loss");
      rows.emplace_back(fmt::format("{}, rate {}", titles[n], lr), &runs);
    }
    loss.series.push_back(std::move(s));
  }
  loss.note = "Crosses: runs that diverged or ended no better than knowing nothing.";
  r.charts = {loss, activations, gradients};
  r.tables = {seed_table("Final training loss, nats", rows, "final_loss", 1, 3),
              seed_table("Test accuracy from 0.25 times He's scale, %", {{"no norm", &trained.at("none")}, {"LayerNorm", &trained.at("LN")}, {"BatchNorm", &trained.at("BN")}}, "test_accuracy", 100)};
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"He et al. 2015, Delving Deep into Rectifiers", "https://arxiv.org/abs/1502.01852"},
              {"Yang et al. 2019, A Mean Field Theory of Batch Normalization", "https://arxiv.org/abs/1902.08129"},
              {"Bjorck et al. 2018, Understanding Batch Normalization", "https://arxiv.org/abs/1806.02375"}};
  r.code = "lesson/c1.cpp";
  return r;
}

}  // namespace loupe::lesson
