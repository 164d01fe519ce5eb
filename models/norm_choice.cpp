#include <loupe/autograd/ops.h>
#include <loupe/layers/fused.h>
#include <loupe/models/norm_choice.h>

namespace loupe {

namespace {
constexpr const char* kNormNames[] = {"batch", "layer", "group", "rms", "none"};
}

const char* name(NormKind kind) { return kNormNames[static_cast<size_t>(kind)]; }
NormKind norm_kind(const std::string& word) {
  for (size_t i = 0; i < 5; ++i)
    if (word == kNormNames[i]) return static_cast<NormKind>(i);
  fail<ValueError>("norm: \"{}\" is none of batch, layer, group, rms, none", word);
}

ChannelNorm channel_norm(NormKind kind, int64_t channels) {
  switch (kind) {
    case NormKind::batch: return BatchNorm2d(channels);
    case NormKind::layer: return GroupNorm(1, channels);
    case NormKind::group: return GroupNorm(8, channels);
    case NormKind::rms:
      fail<ValueError>("norm: rms is for Transformers; a CNN takes batch, layer, group or none");
    case NormKind::none: break;
  }
  return std::monostate();
}

FeatureNorm feature_norm(NormKind kind, int64_t features, double eps) {
  switch (kind) {
    case NormKind::batch: return BatchNorm1d(features, {.eps = eps});
    case NormKind::layer:
    case NormKind::group: return LayerNorm(features, {.eps = eps});
    case NormKind::rms: return RMSNorm(features, {.eps = eps});
    case NormKind::none: break;
  }
  return std::monostate();
}

Tensor normalize(ChannelNorm& norm, In x) {
  if (auto* bn = std::get_if<BatchNorm2d>(&norm)) return (*bn)(x);
  if (auto* gn = std::get_if<GroupNorm>(&norm)) return (*gn)(x);
  return x;
}

Tensor normalize(FeatureNorm& norm, In x) {
  if (auto* ln = std::get_if<LayerNorm>(&norm)) return (*ln)(x);
  if (auto* rms = std::get_if<RMSNorm>(&norm)) return (*rms)(x);
  auto* bn = std::get_if<BatchNorm1d>(&norm);
  if (!bn) return x;
  if (x->dim() == 2) return (*bn)(x);
  return (*bn)(x->reshape({-1, x->size(-1)})).reshape(x->shape());
}

Tensor norm_relu_pool(ChannelNorm& norm, In x, int64_t pool) {
  if (auto* bn = std::get_if<BatchNorm2d>(&norm)) {
    if (pool == 1) return bn_relu(*bn, x);
    if (pool == 2) return bn_relu_max_pool(*bn, x, 2);
  }
  const Tensor y = relu(normalize(norm, x));
  return pool == 1 ? y : max_pool2d(y, pool);
}

}  // namespace loupe
