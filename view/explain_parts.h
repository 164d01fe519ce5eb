#pragma once
// What the explanations share. Not part of the interface.
#include <loupe/core/error.h>
#include <loupe/view/explain.h>

#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace loupe::explaining {

/// A small matrix of doubles.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<double> values;

  Matrix() = default;
  Matrix(int64_t r, int64_t c) : rows(r), columns(c), values(static_cast<size_t>(r * c)) {}
  static Matrix of(const std::vector<std::vector<double>>& rows);
  double& operator()(int64_t i, int64_t j) { return values[static_cast<size_t>(i * columns + j)]; }
  double operator()(int64_t i, int64_t j) const {
    return values[static_cast<size_t>(i * columns + j)];
  }
  Tensor tensor() const;  // f64
};

Tensor vector_tensor(const std::vector<double>& values);  // f64

/// The user's input, checked, or `own`.
Matrix input_matrix(const ExplainOptions& o, const Matrix& own);
/// The index of the element that is followed: `given`, or the second of `size`.
int64_t element(const char* what, int64_t given, int64_t size);
/// A matrix of small numbers that differ: gradients from above, weights.
Matrix pattern(int64_t rows, int64_t columns);

/// A number as a term of a sum: in brackets if it is negative.
std::string signed_term(double value);
/// Rows are samples, columns features.
NumberGrid sample_grid(const Matrix& values, std::string caption, int64_t row = -1,
                       int64_t column = -1);
NumberGrid plain_grid(const Matrix& values, std::string caption, int64_t row = -1,
                      int64_t column = -1);

/// The largest difference between a calculation and the library's tensor, divided by the largest
/// number, or by 1 if that is larger. NumericError above 1e-12.
double difference(const std::string& what, const Matrix& calculated, const Tensor& library);
std::string checked_sentence(double difference);

Document batch_norm_by_numbers(const ExplainOptions& o);
Document layer_norm_by_numbers(const ExplainOptions& o);
Document rms_norm_by_numbers(const ExplainOptions& o);
Document group_norm_by_numbers(const ExplainOptions& o);
Document norms_by_numbers(const ExplainOptions& o);
Document linear_by_numbers(const ExplainOptions& o);
Document conv2d_by_numbers(const ExplainOptions& o);
Document attention_by_numbers(const ExplainOptions& o);
Document cross_entropy_by_numbers(const ExplainOptions& o);
Document adam_by_numbers(const ExplainOptions& o);

}  // namespace loupe::explaining
