#include <loupe/autograd/ops.h>
#include <loupe/core/dmath.h>
#include <loupe/layers/init.h>
#include <loupe/layers/state.h>
#include <loupe/models/gpt.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace loupe {
namespace {

int64_t inner(const GptConfig& c) { return c.inner > 0 ? c.inner : 4 * c.width; }
// Projections into the residual stream start smaller, so that its variance does not grow with
// depth.
double residual_std(const GptConfig& c) {
  return c.init_std / std::sqrt(2 * static_cast<double>(c.layers));
}

}  // namespace

double parameter_count(const GptConfig& c) {
  const double w = static_cast<double>(c.width), f = static_cast<double>(inner(c));
  const double each = c.norm == NormKind::none ? 0 : c.norm == NormKind::rms ? 1 : 2;
  const double norm = each * w, head = w / static_cast<double>(c.heads);
  const double extra = (c.peri_norm ? 2 * norm : 0) + (c.qk_norm ? 2 * each * head : 0);
  const double attention = 4 * w * (w + 1), mlp = w * f + f + f * w + w, tables = c.tied ? 1 : 2;
  return (tables * static_cast<double>(c.vocab) + static_cast<double>(c.context)) * w +
         static_cast<double>(c.layers) * (attention + mlp + 2 * norm + extra) + norm;
}

Conv1D::Conv1D(Rng& rng, int64_t in, int64_t out, double std)
    : weight(zeros({in, out})), bias(zeros({out})) {
  init::normal_(weight, rng, 0, std);
  weight.requires_grad_();
  bias.requires_grad_();
}
Tensor Conv1D::forward(In x) { return addmm({bias, x.here.file, x.here.line}, x, weight); }

GptAttention::GptAttention(Rng& rng, const GptConfig& c)
    : c_attn(rng, c.width, 3 * c.width, c.init_std),
      q_norm(feature_norm(c.qk_norm ? c.norm : NormKind::none, c.width / c.heads, c.norm_eps)),
      k_norm(feature_norm(c.qk_norm ? c.norm : NormKind::none, c.width / c.heads, c.norm_eps)),
      c_proj(rng, c.width, c.width, residual_std(c)),
      resid_dropout(rng, c.dropout),
      heads_(c.heads),
      dropout_(c.dropout),
      rng_(rng.split()) {}

// Queries (part 0), keys (1) or values (2): (B, heads, T, width / heads).
Tensor GptAttention::heads_of(const Tensor& qkv, int64_t part) {
  const int64_t b = qkv.size(0), t = qkv.size(1), width = qkv.size(2) / 3;
  const Tensor one = qkv.slice(2, part * width, (part + 1) * width)
                         .reshape({b, t, heads_, width / heads_})
                         .transpose(1, 2);
  if (part == 2) return one;
  return normalize(part == 0 ? q_norm : k_norm, one);
}

Tensor GptAttention::forward(In x, KvCache* cache, size_t block) {
  const Tensor qkv = c_attn(x);
  const bool normed = !std::holds_alternative<std::monostate>(q_norm);
  const int64_t b = x->size(0), t = x->size(1), width = x->size(2);
  if (!cache) {
    const bool drops = dropout_ > 0 && is_training();
    const AttentionOptions options{
        .is_causal = true, .dropout_p = drops ? dropout_ : 0, .rng = drops ? &rng_ : nullptr};
    if (!normed) return resid_dropout(c_proj(self_attention(qkv, heads_, options)));
    const Tensor heads =
        scaled_dot_product_attention(heads_of(qkv, 0), heads_of(qkv, 1), heads_of(qkv, 2), options);
    return resid_dropout(c_proj(heads.transpose(1, 2).reshape({b, t, width})));
  }
  const int64_t at = cache->length;
  cache->keys[block].slice(2, at, at + t).copy_(heads_of(qkv, 1));
  cache->values[block].slice(2, at, at + t).copy_(heads_of(qkv, 2));
  const Tensor k = cache->keys[block].slice(2, 0, at + t),
               v = cache->values[block].slice(2, 0, at + t);
  // Token i of x sits at position at + i and sees everything up to itself.
  AttentionOptions options;
  if (t > 1)
    options.attn_mask = le(
        arange(at + t), arange(static_cast<double>(at), static_cast<double>(at + t)).unsqueeze(1));
  return c_proj(scaled_dot_product_attention(heads_of(qkv, 0), k, v, options)
                    .transpose(1, 2)
                    .reshape({b, t, width}));
}

