#pragma once
// Layers by numbers: what shares a statistic, the formula, and one element's calculation, forward
// and backward, on a small input. Every number is computed here in plain doubles, and compared with
// what the library's op gives in f64.
#include <loupe/core/tensor.h>
#include <loupe/view/document.h>

#include <string>
#include <vector>

namespace loupe {

/// The layers that explain() knows: "linear", "conv2d", "batch_norm", "layer_norm", "rms_norm",
/// "group_norm", "attention", "cross_entropy", "adam", and "norms" (BatchNorm and LayerNorm side by
/// side on the same input).
std::vector<std::string> explained_layers();

struct ExplainOptions {
  /// The input, f64: (samples, features) for linear, the norms and cross_entropy (its logits),
  /// where group_norm takes an even number of features; (height, width) for conv2d; (tokens, width)
  /// for attention; one row of gradients for adam, a step each. Undefined: a small one of its own.
  Tensor input = {};
  /// The element that is followed; -1: the second one (the only one, if there is one). attention
  /// uses `row` alone, adam neither.
  int64_t row = -1, column = -1;
};

/// The explanation. ValueError for a layer it does not know, an element outside, or a number that
/// is not finite; ShapeError for an input that does not fit or has more than 8 rows or columns.
/// NumericError if the calculation and the library's op differ by more than 1e-12 of the largest
/// number, or of 1 if that is larger: a bug of the library.
Document explain(const std::string& layer, const ExplainOptions& options = {});

}  // namespace loupe
