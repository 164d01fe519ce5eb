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
    std::vector<int64_t> symbols(static_cast<size_t>(2 * length), 2);
    std::vector<int64_t> real(static_cast<size_t>(2 * length), 0);
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t t = 0; t < 6; ++t)
        symbols[static_cast<size_t>(i * length + t)] = (i + t) % 2,
                                                 real[static_cast<size_t>(i * length + t)] = 1;
    return net
        .masked(from_data(symbols).reshape({2, length}),
                from_data(real).to(DType::boolean).reshape({2, length}))
        .slice(0, 0, 1);
  };
  return max(abs(logits(6) - logits(30))).item();
}

TransformerSpec count_spec(Lab& lab, const Norm& norm, int64_t batch) {
  return {.data = lab.data(),
          .task = "count",
          .net = {.layers = 2, .width = 32, .context = 32},
          .norm = norm,
          .batch = batch,
          .steps = lab.profile().steps(lab.profile().full() ? 500 : 400)};
}

}  // namespace

ClaimResult claim9(Lab& lab) {
  const bool full = lab.profile().full();
  const std::vector<TextData>& texts = lab.data()->texts;
  const std::vector<int64_t> batches =
      full ? std::vector<int64_t>{1, 2, 4, 16} : std::vector<int64_t>{1, 2, 16};
  const char* short_names[] = {"LN", "BN"};
  // (a) Nothing can be learned from random bits, so there is no rate to choose: 0.003 for all.
  std::vector<Arm<TransformerSpec>> bits;
  for (const char* name : short_names)
    for (int64_t b : batches)
      bits.push_back({fmt::format("bits {} {}", name, b),
                      {.data = lab.data(),
                       .task = "bits",
                       .net = {.layers = 2, .width = 32, .context = 16},
                       .norm = std::string(name) == "LN" ? lab.layer() : lab.batch(),
                       .batch = b,
                       .steps = lab.profile().steps(500),
                       .lr = 0.003}});
  const auto leak = lab.measure(bits);
  // (b) Text with one window a batch.
  struct Windows {
    size_t text;
    int64_t context;
    std::vector<Arm<TransformerSpec>> arms;
    std::map<std::string, Records> runs;
  };
  std::vector<Windows> windows;
  for (size_t t = 0; t < texts.size(); ++t)
    for (int64_t context : full ? std::vector<int64_t>{16, 32} : std::vector<int64_t>{16}) {
      windows.push_back({t, context, window_arms(lab, t, context, 1), {}});
      windows.back().runs = lab.measure(windows.back().arms);
    }
  const auto many = text_arms(lab, 0);  // 16 windows a batch, from C8
  const auto wide = lab.measure(std::vector<Arm<TransformerSpec>>(many.begin() + 2, many.end()));
  // (c) Sequences of 4 to 32 bits, padded to the longest.
  std::vector<Arm<TransformerSpec>> count;
  for (int64_t b : full ? std::vector<int64_t>{4, 16} : std::vector<int64_t>{4})
    for (const auto& [name, norm] : {std::pair{"LN", lab.layer()},
                                     {"BN", lab.batch()},
                                     {"BN masked", masked_batch_norm()},
                                     {"none", no_norm()}})
      count.push_back(
          {b == 4 ? std::string(name) : fmt::format("{} 16", name), count_spec(lab, norm, b)});
  // (d) The same task with a fixed length, so that the number of real tokens is the same on
  // average.
  count.push_back({"BN fixed", count_spec(lab, lab.batch(), 4)});
  count.back().spec.shortest = count.back().spec.longest = 18;
  lab.tune(count, {0.001, 0.003, 0.01});
  for (auto& arm : count)
    arm.spec.inspect = arm.name == "BN" || arm.name == "BN masked" || arm.name == "BN fixed";
  const auto lengths = lab.measure(count);
  auto cnn_of = f1_arms(lab, {64});
  std::erase_if(cnn_of, [](const auto& a) { return a.name != "BN 64"; });
  const Records cnn = lab.measure(cnn_of).at("BN 64");
  const Record facts = lab.compute(
      "leaks", {{"net", "T(2,32,16)"}, {"norms", lab.batch().name + ", " + lab.layer().name}},
      [bn = lab.batch(), ln = lab.layer()](Record& r) {
        r.metrics["leak LN"] = std::max(gradient_leak(ln, 1), gradient_leak(ln, 4));
        r.metrics["leak BN 16"] = gradient_leak(bn, 16);
        r.metrics["padding LN"] =
            std::max(change_by_neighbour(ln, true, true), change_by_neighbour(ln, false, true));
        r.metrics["padding BN"] = change_by_padding_alone(bn);
        r.metrics["padding masked"] = change_by_padding_alone(masked_batch_norm());
        r.metrics["mates masked"] = change_by_neighbour(masked_batch_norm(), true, false);
      });

  ClaimResult r{.id = "C9", .title = "Batch statistics in sequence models"};
  r.says = "Batch statistics are not reliable in sequence models; LayerNorm is stable there.";
  r.experiment = {
      fmt::format("(a) A causal Transformer on random bits: nothing can be learned, so a loss "
                  "below ln 2 means that it sees what "
                  "it should predict. (b) The {} "
                  "with one window of {} characters a batch, judged in training mode and in eval "
                  "mode on the same windows.",
                  texts[0].name, full ? "16 or 32" : "16"),
      "(c) Sequences of 4 to 32 bits, padded: are there more zeros than ones? (d) How much the "
      "batch's mean and variance differ "
      "from batch to batch, over 60 "
      "batches of 16 sequences or images, in trained networks.",
      fmt::format("Two blocks of width 32 everywhere. Learning rates: (a) 0.003, (b) {}, (c) {}.",
                  chosen_rates(windows[0].arms), chosen_rates(count))};
  const auto add = [&](const std::string& id, const std::string& text, const Comparison& c,
                       double margin, Expect e, const std::string& unit,
                       double scale = 1) -> Line& {
    r.lines.push_back(statistical(id, text, c, margin, e, unit, scale));
    return r.lines.back();
  };
  const auto fact = [&](const char* id, const std::string& text, double value, Holds holds,
                        double bound, const char* unit) -> Line& {
    r.lines.push_back(exact(id, text, value, holds, bound, unit));
    return r.lines.back();
  };
  // (a)
  const double ln2 = std::log(2.0);
  const auto below_ln2 = [&](const char* arm, int64_t b) {
    return below(ln2, leak.at(fmt::format("bits {} {}", arm, b)), "train_mode_loss", ln2);
  };
  add("C9a1", "random bits, batch of 1: ln 2 minus BatchNorm's loss in training mode",
      below_ln2("BN", 1), kLeakMargin, Expect::positive, "nats")
      .meaning =
      "Positive is impossible without seeing the future: the statistics of the window carry it.";
  add("C9a2", "the same with LayerNorm: nothing", below_ln2("LN", 1), kLeakMargin, Expect::none,
      "nats");
  add("C9a3", "random bits, batch of 2: ln 2 minus BatchNorm's loss", below_ln2("BN", 2),
      kLeakMargin, Expect::positive, "nats");
  add("C9a4", "random bits, batch of 16: ln 2 minus BatchNorm's loss", below_ln2("BN", 16),
      kLeakMargin, Expect::positive, "nats")
      .meaning =
      "The gradient leaks here too (C9a6); this asks whether 256 tokens a statistic leave enough "
      "of it to use.";
  fact("C9a5", "LayerNorm: gradient of a token's logits by later tokens and other sequences",
       facts["leak LN"], Holds::at_most, 0, "");
  fact("C9a6", "BatchNorm in training, batch of 16: the same gradient", facts["leak BN 16"],
       Holds::above, kGradientLeak, "");
  // (b)
  const auto gap = [](const Records& runs, double nothing) {
    return compare(outcomes(runs, "eval_loss"), outcomes(runs, "train_mode_loss"), nothing,
                   Better::less);
  };
  int part = 1;
  const auto next = [&part] { return fmt::format("C9b{}", part++); };
  for (const Windows& w : windows) {
    const bool first = &w == &windows[0];
    const double nothing = std::log(static_cast<double>(texts[w.text].symbols));
    const std::string on =
        fmt::format("{}, one window of {}", w.text ? texts[w.text].name : "text", w.context);
    const auto loss = [&](const char* metric) {
      return compare(outcomes(w.runs.at("BN"), metric), outcomes(w.runs.at("LN"), metric), nothing,
                     Better::less);
    };
    add(next(), on + ", eval mode: BatchNorm's loss minus LayerNorm's", loss("eval_loss"),
        kLossMargin, Expect::positive, "nats");
    if (first) r.lines.back().meaning = "Judged as the model is used.";
    add(next(), on + ", training mode: BatchNorm's loss minus LayerNorm's", loss("train_mode_loss"),
        kLossMargin, Expect::negative, "nats");
    if (first)
      r.lines.back().meaning =
          "Judged with the statistics of the very windows. Only (a) proves that a gain here is the "
          "leak.";
    add(next(), on + ": BatchNorm's loss in eval mode minus its own in training mode",
        gap(w.runs.at("BN"), nothing), kLossMargin, Expect::positive, "nats");
    if (!first) continue;
    double apart = 0;
    for (const Record& run : w.runs.at("LN"))
      apart = std::max(apart, std::abs(run["eval_loss"] - run["train_mode_loss"]));
    fact("C9b4", on + ": LayerNorm's loss in eval mode against its own in training mode", apart,
         Holds::at_most, 0, "nats");
    part = 5;
    add(next(),
        "text, 16 windows of 32: BatchNorm's loss in eval mode minus its own in training mode",
        gap(wide.at("BN"), nothing), kLossMargin, Expect::positive, "nats")
        .meaning = "512 tokens a statistic.";
  }
  // (c)
  const auto accuracy = [&](const char* id, const std::string& text, const char* a,
                            const char* b) -> Line& {
    return add(id, text,
               compare(outcomes(lengths.at(a), "accuracy"), outcomes(lengths.at(b), "accuracy"),
                       0.5, Better::more),
               kAccuracyMargin, Expect::positive, "points", 100);
  };
  accuracy("C9c1", "padded sequences, batch of 4: LayerNorm minus BatchNorm, accuracy in eval mode",
           "LN", "BN");
  accuracy("C9c2", "the same: LayerNorm minus BatchNorm that leaves padding out", "LN", "BN masked")
      .meaning = "Does leaving padding out of the statistics repair BatchNorm?";
  fact("C9c3", "LayerNorm: change of a sequence's logits when a longer neighbour pads it",
       facts["padding LN"], Holds::at_most, kPaddingBound, "logits");
  fact("C9c4", "BatchNorm in training: change of the logits by more padding alone",
       facts["padding BN"], Holds::above, kPaddingMoves, "logits");
  fact("C9c5", "masked BatchNorm: change of the logits by more padding alone",
       facts["padding masked"], Holds::at_most, kPaddingBound, "logits")
      .beside = true;
  fact("C9c6", "masked BatchNorm in training: change of the logits by a neighbour's symbols",
       facts["mates masked"], Holds::above, kPaddingMoves, "logits");
  accuracy("C9c7", "padded sequences, batch of 4: LayerNorm minus no norm", "LN", "none").beside =
      true;
  r.lines.back().meaning = "Two blocks: is a norm needed here at all?";
  if (full) {
    accuracy("C9c8", "padded sequences, batch of 16: LayerNorm minus BatchNorm", "LN 16", "BN 16");
    accuracy("C9c9", "padded sequences, batch of 16: LayerNorm minus masked BatchNorm", "LN 16",
             "BN masked 16");
  }
  // (d)
  const auto fluctuation = [&](const char* id, const std::string& text, const char* metric,
                               const Records& a, const Records& b) -> Line& {
    return add(id, text, compare_log2(outcomes(a, metric), outcomes(b, metric), 1, Better::less),
               kRatioMargin, Expect::positive, "doublings");
  };
  const auto behind = [](const Records& runs) {
    const auto alive = std::ranges::find(runs, false, &Record::dead);
    return alive == runs.end() ? std::string("?") : fmt::format("{:.0f}", (*alive)["values_16"]);
  };
  fluctuation("C9d1", "fluctuation of the batch mean: text of fixed length over CNN, 16 a batch",
              "fluctuation_mean_16", wide.at("BN"), cnn)
      .meaning =
      fmt::format("Values behind one statistic: {} and {}.", behind(wide.at("BN")), behind(cnn));
  fluctuation("C9d2", "fluctuation of the batch variance: text of fixed length over CNN",
              "fluctuation_variance_16", wide.at("BN"), cnn);
  fluctuation("C9d3",
              "fluctuation of the batch mean: variable length (padding counted) over fixed length",
              "fluctuation_mean_16", lengths.at("BN"), lengths.at("BN fixed"))
      .meaning = fmt::format(
      "The counting task with 4 to 32 bits, and with 18. Values behind one statistic: {} and {}.",
      behind(lengths.at("BN")), behind(lengths.at("BN fixed")));
  fluctuation("C9d4",
              "fluctuation of the batch mean: variable length (padding left out) over fixed length",
              "fluctuation_mean_16", lengths.at("BN masked"), lengths.at("BN fixed"))
      .meaning =
      fmt::format("Values behind one statistic: {} on average.", behind(lengths.at("BN masked")));
  const auto line = [&](const char* id) -> const Line& {
    return *std::ranges::find(r.lines, std::string(id), &Line::id);
  };
  r.meaning = fmt::format(
      "(a) In a causal model BatchNorm {}; LayerNorm's gradient by later tokens is {}. (b) With "
      "one window a batch BatchNorm {} "
      "in eval mode and {} in training mode. (c) With "
      "padding LayerNorm {}, and leaving padding out {}. (d) The statistics of fixed-length text "
      "{}; variable length {}.",
      by_verdict(line("C9a1"), "lets a token see later ones, enough to beat ln 2",
                 "leaks too little to use", "does worse than chance", "may leak (not decided)"),
      facts["leak LN"] == 0 ? "exactly 0" : "not 0",
      by_verdict(line("C9b1"), "is worse than LayerNorm", "equals LayerNorm",
                 "is better than LayerNorm", "is not decided against LayerNorm"),
      by_verdict(line("C9b2"), "better", "equal", "worse", "not decided"),
      by_verdict(line("C9c1"), "is ahead", "is no better", "is behind", "is not clearly ahead"),
      by_verdict(line("C9c2"), "does not repair BatchNorm", "repairs BatchNorm",
                 "makes BatchNorm the better one", "does not decide it"),
      by_verdict(line("C9d1"), "fluctuate more than a CNN's", "fluctuate as a CNN's do",
                 "fluctuate less than a CNN's", "cannot be told from a CNN's"),
      by_verdict(line("C9d3"), "makes them less reliable", "does not matter",
                 "makes them more reliable", "is not decided"));
  r.trap =
      "Judging BatchNorm in training mode: there its statistics tell it about the very symbols it "
      "should predict. And comparing "
      "fluctuations without saying how many "
      "values stand behind a statistic, or how alike they are: the pixels of one image are, and "
      "every window of a text holds "
      "every position once.";
  Chart chart{.title = "(a) Random bits: loss in training mode against the batch",
              .x = {.label = "sequences per batch", .log = true},
              .y = {.label = "loss, nats"},
              .marks = {{ln2, "ln 2: no better is possible"}}};
  Chart pairs{.title = "(b) Text, one window of 16 a batch: training mode against eval mode",
              .x = {.label = "",
                    .categories = {"LayerNorm training", "LayerNorm eval", "BatchNorm training",
                                   "BatchNorm eval"}},
              .y = {.label = "loss on held-out text, nats"}};
  for (size_t n = 0; n < 2; ++n) {
    const Look look = n ? Look::bn : Look::ln;
    const std::string title = n ? "BatchNorm" : "LayerNorm";
    Series s{.name = title, .look = look};
    for (int64_t b : batches)
      add_point(s, static_cast<double>(b) * (n ? 1.04 : 0.96),
                leak.at(fmt::format("bits {} {}", short_names[n], b)), "train_mode_loss");
    chart.series.push_back(std::move(s));
    const Records& runs = windows[0].runs.at(short_names[n]);
    pairs.series.push_back(column(title + " training", look, 2 * n, runs, "train_mode_loss"));
    pairs.series.push_back(column(title + " eval", look, 2 * n + 1, runs, "eval_loss"));
  }
  for (int64_t b : batches) chart.x.ticks.push_back(static_cast<double>(b));
  Chart padded{
      .title = "(c) Padded sequences, batch of 4: accuracy in eval mode",
      .x = {.label = "",
            .categories = {"no norm", "LayerNorm", "BatchNorm", "BatchNorm, padding left out"}},
      .y = {.label = "accuracy, %"},
      .paired = true};
  padded.series = {
      column("no norm", Look::none, 0, lengths.at("none"), "accuracy", 100),
      column("LayerNorm", Look::ln, 1, lengths.at("LN"), "accuracy", 100),
      column("BatchNorm", Look::bn, 2, lengths.at("BN"), "accuracy", 100),
      column("masked BatchNorm", Look::extra, 3, lengths.at("BN masked"), "accuracy", 100)};
  padded.note = "Thin lines join the runs of one seed.";
  Chart noise{.title = "(d) Fluctuation of the batch mean, 16 images or sequences a batch",
              .x = {.label = "",
                    .categories = {"CNN", "text, fixed length", "bits, fixed length",
                                   "bits, padding counted", "bits, padding left out"}},
              .y = {.label = "fluctuation / deviation of the data", .lo = 0}};
  noise.series = {
      column("CNN", Look::bn, 0, cnn, "fluctuation_mean_16"),
      column("text, fixed length", Look::other, 1, wide.at("BN"), "fluctuation_mean_16"),
      column("bits, fixed length", Look::gn, 2, lengths.at("BN fixed"), "fluctuation_mean_16"),
      column("bits, padding counted", Look::extra, 3, lengths.at("BN"), "fluctuation_mean_16"),
      column("bits, padding left out", Look::ln, 4, lengths.at("BN masked"),
             "fluctuation_mean_16")};
  noise.note =
      "How far the mean of a channel strays from batch to batch, in units of that channel's "
      "deviation; average of the layers.";
  r.charts = {chart, pairs, padded, noise};
  std::vector<std::pair<std::string, const Records*>> rows, tasks;
  for (const auto& a : bits) rows.emplace_back(a.name, &leak.at(a.name));
  for (const Windows& w : windows)
    for (const auto& a : w.arms)
      rows.emplace_back(fmt::format("{}, window of {}: {}", texts[w.text].name, w.context, a.name),
                        &w.runs.at(a.name));
  for (const auto& a : count) tasks.emplace_back(a.name, &lengths.at(a.name));
  const std::vector<std::pair<std::string, const Records*>> watched{
      {"CNN", &cnn},
      {"text, fixed length", &wide.at("BN")},
      {"bits, fixed length", &lengths.at("BN fixed")},
      {"bits, padding counted", &lengths.at("BN")},
      {"bits, padding left out", &lengths.at("BN masked")}};
  r.tables = {seed_table("Loss in training mode, nats", rows, "train_mode_loss", 1, 3),
              seed_table("Loss in eval mode, nats", rows, "eval_loss", 1, 3),
              seed_table("Counting task: accuracy in eval mode, %", tasks, "accuracy", 100)};
  for (int64_t b : {16, 2})
    for (const char* of : {"mean", "variance"})
      r.tables.push_back(seed_table(fmt::format("Fluctuation of the batch {}, {} a batch", of, b),
                                    watched, fmt::format("fluctuation_{}_{}", of, b), 1, 3));
  r.tables.push_back(
      seed_table("Values behind one statistic, 16 a batch (average of layers and batches)", watched,
                 "values_16", 1, 0));
  r.papers = {{"Shen et al. 2020, PowerNorm", "https://arxiv.org/abs/2003.07845"},
              {"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c9.cpp";
  return r;
}

}  // namespace loupe::lesson
