// C8: LayerNorm works well in Transformers.
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

constexpr const char* kArms[] = {"none", "none scaled", "LN", "BN"};
constexpr const char* kTitles[] = {"no norm", "no norm, scaled init", "LayerNorm", "BatchNorm"};
constexpr Look kLooks[] = {Look::none, Look::other, Look::ln, Look::bn};
const double kGridStep = std::log2(3.0);  // margin for rates, in doublings: one step of the grid

double knowing_nothing(const TextData& text) { return std::log(static_cast<double>(text.symbols)); }

// Seed by seed, the largest rate on the grid that ends below nine tenths of knowing nothing; a step
// below the grid where none does.
std::vector<double> survived_rates(const std::map<std::string, Records>& cells,
                                   const std::string& arm, const std::vector<double>& grid,
                                   double nothing) {
  std::vector<double> v;
  for (double lr : grid) {
    const Records& at = cells.at(fmt::format("{} {}", arm, lr));
    v.resize(at.size(), grid[0] * grid[0] / grid[1]);
    for (size_t i = 0; i < at.size(); ++i)
      if (!at[i].dead && at[i]["eval_loss"] < 0.9 * nothing) v[i] = lr;
  }
  return v;
}

// Wider and longer, with gradient clipping: T(4,64,64).
std::vector<Arm<TransformerSpec>> wide_arms(Lab& lab) {
  TransformerSpec base{.data = lab.data()};
  base.net = {.layers = 4, .width = 64, .context = 64};
  base.steps = 300, base.batch = 8, base.clip = 1;
  std::vector<Arm<TransformerSpec>> arms(4, {"", base});
  for (size_t i = 0; i < 4; ++i) {
    arms[i].name = kArms[i];
    arms[i].spec.norm = i < 2 ? no_norm() : i == 2 ? lab.layer() : lab.batch();
    arms[i].spec.net.scaled = i == 1;
  }
  lab.tune(arms, {0.006, 0.015});
  return arms;
}

}  // namespace

