#pragma once
// Batch norms for batches that are too small, or larger than their statistics should be.
#include <loupe/layers/norm.h>

namespace loupe {

struct GhostBatchNormOptions {
  int64_t virtual_batch_size = 128;
  BatchNormOptions batch_norm = {};
};

/// Ghost batch norm (Hoffer et al. 2017, Train longer, generalize better): in training the batch is
/// cut into pieces of virtual_batch_size samples (the last may be smaller), and each is normalized
/// by its own statistics and recorded by its own step of the running averages. Eval mode is
/// BatchNorm's, and so are the shapes and the state. ValueError for a virtual_batch_size below 1,
/// for an axis other than 1, and in training, under torch's convention, for a piece of one value a
/// channel: then no buffer has moved.
template <int kRank>
class GhostBatchNorm : public Layer<GhostBatchNorm<kRank>>, public BatchNormState {
 public:
  using Options = GhostBatchNormOptions;
  explicit GhostBatchNorm(int64_t num_features, Options o = {});
  Tensor forward(In x);
  void visit(Visitor& v) override { list(v); }
  std::string type_name() const override {
    return kRank == 1 ? "GhostBatchNorm1d" : "GhostBatchNorm2d";
  }
  std::string describe() const override;

  int64_t virtual_batch_size;

 private:
  void check_last_piece(const Tensor& x) const;
};
using GhostBatchNorm1d = GhostBatchNorm<1>;
using GhostBatchNorm2d = GhostBatchNorm<2>;

struct BatchRenormOptions {
  double eps = 1e-3;
  double momentum = 0.01;  // running = (1 - momentum) running + momentum batch
  double r_max = 3;        // 1 and d_max 0: BatchNorm, as the paper begins
  double d_max = 5;
  bool affine = true;
};

/// Batch renormalization (Ioffe 2017): BatchNorm whose training output is what eval mode would
/// give, as long as the batch is near enough to the running averages:
///   y = ((x - mean) / std * r + d) * weight + bias,
///   r = std / running_std within [1 / r_max, r_max], d = (mean - running_mean) / running_std within
///   [-d_max, d_max],
/// no gradient through r and d; std = sqrt(biased variance + eps). Eval mode: (x - running_mean) /
/// running_std. (N, C) or (N, C, L) if kRank is 1, (N, C, H, W) if 2. weight 1, bias 0,
/// running_mean 0, running_std 1, all (C). A training may raise `options.r_max` and `d_max` as it
/// goes. ValueError for r_max below 1, a negative d_max, and in training for one value a channel;
/// ShapeError for other ranks.
template <int kRank> class BatchRenorm : public Layer<BatchRenorm<kRank>> {
 public:
  using Options = BatchRenormOptions;
  explicit BatchRenorm(int64_t num_features, Options o = {});
  Tensor forward(In x);
  void visit(Visitor& v) override {
    v("weight", weight, "bias", bias);
    v.buffers("running_mean", running_mean, "running_std", running_std);
  }
  std::string type_name() const override { return kRank == 1 ? "BatchRenorm1d" : "BatchRenorm2d"; }
  std::string describe() const override;

  Options options;
  Tensor weight, bias, running_mean, running_std;
};
using BatchRenorm1d = BatchRenorm<1>;
using BatchRenorm2d = BatchRenorm<2>;

}  // namespace loupe
