#pragma once
// The lesson's networks, with normalisation by option. They are plain modules built from Loupe's
// layers.
//
//   D(d)      conv3x3 s2 1->16, conv3x3 s2 16->16, (d-2) x conv3x3 16->16, each conv - norm - ReLU;
//   mean over the image; FC 10 F1, F0    conv3x3 s2 1->16, s2 16->32, s1 32->32; flatten; F1: FC 64
//   - norm - ReLU - FC 10, F0: FC 10 S6        conv3x3 16 s2, 16, 32 s2, 32, 32, 32, each - norm -
//   ReLU; mean over the image; FC 10 M(d)      (d-1) hidden layers of 64, each norm - ReLU; FC 10
//   T(L,d,T)  pre-norm transformer of L blocks, 4 heads, feed-forward 4d with ReLU, learned
//   positions, final norm
//   X(d)      conv4x4 s4 1->32 - norm, d modern blocks (ModernBlock), mean over the image; FC 10
//
// Weights: He's normal initialisation for layers that feed a ReLU, N(0, 1/fan_in) for the others;
// biases 0, and a bias before a norm is absent (it could not do anything).
#include <loupe/layers/conv.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/residual.h>
#include <loupe/layers/sequential.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace loupe::lesson {

/// Where a norm stands: after a convolution (N, C, H, W), on features (N, C), or on tokens (B, T,
/// C).
enum class Place { image, features, tokens };

/// A normalisation by name. `make` builds the layer for so many channels; empty: none. Tokens reach
/// it as (B T, C), so that BatchNorm there takes its statistics over all tokens of the batch.
struct Norm {
  std::string name;
  std::function<std::unique_ptr<Module>(int64_t channels, Place place)> make;
  bool masked = false;        // BatchNorm1d of tokens: padding takes no part in the statistics
  bool standardized = false;  // convolutions before it have standardized weights
  explicit operator bool() const { return static_cast<bool>(make); }
};
Norm no_norm();
/// BatchNorm1d or 2d with PyTorch's defaults.
Norm batch_norm();
/// The same, blind to padding.
Norm masked_batch_norm();
/// LayerNorm over the features; in images over (C, H, W) of one sample with a gain per channel.
Norm layer_norm();
/// GroupNorm with 4 groups.
Norm group_norm();
// Of part II.
/// GroupNorm behind convolutions with standardized weights.
Norm standardized_group_norm();
/// BatchRenorm1d or 2d.
Norm batch_renorm();
/// LayerNorm; in images over the channels of each position.
Norm position_norm();
/// In LayerNorm's place, of the features of a token; in images of the channels of one position. RMSNorm
/// has eps 1e-5; the other two, with gain and bias, compute no statistic.
Norm rms_norm();
Norm dynamic_tanh();
Norm dynamic_erf();

/// What the lesson compares: the claims know the two by their roles alone, so that a test can put a
/// broken one in a place. One's own, if there is one, is a third arm of every experiment (own.h).
struct Norms {
  Norm batch = batch_norm(), layer = layer_norm(), own{};
};

/// Holds a normalisation, or none. With a group g > 0 a training batch goes through it in pieces of
/// g samples, each with statistics of its own: to the norm, and to its running averages, these are
/// batches of g (as on many small devices: Wu and He 2018), while every other layer, the loss and
/// the optimiser see one batch.
class NormLayer : public Layer<NormLayer> {
 public:
  NormLayer(const Norm& norm, int64_t channels, Place place, int64_t group = 0);
  /// keep: (B, T) bool, true at real tokens; undefined where nothing is padded.
  Tensor forward(In x, const Tensor& keep = Tensor());
  void visit(Visitor& v) override;
  std::string type_name() const override { return "Norm"; }
  Module* get() const { return module_.get(); }
  Place place() const { return place_; }
  /// From now on pieces of so many samples; 0: the whole batch.
  void set_group(int64_t group) { group_ = group; }

 private:
  // All samples of x share a statistic.
  Tensor one_batch(In x, const Tensor& keep);

  std::unique_ptr<Module> module_;
  BatchNorm1d* masked_ = nullptr;  // module_, where padding is to be left out
  Place place_;
  int64_t group_;
};

/// A modern convolution block (Liu et al. 2022, A ConvNet for the 2020s), on (N, C, H, W): x +
/// 1x1(relu(1x1(norm(depthwise 7x7 (x))))), four times as many channels in the middle.
class ModernBlock : public Layer<ModernBlock> {
 public:
  ModernBlock(Rng& rng, int64_t channels, const Norm& norm);
  Tensor forward(In x);
  void visit(Visitor& v) override {
    v("depthwise", depthwise, "norm", norm, "expand", expand, "project", project);
  }
  std::string type_name() const override { return "ModernBlock"; }