ClaimResult claim8(Lab& lab) {
  const bool full = lab.profile().full();
  const std::vector<double> grid = text_grid(lab);
  const std::vector<TextData>& texts = lab.data()->texts;
  const double nothing = knowing_nothing(texts[0]);
  auto arms = text_arms(lab, 0);
  // Every arm at every rate: the chart and the range of usable rates need them; the other verdicts
  // use each arm's own rate.
  std::vector<Arm<TransformerSpec>> cells;
  for (const auto& arm : arms)
    for (double lr : grid) {
      cells.push_back({fmt::format("{} {}", arm.name, lr), arm.spec});
      cells.back().spec.lr = lr;
    }
  const auto all = lab.measure(cells);
  const auto chosen = lab.measure(arms);
  const auto alone_arms = window_arms(lab, 0, 16, 1);
  const auto alone = lab.measure(alone_arms);

  ClaimResult r{.id = "C8", .title = "LayerNorm in Transformers"};
  r.says = "LayerNorm works well in Transformers.";
  r.experiment = {
      fmt::format("A character-level Transformer of {} blocks, width 32, context 32, on the {}; "
                  "pre-norm, Adam, no "
                  "clipping, {} steps of 16 windows.",
                  arms[0].spec.net.layers, texts[0].name, arms[0].spec.steps),
      "Arms: LayerNorm; BatchNorm over all 512 tokens of the batch; no norm; no norm with residual "
      "branches started "
      "1/sqrt(2 L) as large. At a "
      "batch of one window of 16: 2 blocks.",
      fmt::format("Loss on held-out text in eval mode. Learning rates: {}; one window {}.",
                  chosen_rates(arms), chosen_rates(alone_arms))};
  char letter = 'a';
  const auto nats = [&](const std::string& text, const Records& a, const Records& b,
                        double dead) -> Line& {
    r.lines.push_back(
        statistical(fmt::format("C8{}", letter++), text,
                    compare(outcomes(a, "eval_loss"), outcomes(b, "eval_loss"), dead, Better::less),
                    kLossMargin, Expect::negative, "nats"));
    return r.lines.back();
  };
  nats("LayerNorm minus no norm, same initialisation", chosen.at("LN"), chosen.at("none"), nothing)
      .meaning = "Each at its own learning rate.";
  nats("LayerNorm minus no norm with scaled initialisation", chosen.at("LN"),
       chosen.at("none scaled"), nothing)
      .meaning = "Were LayerNorm needed, this would be clearly below 0.";
  nats("LayerNorm minus BatchNorm, statistics over 512 tokens", chosen.at("LN"), chosen.at("BN"),
       nothing)
      .meaning =
      "Fixed-length, shuffled windows and 512 tokens a statistic: the kindest case for BatchNorm. "
      "C9 has the others.";
  nats("LayerNorm minus BatchNorm, statistics over 16 tokens (one window a batch)", alone.at("LN"),
       alone.at("BN"), nothing);
  const auto ln_rates = survived_rates(all, "LN", grid, nothing),
             scaled_rates = survived_rates(all, "none scaled", grid, nothing);
  r.lines.push_back(
      statistical(fmt::format("C8{}", letter++),
                  "largest rate survived: LayerNorm over no norm with scaled initialisation",
                  {t_interval(paired_log2_ratio(ln_rates, scaled_rates))}, kGridStep,
                  Expect::positive, "doublings"));
  r.lines.back().meaning = fmt::format(
      "Survived: below 90 % of ln({}). The margin is a factor of 3, about one step of the grid. "
      "LayerNorm {}, scaled "
      "initialisation {} (medians).",
      texts[0].symbols, short_number(median(ln_rates)), short_number(median(scaled_rates)));
  const auto seeds_of = [&](const std::string& title, const std::map<std::string, Records>& runs) {
    std::vector<std::pair<std::string, const Records*>> rows;
    for (const auto& [name, records] : runs) rows.emplace_back(name, &records);
    r.tables.push_back(seed_table(title, rows, "eval_loss", 1, 3));
  };
  std::vector<std::pair<std::string, const Records*>> rows;
  for (size_t i = 0; i < 4; ++i)
    for (double lr : grid)
      rows.emplace_back(fmt::format("{}, rate {}", kTitles[i], lr),
                        &all.at(fmt::format("{} {}", kArms[i], lr)));
  r.tables = {seed_table("Held-out loss, nats", rows, "eval_loss", 1, 3)};
  seeds_of("Held-out loss at each arm's own rate, nats", chosen);
  seeds_of("One window of 16 characters a batch: held-out loss, nats", alone);
  for (size_t t = 1; t < texts.size(); ++t) {
    auto other_arms = text_arms(lab, t);
    const auto other = lab.measure(other_arms);
    const std::string on = texts[t].name + ": ";
    const double none = knowing_nothing(texts[t]);
    nats(on + "LayerNorm minus no norm, same initialisation", other.at("LN"), other.at("none"),
         none);
    nats(on + "LayerNorm minus no norm with scaled initialisation", other.at("LN"),
         other.at("none scaled"), none);
    nats(on + "LayerNorm minus BatchNorm, statistics over 512 tokens", other.at("LN"),
         other.at("BN"), none);
    seeds_of(on + "held-out loss, nats; rates " + chosen_rates(other_arms), other);
  }
  if (full) {
    const auto wide_of = wide_arms(lab);
    const auto wide = lab.measure(wide_of);
    nats("4 blocks of width 64, context 64, gradients clipped: LayerNorm minus no norm",
         wide.at("LN"), wide.at("none"), nothing)
        .meaning = "Clipping and a moderate depth rescue the network without a norm: see the trap.";
    nats("the same: LayerNorm minus no norm with scaled initialisation", wide.at("LN"),
         wide.at("none scaled"), nothing);
    nats("the same: LayerNorm minus BatchNorm, statistics over 512 tokens", wide.at("LN"),
         wide.at("BN"), nothing);
    seeds_of("4 blocks of width 64, clipped: held-out loss, nats; rates " + chosen_rates(wide_of),
             wide);
  }
  const auto against = [&](size_t i) {
    return by_verdict(r.lines[i], "better than", "as good as", "worse than",
                      "not decidedly better than");
  };
  r.meaning = fmt::format(
      "LayerNorm trains the deep Transformer at rates up to {}. It is {} the same network without "
      "a norm, {} one whose residual "
      "branches start small, "
      "{} BatchNorm over 512 tokens, and {} BatchNorm over 16.",
      short_number(median(ln_rates)), against(0), against(1), against(2), against(3));
  r.trap =
      "Gradient clipping or a small learning rate rescues the network without a norm, and a "
      "comparison at one shared rate "
      "decides for "
      "whoever likes that rate. No clipping here; each arm at its own rate.";
  Chart chart{.title = "Held-out loss against the learning rate",
              .x = {.label = "learning rate", .log = true, .ticks = grid},
              .y = {.label = "loss in eval mode, nats", .log = true},
              .marks = {{nothing, "knowing nothing"}}};
  for (size_t i = 0; i < 4; ++i) {
    Series s{.name = kTitles[i], .look = kLooks[i], .dashed = i == 1};
    for (double lr : grid)
      add_point(s, lr * std::pow(1.05, static_cast<double>(i) - 1.5),
                all.at(fmt::format("{} {}", kArms[i], lr)), "eval_loss");
    chart.series.push_back(std::move(s));
  }
  chart.note =
      "Lines: mean of the seeds that live. Crosses: runs that ended no better than knowing "
      "nothing.";
  r.charts = {chart};
  r.papers = {{"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"},
              {"Xiong et al. 2020, On Layer Normalization in the Transformer Architecture",
               "https://arxiv.org/abs/2002.04745"},
              {"Shen et al. 2020, PowerNorm", "https://arxiv.org/abs/2003.07845"},
              {"Zhang, Dauphin & Ma 2019, Fixup", "https://arxiv.org/abs/1901.09321"}};
  r.code = "lesson/c8.cpp";
  return r;
}

}  // namespace loupe::lesson
