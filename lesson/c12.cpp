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
      if (i != j) largest = worst_of(largest, cells[i][j]);
  return largest;
}

constexpr int64_t kTokens = 12, kWidth = 32;

// The parts of a Transformer, as metrics and series of the one run.
struct Part {
  std::string name, title;
  Look look = Look::gray;
};
const Part kFeedPart{"feed", "Feed-forward"};
const Part kAttentionPart{"attention", "Attention (causal)"};
Part norm_part(const Contestant& ln) { return {ln.name + " layer", ln.style.title, ln.style.look}; }
Part model_part(const Contestant& ln) { return {ln.name + " model", "Whole model"}; }
Part batch_part(const Contestant& bn) {
  return {bn.name + " batch", bn.style.title + " in training", bn.style.look};
}

void measure_influences(const Contestant& bn, const Contestant& ln, Record& r) {
  Rng rng(11);
  const TransformerOptions o{.layers = 2, .width = kWidth, .context = kTokens};
  Transformer with_ln(rng, o, ln.norm), with_bn(rng, o, bn.norm);
  const Tensor x = randn(rng, {1, kTokens, kWidth});
  const auto look = [&](const Part& part, const std::function<Tensor(const Tensor&)>& map) {
    const auto cells = influence(map, x, rng);
    r.metrics[part.name] = largest_off_diagonal(cells);
    auto& flat = r.series[part.name];
    for (const auto& row : cells) flat.insert(flat.end(), row.begin(), row.end());
  };
  TransformerBlock& block = with_ln.blocks[0];
  look(norm_part(ln), [&](const Tensor& t) { return block.norm1(t); });
  look(kFeedPart, [&](const Tensor& t) { return block.feed_forward(t); });
  look(kAttentionPart, [&](const Tensor& t) { return block.attend(t, Tensor()); });
  look(model_part(ln), [&](const Tensor& t) { return with_ln.from_embeddings(t, Tensor()); });
  look(batch_part(bn), [&](const Tensor& t) { return with_bn.blocks[0].norm1(t); });
}

class Claim12 : public Claim {
 public:
  explicit Claim12(Lab& lab) : bn_(lab.bn()), ln_(lab.ln()) {}
  void run(Lab& lab) override {
    const Config config{{"tokens", "12"}, {"width", "32"}, {"norms", lab.norm_names()}};
    influences_ = lab.compute("influence of tokens", config,
                              [bn = bn_, ln = ln_](Record& r) { measure_influences(bn, ln, r); });
  }
  std::vector<Question> questions() const override;
  void facts(Facts& facts) const override { facts.text("tokens", fmt::format("{}", kTokens)); }
  std::vector<Heatmap> maps() const override;

 private:
  Contestant bn_, ln_;
  Measured influences_;
};

std::vector<Question> Claim12::questions() const {
  const auto independent = [this](const char* id, const Part& part) {
    return fact(id, of(influences_, part.name), Holds::at_most, 0);
  };
  return {independent("C12a", norm_part(ln_)), independent("C12b", kFeedPart),
          independent("C12c", kAttentionPart), primary(independent("C12d", model_part(ln_))),
          explains(fact("C12e", of(influences_, batch_part(bn_).name), Holds::above, 0))};
}

// Four of them: the whole model looks like attention.
std::vector<Heatmap> Claim12::maps() const {
  std::vector<Heatmap> maps;
  for (const Part& part : {norm_part(ln_), kFeedPart, kAttentionPart, batch_part(bn_)}) {
    Heatmap m{.title = part.title,
              .x_label = "input token",
              .y_label = "output token",
              .look = part.look};
    const auto& flat = influences_.runs.at(0).series.at(part.name);
    for (auto row = flat.begin(); row != flat.end(); row += kTokens)
      m.cells.emplace_back(row, row + kTokens);
    maps.push_back(std::move(m));
  }
  maps.back().note = "Depth: size of the gradient, log scale over six decades. A dot: exactly 0.";
  return maps;
}

}  // namespace

std::unique_ptr<Claim> claim12(Lab& lab) { return std::make_unique<Claim12>(lab); }

}  // namespace loupe::lesson
