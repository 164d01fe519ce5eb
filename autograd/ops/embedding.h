#pragma once
// Rows of a table, chosen by number.
#include <loupe/core/tensor.h>

#include <optional>

namespace loupe {

struct EmbeddingOptions {
  /// The row of this number gets no gradient (padding); negative counts from the end.
  std::optional<int64_t> padding_idx{};
};
/// y[..., :] = weight[indices[...], :]. indices: any shape, i64; weight (entries, width) -> (...,
/// width). IndexError names the first index outside [0, entries).
Tensor embedding(In indices, In weight, const EmbeddingOptions& options = {});

}  // namespace loupe
