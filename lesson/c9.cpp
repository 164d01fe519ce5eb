// C9: batch statistics are not reliable in sequence models; LayerNorm is stable there.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// Largest |d logit(t = 3 of sequence 0) / d embedding| over later tokens (0: no leak of the future) and, with a batch,
// over other sequences.
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

// Largest change of a short sequence's logits when a longer neighbour makes it longer by padding.
double change_by_padding(const Norm& norm, bool training) {
  NoGrad guard;
  Rng rng(6);
  Transformer net(rng, {.layers = 2, .width = 32, .context = 32, .symbols = 3, .causal = false, .pool = true}, norm);
  train(net, training);
  const auto logits = [&](int64_t neighbour) {
    std::vector<std::vector<int64_t>> sequences{{0, 1, 1, 0, 1, 0}, {}};
    for (int64_t i = 0; i < neighbour; ++i) sequences[1].push_back(i % 2);
    const Batch b = pad_sequences(sequences, 2);
    return net.masked(b.x, b.mask).slice(0, 0, 1);
  };
  return max(abs(logits(6) - logits(30))).item();
}

}  // namespace

ClaimResult claim9(Lab& lab) {
  const bool full = lab.profile().full();
  const std::vector<int64_t> batches = full ? std::vector<int64_t>{1, 2, 4, 16} : std::vector<int64_t>{1, 2, 16};
  const Norm norms[] = {layer_norm(), batch_norm()};
  const char* short_names[] = {"LN", "BN"};
  std::vector<Arm<TransformerSpec>> bits, text, count;
  for (size_t n = 0; n < 2; ++n) {
    for (int64_t b : batches)
      bits.push_back({fmt::format("bits {} {}", short_names[n], b),
                      {.data = lab.data(), .task = "bits", .net = {.layers = 2, .width = 32, .context = 16}, .norm = norms[n], .batch = b,
                       .steps = lab.profile().steps(500), .lr = 0.003}});
    text.push_back({fmt::format("text {}", short_names[n]),
                    {.data = lab.data(), .net = {.layers = 2, .width = 32, .context = 16}, .norm = norms[n], .batch = 1,
                     .steps = lab.profile().steps(full ? 1500 : 1000), .lr = 0.003}});
    count.push_back({fmt::format("count {}", short_names[n]),
                     {.data = lab.data(), .task = "count", .net = {.layers = 2, .width = 32, .context = 32}, .norm = norms[n], .batch = 4,
                      .steps = lab.profile().steps(full ? 500 : 400), .lr = 0.003}});
  }
  const auto leak = lab.measure(bits);
  const auto words = lab.measure(text);
  const auto lengths = lab.measure(count);
  const Record exact_facts = lab.compute("leaks", {{"net", "T(2,32,16)"}}, [](Record& r) {
    r.metrics["leak LN"] = std::max(gradient_leak(layer_norm(), 1), gradient_leak(layer_norm(), 4));
    r.metrics["leak BN"] = gradient_leak(batch_norm(), 1);
    r.metrics["leak BN 16"] = gradient_leak(batch_norm(), 16);
    r.metrics["padding LN"] = std::max(change_by_padding(layer_norm(), true), change_by_padding(layer_norm(), false));
    r.metrics["padding BN"] = change_by_padding(batch_norm(), true);
  });

  ClaimResult r{.id = "C9", .title = "Batch statistics in sequence models"};
  r.says = "Batch statistics are not reliable in sequence models; LayerNorm is stable there.";
  r.experiment = {"(a) A causal Transformer on random bits: nothing can be learned, so a loss below ln 2 means that it sees what it should predict.",
                  fmt::format("(b) The {} with one window of 16 characters a batch, judged in training mode and in eval mode.", lab.data()->text_name),
                  "(c) Sequences of 4 to 32 bits, padded: are there more zeros than ones? Two blocks of width 32 everywhere, rate 0.003."};
  const double ln2 = std::log(2.0), nothing = std::log(static_cast<double>(lab.data()->symbols));
  const auto bits_line = [&](const char* id, const std::string& t, const char* arm, int64_t b, double margin, Expect e) {
    r.lines.push_back(statistical(id, t, below(ln2, leak.at(fmt::format("bits {} {}", arm, b)), "train_mode_loss", ln2), margin, e, "nats"));
  };
  bits_line("C9a", "random bits, batch of 1: ln 2 minus BatchNorm's loss in training mode", "BN", 1, 0.01, Expect::positive);
  r.lines.back().meaning = "Positive is impossible without seeing the future: the statistics of the window carry it.";
  bits_line("C9b", "the same for LayerNorm: nothing", "LN", 1, 0.01, Expect::none);
  bits_line("C9c", "random bits, batch of 16: ln 2 minus BatchNorm's loss", "BN", 16, 0.01, Expect::positive);
  r.lines.back().meaning = "With 256 tokens a statistic the leak is there (C9g) but too faint to use.";
  const auto loss = [&](const char* id, const std::string& t, const std::string& metric, Expect e) {
    r.lines.push_back(statistical(id, t, compare(outcomes(words.at("text BN"), metric), outcomes(words.at("text LN"), metric), nothing),
                                  kLossMargin, e, "nats"));
  };
  loss("C9d", "text, batch of 1, eval mode: BatchNorm's loss minus LayerNorm's", "eval_loss", Expect::positive);
  r.lines.back().meaning = "At inference BatchNorm is worse ...";
  loss("C9e", "text, batch of 1, training mode: BatchNorm's loss minus LayerNorm's", "train_mode_loss", Expect::negative);
  r.lines.back().meaning = "... while in training mode it looks better. Only (a) proves that this is the leak.";
  r.lines.push_back(exact("C9f", "LayerNorm: gradient of a token's logits by later tokens and other sequences", exact_facts["leak LN"] == 0,
                          exact_facts["leak LN"], "(exact)"));
  r.lines.push_back(exact("C9g", "BatchNorm in training: the same gradient, batch of 16", exact_facts["leak BN 16"] > 1e-4, exact_facts["leak BN 16"], "(largest)"));
  r.lines.push_back(statistical("C9h", "padded sequences, batch of 4: LayerNorm minus BatchNorm, accuracy in eval mode",
                                compare(outcomes(lengths.at("count LN"), "accuracy"), outcomes(lengths.at("count BN"), "accuracy"), 0.5),
                                kAccuracyMargin, Expect::positive, "points", 100));
  r.lines.push_back(exact("C9i", "LayerNorm: change of a sequence's logits when a longer neighbour pads it", exact_facts["padding LN"] <= 1e-5,
                          exact_facts["padding LN"], "(bound 1e-5)"));
  r.lines.push_back(exact("C9j", "BatchNorm in training: the same change", exact_facts["padding BN"] > 1e-3, exact_facts["padding BN"], "logits"));
  r.meaning = fmt::format(
      "BatchNorm in a causal model lets a token see later ones: on random bits it gets {:.2f} nats below what is possible. On text it then looks {:.2f} nats "
      "better in training mode and is {:.2f} worse in use. LayerNorm cannot: its gradient by later tokens is exactly 0.",
      r.lines[0].effect.mean, -r.lines[4].effect.mean, r.lines[3].effect.mean);
  r.trap = "Judging BatchNorm in training mode. There its statistics tell it about the very symbols it should predict.";
  Chart chart{.title = "Random bits: loss in training mode against the batch", .x = {.label = "sequences per batch", .log = true},
              .y = {.label = "loss, nats"}, .marks = {{ln2, "ln 2: no better is possible"}}};
  Chart pairs{.title = "Text, one window a batch: training mode against eval mode",
              .x = {.label = "", .categories = {"LayerNorm training", "LayerNorm eval", "BatchNorm training", "BatchNorm eval"}},
              .y = {.label = "loss on held-out text, nats"}};
  for (size_t n = 0; n < 2; ++n) {
    const Look look = n ? Look::bn : Look::ln;
    const std::string title = n ? "BatchNorm" : "LayerNorm";
    Series s{.name = title, .look = look};
    for (int64_t b : batches)
      add_point(s, static_cast<double>(b) * (n ? 1.04 : 0.96), leak.at(fmt::format("bits {} {}", short_names[n], b)), "train_mode_loss");
    chart.series.push_back(std::move(s));
    const Records& runs = words.at(fmt::format("text {}", short_names[n]));
    pairs.series.push_back(column(title + " training", look, 2 * n, runs, "train_mode_loss"));
    pairs.series.push_back(column(title + " eval", look, 2 * n + 1, runs, "eval_loss"));
  }
  for (int64_t b : batches) chart.x.ticks.push_back(static_cast<double>(b));
  r.charts = {chart, pairs};
  std::vector<std::pair<std::string, const Records*>> rows;
  for (const auto& a : bits) rows.emplace_back(a.name, &leak.at(a.name));
  for (const auto& a : text) rows.emplace_back(a.name, &words.at(a.name));
  r.tables = {seed_table("Loss in training mode, nats", rows, "train_mode_loss", 1, 3), seed_table("Loss in eval mode, nats", rows, "eval_loss", 1, 3),
              seed_table("Padded sequences: accuracy, %", {{"LayerNorm", &lengths.at("count LN")}, {"BatchNorm", &lengths.at("count BN")}}, "accuracy", 100)};
  r.papers = {{"Shen et al. 2020, PowerNorm", "https://arxiv.org/abs/2003.07845"},
              {"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c9.cpp";
  return r;
}

}  // namespace loupe::lesson