GptMlp::GptMlp(Rng& rng, const GptConfig& c)
    : c_fc(rng, c.width, inner(c), c.init_std),
      c_proj(rng, inner(c), c.width, residual_std(c)),
      dropout(rng, c.dropout) {}
Tensor GptMlp::forward(In x) { return dropout(c_proj(gelu(c_fc(x), {Approximate::tanh}))); }

GptBlock::GptBlock(Rng& rng, const GptConfig& c)
    : ln_1(feature_norm(c.norm, c.width, c.norm_eps)),
      attn(rng, c),
      post_ln_1(feature_norm(c.peri_norm ? c.norm : NormKind::none, c.width, c.norm_eps)),
      ln_2(feature_norm(c.norm, c.width, c.norm_eps)),
      mlp(rng, c),
      post_ln_2(feature_norm(c.peri_norm ? c.norm : NormKind::none, c.width, c.norm_eps)),
      pre_norm_(c.pre_norm) {}

Tensor GptBlock::forward(In x, KvCache* cache, size_t block) {
  if (pre_norm_) {
    const Tensor h = x + normalize(post_ln_1, attn(normalize(ln_1, x), cache, block));
    return h + normalize(post_ln_2, mlp(normalize(ln_2, h)));
  }
  const Tensor h = normalize(ln_1, x + attn(x, cache, block));
  return normalize(ln_2, h + mlp(h));
}

GptBody::GptBody(Rng& rng, const GptConfig& c)
    : wte(rng, c.vocab, c.width),
      wpe(rng, c.context, c.width),
      drop(rng, c.dropout),
      ln_f(feature_norm(c.norm, c.width, c.norm_eps)) {
  init::normal_(wte.weight, rng, 0, c.init_std);
  init::normal_(wpe.weight, rng, 0, c.init_std);
  for (int64_t i = 0; i < c.layers; ++i) h.push_back(GptBlock(rng, c));
}

Tensor GptBody::forward(In ids, KvCache* cache) {
  if (ids->dim() != 2) fail<ShapeError>("Gpt: expected token ids (B, T), got {}", ids->shape());
  const int64_t at = cache ? cache->length : 0, t = ids->size(1), context = wpe.weight.size(0);
  if (at + t > context)
    fail<ShapeError>("Gpt: {} tokens are more than the context of {}", at + t, context);
  if (cache && (cache->keys.size() != h.size() || cache->values.size() != h.size() ||
                cache->keys[0].size(0) != ids->size(0)))
    fail<ShapeError>("Gpt: the cache is not of this model's new_cache({})", ids->size(0));
  Tensor x = drop(wte(ids) + wpe.weight.slice(0, at, at + t));
  for (size_t i = 0; i < h.size(); ++i) x = h[i](x, cache, i);
  if (cache) cache->length += t;
  return normalize(ln_f, x);
}

Tensor GptHead::forward(In x) { return linear(x, weight); }

namespace {

const GptConfig& checked(const GptConfig& c) {
  for (const int64_t n : {c.vocab, c.context, c.layers, c.heads, c.width})
    if (n < 1)
      fail<ValueError>(
          "Gpt: vocab {}, context {}, layers {}, heads {} and width {} must be at least 1", c.vocab,
          c.context, c.layers, c.heads, c.width);
  if (c.inner < 0) fail<ValueError>("Gpt: inner {} must not be negative", c.inner);
  if (c.width % c.heads != 0)
    fail<ValueError>("Gpt: width {} is not a multiple of {} heads", c.width, c.heads);
  if ((c.peri_norm || c.qk_norm) && c.norm == NormKind::none)
    fail<ValueError>("Gpt: peri_norm and qk_norm need a norm, got none");
  if (c.peri_norm && !c.pre_norm) fail<ValueError>("Gpt: peri_norm needs pre_norm");
  if (!(c.dropout >= 0 && c.dropout <= 1))
    fail<ValueError>("Gpt: dropout {} must lie in [0, 1]", c.dropout);
  if (!(c.norm_eps >= 0 && c.init_std >= 0))
    fail<ValueError>("Gpt: norm_eps {} and init_std {} must not be negative", c.norm_eps,
                     c.init_std);
  return c;
}

}  // namespace

