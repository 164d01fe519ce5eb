#pragma once
// Multi-head attention (Vaswani et al., "Attention is all you need", 2017).
#include <loupe/autograd/ops/attention.h>
#include <loupe/layers/linear.h>

namespace loupe {

/// Projects query, key and value, attends with each head on its share of the width, joins the heads
/// and projects again:
///   y = out_proj(concat over heads of softmax(q k^T / sqrt(d)) v),  d = embed_dim / num_heads.
/// Batch first: query (B, L, embed_dim), key (B, S, kdim), value (B, S, vdim) -> (B, L, embed_dim);
/// the batch dimension may be absent. With batch_first = false the length comes first: (L, B,
/// embed_dim), (S, B, kdim), (S, B, vdim) -> (L, B, embed_dim); masks and weights stay as they are.
/// Names and initialisation are PyTorch's: in_proj_weight (3 embed_dim, embed_dim), or
/// q_proj_weight, k_proj_weight, v_proj_weight where kdim or vdim differ, from xavier_uniform_;
/// out_proj.weight as Linear's; biases 0.
class MultiheadAttention : public Layer<MultiheadAttention> {
 public:
  struct Options {
    double dropout = 0;  // of the weights, in training
    bool bias = true;
    std::optional<int64_t> kdim{}, vdim{};  // embed_dim by default
    bool batch_first = true;                // PyTorch's default is false
  };
  /// Masks have PyTorch's sense here: bool true = ignore (the reverse of
  /// scaled_dot_product_attention); floating values are added to the scores. A query that may
  /// attend to nothing gives out_proj's bias.
  struct Masks {
    Tensor key_padding_mask{};  // (B, S)
    Tensor attn_mask{};         // (L, S) or (B * num_heads, L, S)
    bool is_causal = false;     // query i attends to keys 0 to i; needs no attn_mask
  };
  MultiheadAttention(Rng& rng, int64_t embed_dim, int64_t num_heads,
                     Options options = {
                         .dropout = 0, .bias = true, .kdim = {}, .vdim = {}, .batch_first = true});

  /// Self-attention: one product projects all three.
  Tensor forward(In x) { return forward(x, Masks{}); }
  Tensor forward(In x, const Masks& masks);
  Tensor forward(In query, In key, In value) { return forward(query, key, value, Masks{}); }
  Tensor forward(In query, In key, In value, const Masks& masks);
  /// Output and attention weights: (B, L, S), the mean over the heads, or (B, num_heads, L, S)
  /// unless `average`.
  AttentionResult with_weights(In query, In key, In value, const Masks& masks, bool average = true);
  AttentionResult with_weights(In query, In key, In value) {
    return with_weights(query, key, value, Masks{});
  }

  void visit(Visitor& v) override;
  std::string type_name() const override { return "MultiheadAttention"; }
  std::string describe() const override { return fmt::format("{}, {} heads", embed_dim_, heads_); }
  int64_t flops(const Shape& input, const Shape& output) const override;

  Tensor in_proj_weight;  // (3 embed_dim, embed_dim), q | k | v
  Tensor q_proj_weight, k_proj_weight,
      v_proj_weight;    // (embed_dim, embed_dim | kdim | vdim), instead of it
  Tensor in_proj_bias;  // (3 embed_dim)
  Linear out_proj;

 private:
  AttentionOptions options_for(const Masks& masks, const Shape& scores, DType dtype);
  Tensor project(const Tensor& x, int part) const;
  bool length_first(const Tensor& x) const { return !batch_first_ && x.dim() == 3; }
  Tensor attend_self(const Tensor& x, const Masks& masks);
  AttentionResult attend(const Tensor& query, const Tensor& key, const Tensor& value,
                         const Masks& masks, bool with_weights);
  void check_input(const char* what, const Tensor& x, int64_t width) const;

  int64_t embed_dim_, heads_, kdim_, vdim_;
  double dropout_;
  bool batch_first_;
  Rng stream_;
};

}  // namespace loupe
