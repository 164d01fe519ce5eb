#pragma once
// A table of vectors.
#include <loupe/autograd/ops/embedding.h>
#include <loupe/layers/module.h>

namespace loupe {

/// y[..., :] = weight[x[...], :], x of indices (i64). weight (num_embeddings, embedding_dim) starts
/// from N(0, 1), the row padding_idx (if any) from 0, and that row is not trained.
class Embedding : public Layer<Embedding> {
 public:
  using Options = EmbeddingOptions;
  Embedding(Rng& rng, int64_t num_embeddings, int64_t embedding_dim, Options options = {});
  Tensor forward(In x) const { return embedding(x, weight, options); }
  void visit(Visitor& v) override { v("weight", weight); }
  std::string type_name() const override { return "Embedding"; }
  std::string describe() const override {
    return fmt::format("{} x {}", weight.size(0), weight.size(1));
  }

  Tensor weight;  // (num_embeddings, embedding_dim)
  Options options;
};

}  // namespace loupe
