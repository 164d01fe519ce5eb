#include <loupe/autograd/ops/sort.h>
#include <loupe/core/raw.h>
#include <loupe/layers/metrics.h>

#include <limits>
#include <numeric>

namespace loupe {
namespace {

void check_labels(const char* op, const Tensor& labels, int64_t rows) {
  if (labels.dtype() != DType::i64)
    fail<DtypeError>("{}: labels must be i64, got {}; convert with to(DType::i64)", op,
                     labels.dtype());
  if (labels.shape() != Shape{rows})
    fail<ShapeError>("{}: {} rows need labels of shape {}, got {}", op, rows, Shape{rows},
                     labels.shape());
}

void check_range(const char* op, const char* what, const Tensor& classes, int64_t limit) {
  const Tensor rows = raw::row_major(classes);
  for (const int64_t c : rows.data<int64_t>())
    if (c < 0 || c >= limit)
      fail<IndexError>("{}: the {} {} is outside [0, {})", op, what, c, limit);
}

double share(int64_t part, int64_t whole) {
  if (whole == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(part) / static_cast<double>(whole);
}

double top(const char* op, const Tensor& logits, const Tensor& labels, int64_t k) {
  if (logits.dim() != 2)
    fail<ShapeError>("{}: the logits must be (N, C), got {}", op, logits.shape());
  const int64_t rows = logits.size(0), classes = logits.size(1);
  check_labels(op, labels, rows);
  if (k < 1 || k > classes)
    fail<ValueError>("{}: k must lie in [1, {}], the number of classes, got {}", op, classes, k);
  check_range(op, "label", labels, classes);
  const Tensor best = raw::row_major(topk(logits.detach(), k).indices);
  const Tensor wanted = raw::row_major(labels);
  const int64_t* const candidates = best.ptr<int64_t>();
  int64_t right = 0;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < k; ++i) right += candidates[row * k + i] == wanted.ptr<int64_t>()[row];
  return share(right, rows);
}

}  // namespace

double accuracy(const Tensor& logits, const Tensor& labels) {
  return top("accuracy", logits, labels, 1);
}

double top_k_accuracy(const Tensor& logits, const Tensor& labels, int64_t k) {
  return top("top_k_accuracy", logits, labels, k);
}

ConfusionMatrix::ConfusionMatrix(int64_t classes) : classes_(classes) {
  if (classes < 1) fail<ValueError>("ConfusionMatrix: needs at least one class, got {}", classes);
  reset();
}

void ConfusionMatrix::reset() { counts_.assign(static_cast<size_t>(classes_ * classes_), 0); }

void ConfusionMatrix::update(const Tensor& predictions, const Tensor& labels) {
  Tensor predicted = predictions;
  if (predictions.dim() == 2) {
    if (predictions.size(1) != classes_)
      fail<ShapeError>("ConfusionMatrix: the logits must be (N, {}), got {}", classes_,
                       predictions.shape());
    predicted = raw::row_major(topk(predictions.detach(), 1).indices.select(1, 0));
  } else if (predictions.dim() != 1 || predictions.dtype() != DType::i64) {
    fail<ShapeError>("ConfusionMatrix: needs logits (N, {}) or classes (N) in i64, got {} {}",
                     classes_, predictions.dtype(), predictions.shape());
  }
  check_labels("ConfusionMatrix", labels, predicted.size(0));
  check_range("ConfusionMatrix", "label", labels, classes_);
  check_range("ConfusionMatrix", "prediction", predicted, classes_);
  const Tensor rows = raw::row_major(labels), columns = raw::row_major(predicted);
  for (int64_t i = 0; i < rows.numel(); ++i) {
    const int64_t label = rows.ptr<int64_t>()[i], answer = columns.ptr<int64_t>()[i];
    ++counts_[static_cast<size_t>(label * classes_ + answer)];
  }
}

int64_t ConfusionMatrix::at(int64_t label, int64_t prediction) const {
  return counts_[static_cast<size_t>(label * classes_ + prediction)];
}

int64_t ConfusionMatrix::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

Tensor ConfusionMatrix::counts() const { return from_data(counts_, Shape{classes_, classes_}); }

void ConfusionMatrix::check_class(const char* what, int64_t c) const {
  if (c < 0 || c >= classes_)
    fail<IndexError>("ConfusionMatrix: {}: class {} is outside [0, {})", what, c, classes_);
}

int64_t ConfusionMatrix::labelled(int64_t c) const {
  int64_t n = 0;
  for (int64_t j = 0; j < classes_; ++j) n += at(c, j);
  return n;
}

int64_t ConfusionMatrix::predicted(int64_t c) const {
  int64_t n = 0;
  for (int64_t i = 0; i < classes_; ++i) n += at(i, c);
  return n;
}

double ConfusionMatrix::accuracy() const {
  int64_t right = 0;
  for (int64_t c = 0; c < classes_; ++c) right += at(c, c);
  return share(right, total());
}

double ConfusionMatrix::precision(int64_t c) const {
  check_class("precision", c);
  return predicted(c) ? share(at(c, c), predicted(c)) : 0;
}

double ConfusionMatrix::recall(int64_t c) const {
  check_class("recall", c);
  return labelled(c) ? share(at(c, c), labelled(c)) : 0;
}

double ConfusionMatrix::f1(int64_t c) const {
  check_class("f1", c);
  const int64_t both = predicted(c) + labelled(c);
  return both ? share(2 * at(c, c), both) : 0;
}

double ConfusionMatrix::macro_f1() const {
  double sum = 0;
  for (int64_t c = 0; c < classes_; ++c) sum += f1(c);
  return sum / static_cast<double>(classes_);
}

}  // namespace loupe
