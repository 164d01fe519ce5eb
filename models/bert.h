#pragma once
// BERT (Devlin et al., "BERT: pre-training of deep bidirectional transformers for language
// understanding", 2018) with the names of Transformers' BertModel: its checkpoints, and those of
// sentence models such as MiniLM, load without a map.
#include <loupe/layers/dropout.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/sequential.h>

namespace loupe {

struct BertConfig {
  int64_t vocab = 30522, width = 768, layers = 12, heads = 12;
  int64_t inner = 3072;  // of the feed-forward part
  int64_t context = 512, token_types = 2;
  double dropout = 0.1;  // of embeddings, attention weights and both outputs of a layer
  double norm_eps = 1e-12, init_std = 0.02;
  bool pooler = true;
};

/// The number of parameters, exact below 2^53: what a configuration asks for can be known before
/// anything is allocated.
double parameter_count(const BertConfig& config);

/// h = LN(x + attention(x)); LN(h + W2 gelu(W1 h)), gelu by erf: (B, T, width) -> the same.
class BertLayer : public Layer<BertLayer> {
 public:
  BertLayer(Rng& rng, const BertConfig& config);
  /// mask: bool, broadcast to (B, heads, T, T); true = may attend. Undefined: all may.
  Tensor forward(In x, const Tensor& mask = {});
  void visit(Visitor& v) override;
  std::string type_name() const override { return "BertLayer"; }
  /// Scores and weighted values.
  int64_t flops(const Shape& input, const Shape&) const override {
    return 4 * input.numel() * input[1];
  }

  Linear query, key, value, attention_output;
  LayerNorm attention_norm;
  Linear intermediate, output;
  LayerNorm output_norm;
  Dropout attention_dropout, output_dropout;

 private:
  int64_t heads_;
  double dropout_;
  Rng stream_;  // of the attention weights' dropout
};

/// Token ids (B, T) i64 -> hidden states (B, T, width).
class BertEncoder : public Layer<BertEncoder> {
 public:
  /// ValueError for sizes below 1, a width that heads do not divide, and rates that make no sense.
  explicit BertEncoder(Rng& rng, BertConfig config = {});
  /// token_types (B, T) i64: 0 where undefined. mask (B, T): 0 = padding, which no token attends
  /// to; all else 1. The states at padded positions mean nothing. ShapeError beyond `context`
  /// tokens or where shapes differ.
  Tensor forward(In ids, const Tensor& token_types = {}, const Tensor& mask = {});
  /// tanh(W h + b) of the first token's state: (B, T, width) -> (B, width). ValueError without a
  /// pooler.
  Tensor pooled(In hidden);
  void visit(Visitor& v) override;
  std::string type_name() const override { return "BertEncoder"; }
  std::string describe() const override;

  BertConfig config;
  Embedding word_embeddings, position_embeddings, token_type_embeddings;
  LayerNorm embedding_norm;
  Dropout embedding_dropout;
  ModuleList<BertLayer> layer;
  std::optional<Linear> pooler;
};

/// How the states of a sentence's tokens become one vector, as sentence-transformers' Pooling does
/// it (Reimers & Gurevych, "Sentence-BERT", 2019).
enum class SentencePooling {
  cls,            // the first token's
  max,            // the largest of each feature
  mean,           // sum / n
  mean_sqrt_len,  // sum / sqrt(n)
  weighted_mean,  // sum_t t h_t / sum_t t, t = 1, 2, ...
  last_token,     // of those that are no padding
};
/// One vector a sentence from its hidden states, where mask (B, T) is not 0: (B, T, width) -> (B,
/// width). For a sentence without a token, max gives -1e9, cls gives the first state as
/// always, and the other ways give zeros.
Tensor pool_sentence(In hidden, In mask, SentencePooling how);

/// The mean of the states where mask (B, T) is not 0, then divided by its length: what sentence
/// models compare. (B, T, width) -> (B, width). A sentence without a token gives zeros.
Tensor sentence_embedding(In hidden, In mask);

}  // namespace loupe
