#pragma once
// GPT-2 (Radford et al., "Language models are unsupervised multitask learners", 2019) with
// Transformers' names and weight layout: a checkpoint of GPT2LMHeadModel loads without a map.
#include <loupe/layers/dropout.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/models/norm_choice.h>

namespace loupe {

struct GptConfig {
  int64_t vocab = 65, context = 64, layers = 4, heads = 4, width = 128;
  int64_t inner = 0;  // of the feed-forward part; 0: 4 width
  double dropout = 0;
  NormKind norm = NormKind::layer;
  bool pre_norm = true;  // false: norm after each residual sum, as in the first GPT
  bool peri_norm =
      false;             // with pre_norm: a norm behind each branch too (Kim et al. 2025, Peri-LN)
  bool qk_norm = false;  // each head's queries and keys, over its features (Henry et al. 2020)
  bool tied = true;      // the head's weight is the token embedding
  double init_std = 0.02, norm_eps = 1e-5;
};

/// The number of parameters, exact below 2^53: what a configuration asks for can be known before
/// anything is allocated.
double parameter_count(const GptConfig& config);

/// y = x W + b with W (in, out): what Transformers calls Conv1D. Starts from N(0, std^2), bias 0.
class Conv1D : public Layer<Conv1D> {
 public:
  Conv1D(Rng& rng, int64_t in, int64_t out, double std);
  Tensor forward(In x);
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "Conv1D"; }
  std::string describe() const override {
    return fmt::format("{} -> {}", weight.size(0), weight.size(1));
  }
  int64_t flops(const Shape&, const Shape& output) const override {
    return 2 * weight.size(0) * output.numel();
  }

  Tensor weight, bias;
};

/// Keys and values of the tokens so far, per block: what generation keeps.
struct KvCache {
  std::vector<Tensor> keys, values;  // (B, heads, context, width / heads)
  int64_t length = 0;                // tokens they hold
};

class GptAttention : public Layer<GptAttention> {
 public:
  GptAttention(Rng& rng, const GptConfig& config);
  /// (B, T, width) -> the same. With a cache, x are the tokens after those it holds, and block i's
  /// part is extended.
  Tensor forward(In x, KvCache* cache, size_t block);
  void visit(Visitor& v) override {
    v("c_attn", c_attn, "q_norm", q_norm, "k_norm", k_norm, "c_proj", c_proj, "resid_dropout",
      resid_dropout);
    v.stream("rng", rng_);
  }
  std::string type_name() const override { return "GptAttention"; }
  /// Scores and weighted values, the masked half included.
  int64_t flops(const Shape& input, const Shape&) const override {
    return 4 * input.numel() * input[1];
  }

  Conv1D c_attn;
  FeatureNorm q_norm, k_norm;  // of (..., width / heads), with qk_norm
  Conv1D c_proj;
  Dropout resid_dropout;

 private:
  Tensor heads_of(const Tensor& qkv, int64_t part);
  int64_t heads_;
  double dropout_;
  Rng rng_;  // of the attention weights' dropout
};

class GptMlp : public Layer<GptMlp> {
 public:
  GptMlp(Rng& rng, const GptConfig& config);
  Tensor forward(In x);
  void visit(Visitor& v) override { v("c_fc", c_fc, "c_proj", c_proj, "dropout", dropout); }
  std::string type_name() const override { return "GptMlp"; }

  Conv1D c_fc, c_proj;
  Dropout dropout;
};

class GptBlock : public Layer<GptBlock> {
 public:
  GptBlock(Rng& rng, const GptConfig& config);
  Tensor forward(In x, KvCache* cache = nullptr, size_t block = 0);
  void visit(Visitor& v) override {
    v("ln_1", ln_1, "attn", attn, "post_ln_1", post_ln_1, "ln_2", ln_2, "mlp", mlp, "post_ln_2",
      post_ln_2);
  }
  std::string type_name() const override { return "GptBlock"; }

  FeatureNorm ln_1;
  GptAttention attn;
  FeatureNorm post_ln_1;  // with peri_norm
  FeatureNorm ln_2;
  GptMlp mlp;
  FeatureNorm post_ln_2;

 private:
  bool pre_norm_;
};

class GptBody : public Layer<GptBody> {
 public:
  GptBody(Rng& rng, const GptConfig& config);
  Tensor forward(In ids, KvCache* cache = nullptr);
  void visit(Visitor& v) override { v("wte", wte, "wpe", wpe, "drop", drop, "h", h, "ln_f", ln_f); }
  std::string type_name() const override { return "GptBody"; }

  Embedding wte, wpe;
  Dropout drop;
  ModuleList<GptBlock> h;
  FeatureNorm ln_f;
};

/// The head: logits = x W^T, W (vocab, width).
class GptHead : public Layer<GptHead> {
 public:
  Tensor forward(In x);
  void visit(Visitor& v) override { v("weight", weight); }
  std::string type_name() const override { return "GptHead"; }
  int64_t flops(const Shape& input, const Shape& output) const override {
    return 2 * input.back() * output.numel();
  }
  Tensor weight;
};

struct GenerateOptions {
  int64_t length = 100;    // tokens to add
  double temperature = 1;  // 0: always the likeliest
  int64_t top_k = 0;       // among the k likeliest; 0: among all
};

/// ids (B, T) i64 -> logits (B, T, vocab); T at most context.
class Gpt : public Layer<Gpt> {
 public:
  /// ValueError for sizes below 1, a width that heads do not divide, rates that make no sense, and
  /// peri_norm or qk_norm without the norm they need.
  explicit Gpt(Rng& rng, GptConfig config = {});
  /// With a cache, ids are the tokens after those it holds; made by new_cache().
  Tensor forward(In ids, KvCache* cache = nullptr);
  KvCache new_cache(int64_t batch);
  /// Goes on from `prompt`, a token at a time, with the KV cache; beyond the context the older half
  /// is forgotten. Gives the prompt and the new tokens. Runs in eval mode without recording.
  /// ValueError for an empty prompt or options below 0; NumericError where logits are NaN.
  std::vector<int64_t> generate(const std::vector<int64_t>& prompt, Rng& rng,
                                const GenerateOptions& options = {});
  void visit(Visitor& v) override { v("transformer", transformer, "lm_head", lm_head); }
  std::string type_name() const override { return "Gpt"; }

  GptConfig config;
  GptBody transformer;
  GptHead lm_head;
};

/// Loads a GPT-2 checkpoint as Transformers writes it, with or without "transformer." before the
/// names and with a tied head given or not. The causal masks that older files carry as buffers are
/// passed over. ValueError as load_state_dict.
void load_gpt2(Gpt& m, const StateDict& checkpoint);

}  // namespace loupe
