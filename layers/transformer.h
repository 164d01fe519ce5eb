#pragma once
// Transformer blocks (Vaswani et al., 2017; norm first: Xiong et al., "On layer normalization in
// the Transformer architecture", 2020). Batch first; names, defaults and order of members are
// PyTorch's.
#include <loupe/layers/attention.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/norm.h>

namespace loupe {

enum class TransformerActivation { relu, gelu };

struct TransformerLayerOptions {
  int64_t dim_feedforward = 2048;
  double dropout = 0.1;
  TransformerActivation activation = TransformerActivation::relu;
  double layer_norm_eps = 1e-5;
  bool norm_first = false;
  bool bias = true;
};

/// With a = self_attn, f(x) = linear2(dropout(activation(linear1(x)))):
///   norm last (default): x = norm1(x + dropout1(a(x))), y = norm2(x + dropout2(f(x)))
///   norm first:          x = x + dropout1(a(norm1(x))), y = x + dropout2(f(norm2(x)))
/// x (B, T, d_model); masks as in MultiheadAttention: true = ignore.
class TransformerEncoderLayer : public Layer<TransformerEncoderLayer> {
 public:
  using Options = TransformerLayerOptions;
  using Masks = MultiheadAttention::Masks;
  TransformerEncoderLayer(Rng& rng, int64_t d_model, int64_t nhead, Options options = {});

  Tensor forward(In x) { return forward(x, Masks{}); }
  Tensor forward(In x, const Masks& masks);
  void visit(Visitor& v) override;
  std::string type_name() const override { return "TransformerEncoderLayer"; }

  Options options;
  MultiheadAttention self_attn;
  Linear linear1;
  Dropout dropout;
  Linear linear2;
  LayerNorm norm1, norm2;
  Dropout dropout1, dropout2;
};

/// The encoder's layer with a second attention, multihead_attn, whose keys and values are `memory`
/// (B, S, d_model), between self-attention and the feed-forward part; norm2 belongs to it, norm3 to
/// the latter.
class TransformerDecoderLayer : public Layer<TransformerDecoderLayer> {
 public:
  using Options = TransformerLayerOptions;
  using Masks = MultiheadAttention::Masks;
  TransformerDecoderLayer(Rng& rng, int64_t d_model, int64_t nhead, Options options = {});

  Tensor forward(In x, In memory) { return forward(x, memory, Masks{}, Masks{}); }
  /// `target` masks self-attention, `source` the attention to memory.
  Tensor forward(In x, In memory, const Masks& target, const Masks& source = {});
  void visit(Visitor& v) override;
  std::string type_name() const override { return "TransformerDecoderLayer"; }

  Options options;
  MultiheadAttention self_attn, multihead_attn;
  Linear linear1;
  Dropout dropout;
  Linear linear2;
  LayerNorm norm1, norm2, norm3;
  Dropout dropout1, dropout2, dropout3;
};

}  // namespace loupe
