#pragma once
// How well a classifier does: shares of correct answers, and the confusion matrix. Nothing here is
// recorded for backward().
#include <loupe/core/tensor.h>

namespace loupe {

/// The share of rows whose largest logit (the first of equals) stands at the label: logits (N, C),
/// labels (N) in i64. NaN for no rows. ShapeError, DtypeError; IndexError for a label outside [0,
/// C).
double accuracy(const Tensor& logits, const Tensor& labels);
/// The share of rows whose label is among the k largest logits. ValueError unless 1 <= k <= C.
double top_k_accuracy(const Tensor& logits, const Tensor& labels, int64_t k);

/// Counts of (label, prediction) over any number of batches. With tp right answers for a class:
/// precision = tp / predicted, recall = tp / labelled, F1 = 2 tp / (predicted + labelled), and 0
/// where the divisor is 0.
class ConfusionMatrix {
 public:
  /// ValueError unless there is at least one class.
  explicit ConfusionMatrix(int64_t classes);

  /// Adds a batch: logits (N, C), or predicted classes (N) in i64, against labels (N) in i64.
  /// IndexError for a class outside [0, C); nothing has been counted then.
  void update(const Tensor& predictions, const Tensor& labels);
  void reset();

  int64_t classes() const { return classes_; }
  /// All rows counted so far.
  int64_t total() const;
  /// (C, C) in i64: row = label, column = prediction.
  Tensor counts() const;
  /// The share of the diagonal. NaN before the first row.
  double accuracy() const;
  double precision(int64_t c) const;
  double recall(int64_t c) const;
  double f1(int64_t c) const;
  /// The mean of f1 over the classes.
  double macro_f1() const;

 private:
  int64_t at(int64_t label, int64_t prediction) const;
  int64_t labelled(int64_t c) const;
  int64_t predicted(int64_t c) const;
  void check_class(const char* what, int64_t c) const;

  int64_t classes_;
  std::vector<int64_t> counts_;
};

}  // namespace loupe
