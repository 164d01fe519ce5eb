// C1: normalisation stabilises training: activations stay in range, large learning rates are
// survived, gradients flow.
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
    auto& gradients = r.series["gradient"];
    double logs = 0;
    for (Linear& l : model.hidden) {
      const double g = grad_norm({l.weight});
      gradients.push_back(g / std::sqrt(square(l.weight.detach()).sum().item()));
      logs += std::log10(std::max(g, 1e-30));
    }
    const auto decades = [](const std::vector<double>& v) {
      const auto [lo, hi] = std::ranges::minmax(v);
      return std::log10(std::max(hi, 1e-30) / std::max(lo, 1e-30));
    };
    r.metrics["std_decades"] = decades(deviations);
    r.metrics["gradient_decades"] = decades(gradients);
    r.metrics["gradient_size"] = std::pow(10, logs / static_cast<double>(model.hidden.size()));
  }
};

constexpr double kUsable = 1.0;  // final training loss below which a rate counts as usable
constexpr double kDecades = 3;   // margin for "another order of things" at a wrong initial scale
constexpr double kGradientDecades =
    0.3;                        // margin for the spread over layers at the right one: a factor of 2
constexpr double kTrains = 20;  // points of accuracy between training and not training
const double kGridStep = std::log2(3.0);  // margin for rates, in doublings: one step of the grid

// Seed by seed, the largest rate on the grid that ends below kUsable; a step below the grid where
// none does.
std::vector<double> usable_rates(const std::map<std::string, Records>& runs, const std::string& arm,
                                 const std::vector<double>& grid) {
  std::vector<double> v;
  for (double lr : grid) {
    const Records& at = runs.at(fmt::format("{} {}", arm, lr));
    v.resize(at.size(), grid[0] / 3);
    for (size_t i = 0; i < at.size(); ++i)
      if (!at[i].dead && at[i]["final_loss"] < kUsable) v[i] = lr;
  }
  return v;
}

}  // namespace

