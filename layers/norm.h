#pragma once
// Normalization layers, with PyTorch's names, defaults and state. Formulas: autograd/ops/norm.h.
#include <loupe/autograd/ops/norm.h>
#include <loupe/layers/module.h>

namespace loupe {

/// A BatchNorm's momentum: a number, std::nullopt for the average over all batches so far, or, not
/// given, the convention's own number.
class Momentum {
 public:
  constexpr Momentum() = default;
  constexpr Momentum(double value) : kind_(Kind::number), value_(value) {}
  constexpr Momentum(std::nullopt_t) : kind_(Kind::cumulative) {}
  bool given() const { return kind_ != Kind::conventional; }
  bool cumulative() const { return kind_ == Kind::cumulative; }
  double value() const { return value_; }
  friend bool operator==(const Momentum& m, double value) {
    return m.kind_ == Kind::number && m.value_ == value;
  }

 private:
  enum class Kind { conventional, number, cumulative };
  Kind kind_ = Kind::conventional;
  double value_ = 0;
};

struct BatchNormOptions {
  std::optional<double> eps = {};  // 1e-5 (torch), 1e-3 (keras3)
  /// torch: running = (1 - momentum) running + momentum batch, 0.1 by default. keras3: running =
  /// momentum running + (1 - momentum) batch, 0.99 by default.
  Momentum momentum = {};
  bool affine = true;
  /// false: no buffers, and the batch's statistics in eval mode too.
  bool track_running_stats = true;
  /// torch: running_var takes the unbiased variance, one value a channel is an error in training.
  /// keras3: the biased one, no error, and Keras' denominators under a mask.
  NormConvention convention = NormConvention::torch;
  /// The channel dimension; Keras' own default would be -1.
  int64_t axis = 1;
  /// false: no bias; counts only if affine.
  bool bias = true;
};

/// What BatchNorm1d, BatchNorm2d, GhostBatchNorm and InstanceNorm2d share: weight 1, bias 0,
/// running_mean 0, running_var 1 (all (C)) and num_batches_tracked 0 (i64, (); it stays 0 in
/// InstanceNorm2d). Training uses and records the batch's statistics; eval mode uses the running
/// ones.
class BatchNormState {
 public:
  BatchNormState(const char* layer, int64_t num_features, BatchNormOptions options);
  BatchNormOptions options;  // resolved: eps and momentum are given
  Tensor weight, bias, running_mean, running_var, num_batches_tracked;
  /// Who holds the rest of the batch; null: nobody. Set by convert_sync_batch_norm (distributed/).
  std::shared_ptr<BatchShares> shares;

  /// The arguments of one call.
  BatchNormArgs args(bool training, const Tensor& mask = Tensor()) const;
  /// Counts the batch of a call that succeeded.
  void count(bool training);
  std::string text() const;
  void list(Visitor& v) {
    v("weight", weight, "bias", bias);
    v.buffers("running_mean", running_mean, "running_var", running_var, "num_batches_tracked",
              num_batches_tracked);
  }

 private:
  int64_t num_features_;
};

/// What a fused BatchNorm2d goes on with (layers/fused.h).
enum class NormThen { relu, relu_max_pool };

/// Batch norm (Ioffe and Szegedy 2015) of (N, C) or (N, C, L) if kRank is 1, of (N, C, H, W) if 2.
/// bn(x, mask): positions where the bool mask (x's shape without C) is false take no part in the
/// statistics.
template <int kRank> class BatchNorm : public Layer<BatchNorm<kRank>>, public BatchNormState {
 public:
  using Options = BatchNormOptions;
  explicit BatchNorm(int64_t num_features, Options o = {})
      : BatchNormState(kRank == 1 ? "BatchNorm1d" : "BatchNorm2d", num_features, o) {}
  Tensor forward(In x, const Tensor& mask = Tensor());
  Tensor forward(In x, NormThen then) requires(kRank == 2);
  void visit(Visitor& v) override { list(v); }
  std::string type_name() const override { return kRank == 1 ? "BatchNorm1d" : "BatchNorm2d"; }
  std::string describe() const override { return text(); }
};
using BatchNorm1d = BatchNorm<1>;
using BatchNorm2d = BatchNorm<2>;

/// Each image's channels on their own (Ulyanov et al. 2016): (N, C, H, W) or (C, H, W). The same in
/// eval mode, unless track_running_stats. Options as BatchNorm's (torch's convention only), with
/// other defaults.
class InstanceNorm2d : public Layer<InstanceNorm2d>, public BatchNormState {
 public:
  struct Options {
    double eps = 1e-5;
    double momentum = 0.1;
    bool affine = false, track_running_stats = false;
    bool bias = true;  // counts only if affine
  };
  InstanceNorm2d(int64_t num_features, Options o);
  explicit InstanceNorm2d(int64_t num_features) : InstanceNorm2d(num_features, Options{}) {}
  Tensor forward(In x);
  void visit(Visitor& v) override { list(v); }
  std::string type_name() const override { return "InstanceNorm2d"; }
  std::string describe() const override { return text(); }
};

/// Each image's groups of neighbouring channels (Wu and He 2018): (N, C, ...). weight 1, bias 0,
/// (C).
class GroupNorm : public Layer<GroupNorm> {
 public:
  struct Options {
    double eps = 1e-5;
    bool affine = true;
    bool bias = true;  // counts only if affine
  };
  GroupNorm(int64_t groups, int64_t channels, Options o);
  GroupNorm(int64_t groups, int64_t channels) : GroupNorm(groups, channels, Options{}) {}
  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "GroupNorm"; }
  std::string describe() const override;

  Options options;
  int64_t num_groups, num_channels;
  Tensor weight, bias;
};

/// Over the last dimensions, of sizes normalized_shape (Ba et al. 2016); the same in eval mode.
/// weight 1, bias 0, both of normalized_shape: one value an element. Keras' LayerNormalization:
/// {.eps = 1e-3, .axes = {...}}.
class LayerNorm : public Layer<LayerNorm> {
 public:
  struct Options {
    double eps = 1e-5;
    bool elementwise_affine = true;
    bool bias = true;
    /// Other dimensions than the last, ascending, one for each of normalized_shape.
    Dims axes = {};
  };
  LayerNorm(const Shape& shape, Options o);
  explicit LayerNorm(const Shape& shape) : LayerNorm(shape, Options{}) {}
  explicit LayerNorm(int64_t size) : LayerNorm(Shape{size}) {}
  LayerNorm(int64_t size, Options o) : LayerNorm(Shape{size}, o) {}
  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "LayerNorm"; }
  std::string describe() const override;

  Options options;
  Shape normalized_shape;
  Tensor weight, bias;
};

/// x / sqrt(mean(x^2) + eps) * weight over the last dimensions (Zhang and Sennrich 2019). weight 1.
class RMSNorm : public Layer<RMSNorm> {
 public:
  struct Options {
    std::optional<double> eps = {};  // the element type's epsilon
    bool elementwise_affine = true;
  };
  RMSNorm(const Shape& shape, Options o);
  explicit RMSNorm(const Shape& shape) : RMSNorm(shape, Options{}) {}
  explicit RMSNorm(int64_t size) : RMSNorm(Shape{size}) {}
  RMSNorm(int64_t size, Options o) : RMSNorm(Shape{size}, o) {}
  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight); }
  std::string type_name() const override { return "RMSNorm"; }
  std::string describe() const override;

  Options options;
  Shape normalized_shape;
  Tensor weight;
};

}  // namespace loupe
