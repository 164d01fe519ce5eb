#include <loupe/autograd/ops.h>
#include <loupe/core/dmath.h>
#include <loupe/layers/init.h>
#include <loupe/models/bert.h>

namespace loupe {
namespace {

Linear linear_layer(Rng& rng, int64_t in, int64_t out, double std) {
  Linear l(rng, in, out);
  NoGrad guard;
  init::normal_(l.weight, rng, 0, std);
  l.bias.zero_();
  return l;
}

Embedding table(Rng& rng, int64_t rows, const BertConfig& c, EmbeddingOptions options = {}) {
  Embedding e(rng, rows, c.width, options);
  NoGrad guard;
  init::normal_(e.weight, rng, 0, c.init_std);
  if (options.padding_idx) e.weight.select(0, *options.padding_idx).zero_();
  return e;
}

void check_like(const char* what, const Tensor& t, const Tensor& ids) {
  if (t.defined() && t.shape() != ids.shape())
    fail<ShapeError>("BertEncoder: {} {} must have the shape of the ids, {}", what, t.shape(),
                     ids.shape());
}

}  // namespace

double parameter_count(const BertConfig& c) {
  const double w = static_cast<double>(c.width), f = static_cast<double>(c.inner);
  const double tables = static_cast<double>(c.vocab) + static_cast<double>(c.context) +
                        static_cast<double>(c.token_types);
  const double attention = 4 * w * (w + 1), mlp = w * f + f + f * w + w, norm = 2 * w;
  return tables * w + norm + static_cast<double>(c.layers) * (attention + mlp + 2 * norm) +
         (c.pooler ? w * (w + 1) : 0);
}

BertLayer::BertLayer(Rng& rng, const BertConfig& c)
    : query(linear_layer(rng, c.width, c.width, c.init_std)),
      key(linear_layer(rng, c.width, c.width, c.init_std)),
      value(linear_layer(rng, c.width, c.width, c.init_std)),
      attention_output(linear_layer(rng, c.width, c.width, c.init_std)),
      attention_norm(c.width, {.eps = c.norm_eps}),
      intermediate(linear_layer(rng, c.width, c.inner, c.init_std)),
      output(linear_layer(rng, c.inner, c.width, c.init_std)),
      output_norm(c.width, {.eps = c.norm_eps}),
      attention_dropout(rng, c.dropout),
      output_dropout(rng, c.dropout),
      heads_(c.heads),
      dropout_(c.dropout),
      stream_(rng.split()) {}

Tensor BertLayer::forward(In x, const Tensor& mask) {
  SiteScope site(x.here);
  if (x->dim() != 3 || x->size(2) != query.weight.size(1))
    fail<ShapeError>("BertLayer: expected (B, T, {}), got {}", query.weight.size(1), x->shape());
  const int64_t b = x->size(0), t = x->size(1), width = x->size(2);
  const auto heads = [&](Linear& project) {
    return project(x).reshape({b, t, heads_, width / heads_}).transpose(1, 2);
  };
  const bool drops = is_training() && dropout_ > 0;
  const Tensor a = scaled_dot_product_attention(
      heads(query), heads(key), heads(value),
      {.attn_mask = mask, .dropout_p = drops ? dropout_ : 0, .rng = drops ? &stream_ : nullptr});
  const Tensor h = attention_norm(
      x + attention_dropout(attention_output(a.transpose(1, 2).reshape({b, t, width}))));
  return output_norm(h + output_dropout(output(gelu(intermediate(h)))));
}

void BertLayer::visit(Visitor& v) {
  v("attention.self.query", query, "attention.self.key", key, "attention.self.value", value,
    "attention.output.dense", attention_output, "attention.output.LayerNorm", attention_norm,
    "attention.output.dropout", attention_dropout, "intermediate.dense", intermediate,
    "output.dense", output, "output.LayerNorm", output_norm, "output.dropout", output_dropout);
  v.stream("attention.self.dropout", stream_);
}

namespace {

const BertConfig& checked(const BertConfig& c) {
  for (const int64_t n : {c.vocab, c.width, c.layers, c.heads, c.inner, c.context, c.token_types})
    if (n < 1)
      fail<ValueError>(
          "BertEncoder: vocab {}, width {}, layers {}, heads {}, inner {}, context {} and "
          "token_types {} must be at least 1",
          c.vocab, c.width, c.layers, c.heads, c.inner, c.context, c.token_types);
  if (c.width % c.heads != 0)
    fail<ValueError>("BertEncoder: width {} is not a multiple of {} heads", c.width, c.heads);
  if (!(c.dropout >= 0 && c.dropout <= 1))
    fail<ValueError>("BertEncoder: dropout {} must lie in [0, 1]", c.dropout);
  if (!(c.norm_eps >= 0 && c.init_std >= 0))
    fail<ValueError>("BertEncoder: norm_eps {} and init_std {} must not be negative", c.norm_eps,
                     c.init_std);
  return c;
}

}  // namespace

BertEncoder::BertEncoder(Rng& rng, BertConfig c)
    : config(checked(c)),
      word_embeddings(table(rng, c.vocab, c, {.padding_idx = 0})),
      position_embeddings(table(rng, c.context, c)),
      token_type_embeddings(table(rng, c.token_types, c)),
      embedding_norm(c.width, {.eps = c.norm_eps}),
      embedding_dropout(rng, c.dropout) {
  for (int64_t i = 0; i < c.layers; ++i) layer.push_back(BertLayer(rng, c));
  if (c.pooler) pooler = linear_layer(rng, c.width, c.width, c.init_std);
}

Tensor BertEncoder::forward(In ids, const Tensor& token_types, const Tensor& mask) {
  SiteScope site(ids.here);
  if (ids->dim() != 2)
    fail<ShapeError>("BertEncoder: expected token ids (B, T), got {}", ids->shape());
  const int64_t b = ids->size(0), t = ids->size(1);
  if (t > config.context)
    fail<ShapeError>("BertEncoder: {} tokens are more than the context of {}", t, config.context);
  check_like("token_types", token_types, ids);
  check_like("mask", mask, ids);
  const Tensor types = token_types.defined() ? token_type_embeddings(token_types)
                                             : token_type_embeddings.weight.select(0, 0);
  Tensor x = word_embeddings(ids) + types + position_embeddings.weight.slice(0, 0, t);
  x = embedding_dropout(embedding_norm(x));
  const Tensor attend = mask.defined() ? mask.to(DType::boolean).reshape({b, 1, 1, t}) : Tensor();
  for (BertLayer& l : layer) x = l(x, attend);
  return x;
}

Tensor BertEncoder::pooled(In hidden) {
  if (!pooler) fail<ValueError>("BertEncoder: this model has no pooler");
  if (hidden->dim() != 3)
    fail<ShapeError>("BertEncoder: pooled expects hidden states (B, T, {}), got {}", config.width,
                     hidden->shape());
  return tanh((*pooler)(hidden->select(1, 0, hidden.here)));
}

void BertEncoder::visit(Visitor& v) {
  v("embeddings.word_embeddings", word_embeddings, "embeddings.position_embeddings",
    position_embeddings, "embeddings.token_type_embeddings", token_type_embeddings,
    "embeddings.LayerNorm", embedding_norm, "embeddings.dropout", embedding_dropout,
    "encoder.layer", layer, "pooler.dense", pooler);
}

std::string BertEncoder::describe() const {
  return fmt::format("{} layers, {} heads, width {}", config.layers, config.heads, config.width);
}

namespace {

// Ones and zeros (B, T, 1) in the type of the states.
Tensor mask_of(const char* who, In hidden, In mask) {
  if (hidden->dim() != 3 || mask->shape() != Shape{hidden->size(0), hidden->size(1)})
    fail<ShapeError>("{}: expected hidden states (B, T, width) and a mask (B, T), got {} and {}",
                     who, hidden->shape(), mask->shape());
  return mask->to(DType::boolean).to(hidden->dtype()).unsqueeze(-1);
}

Tensor weighted(In hidden, const Tensor& weights, const Tensor& divisor) {
  return sum(hidden * weights, {1}) / clamp(divisor, 1e-9, dmath::kInf);
}

}  // namespace

Tensor pool_sentence(In hidden, In mask, SentencePooling how) {
  SiteScope site(hidden.here);
  const Tensor m = mask_of("pool_sentence", hidden, mask);
  const int64_t t = hidden->size(1);
  const Tensor place = arange(1, static_cast<double>(t + 1), 1, hidden->dtype()).reshape({1, t, 1});
  switch (how) {
    case SentencePooling::cls: return hidden->select(1, 0);
    case SentencePooling::max: {
      const Tensor nothing = full({}, -1e9, hidden->dtype());
      return max(where(ne(m, 0), hidden, nothing), {1});
    }
    case SentencePooling::mean: return weighted(hidden, m, sum(m, {1}));
    case SentencePooling::mean_sqrt_len: return weighted(hidden, m, sqrt(sum(m, {1})));
    case SentencePooling::weighted_mean: return weighted(hidden, m * place, sum(m * place, {1}));
    case SentencePooling::last_token: break;
  }
  const Tensor last = eq(m * place, max(m * place, {1}, true)).to(hidden->dtype());
  return sum(hidden * (last * m), {1});
}

Tensor sentence_embedding(In hidden, In mask) {
  SiteScope site(hidden.here);
  const Tensor m = mask_of("sentence_embedding", hidden, mask);
  const Tensor mean = sum(hidden * m, {1}) / clamp(sum(m, {1}), 1e-9, dmath::kInf);
  return mean / sqrt(clamp(sum(square(mean), {1}, true), 1e-24, dmath::kInf));
}

}  // namespace loupe
