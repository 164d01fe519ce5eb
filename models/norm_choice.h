#pragma once
// The normalization of a model, chosen by option. The variant adds no level to the parameters'
// names.
#include <loupe/layers/norm.h>

#include <string>
#include <variant>

namespace loupe {

/// layer in a CNN: over channels and positions of one image, with a gain per channel (GroupNorm
/// with one group). batch in a Transformer: each feature over all tokens of the batch. group: 8
/// groups.
enum class NormKind { batch, layer, group, rms, none };
const char* name(NormKind kind);
/// ValueError for another word.
NormKind norm_kind(const std::string& word);

/// Norm of (N, C, H, W) activations; rms is refused.
using ChannelNorm = std::variant<std::monostate, BatchNorm2d, GroupNorm>;
ChannelNorm channel_norm(NormKind kind, int64_t channels);
/// Norm of (N, C) features or, with batch, also of (B, T, C) tokens: each feature over all of them.
/// group counts as layer.
using FeatureNorm = std::variant<std::monostate, BatchNorm1d, LayerNorm, RMSNorm>;
FeatureNorm feature_norm(NormKind kind, int64_t features, double eps = 1e-5);

Tensor normalize(ChannelNorm& norm, In x);
Tensor normalize(FeatureNorm& norm, In x);
/// max_pool2d(relu(norm(x)), pool); pool = 1: no pooling. One pass where the norm is
/// BatchNorm2d and pool is 1 or 2.
Tensor norm_relu_pool(ChannelNorm& norm, In x, int64_t pool);

}  // namespace loupe
