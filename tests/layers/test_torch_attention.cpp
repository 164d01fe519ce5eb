#include <loupe/layers/attention.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/transformer.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

namespace {

using Mha = MultiheadAttention;
using Masks = Mha::Masks;

Tensors one(const Tensor& y) { return {y}; }
Tensors both(const AttentionResult& r) { return {r.output, r.weights}; }

Mha mha(Mha::Options o = {.dropout = 0, .bias = true, .kdim = {}, .vdim = {}}) {
  Rng rng(1);
  return Mha(rng, 8, 2, o);
}

}  // namespace

TEST_CASE("Embedding equals PyTorch's: output and gradient, with and without a padding row") {
  Rng rng(1);
  layer_case("embedding", Embedding(rng, 7, 4));
  layer_case("embedding_padding", Embedding(rng, 7, 4, {.padding_idx = 2}));
}

TEST_CASE("MultiheadAttention equals PyTorch's: outputs, weights, all gradients, every mask") {
  layer_case<Mha>("mha_self", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0])); });
  layer_case<Mha>("mha_self", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0], x[0], x[0])); });
  layer_case<Mha>("mha_weights", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return both(m.with_weights(x[0], x[1], x[2])); });
  layer_case<Mha>("mha_weights_heads", mha(), fixture::kBound32, [](Mha& m, const Tensors& x) {
    return both(m.with_weights(x[0], x[1], x[2], Masks{}, false));
  });
  layer_case<Mha>("mha_cross", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0], x[1], x[2])); });
  layer_case<Mha>("mha_nobias", mha({.dropout = 0, .bias = false, .kdim = {}, .vdim = {}}),
                  fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0], x[1], x[2])); });
  layer_case<Mha>("mha_padding", mha(), fixture::kBound32, [](Mha& m, const Tensors& x) {
    return one(m(x[0], Masks{.key_padding_mask = x[1]}));
  });
  layer_case<Mha>("mha_causal", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0], Masks{.attn_mask = x[1]})); });
  layer_case<Mha>("mha_causal", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0], Masks{.is_causal = true})); });
  layer_case<Mha>("mha_both", mha(), fixture::kBound32, [](Mha& m, const Tensors& x) {
    return both(
        m.with_weights(x[0], x[0], x[0], Masks{.key_padding_mask = x[1], .attn_mask = x[2]}));
  });
  layer_case<Mha>("mha_float_mask", mha(), fixture::kBound32,
                  [](Mha& m, const Tensors& x) { return one(m(x[0], Masks{.attn_mask = x[1]})); });
}

TEST_CASE("Transformer layers equal PyTorch's: norm first and last, relu and gelu, masks") {
  using Encoder = TransformerEncoderLayer;
  using Decoder = TransformerDecoderLayer;
  const double bound = 2e-6;
  const auto options = [](bool gelu, bool first) {
    return TransformerLayerOptions{
        .dim_feedforward = 12,
        .dropout = 0,
        .activation = gelu ? TransformerActivation::gelu : TransformerActivation::relu,
        .norm_first = first};
  };
  Rng rng(1);
  for (bool gelu : {false, true})
    for (bool first : {false, true}) {
      const std::string tag = std::string(gelu ? "gelu" : "relu") + (first ? "_pre" : "_post");
      layer_case<Encoder>("encoder_" + tag, Encoder(rng, 8, 2, options(gelu, first)), bound,
                          [](Encoder& m, const Tensors& x) { return one(m(x[0])); });
      layer_case<Decoder>("decoder_" + tag, Decoder(rng, 8, 2, options(gelu, first)), bound,
                          [](Decoder& m, const Tensors& x) {
                            return one(m(x[0], x[1], Masks{.attn_mask = x[2]}));
                          });
    }
  layer_case<Encoder>(
      "encoder_padding", Encoder(rng, 8, 2, options(false, true)), bound,
      [](Encoder& m, const Tensors& x) { return one(m(x[0], Masks{.key_padding_mask = x[1]})); });
  layer_case<Encoder>(
      "encoder_causal", Encoder(rng, 8, 2, options(false, true)), bound,
      [](Encoder& m, const Tensors& x) { return one(m(x[0], Masks{.attn_mask = x[1]})); });
}
