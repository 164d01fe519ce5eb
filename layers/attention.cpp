#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/init.h>

#include <limits>

namespace loupe {
namespace {

// embed_dim, if the heads can share it.
int64_t checked(int64_t embed_dim, int64_t num_heads) {
  if (embed_dim < 1 || num_heads < 1 || embed_dim % num_heads != 0)
    fail<ValueError>("MultiheadAttention: embed_dim {} is not a multiple of num_heads {}",
                     embed_dim, num_heads);
  return embed_dim;
}

}  // namespace

MultiheadAttention::MultiheadAttention(Rng& rng, int64_t embed_dim, int64_t num_heads, Options o)
    : out_proj(rng, checked(embed_dim, num_heads), embed_dim, {.bias = o.bias}),
      embed_dim_(embed_dim),
      heads_(num_heads),
      kdim_(o.kdim.value_or(embed_dim)),
      vdim_(o.vdim.value_or(embed_dim)),
      dropout_(o.dropout),
      batch_first_(o.batch_first),
      stream_(rng.split()) {
  if (kdim_ < 1 || vdim_ < 1)
    fail<ValueError>("MultiheadAttention: kdim {} and vdim {} must be at least 1", kdim_, vdim_);
  if (!(dropout_ >= 0 && dropout_ <= 1))
    fail<ValueError>("MultiheadAttention: dropout must lie in [0, 1], got {}", dropout_);
  const auto draw = [&](int64_t rows, int64_t columns) {
    const Tensor w = empty({rows, columns});
    init::xavier_uniform_(w, rng);
    return Tensor(w).requires_grad_();
  };
  if (kdim_ == embed_dim && vdim_ == embed_dim) {
    in_proj_weight = draw(3 * embed_dim, embed_dim);
  } else {
    q_proj_weight = draw(embed_dim, embed_dim);
    k_proj_weight = draw(embed_dim, kdim_);
    v_proj_weight = draw(embed_dim, vdim_);
  }
  if (!o.bias) return;
  in_proj_bias = zeros({3 * embed_dim}).requires_grad_();
  no_grad([&] { out_proj.bias.zero_(); });
}

void MultiheadAttention::visit(Visitor& v) {
  v("in_proj_weight", in_proj_weight, "q_proj_weight", q_proj_weight, "k_proj_weight",
    k_proj_weight, "v_proj_weight", v_proj_weight, "in_proj_bias", in_proj_bias, "out_proj",
    out_proj);
  v.stream("stream", stream_);
}

// One of q, k, v (part 0, 1, 2).
Tensor MultiheadAttention::project(const Tensor& x, int part) const {
  const auto third = [&](const Tensor& t) {
    return t.slice(0, part * embed_dim_, (part + 1) * embed_dim_);
  };
  const Tensor* const own[] = {&q_proj_weight, &k_proj_weight, &v_proj_weight};
  const Tensor weight = own[part]->defined() ? *own[part] : third(in_proj_weight);
  const Tensor bias = in_proj_bias.defined() ? third(in_proj_bias) : Tensor();
  return linear(x, weight, bias);
}

// The masks, true = ignore, as the op's mask, true = attend; `scores` is (B, heads, L, S).
AttentionOptions MultiheadAttention::options_for(const Masks& masks, const Shape& scores,
                                                 DType dtype) {
  AttentionOptions o;
  o.is_causal = masks.is_causal;
  if (is_training() && dropout_ > 0) {
    o.dropout_p = dropout_;
    o.rng = &stream_;
  }
  Tensor attn = masks.attn_mask, padding = masks.key_padding_mask;
  for (const Tensor* m : {&attn, &padding})
    if (m->defined() && m->dtype() != DType::boolean && m->dtype() != dtype)
      fail<DtypeError>("MultiheadAttention: a mask must be bool (true = ignore) or {}, got {}",
                       dtype, m->dtype());
  if (attn.defined()) {
    const Shape two{scores[2], scores[3]}, three{scores[0] * scores[1], scores[2], scores[3]};
    if (attn.shape() != two && attn.shape() != three)
      fail<ShapeError>("MultiheadAttention: attn_mask must be {} or {}, got {}", two, three,
                       attn.shape());
    if (attn.dim() == 3) attn = attn.reshape(scores);
  }
  if (padding.defined()) {
    if (padding.dim() == 1) padding = padding.unsqueeze(0);
    if (padding.shape() != Shape{scores[0], scores[3]})
      fail<ShapeError>("MultiheadAttention: key_padding_mask must be (batch, keys) = {}, got {}",
                       Shape{scores[0], scores[3]}, masks.key_padding_mask.shape());
    padding = padding.reshape({scores[0], 1, 1, scores[3]});
  }
  const auto is_bool = [](const Tensor& m) { return !m.defined() || m.dtype() == DType::boolean; };
  if (is_bool(attn) && is_bool(padding)) {
    if (attn.defined() && padding.defined()) o.attn_mask = logical_not(where(attn, attn, padding));
    else if (attn.defined()) o.attn_mask = logical_not(attn);
    else if (padding.defined()) o.attn_mask = logical_not(padding);
    return o;
  }
  const auto added = [&](const Tensor& m) {
    return m.dtype() == DType::boolean
               ? masked_fill(zeros(m.shape(), dtype), m, -std::numeric_limits<double>::infinity())
               : m;
  };
  if (attn.defined() && padding.defined()) o.attn_mask = added(attn) + added(padding);
  else o.attn_mask = added(attn.defined() ? attn : padding);
  return o;
}

void MultiheadAttention::check_input(const char* what, const Tensor& x, int64_t width) const {
  if ((x.dim() == 3 || x.dim() == 2) && x.size(-1) == width) return;
  fail<ShapeError>("MultiheadAttention: {} must be ({}, {}) or (length, {}), got {}", what,
                   batch_first_ ? "batch, length" : "length, batch", width, width, x.shape());
}

Tensor MultiheadAttention::forward(In x, const Masks& masks) {
  if (!in_proj_weight.defined()) return attend(x, x, x, masks, false).output;
  check_input("query", x, embed_dim_);
  if (x->dim() == 2) return attend_self(x->unsqueeze(0), masks).squeeze(0);
  if (length_first(x)) return attend_self(x->transpose(0, 1), masks).transpose(0, 1);
  return attend_self(x, masks);
}

// x (B, L, embed_dim).
Tensor MultiheadAttention::attend_self(const Tensor& x, const Masks& masks) {
  const AttentionOptions o =
      options_for(masks, {x.size(0), heads_, x.size(1), x.size(1)}, x.dtype());
  return out_proj(self_attention(linear(x, in_proj_weight, in_proj_bias), heads_, o));
}

AttentionResult MultiheadAttention::attend(const Tensor& query, const Tensor& key,
                                           const Tensor& value, const Masks& masks,
                                           bool with_weights) {
  check_input("query", query, embed_dim_);
  check_input("key", key, kdim_);
  check_input("value", value, vdim_);
  const int64_t batch = batch_first_ ? 0 : 1, length = 1 - batch;
  if (query.dim() == 2 && key.dim() == 2 && value.dim() == 2) {
    const AttentionResult one = attend(query.unsqueeze(batch), key.unsqueeze(batch),
                                       value.unsqueeze(batch), masks, with_weights);
    return {one.output.squeeze(batch), with_weights ? one.weights.squeeze(0) : Tensor()};
  }
  if (query.dim() != 3 || key.dim() != 3 || value.dim() != 3 ||
      key.size(batch) != query.size(batch) || value.size(batch) != query.size(batch) ||
      key.size(length) != value.size(length))
    fail<ShapeError>("MultiheadAttention: query {}, key {} and value {} differ in batch or length",
                     query.shape(), key.shape(), value.shape());
  const Shape scores{query.size(batch), heads_, query.size(length), key.size(length)};
  const auto heads = [this](const Tensor& t) {  // (B, heads, length, width)
    const Tensor split = t.reshape({t.size(0), t.size(1), heads_, embed_dim_ / heads_});
    return batch_first_ ? split.transpose(1, 2) : split.permute({1, 2, 0, 3});
  };
  const Tensor q = heads(project(query, 0)), k = heads(project(key, 1)),
               v = heads(project(value, 2));
  const AttentionOptions o = options_for(masks, scores, query.dtype());
  const AttentionResult y =
      with_weights ? attention_with_weights(q, k, v, o)
                   : AttentionResult{scaled_dot_product_attention(q, k, v, o), Tensor()};
  const Tensor joined = batch_first_ ? y.output.transpose(1, 2) : y.output.permute({2, 0, 1, 3});
  return {out_proj(joined.reshape(query.shape())), y.weights};
}

Tensor MultiheadAttention::forward(In query, In key, In value, const Masks& masks) {
  if (in_proj_weight.defined() && query->is_same(key) && query->is_same(value))
    return forward(query, masks);
  return attend(query, key, value, masks, false).output;
}

AttentionResult MultiheadAttention::with_weights(In query, In key, In value, const Masks& masks,
                                                 bool average) {
  AttentionResult y = attend(query, key, value, masks, true);
  if (average) y.weights = y.weights.mean({-3});
  return y;
}

int64_t MultiheadAttention::flops(const Shape& input, const Shape& /*output*/) const {
  const int64_t rows = input.numel() / embed_dim_;
  int64_t keys = 1;
  if (input.rank() == 3 && !batch_first_) keys = input[0];
  else if (input.rank() > 1) keys = input[input.rank() - 2];
  return rows * (6 * embed_dim_ * embed_dim_ + 4 * keys * embed_dim_);
}

}  // namespace loupe
