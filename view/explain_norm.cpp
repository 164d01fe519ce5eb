// Normalization layers by numbers.
#include "explain_parts.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <cmath>
#include <functional>

namespace loupe::explaining {
namespace {

constexpr double kEps = 1e-5;

// A norm over a matrix (samples, features): which cells share a statistic, and what is taken off.
struct Norm {
  std::string title, sentence, formula, backward;
  std::string index;                                      // of a statistic: "j" or "i"
  std::function<int(int64_t row, int64_t column)> group;  // cells that share a statistic
  bool centred = true;                                    // the mean is taken off
  std::function<Tensor(const Tensor& x, const Tensor& gamma, const Tensor& beta)> op;
};

// What one group's cells give.
struct Statistics {
  double mean = 0, variance = 0, sd = 1;  // variance: mean square if not centred
  int64_t count = 0;
};

struct Problem {
  Matrix x, dy;
  std::vector<double> gamma, beta;
  int64_t row, column;
};

class Calculation {
 public:
  Calculation(const Norm& norm, const Problem& p) : norm_(norm), p_(p) {
    for (int64_t i = 0; i < p.x.rows; ++i)
      for (int64_t j = 0; j < p.x.columns; ++j) cells_[norm.group(i, j)].push_back({i, j});
  }

  Statistics statistics(int group) const {
    Statistics s;
    const auto& cells = cells_.at(group);
    s.count = static_cast<int64_t>(cells.size());
    const double n = static_cast<double>(s.count);
    if (norm_.centred)
      for (const auto& [i, j] : cells) s.mean += p_.x(i, j) / n;
    for (const auto& [i, j] : cells) {
      const double d = p_.x(i, j) - s.mean;
      s.variance += d * d / n;
    }
    s.sd = std::sqrt(s.variance + kEps);
    return s;
  }

  double normalized(int64_t i, int64_t j) const {
    const Statistics s = statistics(norm_.group(i, j));
    return (p_.x(i, j) - s.mean) / s.sd;
  }

  double forward(int64_t i, int64_t j) const {
    const size_t f = static_cast<size_t>(j);
    return p_.gamma[f] * normalized(i, j) + p_.beta[f];
  }

  // The two sums over a group that the backward pass needs: of g and of g x^, g = gamma dy.
  double scaled(int64_t i, int64_t j) const {
    return p_.gamma[static_cast<size_t>(j)] * p_.dy(i, j);
  }
  double mean_gradient(int group) const {
    if (!norm_.centred) return 0;
    double sum = 0;
    for (const auto& [i, j] : cells_.at(group)) sum += scaled(i, j);
    return sum / static_cast<double>(cells_.at(group).size());
  }
  double mean_product(int group) const {
    double sum = 0;
    for (const auto& [i, j] : cells_.at(group)) sum += scaled(i, j) * normalized(i, j);
    return sum / static_cast<double>(cells_.at(group).size());
  }
  double backward(int64_t i, int64_t j) const {
    const int group = norm_.group(i, j);
    return (scaled(i, j) - mean_gradient(group) - normalized(i, j) * mean_product(group)) /
           statistics(group).sd;
  }

  // "2 + 0 + 3": one term for each cell of the group.
  std::string terms(int group, const std::function<double(int64_t, int64_t)>& term) const {
    std::string out;
    for (const auto& [i, j] : cells_.at(group))
      out += (out.empty() ? "" : " + ") + signed_term(term(i, j));
    return out;
  }

  Matrix matrix(const std::function<double(int64_t, int64_t)>& value) const {
    Matrix m(p_.x.rows, p_.x.columns);
    for (int64_t i = 0; i < m.rows; ++i)
      for (int64_t j = 0; j < m.columns; ++j) m(i, j) = value(i, j);
    return m;
  }

