// C12: "Transformers process each token independently", the lesson's own reason for LayerNorm. How
// much does each output token depend on each input token? Read off the gradient, exactly.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/state.h>
#include <loupe/lesson/lab.h>

#include <cmath>

namespace loupe::lesson {
namespace {

// cells[i][j]: norm of d(random projection of output token i) / d(input token j). f: (1, T, d) ->
// (1, T, anything).
std::vector<std::vector<double>> influence(const std::function<Tensor(const Tensor&)>& f,
                                           const Tensor& input, Rng& rng) {
  const int64_t tokens = input.size(1);
  std::vector<std::vector<double>> cells;
  for (int64_t i = 0; i < tokens; ++i) {
    Tensor x = input.clone();
    x.requires_grad_();
    const Tensor y = f(x).select(1, i);
    const Tensor g = grad({(y * randn(rng, y.shape())).sum()}, {x})[0];
    cells.emplace_back();
    for (int64_t j = 0; j < tokens; ++j)
      cells.back().push_back(std::sqrt(square(g.select(1, j)).sum().item()));
  }
  return cells;
}

double largest_off_diagonal(const std::vector<std::vector<double>>& cells) {
  double largest = 0;
  for (size_t i = 0; i < cells.size(); ++i)
    for (size_t j = 0; j < cells.size(); ++j)
      if (i != j) largest = std::max(largest, cells[i][j]);
  return largest;
}

}  // namespace

ClaimResult claim12(Lab& lab) {
  constexpr int64_t kTokens = 12, kWidth = 32;
  const char* parts[] = {"layer", "feed", "attention", "model", "batch"};
  const Config config{
      {"tokens", "12"}, {"width", "32"}, {"norms", lab.batch().name + ", " + lab.layer().name}};
  const Record record = lab.compute(
      "influence of tokens", config, [&parts, bn = lab.batch(), ln = lab.layer()](Record& r) {
        Rng rng(11);
        const TransformerOptions o{.layers = 2, .width = kWidth, .context = kTokens};
        Transformer with_ln(rng, o, ln), with_bn(rng, o, bn);
        const Tensor x = randn(rng, {1, kTokens, kWidth});
        const std::function<Tensor(const Tensor&)> maps[] = {
            [&](const Tensor& t) { return with_ln.blocks[0].norm1(t); },
            [&](const Tensor& t) { return with_ln.blocks[0].feed_forward(t); },
            [&](const Tensor& t) { return with_ln.blocks[0].attend(t, Tensor()); },
            [&](const Tensor& t) { return with_ln.from_embeddings(t, Tensor()); },
            [&](const Tensor& t) { return with_bn.blocks[0].norm1(t); }};
        for (size_t p = 0; p < std::size(parts); ++p) {
          const auto cells = influence(maps[p], x, rng);
          r.metrics[parts[p]] = largest_off_diagonal(cells);
          for (const auto& row : cells)
            r.series[parts[p]].insert(r.series[parts[p]].end(), row.begin(), row.end());
        }
      });
  ClaimResult r{.id = "C12", .title = "Tokens processed independently"};
  r.says = "Transformers process each token independently; that is why LayerNorm suits them.";
  r.experiment = {fmt::format("One sequence of {} tokens through the parts of a Transformer block "
                              "and through a causal model of two blocks.",
                              kTokens),
                  "The gradient of each output token with respect to each input token: 0 means "
                  "that it does not depend on it at all.",
                  "At initialisation; the zeros hold for any weights."};
  const auto independent = [&](const char* id, const std::string& text, const char* part) {
    r.lines.push_back(exact(id, text, record[part], Holds::at_most, 0));
  };
  independent("C12a", "LayerNorm: gradient by any other token, largest", "layer");
  independent("C12b", "feed-forward: gradient by any other token, largest", "feed");
  independent("C12c", "attention: gradient by any other token, largest", "attention");
  independent("C12d", "the whole model: gradient by any other token, largest", "model");
  r.lines.push_back(
      exact("C12e", "BatchNorm in training mixes tokens: gradient by any other token, largest",
            record["batch"], Holds::above, 0));
  r.lines.back().beside = true;
  const auto alone = [&](size_t i) {
    return r.lines[i].verdict == Verdict::reproduced ? "treats each token alone, exactly"
                                                     : "mixes tokens";
  };
  r.meaning = fmt::format(
      "LayerNorm {}; the feed-forward layer {}; attention {}, and the model as a whole {}.",
      alone(0), alone(1), alone(2), alone(3));
  if (r.lines[0].verdict == Verdict::reproduced && r.lines[2].verdict == Verdict::contradicted &&
      record["batch"] > 0)
    r.meaning +=
        " So independence is no property of Transformers. The better reason for LayerNorm: the "
        "norm must not be a second, "
        "uncontrolled way of mixing tokens, as BatchNorm is.";
  r.trap =
      "sum(LayerNorm(x)) has gradient zero for every token, which looks like independence of "
      "everything: project on random "
      "numbers instead.";
  const char* titles[] = {"LayerNorm", "Feed-forward", "Attention (causal)", "Whole model",
                          "BatchNorm in training"};
  for (size_t p = 0; p < std::size(parts); ++p) {
    if (p == 3) continue;  // four maps; the whole model looks like attention
    Heatmap m{.title = titles[p], .x_label = "input token", .y_label = "output token"};
    const auto& flat = record.series.at(parts[p]);
    for (int64_t i = 0; i < kTokens; ++i)
      m.cells.emplace_back(flat.begin() + i * kTokens, flat.begin() + (i + 1) * kTokens);
    r.maps.push_back(std::move(m));
  }
  r.maps.back().note =
      "Colour: size of the gradient, log scale over six decades. A dot: exactly 0.";
  r.papers = {
      {"Vaswani et al. 2017, Attention Is All You Need", "https://arxiv.org/abs/1706.03762"},
      {"Ba, Kiros & Hinton 2016, Layer Normalization", "https://arxiv.org/abs/1607.06450"}};
  r.code = "lesson/c12.cpp";
  return r;
}

}  // namespace loupe::lesson