  Conv2d depthwise;
  NormLayer norm;
  Conv2d expand, project;
};

/// A classifier of images. After each call with `keep_taps` set, `taps` holds the input of each
/// ReLU.
class Classifier : public Layer<Classifier> {
 public:
  /// "D8", "F1", "F0", "M12", "X3"; `gain` multiplies the initial weights; `group` as in NormLayer.
  /// ValueError for another name.
  Classifier(Rng& rng, const std::string& net, const Norm& norm, double gain = 1,
             int64_t group = 0);
  /// (N, 1, 28, 28) -> logits (N, 10).
  Tensor forward(In x);
  void visit(Visitor& v) override;
  std::string type_name() const override { return "Classifier"; }

  bool keep_taps = false;
  std::vector<Tensor> taps;
  ModuleList<Conv2d> convs;
  ModuleList<WeightStandardizedConv2d> standardized;  // in place of convs, if the norm asks for it
  ModuleList<ModernBlock> blocks;                     // of "X3", behind its first convolution
  ModuleList<Linear> hidden;
  ModuleList<NormLayer> norms;
  std::vector<Linear> out;  // one
 private:
  bool pool_ = false;
};

/// Where a Transformer's norms stand: before each branch, behind each sum, before and behind each
/// branch.
enum class NormAt { pre, post, peri };
/// How residual branches start: as they are, times a learned 0 (SkipInit), or as Fixup has it.
enum class Branches { plain, skip_init, fixup };

struct TransformerOptions {
  int64_t layers = 2, width = 32, context = 16, heads = 4, symbols = 2, outputs = 2;
  bool causal = true;
  bool scaled = false;  // residual branches start 1/sqrt(2 layers) as large
  bool pool = false;    // mean over the tokens that the mask keeps, then one output a sequence
  NormAt norm_at = NormAt::pre;
  Branches branches = Branches::plain;
  bool qk_norm = false;  // LayerNorm of each head's queries and keys
  Norm feed_norm{};      // before the feed-forward part; without a name: the same as elsewhere
};

/// One block: x + attention(norm(x)), then x + W2 relu(W1 norm(x)); with other options as they say.
class TransformerBlock : public Layer<TransformerBlock> {
 public:
  TransformerBlock(Rng& rng, const TransformerOptions& o, const Norm& norm);
  /// x (B, T, d); keep (B, T) bool, true at real tokens, or undefined.
  Tensor forward(In x, const Tensor& keep);
  /// mask (B, 1, 1, T) bool, true where a token may be attended to, or undefined.
  Tensor attend(In x, const Tensor& mask);
  Tensor feed_forward(In x);
  void visit(Visitor& v) override;
  std::string type_name() const override { return "TransformerBlock"; }

  NormLayer norm1;
  Linear qkv, proj;
  NormLayer norm2;
  Linear fc1, fc2;
  NormLayer behind1, behind2;   // behind the branches, in a peri-norm block
  std::vector<LayerNorm> qk;    // of queries and keys, or none
  std::vector<SkipInit> gains;  // of the two branches, or none
  bool watch_logits = false;    // keep the largest |q k| / sqrt(features) of the calls
  double largest_logit = 0;

 private:
  Tensor heads_of(const Tensor& qkv_of, int64_t part) const;
  Tensor added(In x, const Tensor& branch, NormLayer& norm, NormLayer& behind, size_t which,
               const Tensor& keep);
  int64_t heads_;
  bool causal_;
  NormAt norm_at_;
};

class Transformer : public Layer<Transformer> {
 public:
  Transformer(Rng& rng, const TransformerOptions& options, const Norm& norm);
  /// Symbols (B, T) -> logits (B, T, outputs), or (B, outputs) with options.pool.
  Tensor forward(In symbols) { return from_embeddings(embed(symbols), Tensor()); }
  /// The same with a mask (B, T), true at real tokens.
  Tensor masked(In symbols, const Tensor& keep) { return from_embeddings(embed(symbols), keep); }
  Tensor embed(In symbols);
  /// From embeddings (B, T, d): gradients with respect to them show what an output sees.
  Tensor from_embeddings(In x, const Tensor& keep);
  void visit(Visitor& v) override {
    v("embedding", embedding, "positions", positions, "blocks", blocks, "norm", norm, "head", head);
  }
  std::string type_name() const override { return "Transformer"; }

  TransformerOptions options;
  Embedding embedding;
  Tensor positions;  // (T, d)
  ModuleList<TransformerBlock> blocks;
  NormLayer norm;
  Linear head;
};

/// Multiplies all weights (not norms, not biases) by a factor.
void scale_weights(Module& m, double factor);

}  // namespace loupe::lesson
