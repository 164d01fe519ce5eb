#pragma once
// Scaled dot product attention (Vaswani et al., "Attention is all you need", 2017), without the
// square of the scores in memory (Dao et al., "FlashAttention", 2022).
#include <loupe/core/tensor.h>

#include <optional>

namespace loupe {

struct AttentionOptions {
  /// Broadcast to (..., L, S). bool: true = may attend. Of q's type: added to the scaled scores.
  Tensor attn_mask{};
  /// Query i attends to keys 0 to i. A mask applies too.
  bool is_causal = false;
  /// Probability that a weight is dropped; the masks come from rng.
  double dropout_p = 0;
  /// Factor of the scores; 1 / sqrt(E) by default.
  std::optional<double> scale{};
  Rng* rng = nullptr;
};

/// softmax(scale q k^T + mask) v: q (..., L, E), k (..., S, E), v (..., S, Ev) -> (..., L, Ev); the
/// dimensions before broadcast. A query that may attend to nothing gives zeros. Differentiable any
/// number of times, and by an additive mask. ShapeError, DtypeError; ValueError for dropout without
/// an rng.
Tensor scaled_dot_product_attention(In q, In k, In v, const AttentionOptions& options = {});

/// Self-attention of all heads from one projection, qkv (B, T, 3E) -> (B, T, E). qkv holds q, k and
/// v, each of `heads` heads side by side. The same as splitting, attending and joining, without the
/// copies. A mask is broadcast to (B, heads, T, T).
Tensor self_attention(In qkv, int64_t heads, const AttentionOptions& options = {});

struct AttentionResult {
  Tensor output, weights;
};
/// The same with the softmax' output (..., L, S), before dropout, both differentiable. Slower: the
/// scores are written out.
AttentionResult attention_with_weights(In q, In k, In v, const AttentionOptions& options = {});

}  // namespace loupe