ClaimResult claim1(Lab& lab) {
  const bool full = lab.profile().full();
  const Norm norms[] = {no_norm(), lab.layer(), lab.batch()};
  const char* short_names[] = {"none", "LN", "BN"};
  const char* titles[] = {"no norm", "LayerNorm", "BatchNorm"};
  const Look looks[] = {Look::none, Look::ln, Look::bn};
  const std::vector<double> gains{0.25, 0.5, 1, 2};
  const std::vector<double> grid = full ? std::vector<double>{0.003, 0.01, 0.03, 0.1, 0.3, 1}
                                        : std::vector<double>{0.003, 0.01, 0.03, 0.1, 0.3};
  const std::vector<double> cnn_grid{0.01, 0.03, 0.1, 0.3};
  // Hidden layers and the networks that have them; the quick profile has the middle one.
  const std::vector<std::pair<int, const char*>> depths =
      full ? std::vector<std::pair<int, const char*>>{{4, "M5"}, {16, "M17"}, {32, "M33"}}
           : std::vector<std::pair<int, const char*>>{{16, "M17"}};
  std::vector<Arm<InitSpec>> starts;
  std::map<std::string, std::vector<Arm<ClassifierSpec>>> rates;  // by network
  for (size_t n = 0; n < 3; ++n) {
    for (double gain : gains)
      starts.push_back(
          {fmt::format("{} {}", short_names[n], gain), {lab.data(), "M12", norms[n], gain}});
    for (const auto& [depth, net] : depths) {
      starts.push_back({fmt::format("{} {}", short_names[n], net), {lab.data(), net, norms[n], 1}});
      for (double lr : grid) {
        ClassifierSpec s{
            .data = lab.data(), .net = net, .norm = norms[n], .group = 128, .batch = 128};
        s.steps = lab.profile().steps(200), s.images = 8192, s.lr = lr, s.cosine = false;
        rates[net].push_back({fmt::format("{} {}", short_names[n], lr), s});
      }
    }
    for (double lr : cnn_grid) {
      ClassifierSpec s{.data = lab.data(),
                       .net = "D14",
                       .norm = norms[n],
                       .steps = lab.profile().steps(150),
                       .images = 8192};
      s.lr = lr, s.cosine = false;
      if (full) rates["D14"].push_back({fmt::format("{} {}", short_names[n], lr), s});
    }
  }
  // Does the network train from a start with the wrong scale, and from the right one? Each arm at
  // its own rate.
  std::vector<Arm<ClassifierSpec>> trained_arms;
  const std::vector<double> tried = full ? gains : std::vector<double>{0.25, 1};
  for (size_t n = 0; n < 3; ++n)
    for (double gain : tried) {
      ClassifierSpec s{
          .data = lab.data(), .net = "M12", .norm = norms[n], .group = 128, .batch = 128};
      s.steps = lab.profile().steps(100), s.images = 8192, s.gain = gain, s.cosine = false;
      trained_arms.push_back({fmt::format("{} {}", short_names[n], gain), s});
    }
  const auto start = lab.measure(starts);
  std::map<std::string, std::map<std::string, Records>> rate;
  for (const auto& [net, arms] : rates) rate[net] = lab.measure(arms);
  lab.tune(trained_arms, {0.01, 0.03, 0.1});
  const auto trained = lab.measure(trained_arms);

  ClaimResult r{.id = "C1", .title = "Stability"};
  r.says =
      "Normalisation stabilises training: activations stay in range, large learning rates are "
      "survived, gradients flow.";
  r.experiment = {
      "Multilayer perceptrons on Fashion-MNIST, hidden layers of 64: 11 of them, started at 0.25, "
      "0.5, 1 and 2 times He's scale, "
      "and 16 of "
      "them at He's" +
          std::string(full ? "; beside them 4 and 32 layers, and a CNN of 14 convolutions." : "."),
      fmt::format("Largest constant rate of SGD with momentum, on a grid of factor 3, at which a "
                  "seed ends {} steps with a "
                  "training loss below {}.",
                  rates.at("M17")[0].spec.steps, kUsable),
      fmt::format("Gradients: |grad W| of the hidden layers at the start. Test accuracy after {} "
                  "steps; rates: {}.",
                  trained_arms[0].spec.steps, chosen_rates(trained_arms))};
  const auto by_seed = [&](auto f) {
    std::vector<double> v;
    for (size_t i = 0; i < lab.seeds().size(); ++i) v.push_back(f(i));
    return v;
  };
  const auto difference = [&](const char* id, const std::string& text, const std::vector<double>& a,
                              const std::vector<double>& b, double margin) {
    r.lines.push_back(statistical(id, text, {t_interval(paired_difference(a, b))}, margin,
                                  Expect::positive, "decades"));
  };
  const auto at = [&](size_t n, double gain, size_t seed) -> const Record& {
    return start.at(fmt::format("{} {}", short_names[n], gain))[seed];
  };
  // (a) the worse of the two wrong scales; (c) from the smallest to the largest over all scales.
  const auto activations = [&](size_t n) {
    return by_seed([&](size_t i) {
      return std::max(at(n, 0.25, i)["std_decades"], at(n, 2, i)["std_decades"]);
    });
  };
  const auto gradient_sizes = [&](size_t n) {
    return by_seed([&](size_t i) {
      std::vector<double> v;
      for (double gain : gains) v.push_back(std::log10(at(n, gain, i)["gradient_size"]));
      return std::ranges::max(v) - std::ranges::min(v);
    });
  };
  const auto over_layers = [&](size_t n, const char* net) {
    return values(start.at(fmt::format("{} {}", short_names[n], net)), "gradient_decades");
  };
  difference("C1a1",
             "spread of activations over 11 layers, wrong initial scale: no norm minus BatchNorm",
             activations(0), activations(2), kDecades);
  difference("C1a2", "the same: no norm minus LayerNorm", activations(0), activations(1), kDecades);
  const auto accuracy = [&](const char* id, const std::string& text, const char* arm, double gain,
                            double margin) {
    r.lines.push_back(
        statistical(id, text,
                    compare(outcomes(trained.at(fmt::format("{} {}", arm, gain)), "test_accuracy"),
                            outcomes(trained.at(fmt::format("none {}", gain)), "test_accuracy"),
                            kChance, Better::more),
                    margin, Expect::positive, "points", 100));
  };
  accuracy("C1a3", "test accuracy from 0.25 times He's scale: BatchNorm minus no norm", "BN", 0.25,
           kTrains);
  accuracy("C1a4", "test accuracy from He's own scale: BatchNorm minus no norm", "BN", 1,
           kAccuracyMargin);
  r.lines.back().beside = true;
  r.lines.back().meaning = "The fair start, for comparison.";
  const auto usable = [&](const char* id, const std::string& text, const std::string& net,
                          const std::vector<double>& over, const char* arm) {
    r.lines.push_back(
        statistical(id, text,
                    {t_interval(paired_log2_ratio(usable_rates(rate.at(net), arm, over),
                                                  usable_rates(rate.at(net), "none", over)))},
                    kGridStep, Expect::positive, "doublings"));
  };
  usable("C1b1", "largest usable rate, 16 layers: BatchNorm over no norm", "M17", grid, "BN");
  r.lines.back().meaning = "The margin is one step of the grid.";
  usable("C1b2", "largest usable rate, 16 layers: LayerNorm over no norm", "M17", grid, "LN");
  if (full) {
    usable("C1b3", "largest usable rate, 4 layers: BatchNorm over no norm", "M5", grid, "BN");
    usable("C1b4", "largest usable rate, 32 layers: BatchNorm over no norm", "M33", grid, "BN");
    usable("C1b5", "largest usable rate, 14 convolutions: BatchNorm over no norm", "D14", cnn_grid,
           "BN");
    usable("C1b6", "largest usable rate, 14 convolutions: LayerNorm over no norm", "D14", cnn_grid,
           "LN");
  }
  difference("C1c1",
             "size of gradients, from the smallest to the largest over four initial scales: no "
             "norm minus BatchNorm",
             gradient_sizes(0), gradient_sizes(2), kDecades);
  difference("C1c2", "the same: no norm minus LayerNorm", gradient_sizes(0), gradient_sizes(1),
             kDecades);
  difference("C1c3", "spread of gradients over 16 layers at He's scale: no norm minus BatchNorm",
             over_layers(0, "M17"), over_layers(2, "M17"), kGradientDecades);
  r.lines.back().meaning =
      "Below 0: behind BatchNorm the gradient grows from layer to layer backwards (Yang et al. "
      "2019: by sqrt(pi/(pi-1)), 1.21, "
      "each).";
  difference("C1c4", "the same: no norm minus LayerNorm", over_layers(0, "M17"),
             over_layers(1, "M17"), kGradientDecades);
  if (full) {
    difference("C1c5", "spread of gradients over 4 layers at He's scale: no norm minus BatchNorm",
               over_layers(0, "M5"), over_layers(2, "M5"), kGradientDecades);
    difference("C1c6", "spread of gradients over 32 layers at He's scale: no norm minus BatchNorm",
               over_layers(0, "M33"), over_layers(2, "M33"), kGradientDecades);
  }
  const auto line = [&](const std::string& id) -> const Line& {
    return *std::ranges::find(r.lines, id, &Line::id);
  };
  r.meaning = fmt::format(
      "From a wrong initial scale {}. Through 16 layers BatchNorm {}; LayerNorm {}. A norm {}; but "
      "at He's scale BatchNorm {}.",
      by_verdict(
          line("C1a1"),
          "activations stay in range behind BatchNorm and leave it by orders of magnitude without",
          "activations spread alike with and without BatchNorm",
          "activations spread more behind BatchNorm", "the spread of activations is not decided"),
      by_verdict(line("C1b1"), "survives clearly larger learning rates than no norm",
                 "survives the same learning rates as no norm",
                 "survives only smaller learning rates than no norm",
                 "may survive larger learning rates than no norm (not decided)"),
      by_verdict(line("C1b2"), "does so too", "does not", "survives only smaller ones",
                 "is not decided"),
      by_verdict(line("C1c1"), "keeps the gradients' size within a few decades whatever the scale",
                 "leaves the gradients' size as dependent on the scale",
                 "makes the gradients' size depend on the scale more",
                 "may keep the gradients' size in range (not decided)"),
      by_verdict(line("C1c3"), "makes them more even over the layers", "changes little",
                 "makes them less even over the layers", "does nothing that is decided"));
  r.trap =
      "Showing only a bad initialisation is a straw man: at He's scale the plain network has "
      "neither vanishing nor exploding "
      "activations (C1a4, chart). 0.41 "
      "times that scale is PyTorch's default for a Linear layer. And |grad W| / |W| over the "
      "layers of a plain ReLU network "
      "hardly varies at any scale: what "
      "a wrong scale changes is the gradients' size.";
  const auto layers = [&](const std::string& title, const std::string& series, const char* unit,
                          std::vector<std::pair<std::string, size_t>> arms,
                          const std::vector<std::string>& labels) {
    Chart c{.title = title, .x = {.label = "hidden layer"}, .y = {.label = unit, .log = true}};
    for (size_t a = 0; a < arms.size(); ++a) {
      Series s{.name = labels[a],
               .look = looks[arms[a].second],
               .dashed = labels[a].ends_with("× 2"),
               .dotted = arms[a].second == 0 && labels[a].ends_with("× 0.25")};
      const Records& runs = start.at(arms[a].first);
      const size_t n = runs[0].series.at(series).size();
      for (size_t l = 0; l < n; ++l) {
        double logs = 0;
        int alive = 0;
        for (const Record& run : runs) {
          const double v = run.series.at(series)[l];
          if (!(v > 0) || !std::isfinite(v)) continue;
          s.dots.push_back(
              {static_cast<double>(l + 1), v,
               fmt::format("seed {}, layer {}: {}", run.seed, l + 1, short_number(v))});
          logs += std::log(v), ++alive;
        }
        if (alive) s.line.push_back({static_cast<double>(l + 1), std::exp(logs / alive)});
      }
      c.series.push_back(std::move(s));
    }
    return c;
  };
  const auto against_rate = [&](const std::string& title, const std::string& net,
                                const std::vector<double>& over) {
    Chart loss{.title = title,
               .x = {.label = "learning rate", .log = true, .ticks = over},
               .y = {.label = "final training loss, nats"},
               .marks = {{kUsable, "usable below"}}};
    for (size_t n = 0; n < 3; ++n) {
      Series s{.name = titles[n], .look = looks[n]};
      for (double lr : over)
        add_point(s, lr * std::pow(1.05, static_cast<double>(n) - 1),
                  rate.at(net).at(fmt::format("{} {}", short_names[n], lr)), "final_loss");
      loss.series.push_back(std::move(s));
    }
    loss.note = "Crosses: runs that diverged or ended no better than knowing nothing.";
    return loss;
  };
  r.charts = {
      against_rate("Training loss against the learning rate, 16 layers", "M17", grid),
      layers("Activations through the layers, at the start", "std",
             "standard deviation before the ReLU",
             {{"none 0.25", 0}, {"none 1", 0}, {"none 2", 0}, {"LN 0.25", 1}, {"BN 0.25", 2}},
             {"no norm, He × 0.25", "no norm, He × 1", "no norm, He × 2", "LayerNorm, He × 0.25",
              "BatchNorm, He × 0.25"}),
      layers("Gradients through 16 layers at He's scale, at the start", "gradient",
             "|grad W| / |W|", {{"none M17", 0}, {"LN M17", 1}, {"BN M17", 2}},
             {titles[0], titles[1], titles[2]})};
  if (full)
    r.charts.insert(
        r.charts.begin() + 1,
        against_rate("Training loss against the learning rate, 14 convolutions", "D14", cnn_grid));
  for (const auto& [net, arms] : rates) {
    std::vector<std::pair<std::string, const Records*>> rows;
    for (const auto& arm : arms)
      rows.emplace_back(fmt::format("{}, rate {}", arm.spec.norm.name, arm.spec.lr),
                        &rate.at(net).at(arm.name));
    r.tables.push_back(
        seed_table(fmt::format("{}: final training loss, nats", net), rows, "final_loss", 1, 3));
  }
  std::vector<std::pair<std::string, const Records*>> rows;
  for (const auto& [name, runs] : trained) rows.emplace_back(name + " × He", &runs);
  r.tables.push_back(seed_table("Test accuracy by initial scale, %", rows, "test_accuracy", 100));
  r.papers = {{"Ioffe & Szegedy 2015, Batch Normalization", "https://arxiv.org/abs/1502.03167"},
              {"He et al. 2015, Delving Deep into Rectifiers", "https://arxiv.org/abs/1502.01852"},
              {"Yang et al. 2019, A Mean Field Theory of Batch Normalization",
               "https://arxiv.org/abs/1902.08129"},
              {"Bjorck et al. 2018, Understanding Batch Normalization",
               "https://arxiv.org/abs/1806.02375"}};
  r.code = "lesson/c1.cpp";
  return r;
}

}  // namespace loupe::lesson
