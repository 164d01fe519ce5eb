#pragma once
// Losses. The mean over all elements unless `reduction` says otherwise; prediction and target must
// have one shape (no broadcasting: that hides mistakes).
#include <loupe/core/tensor.h>

namespace loupe {

/// What becomes of the losses of the elements. batchmean, kl_div's own: the sum divided by the
/// first size; the other losses refuse it with a ValueError.
enum class Reduction { none, mean, sum, batchmean };

struct CrossEntropyOptions {
  /// One factor for each class (C); undefined: all 1.
  Tensor weight{};
  /// Positions with this label count as nothing.
  int64_t ignore_index = -100;
  /// mean: the sum divided by the weights of the labels that count (NaN if none does); of
  /// probabilities, by the number of positions.
  Reduction reduction = Reduction::mean;
  /// The share of the target that is spread evenly over all classes.
  double label_smoothing = 0;
};
/// -log softmax(logits)[target]: logits (C), (N, C) or (N, C, d1, ...), target of that shape
/// without C, i64 -> a number, or target's shape for Reduction::none. IndexError names the first
/// label outside [0, C). Where every label is ignored the mean is NaN and the gradient 0.
///
/// -sum over the classes of weight target log softmax(logits): a floating target of the logits'
/// shape holds probabilities; it may require a gradient. ValueError for an ignore_index of 0 or
/// more.
///
/// Adding one constant to all logits of a position does not change the loss, except for the
/// rounding of the logits themselves.
Tensor cross_entropy(In logits, In target, const CrossEntropyOptions& options = {});

struct NllLossOptions {
  Tensor weight{};
  int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
};
/// -weight[target] log_probabilities[target]: nll_loss(log_softmax(x, 1), target) is
/// cross_entropy(x, target). Shapes, reductions and errors are cross_entropy's.
Tensor nll_loss(In log_probabilities, In target, const NllLossOptions& options = {});

struct LossOptions {
  Reduction reduction = Reduction::mean;
};
/// (x - y)^2.
Tensor mse_loss(In x, In target, LossOptions options = {});
/// |x - y|.
Tensor l1_loss(In x, In target, LossOptions options = {});

struct SmoothL1Options {
  double beta = 1;
  Reduction reduction = Reduction::mean;
};
/// d^2 / (2 beta) where d = |x - y| < beta, else d - beta / 2.
Tensor smooth_l1_loss(In x, In target, SmoothL1Options options = {});
struct HuberOptions {
  double delta = 1;
  Reduction reduction = Reduction::mean;
};
/// d^2 / 2 where d = |x - y| < delta, else delta (d - delta / 2). Huber, "Robust estimation of a
/// location parameter", 1964.
Tensor huber_loss(In x, In target, HuberOptions options = {});

struct BceOptions {
  /// A factor for each element, broadcast.
  Tensor weight{};
  /// A factor for the positive part, broadcast: one for each class makes rare positives count more.
  Tensor pos_weight{};
  Reduction reduction = Reduction::mean;
};
/// -(pos_weight y log sigmoid(x) + (1 - y) log(1 - sigmoid(x))), without overflow; targets in [0,
/// 1].
Tensor binary_cross_entropy_with_logits(In x, In target, const BceOptions& options = {});

struct BinaryCrossEntropyOptions {
  /// A factor for each element, broadcast.
  Tensor weight{};
  Reduction reduction = Reduction::mean;
};
/// -(y log p + (1 - y) log(1 - p)) of probabilities p and y in [0, 1] (ValueError outside), each
/// logarithm at least -100. The slope is (p - y) / max(p (1 - p), 1e-12), as PyTorch's. Of logits
/// take binary_cross_entropy_with_logits, which is exact for any size.
Tensor binary_cross_entropy(In p, In target, const BinaryCrossEntropyOptions& options = {});

struct KlDivOptions {
  /// mean divides by the number of elements; batchmean, by the first size, is the divergence per
  /// sample.
  Reduction reduction = Reduction::mean;
  /// The target holds logarithms too.
  bool log_target = false;
};
/// The terms of the Kullback-Leibler divergence KL(target || p): t (log t - log_p), 0 where t is 0;
/// with log_target, e^t (t - log_p). log_p holds logarithms of probabilities (log_softmax).
/// Kullback and Leibler, "On information and sufficiency", 1951.
Tensor kl_div(In log_p, In target, const KlDivOptions& options = {});

}  // namespace loupe
