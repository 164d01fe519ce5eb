#pragma once
// Normalization: y = (x - mean) / sqrt(var + eps) * weight + bias, with the biased variance; the
// ops differ in what mean and var are taken over. weight and bias may be undefined. Channel norms
// work on channels-last memory and give it; layer and RMS norm work on rows. Kernels and formulas:
// core/kernels/norm/norm.h. DtypeError where element types differ.
#include <loupe/core/tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace loupe {

/// What frameworks disagree on. torch: running_var takes the unbiased variance, and training with
/// one value a channel is a ValueError. keras3: running_var takes the biased one, and a mask's
/// counts have 1e-7 added.
enum class NormConvention { torch, keras3 };

/// A batch that several processes hold a share of each: what batch_norm then asks the others for
/// (distributed/). Every process makes the same calls in the same order.
class BatchShares {
 public:
  virtual ~BatchShares() = default;
  /// The values of all processes, those of process 0 first; each gives as many.
  virtual std::vector<double> gather(std::span<const double> own) = 0;
  /// The sum of t over all processes, recorded: its gradient is the sum of theirs.
  virtual Tensor sum(const Tensor& t) = 0;
};

struct BatchNormArgs {
  /// (C), updated in place when training; needed when not. Undefined: none are kept.
  Tensor running_mean = {}, running_var = {};
  /// Statistics of this batch, else the running ones, which are then constants to the gradient.
  bool training = true;
  /// running = (1 - momentum) running + momentum batch.
  double momentum = 0.1;
  double eps = 1e-5;
  /// The channel dimension, which is kept.
  int64_t axis = 1;
  /// bool, x's shape without `axis`: false positions take no part in the statistics (they are
  /// normalized with them).
  Tensor mask = {};
  NormConvention convention = NormConvention::torch;
  /// The rest of the batch, in training: statistics and gradients are those of all shares together,
  /// by global counts, and a share may be empty. None: x is the whole batch. ValueError with a
  /// mask.
  std::shared_ptr<BatchShares> shares = {};
};

/// Batch norm over all dimensions but `axis` (Ioffe and Szegedy 2015). x has rank 2 or more;
/// weight, bias (C).
Tensor batch_norm(In x, In weight, In bias, const BatchNormArgs& args);
/// relu(batch_norm(x)) in one pass each way; relu's input is not kept.
Tensor batch_norm_relu(In x, In weight, In bias, const BatchNormArgs& args);
/// max_pool2d(relu(batch_norm(x)), 2) of (N, C, H, W), in one pass each way; only x is kept.
Tensor batch_norm_relu_max_pool(In x, In weight, In bias, const BatchNormArgs& args);

/// Over each image's groups of C / groups neighbouring channels and all positions (Wu and He 2018).
/// x (N, C, ...).
Tensor group_norm(In x, int64_t groups, In weight, In bias, double eps = 1e-5);
/// Over each image's positions, a channel at a time (Ulyanov et al. 2016). x (N, C, ...).
/// running_mean and running_var take the average over the images; with training = false they are
/// used instead. ValueError for an axis, a mask, a convention or shares other than the defaults.
Tensor instance_norm(In x, In weight, In bias, const BatchNormArgs& args);

/// Over the last dimensions, which have normalized_shape; so do weight and bias (Ba et al. 2016).
Tensor layer_norm(In x, const Shape& normalized_shape, In weight, In bias, double eps = 1e-5);
/// x / sqrt(mean(x^2) + eps) * weight over the last dimensions (Zhang and Sennrich 2019).
/// eps: the element type's epsilon by default, as in PyTorch.
Tensor rms_norm(In x, const Shape& normalized_shape, In weight, std::optional<double> eps = {});

}  // namespace loupe
