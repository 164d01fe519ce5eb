#include <loupe/autograd/ops/activation.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/transformer.h>

namespace loupe {
namespace {

using Options = TransformerLayerOptions;

MultiheadAttention attention(Rng& rng, int64_t d_model, int64_t nhead, const Options& o) {
  return MultiheadAttention(rng, d_model, nhead,
                            {.dropout = o.dropout, .bias = o.bias, .kdim = {}, .vdim = {}});
}
LayerNorm make_norm(int64_t d_model, const Options& o) {
  return LayerNorm(d_model, {.eps = o.layer_norm_eps, .bias = o.bias});
}

template <class L> Tensor feed_forward(L& l, const Tensor& x) {
  const bool smooth = l.options.activation == TransformerActivation::gelu;
  return l.linear2(l.dropout(smooth ? gelu(l.linear1(x)) : linear_relu(l.linear1, x)));
}

// One residual step: norm(x + drop(f(x))) or x + drop(f(norm(x))).
template <class F>
Tensor step(const Tensor& x, bool norm_first, LayerNorm& norm, Dropout& drop, const F& f) {
  return norm_first ? x + drop(f(norm(x))) : norm(x + drop(f(x)));
}

}  // namespace

TransformerEncoderLayer::TransformerEncoderLayer(Rng& rng, int64_t d_model, int64_t nhead,
                                                 Options o)
    : options(o),
      self_attn(attention(rng, d_model, nhead, o)),
      linear1(rng, d_model, o.dim_feedforward, {.bias = o.bias}),
      dropout(rng, o.dropout),
      linear2(rng, o.dim_feedforward, d_model, {.bias = o.bias}),
      norm1(make_norm(d_model, o)),
      norm2(make_norm(d_model, o)),
      dropout1(rng, o.dropout),
      dropout2(rng, o.dropout) {}

void TransformerEncoderLayer::visit(Visitor& v) {
  v("self_attn", self_attn, "linear1", linear1, "dropout", dropout, "linear2", linear2, "norm1",
    norm1, "norm2", norm2, "dropout1", dropout1, "dropout2", dropout2);
}

Tensor TransformerEncoderLayer::forward(In x, const Masks& masks) {
  const bool first = options.norm_first;
  const Tensor h =
      step(x, first, norm1, dropout1, [&](const Tensor& t) { return self_attn(t, masks); });
  return step(h, first, norm2, dropout2, [&](const Tensor& t) { return feed_forward(*this, t); });
}

TransformerDecoderLayer::TransformerDecoderLayer(Rng& rng, int64_t d_model, int64_t nhead,
                                                 Options o)
    : options(o),
      self_attn(attention(rng, d_model, nhead, o)),
      multihead_attn(attention(rng, d_model, nhead, o)),
      linear1(rng, d_model, o.dim_feedforward, {.bias = o.bias}),
      dropout(rng, o.dropout),
      linear2(rng, o.dim_feedforward, d_model, {.bias = o.bias}),
      norm1(make_norm(d_model, o)),
      norm2(make_norm(d_model, o)),
      norm3(make_norm(d_model, o)),
      dropout1(rng, o.dropout),
      dropout2(rng, o.dropout),
      dropout3(rng, o.dropout) {}

void TransformerDecoderLayer::visit(Visitor& v) {
  v("self_attn", self_attn, "multihead_attn", multihead_attn, "linear1", linear1, "dropout",
    dropout, "linear2", linear2, "norm1", norm1, "norm2", norm2, "norm3", norm3, "dropout1",
    dropout1, "dropout2", dropout2, "dropout3", dropout3);
}

Tensor TransformerDecoderLayer::forward(In x, In memory, const Masks& target, const Masks& source) {
  const bool first = options.norm_first;
  const Tensor a =
      step(x, first, norm1, dropout1, [&](const Tensor& t) { return self_attn(t, target); });
  const Tensor b = step(a, first, norm2, dropout2,
                        [&](const Tensor& t) { return multihead_attn(t, memory, memory, source); });
  return step(b, first, norm3, dropout3, [&](const Tensor& t) { return feed_forward(*this, t); });
}

}  // namespace loupe
