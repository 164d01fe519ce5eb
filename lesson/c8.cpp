// C8: LayerNorm works well in Transformers.
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {

ClaimResult claim8(Lab& lab) {
  const bool full = lab.profile().full();
  const int64_t layers = lab.profile().tiny() ? 2 : 8;
  const std::vector<double> grid = full ? std::vector<double>{0.003, 0.01, 0.03, 0.06} : std::vector<double>{0.003, 0.01, 0.03};
  TransformerSpec base{.data = lab.data()};
  base.net = {.layers = layers, .width = 32, .context = 32};
  base.steps = lab.profile().steps(full ? 250 : 150);
  std::vector<Arm<TransformerSpec>> arms(4, {"", base});
  arms[0].name = "none", arms[0].spec.norm = no_norm();
  arms[1].name = "none scaled", arms[1].spec.norm = no_norm(), arms[1].spec.net.scaled = true;
  arms[2].name = "LN";
  arms[3].name = "BN", arms[3].spec.norm = batch_norm();
  // Every arm at every rate: the chart and the range of usable rates need them; the verdict uses each arm's chosen rate.
  std::vector<Arm<TransformerSpec>> cells;
  for (const auto& arm : arms)
    for (double lr : grid) {
      cells.push_back(arm);
      cells.back().spec.lr = lr;
      cells.back().name = fmt::format("{} {:.4g}", arm.name, lr);
    }
  const auto all = lab.measure(cells);
  lab.tune(arms, grid);
  auto chosen = lab.measure(arms);
  const double nothing = std::log(static_cast<double>(lab.data()->symbols));

  ClaimResult r{.id = "C8", .title = "LayerNorm in Transformers"};
  r.says = "LayerNorm works well in Transformers.";
  r.experiment = {fmt::format("A character-level Transformer of {} layers, width 32, context 32, on the {}; pre-norm, Adam, no clipping, "
                              "{} steps of 16 windows.", layers, lab.data()->text_name, base.steps),
                  "Arms: LayerNorm; BatchNorm over all 512 tokens of the batch; no norm; no norm with residual branches started 1/sqrt(2 L) as "
                  "large.",
                  fmt::format("Loss on held-out text in eval mode. Learning rates chosen: {}.", chosen_rates(arms))};
  const auto nats = [&](const char* id, const std::string& text, const Records& a, const Records& b, Expect expect) {
    return statistical(id, text, compare(outcomes(a, "eval_loss"), outcomes(b, "eval_loss"), nothing), kLossMargin, expect, "nats");
  };
  r.lines.push_back(nats("C8a", "LayerNorm minus no norm, same initialisation", chosen.at("LN"), chosen.at("none"), Expect::negative));
  r.lines.back().meaning = "Each at its own best learning rate. Without a norm the residual stream grows with depth.";
  r.lines.push_back(nats("C8b", "LayerNorm minus no norm with scaled initialisation", chosen.at("LN"), chosen.at("none scaled"), Expect::negative));
  r.lines.back().meaning = "Would LayerNorm be needed, this would be clearly below 0.";
  r.lines.push_back(nats("C8c", "LayerNorm minus BatchNorm, statistics over 512 tokens", chosen.at("LN"), chosen.at("BN"), Expect::negative));
  r.lines.back().meaning = "Fixed-length, shuffled windows and 512 tokens a statistic: the kindest case for BatchNorm. C9 has the others.";
  // The widest usable rate: every seed better than the unigram-like bound of half the way to knowing nothing.
  const auto usable = [&](const std::string& arm) {
    double largest = 0;
    for (double lr : grid) {
      bool fine = true;
      for (const Record& run : all.at(fmt::format("{} {:.4g}", arm, lr))) fine &= !run.dead && run["eval_loss"] < 0.9 * nothing;
      if (fine) largest = lr;
    }
    return largest;
  };
  const double ln_lr = usable("LN"), scaled_lr = usable("none scaled");
  // A grid point, not an estimate: an interval would need many grids. The ratio is reported, with a fixed rule.
  r.lines.push_back(exact("C8d", "largest rate on the grid that every seed survives: LayerNorm over scaled initialisation", ln_lr > 2 * scaled_lr,
                          scaled_lr > 0 ? ln_lr / scaled_lr : 0, "times"));
  r.lines.back().meaning = fmt::format("LayerNorm {}, scaled initialisation {}, no norm {}, BatchNorm {}; survive: below 90 % of ln({}).",
                                       short_number(ln_lr), short_number(scaled_lr), short_number(usable("none")),
                                       short_number(usable("BN")), lab.data()->symbols);
  const auto at = [&](size_t i) { return r.lines[i].verdict; };
  r.meaning = fmt::format(
      "LayerNorm trains the deep Transformer at every rate up to {}. Against the plain network: {}. Against one whose residual branches "
      "start small: {}. Against BatchNorm over many tokens: {}.", short_number(ln_lr), name(at(0)), name(at(1)), name(at(2)));
  r.trap = "Gradient clipping or a small learning rate rescues the network without a norm, and a comparison at one shared rate decides for "
           "whoever likes that rate. No clipping here; each arm at its own rate.";
  Chart chart{.title = "Held-out loss against the learning rate", .x = {.label = "learning rate", .log = true, .ticks = grid},
              .y = {.label = "loss in eval mode, nats", .log = true}, .marks = {{nothing, "knowing nothing"}}};
  const Look looks[] = {Look::none, Look::other, Look::ln, Look::bn};
  const char* names[] = {"no norm", "no norm, scaled init", "LayerNorm", "BatchNorm"};
  std::vector<std::pair<std::string, const Records*>> rows;
  for (size_t i = 0; i < 4; ++i) {
    Series s{.name = names[i], .look = looks[i], .dashed = i == 1};
    for (double lr : grid) {
      const Records& runs = all.at(fmt::format("{} {:.4g}", arms[i].name, lr));
      add_point(s, lr * std::pow(1.05, static_cast<double>(i) - 1.5), runs, "eval_loss");
      rows.emplace_back(fmt::format("{}, rate {:.4g}", names[i], lr), &runs);
    }
    chart.series.push_back(std::move(s));
  }
  chart.note = "Lines: mean of the seeds that live. Crosses: runs that ended no better than knowing nothing.";
  r.charts = {chart};
  r.tables = {seed_table("Held-out loss, nats", rows, "eval_loss", 1, 3)};
  r.papers = {{"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"},
              {"Xiong et al. 2020, On Layer Normalization in the Transformer Architecture", "https://arxiv.org/abs/2002.04745"},
              {"Shen et al. 2020, PowerNorm", "https://arxiv.org/abs/2003.07845"},
              {"Zhang, Dauphin & Ma 2019, Fixup", "https://arxiv.org/abs/1901.09321"}};
  r.code = "lesson/c8.cpp";
  return r;
}

}  // namespace loupe::lesson
