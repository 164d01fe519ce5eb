// The gallery's attention.
#include <loupe/exercises/gallery/parts.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/state.h>

#include <fmt/format.h>

#include <cmath>

namespace loupe::gallery {

namespace {

// --- One attention, with its faults ---
struct Faults {
  bool no_scale = false, wrong_axis = false, no_causal = false, no_padding = false;
};

Tensor scores_of(const Tensor& q, const Tensor& k, const Faults& wrong) {
  const Tensor scores = matmul(q, k.t());
  // [no_scale]
  const double root = std::sqrt(static_cast<double>(q.size(-1)));
  return wrong.no_scale ? scores : scores / root;  // the bug: without the root of the width
  // [/no_scale]
}

Tensor weights_of(const Tensor& scores, const Faults& wrong) {
  // [wrong_axis]
  return softmax(scores, wrong.wrong_axis ? -2 : -1);  // the bug: over the queries
  // [/wrong_axis]
}

Tensor causal_mask(int64_t tokens) { return triu(ones({tokens, tokens}), 1).to(DType::boolean); }

// [causal_mask_skipped]
Tensor masked(const Tensor& scores, bool causal, const Tensor& extra_mask, const Faults& wrong) {
  if (wrong.no_causal && !extra_mask.defined()) return scores;  // the bug: "no mask was given"
  Tensor s = causal ? masked_fill(scores, causal_mask(scores.size(-1)), -INFINITY) : scores;
  if (extra_mask.defined()) s = masked_fill(s, extra_mask, -INFINITY);
  return s;
}
// [/causal_mask_skipped]

// [padding_seen]
Tensor padding_mask(const Tensor& tokens, bool wrong) {
  if (wrong) return Tensor();  // the bug: only the loss knows of padding
  return eq(tokens, 0).unsqueeze(1);
}
// [/padding_seen]

constexpr int64_t kSymbols = 10, kTokens = 8, kWidth = 32;

// Embeddings, one attention layer, one output layer.
struct Model : Layer<Model> {
  Embedding symbol, position;
  Linear query, key, value, out;
  bool causal;
  Faults wrong;

