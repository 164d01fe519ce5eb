#include "explain_parts.h"

#include <loupe/autograd/ops.h>
#include <loupe/core/raw.h>

#include <algorithm>
#include <cmath>

namespace loupe::explaining {

Matrix Matrix::of(const std::vector<std::vector<double>>& rows) {
  Matrix m(static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size()));
  for (int64_t i = 0; i < m.rows; ++i)
    for (int64_t j = 0; j < m.columns; ++j)
      m(i, j) = rows[static_cast<size_t>(i)][static_cast<size_t>(j)];
  return m;
}

Tensor Matrix::tensor() const { return from_data(values, Shape{rows, columns}); }

Tensor vector_tensor(const std::vector<double>& values) { return from_data(values); }

Matrix input_matrix(const ExplainOptions& o, const Matrix& own) {
  if (!o.input.defined()) return own;
  constexpr int64_t kMost = 8;  // what a page of 80 columns shows
  if (o.input.dim() != 2)
    fail<ShapeError>("explain: expected a matrix, got shape {}", o.input.shape());
  Matrix m(o.input.size(0), o.input.size(1));
  if (m.rows < 1 || m.columns < 1 || m.rows > kMost || m.columns > kMost)
    fail<ShapeError>("explain: expected 1 to {} rows and columns, got shape {}", kMost,
                     o.input.shape());
  m.values = o.input.to_vector<double>();
  for (const double v : m.values)
    if (!std::isfinite(v)) fail<ValueError>("explain: the input holds {}, expected numbers", v);
  return m;
}

int64_t element(const char* what, int64_t given, int64_t size) {
  if (given < -1 || given >= size)
    fail<ValueError>("explain: {} {} is not one of 0 to {}", what, given, size - 1);
  return given >= 0 ? given : std::min<int64_t>(1, size - 1);
}

Matrix pattern(int64_t rows, int64_t columns) {
  // Numbers in tenths that look like no simple rule: no sum of them is 0.
  constexpr double kTenths[] = {3, -1, 4, -2, 5, 1, -3, 2, 6, -4, 7};
  Matrix m(rows, columns);
  for (size_t k = 0; k < m.values.size(); ++k) m.values[k] = kTenths[k % 11] / 10;
  return m;
}

std::string signed_term(double value) {
  const std::string text = decimal(value);
  return text[0] == '-' ? "(" + text + ")" : text;
}

NumberGrid sample_grid(const Matrix& values, std::string caption, int64_t row, int64_t column) {
  NumberGrid grid = plain_grid(values, std::move(caption), row, column);
  for (int64_t j = 0; j < values.columns; ++j) grid.columns.push_back(fmt::format("feature {}", j));
  for (int64_t i = 0; i < values.rows; ++i) grid.rows.push_back(fmt::format("sample {}", i));
  return grid;
}

NumberGrid plain_grid(const Matrix& values, std::string caption, int64_t row, int64_t column) {
  NumberGrid grid;
  grid.caption = std::move(caption);
  for (int64_t i = 0; i < values.rows; ++i) {
    grid.cells.emplace_back();
    for (int64_t j = 0; j < values.columns; ++j) grid.cells.back().push_back(values(i, j));
  }
  grid.marked_row = row;
  grid.marked_column = column;
  return grid;
}

double difference(const std::string& what, const Matrix& calculated, const Tensor& library) {
  const std::vector<double> theirs = library.to_vector<double>();
  double worst = 0, largest = 1e-300;
  for (size_t k = 0; k < theirs.size(); ++k) {
    const double off = std::abs(theirs[k] - calculated.values[k]);
    if (off > worst || std::isnan(off)) worst = off;  // a NaN stays
    largest = std::max(largest, std::abs(theirs[k]));
  }
  constexpr double kBound = 1e-12;
  if (!(worst <= kBound * std::max(largest, 1.0)))
    fail<NumericError>("explain: {}: the calculation and the library differ by {}", what, worst);
  return worst / std::max(largest, 1.0);
}

std::string checked_sentence(double difference) {
  return fmt::format(
      "Checked: the library computes the same in float64, forward and backward (largest difference "
      "{:.0e} of the largest number).",
      difference);
}

}  // namespace loupe::explaining