 private:
  const Norm& norm_;
  const Problem& p_;
  std::map<int, std::vector<std::pair<int64_t, int64_t>>> cells_;
};

NumberGrid grid_of(const Norm& norm, const Problem& p, const Matrix& values, std::string caption) {
  NumberGrid grid = sample_grid(values, std::move(caption), p.row, p.column);
  for (int64_t i = 0; i < values.rows; ++i) {
    grid.groups.emplace_back();
    for (int64_t j = 0; j < values.columns; ++j) grid.groups.back().push_back(norm.group(i, j));
  }
  return grid;
}

std::string forward_lines(const Norm& norm, const Problem& p, const Calculation& c) {
  const int64_t i = p.row, j = p.column;
  const int group = norm.group(i, j);
  const Statistics s = c.statistics(group);
  const std::string k = norm.index;
  const size_t f = static_cast<size_t>(j);
  const auto x = [&](int64_t r, int64_t q) { return p.x(r, q); };
  std::string out;
  if (norm.centred) {
    out +=
        fmt::format("mean_{} = ({}) / {} = {}\n", k, c.terms(group, x), s.count, decimal(s.mean));
    const auto square = [&](int64_t r, int64_t q) {
      return (p.x(r, q) - s.mean) * (p.x(r, q) - s.mean);
    };
    out += fmt::format("var_{}  = ({}) / {} = {}      squares of x - mean\n", k,
                       c.terms(group, square), s.count, decimal(s.variance));
  } else {
    const auto square = [&](int64_t r, int64_t q) { return p.x(r, q) * p.x(r, q); };
    out += fmt::format("ms_{} = ({}) / {} = {}      squares of x\n", k, c.terms(group, square),
                       s.count, decimal(s.variance));
  }
  out +=
      fmt::format("x^ = ({} - {}) / sqrt({} + {}) = {}\n", decimal(p.x(i, j)), signed_term(s.mean),
                  decimal(s.variance), decimal(kEps), decimal(c.normalized(i, j)));
  out += fmt::format("y  = gamma x^ + beta = {} * {} + {} = {}", decimal(p.gamma[f]),
                     signed_term(c.normalized(i, j)), signed_term(p.beta[f]),
                     decimal(c.forward(i, j)));
  return out;
}

std::string backward_lines(const Norm& norm, const Problem& p, const Calculation& c) {
  const int64_t i = p.row, j = p.column;
  const int group = norm.group(i, j);
  const Statistics s = c.statistics(group);
  const auto g = [&](int64_t r, int64_t q) { return c.scaled(r, q); };
  const auto gx = [&](int64_t r, int64_t q) { return c.scaled(r, q) * c.normalized(r, q); };
  std::string out =
      fmt::format("g = gamma dy = {} * {} = {}\n", decimal(p.gamma[static_cast<size_t>(j)]),
                  signed_term(p.dy(i, j)), decimal(c.scaled(i, j)));
  if (norm.centred)
    out += fmt::format("mean of g    = ({}) / {} = {}\n", c.terms(group, g), s.count,
                       decimal(c.mean_gradient(group)));
  out += fmt::format("mean of g x^ = ({}) / {} = {}\n", c.terms(group, gx), s.count,
                     decimal(c.mean_product(group)));
  const std::string mean =
      norm.centred ? fmt::format(" - {}", signed_term(c.mean_gradient(group))) : "";
  out += fmt::format("dx = ({}{} - {} * {}) / {} = {}", decimal(c.scaled(i, j)), mean,
                     signed_term(c.normalized(i, j)), signed_term(c.mean_product(group)),
                     decimal(s.sd), decimal(c.backward(i, j)));
  return out;
}

// The op in f64 gives the same numbers, forward and backward.
double checked_difference(const Norm& norm, const Problem& p, const Calculation& c) {
  const Tensor x = p.x.tensor().requires_grad_();
  const Tensor y = norm.op(x, vector_tensor(p.gamma), vector_tensor(p.beta));
  y.backward(p.dy.tensor());
  const auto forward = [&](int64_t i, int64_t j) { return c.forward(i, j); };
  const auto backward = [&](int64_t i, int64_t j) { return c.backward(i, j); };
  return std::max(difference(norm.title, c.matrix(forward), y),
                  difference(norm.title + " backward", c.matrix(backward), x.grad()));
}

Document document_of(const Norm& norm, const Problem& p) {
  const Calculation c(norm, p);
  Document d(norm.title);
  d.paragraph(norm.sentence);
  d.grid(
      grid_of(norm, p, p.x, "The input x. Cells with one letter (one colour) share a statistic."));
  d.lines(norm.formula);
  d.heading(fmt::format("Forward: sample {}, feature {}", p.row, p.column));
  d.lines(forward_lines(norm, p, c));
  const auto forward = [&](int64_t i, int64_t j) { return c.forward(i, j); };
  d.grid(grid_of(norm, p, c.matrix(forward), "The output y."));
  d.heading("Backward");
  d.paragraph(norm.backward);
  d.grid(grid_of(norm, p, p.dy, "The gradient dy that arrives from above."));
  d.lines(backward_lines(norm, p, c));
  const auto backward = [&](int64_t i, int64_t j) { return c.backward(i, j); };
  d.grid(grid_of(norm, p, c.matrix(backward), "The gradient dx."));
  d.paragraph(checked_sentence(checked_difference(norm, p, c)));
  return d;
}

const char* const kSharedBackward =
    "x has three ways to y: itself, through the mean, and through the variance. Their sum is "
    "dx = (g - mean(g) - x^ mean(g x^)) / sqrt(var + eps), with g = gamma dy and means over the "
    "cells that share the statistic.";

Norm batch_norm_of() {
  Norm n;
  n.title = "BatchNorm";
  n.sentence =
      "Each feature (column) is normalized over the samples of the batch. A sample's output "
      "depends "
      "on the other samples.";
  n.formula =
      "mean_j = 1/N sum_i x_ij      var_j = 1/N sum_i (x_ij - mean_j)^2\n"
      "y_ij = gamma_j (x_ij - mean_j) / sqrt(var_j + eps) + beta_j";
  n.backward = kSharedBackward;
  n.index = "j";
  n.group = [](int64_t, int64_t column) { return static_cast<int>(column); };
  n.op = [](const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    return batch_norm(x, gamma, beta, {.eps = kEps});
  };
  return n;
}

Norm layer_norm_of() {
  Norm n;
  n.title = "LayerNorm";
  n.sentence =
      "Each sample (row) is normalized over its own features. The other samples play no part: a "
      "batch of one gives the same numbers.";
  n.formula =
      "mean_i = 1/F sum_j x_ij      var_i = 1/F sum_j (x_ij - mean_i)^2\n"
      "y_ij = gamma_j (x_ij - mean_i) / sqrt(var_i + eps) + beta_j";
  n.backward = kSharedBackward;
  n.index = "i";
  n.group = [](int64_t row, int64_t) { return static_cast<int>(row); };
  n.op = [](const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    return layer_norm(x, {x.size(1)}, gamma, beta, kEps);
  };
  return n;
}

Norm rms_norm_of() {
  Norm n = layer_norm_of();
  n.title = "RMSNorm";
  n.sentence =
      "Each sample (row) is divided by the root of the mean of its squares. No mean is taken off, "
      "and "
      "there is no beta.";
  n.formula =
      "ms_i = 1/F sum_j x_ij^2\n"
      "y_ij = gamma_j x_ij / sqrt(ms_i + eps)";
  n.backward =
      "Without a mean one way is missing: dx = (g - x^ mean(g x^)) / sqrt(ms + eps), with "
      "g = gamma dy.";
  n.centred = false;
  n.op = [](const Tensor& x, const Tensor& gamma, const Tensor&) {
    return rms_norm(x, {x.size(1)}, gamma, kEps);
  };
  return n;
}

Norm group_norm_of(int64_t features) {
  if (features % 2 != 0)
    fail<ShapeError>("explain: group_norm needs an even number of features, got {}", features);
  Norm n;
  n.title = "GroupNorm with 2 groups";
  n.sentence =
      "Each sample's features are cut into groups (here 2), and each group is normalized by "
      "itself. "
      "One group is LayerNorm; a group for each feature, over an image's pixels, is InstanceNorm.";
  n.formula =
      "mean and var over the features of one sample's group\n"
      "y_ij = gamma_j (x_ij - mean) / sqrt(var + eps) + beta_j";
  n.backward = kSharedBackward;
  n.index = "g";
  n.group = [features](int64_t row, int64_t column) {
    return static_cast<int>(2 * row + 2 * column / features);
  };
  n.op = [](const Tensor& x, const Tensor& gamma, const Tensor& beta) {
    return group_norm(x, 2, gamma, beta, kEps);
  };
  return n;
}

Problem problem_of(const ExplainOptions& o) {
  const Matrix own = Matrix::of({{1, 2, 6, 3}, {3, 0, 2, 7}, {5, 4, 0, 1}, {7, 2, 4, 5}});
  Problem p;
  p.x = input_matrix(o, own);
  p.dy = pattern(p.x.rows, p.x.columns);
  for (int64_t j = 0; j < p.x.columns; ++j) {
    p.gamma.push_back(1 + 0.5 * static_cast<double>(j % 3));
    p.beta.push_back(0.1 * static_cast<double>(j % 2));
  }
  p.row = element("row", o.row, p.x.rows);
  p.column = element("column", o.column, p.x.columns);
  return p;
}

}  // namespace

Document batch_norm_by_numbers(const ExplainOptions& o) {
  return document_of(batch_norm_of(), problem_of(o));
}
Document layer_norm_by_numbers(const ExplainOptions& o) {
  return document_of(layer_norm_of(), problem_of(o));
}
Document rms_norm_by_numbers(const ExplainOptions& o) {
  Problem p = problem_of(o);
  std::fill(p.beta.begin(), p.beta.end(), 0.0);
  return document_of(rms_norm_of(), p);
}
Document group_norm_by_numbers(const ExplainOptions& o) {
  const Problem p = problem_of(o);
  return document_of(group_norm_of(p.x.columns), p);
}
Document norms_by_numbers(const ExplainOptions& o) {
  const Problem p = problem_of(o);
  Document d("BatchNorm and LayerNorm by numbers");
  d.paragraph(
      "The same input, the same gamma and beta, the same gradient from above. Only the cells that "
      "share a statistic differ: columns for BatchNorm, rows for LayerNorm.");
  d.beside(document_of(batch_norm_of(), p), document_of(layer_norm_of(), p));
  return d;
}

}  // namespace loupe::explaining