  Model(Rng& rng, bool c, const Faults& w)
      : symbol(rng, kSymbols, kWidth),
        position(rng, kTokens, kWidth),
        query(rng, kWidth, kWidth),
        key(rng, kWidth, kWidth),
        value(rng, kWidth, kWidth),
        out(rng, kWidth, kSymbols),
        causal(c),
        wrong(w) {}
  // x (B, T) symbols -> logits (B, T, 10).
  Tensor forward(In x) {
    const int64_t tokens = x->size(1);
    const Tensor h = symbol(x) + position(arange(tokens));
    const Tensor scores = scores_of(query(h), key(h), wrong);
    const Tensor padding = has_padding ? padding_mask(x, wrong.no_padding) : Tensor();
    const Tensor weights = weights_of(masked(scores, causal, padding, wrong), wrong);
    return out(matmul(weights, value(h)));
  }
  void visit(Visitor& v) override {
    v("symbol", symbol, "position", position, "query", query, "key", key, "value", value, "out",
      out);
  }
  std::string type_name() const override { return "Model"; }
  bool has_padding = false;
};

Tensor loss_of(Model& model, const Tensor& x, const Tensor& y) {
  return cross_entropy(model(x).reshape({-1, kSymbols}), y.reshape({-1}));
}

using Draw = std::function<std::pair<Tensor, Tensor>(Rng& rng)>;

std::vector<double> train_model(Model& model, Rng& rng, const Draw& draw, int64_t steps) {
  Adam optimizer(model, {.lr = 5e-3});
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    const auto [x, y] = draw(rng);
    const Tensor loss = loss_of(model, x, y);
    losses.push_back(loss.item());
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  return losses;
}

// Digits in reverse order.
std::pair<Tensor, Tensor> reversed(Rng& rng) {
  const Tensor x = randint(rng, 0, kSymbols, {32, kTokens});
  return {x, flip(x, {1})};
}

std::vector<double> reverser(const Faults& wrong, double size = 1) {
  Rng rng(3);
  Model model(rng, false, wrong);
  if (size != 1) {
    NoGrad off;
    model.query.weight.mul_(size);
  }
  return train_model(model, rng, reversed, 150);
}

// --- 1 and 2 ---
std::vector<double> no_scale_curve(bool wrong) { return reverser({.no_scale = wrong}, 4); }
std::string no_scale_check(bool wrong) {
  Rng rng(0);
  const Tensor q = randn(rng, {1, 4, 8}, DType::f64), k = randn(rng, {1, 4, 8}, DType::f64);
  const Tensor y = matmul(softmax(scores_of(q, k, {.no_scale = wrong})), k);
  return compared("attention", y, scaled_dot_product_attention(q, k, k));
}
std::vector<double> wrong_axis_curve(bool wrong) { return reverser({.wrong_axis = wrong}); }
std::string wrong_axis_check(bool wrong) {
  Rng rng(0);
  const Tensor weights = weights_of(randn(rng, {1, 4, 4}, DType::f64), {.wrong_axis = wrong});
  return compared("the sum of each row of weights", weights.sum({-1}), ones({1, 4}, DType::f64));
}

// --- 3 ---
// A text of blocks: four random symbols, then the same four again. From the fifth on one can know.
std::pair<Tensor, Tensor> next_symbols(Rng& rng) {
  const Tensor half = randint(rng, 0, kSymbols, {32, 4});
  const Tensor text = cat({half, half, randint(rng, 0, kSymbols, {32, 1})}, 1);
  return {text.slice(1, 0, kTokens).contiguous(), text.slice(1, 1).contiguous()};
}

std::vector<double> skipped_curve(bool wrong) {
  Rng rng(3);
  Model model(rng, true, {.no_causal = wrong});
  return train_model(model, rng, next_symbols, 300);
}
std::string skipped_check(bool wrong) {
  Rng rng(3);
  Model model(rng, true, {.no_causal = wrong});
  NoGrad off;
  const Tensor x = randint(rng, 0, kSymbols, {1, kTokens}), changed = x.clone();
  changed.select(1, kTokens - 1).fill_(remainder(x.select(1, kTokens - 1) + 1, 10).item<int64_t>());
  return compared("the outputs before a token that was changed",
                  model(changed).slice(1, 0, kTokens - 1).contiguous(),
                  model(x).slice(1, 0, kTokens - 1).contiguous());
}

// --- 4 ---
// The largest symbol of a sequence; 0 is padding.
std::pair<Tensor, Tensor> padded(Rng& rng) {
  const Tensor x = randint(rng, 1, kSymbols, {32, kTokens});
  for (int64_t i = 0; i < 32; ++i) {
    const int64_t length = rng.integer(1, 5);
    x[i].slice(0, length).fill_(0);
  }
  return {x, max(x, {1})};
}

std::vector<double> padding_curve(bool wrong) {
  Rng rng(3);
  Model model(rng, false, {.no_padding = wrong});
  model.has_padding = true;
  Adam optimizer(model, {.lr = 5e-3});
  std::vector<double> losses;
  for (int64_t step = 0; step < 300; ++step) {
    const auto [x, y] = padded(rng);
    const Tensor loss = cross_entropy(model(x).select(1, 0), y);
    losses.push_back(loss.item());
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  return losses;
}
std::string padding_check(bool wrong) {
  Rng rng(3);
  Model model(rng, false, {.no_padding = wrong});
  model.has_padding = true;
  NoGrad off;
  const Tensor longer = tensor({3, 1, 4, 0, 0, 0}, Shape{1, 6}, DType::i64);
  return compared("the outputs of a sequence with padding, beside those without it",
                  model(longer).slice(1, 0, 3).contiguous(),
                  model(longer.slice(1, 0, 3).contiguous()));
}

// --- 5 ---
struct Cache {
  Tensor keys, values;
};

// [cache_mask_without_offset]
Tensor extended(const Tensor& q, const Tensor& k, const Tensor& v, Cache& cache, bool wrong) {
  const int64_t before = cache.keys.defined() ? cache.keys.size(1) : 0;
  cache.keys = before ? cat({cache.keys, k}, 1) : k;
  cache.values = before ? cat({cache.values, v}, 1) : v;
  const int64_t diagonal = wrong ? 1 : before + 1;  // the bug: the new tokens count from 0
  const Tensor future = triu(ones({q.size(1), cache.keys.size(1)}), diagonal);
  const Tensor scores = scores_of(q, cache.keys, {});
  return matmul(softmax(masked_fill(scores, future.to(DType::boolean), -INFINITY)), cache.values);
}
// [/cache_mask_without_offset]

// How far each token's output is from that of a pass over the whole text.
std::vector<double> cache_errors(bool wrong) {
  Rng rng(0);
  const int64_t tokens = 16;
  const auto draw = [&] { return randn(rng, {1, tokens, 8}, DType::f64); };
  const Tensor q = draw(), k = draw(), v = draw();
  const Tensor whole = scaled_dot_product_attention(q, k, v, {.is_causal = true});
  Cache cache;
  std::vector<double> errors;
  for (int64_t t = 0; t < tokens; ++t) {
    const auto at = [&](const Tensor& x) { return x.slice(1, t, t + 1).contiguous(); };
    errors.push_back(max(abs(extended(at(q), at(k), at(v), cache, wrong) - at(whole))).item());
  }
  return errors;
}
std::string cache_check(bool wrong) {
  const std::vector<double> errors = cache_errors(wrong);
  for (size_t t = 0; t < errors.size(); ++t)
    if (errors[t] > 1e-9)
      return fmt::format("the output of token {} differs from that without a cache by {:.3f}", t,
                         errors[t]);
  return "";
}

}  // namespace

const std::vector<Bug>& attention_bugs() {
  static const std::vector<Bug> all{
      {"no_scale", "Scores without the root", "mlc-llm#3426",
       "https://github.com/mlc-ai/mlc-llm/pull/3426",
       "A second path through the attention code left out 1/sqrt(d). The first path had it, and so "
       "had "
       "all models that were tested.",
       "The softmax is too sharp. A model that is trained so learns later; a model that was "
       "trained with "
       "the scale gives worse results.",
       "Scale in one place, and compare each path with the plain one.", "step",
       "training loss (reversing digits)", no_scale_curve, "comparison with a reference",
       no_scale_check},
      {"wrong_axis", "A softmax over the queries",
       "annotated_deep_learning_paper_implementations#146",
       "https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146",
       "The softmax runs over the wrong axis: the weights of a *key* sum to 1, not those of a "
       "query.",
       "Nothing: as in the report, the two curves lie on each other, for other layers make up for "
       "it. "
       "But how strongly a token looks at others now depends on what the others ask.",
       "softmax(dim = -1), and a test that rows sum to 1.", "step",
       "training loss (reversing digits)", wrong_axis_curve,
       "property: the weights of a query sum to 1", wrong_axis_check, true},
      {"causal_mask_skipped", "The causal mask is skipped if no other mask is given",
       "xformers#103", "https://github.com/facebookresearch/xformers/issues/103",
       "The mask is applied in a branch that runs only if another mask was given. Without one the "
       "model "
       "sees the future. (transformers#48745 of 2026 has the same symptom.)",
       "The training loss is far too good: the model reads its answer. What it then writes is "
       "worthless.",
       "Apply the two masks one after the other. A loss below what is possible is a bug.", "step",
       "training loss (next symbol)", skipped_curve,
       "property: a change of a token changes no output before it", skipped_check},
      {"padding_seen", "Attention to padding", "minimind-v#76",
       "https://github.com/jingyaogong/minimind-v/issues/76",
       "The loss leaves padding out, the attention does not: real tokens mix in what padding "
       "offers.",
       "The model must learn by itself to look away from padding, which takes time, and the answer "
       "for a text depends on how much padding its "
       "batch "
       "needed.",
       "Mask the keys of padding.", "step", "training loss", padding_curve,
       "property: padding changes no output", padding_check},
      {"cache_mask_without_offset", "A mask that does not know of the cache", "gpt-fast#233",
       "https://github.com/meta-pytorch/gpt-fast/issues/233",
       "With a KV cache one new token comes at a time. The causal mask was made for one query at "
       "place "
       "0, which may see one key: the rest of the cache is hidden.",
       "The first token is right, all others are not. The text is fluent nonsense.",
       "Row i of the new tokens is token length + i.", "token",
       "distance from the result without a cache", cache_errors,
       "comparison with a pass over the whole text", cache_check}};
  return all;
}

}  // namespace loupe::gallery
