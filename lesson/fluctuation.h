#pragma once
// How much the statistics of BatchNorm differ from batch to batch (after Shen et al. 2020,
// PowerNorm).
#include <loupe/layers/module.h>
#include <loupe/lesson/runs.h>

#include <string>
#include <vector>

namespace loupe::lesson {

/// Watches a model's BatchNorm layers, and one's own norms, through hooks, while batches go through it in training mode.
class Fluctuation : Pinned {
 public:
  enum class Of { convolutions, all };
  Fluctuation(Module& model, Of which);
  /// Takes its hooks away, and any others of these layers.
  ~Fluctuation();

  Tensor keep;  // (n) bool: the rows of the coming batch that count; undefined: all

  /// Metrics, averages over the layers:
  ///   fluctuation_mean      sqrt(average over channels of (variance of the batch means / average
  ///   batch variance)): in units of
  ///                         the data's deviation, so 1/sqrt(n) for n independent values a batch
  ///   fluctuation_variance  average over channels of (deviation of the batch variances / their
  ///   average) values                values behind one statistic
  /// each with `suffix`; none without a BatchNorm layer or with fewer than two batches.
  void write(Record& r, const std::string& suffix) const;

 private:
  void see(size_t layer, const Tensor& x);
  std::vector<Module*> watched_;
  std::vector<std::vector<Tensor>> means_, variances_;  // [layer][batch], (channels), f64
  double values_ = 0;
};

}  // namespace loupe::lesson