Gpt::Gpt(Rng& rng, GptConfig c) : config(checked(c)), transformer(rng, c) {
  lm_head.weight = transformer.wte.weight;
  if (!c.tied) {
    lm_head.weight = zeros({c.vocab, c.width});
    init::normal_(lm_head.weight, rng, 0, c.init_std);
    lm_head.weight.requires_grad_();
  }
}

Tensor Gpt::forward(In ids, KvCache* cache) { return lm_head(transformer(ids, cache)); }

KvCache Gpt::new_cache(int64_t batch) {
  KvCache cache;
  for (int64_t i = 0; i < config.layers; ++i) {
    const Shape shape{batch, config.heads, config.context, config.width / config.heads};
    cache.keys.push_back(zeros(shape, lm_head.weight.dtype()));
    cache.values.push_back(zeros(shape, lm_head.weight.dtype()));
  }
  return cache;
}

namespace {

int64_t draw(const std::vector<double>& logits, Rng& rng, const GenerateOptions& o) {
  for (const double l : logits)
    if (std::isnan(l)) fail<NumericError>("generate: the model gives NaN; its weights are broken");
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto larger = [&](size_t i, size_t j) {
    return logits[i] != logits[j] ? logits[i] > logits[j] : i < j;
  };
  const size_t best = *std::min_element(order.begin(), order.end(), larger);
  if (o.temperature == 0) return static_cast<int64_t>(best);
  const size_t k =
      o.top_k > 0 ? std::min(static_cast<size_t>(o.top_k), order.size()) : order.size();
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(),
                    larger);
  double total = 0;
  for (size_t i = 0; i < k; ++i)
    total += dmath::exp((logits[order[i]] - logits[best]) / o.temperature);
  double left = rng.uniform() * total;
  for (size_t i = 0; i < k; ++i)
    if ((left -= dmath::exp((logits[order[i]] - logits[best]) / o.temperature)) < 0)
      return static_cast<int64_t>(order[i]);
  return static_cast<int64_t>(best);
}

}  // namespace

std::vector<int64_t> Gpt::generate(const std::vector<int64_t>& prompt, Rng& rng,
                                   const GenerateOptions& o) {
  if (prompt.empty()) fail<ValueError>("generate: the prompt is empty");
  if (!(o.temperature >= 0))
    fail<ValueError>("generate: temperature {} must not be negative", o.temperature);
  if (o.length < 0 || o.top_k < 0)
    fail<ValueError>("generate: length {} and top_k {} must not be negative", o.length, o.top_k);
  NoGrad guard;
  const EvalScope evaluating(*this);
  std::vector<int64_t> text = prompt;
  KvCache cache = new_cache(1);
  size_t fed =
      text.size() -
      std::min(text.size(), static_cast<size_t>(config.context));  // what the model has seen
  for (int64_t i = 0; i < o.length; ++i) {
    if (cache.length + static_cast<int64_t>(text.size() - fed) > config.context) {
      // The context is full: start again from its younger half.
      cache.length = 0;
      fed = text.size() - static_cast<size_t>(std::max<int64_t>(config.context / 2, 1));
    }
    const std::vector<int64_t> fresh(text.begin() + static_cast<std::ptrdiff_t>(fed), text.end());
    const Tensor ids = from_data(fresh).unsqueeze(0);
    fed = text.size();
    text.push_back(draw((*this)(ids, &cache)[0].select(0, -1).to_vector<double>(), rng, o));
  }
  return text;
}

void load_gpt2(Gpt& m, const StateDict& checkpoint) {
  StateDict state;
  for (const auto& [name, t] : checkpoint) {
    if (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")) continue;
    const bool bare = !name.starts_with("transformer.") && !name.starts_with("lm_head.");
    state.push_back({(bare ? "transformer." : "") + name, t});
  }
  load_state_dict(m, state);
}

}  // namespace loupe
