#include <loupe/layers/embedding.h>

namespace loupe {

Embedding::Embedding(Rng& rng, int64_t num_embeddings, int64_t embedding_dim, Options o)
    : options(o) {
  if (num_embeddings < 0 || embedding_dim < 0)
    fail<ValueError>("Embedding: sizes must not be negative, got {} x {}", num_embeddings,
                     embedding_dim);
  weight = randn(rng, {num_embeddings, embedding_dim});
  if (options.padding_idx) {
    const int64_t row = *options.padding_idx;
    if (row < -num_embeddings || row >= num_embeddings)
      fail<IndexError>("Embedding: padding_idx {} is outside [{}, {})", row, -num_embeddings,
                       num_embeddings);
    weight.select(0, row).zero_();
  }
  weight.requires_grad_();
}

}  // namespace loupe
