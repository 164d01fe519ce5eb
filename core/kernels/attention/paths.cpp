// Which way computes an attention, and what the ways share.
#include <loupe/core/kernels/attention/tiles.h>

#include <type_traits>

namespace loupe::kernels {
namespace {

/// Tiles know the sum of a row's exponentials after its last tile. Its weights can be written then
/// only if the row has a single tile, which is still there.
bool keeps_weights_of_several_tiles(const AttentionForward<float>& call) {
  return call.weights && !attention_keeps_weights(call.shape);
}

constexpr AttentionPath<float> kForward[] = {
    {"plain", reference_mode, plain::attention},
    {"plain_weights", keeps_weights_of_several_tiles, plain::attention},
    {"flash", always, flash::attention},
};
constexpr AttentionBackwardPath<float> kBackward[] = {
    {"plain", reference_mode, plain::attention_backward},
    {"flash", always, flash::attention_backward},
};
constexpr AttentionPath<double> kForward64[] = {{"plain", always, plain::attention}};
constexpr AttentionBackwardPath<double> kBackward64[] = {
    {"plain", always, plain::attention_backward}};

}  // namespace

template <> std::span<const AttentionPath<float>> attention_paths() { return kForward; }
template <> std::span<const AttentionPath<double>> attention_paths() { return kForward64; }
template <> std::span<const AttentionBackwardPath<float>> attention_backward_paths() {
  return kBackward;
}
template <> std::span<const AttentionBackwardPath<double>> attention_backward_paths() {
  return kBackward64;
}

template <class T> void attention(const AttentionForward<T>& call) {
  run_first(attention_paths<T>(), call);
}
template <class T> void attention_backward(const AttentionBackward<T>& call) {
  run_first(attention_backward_paths<T>(), call);
}

bool attention_keeps_weights(const AttentionShape& s) { return s.keys <= kTileKeys; }

int64_t attention_words(const AttentionShape& s) {
  return s.dropout > 0 ? s.batch * s.heads * s.queries * round_up(s.keys, kDropoutWords) : 0;
}

template <class T> void attention_dropout(const AttentionShape& s, T* factors) {
  for_heads(s, 1, [&](const HeadIndex& head, int64_t) {
    for (int64_t i = 0; i < s.queries; ++i) {
      T* const row = factors + (head.number * s.queries + i) * s.keys;
      dropout_row(s, {head, i, 0}, s.keys, row);
    }
  });
}

#define LOUPE_INSTANTIATE(T)                                     \
  template void attention_dropout<T>(const AttentionShape&, T*); \
  template void attention<T>(const AttentionForward<T>&);        \
  template void attention_backward<T>(const AttentionBackward<T>&);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
