#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using mine::Rows;
using Labels = std::vector<size_t>;

Tensor as_tensor(const Rows& rows) {
  std::vector<double> all;
  for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
  return from_data(all, Shape{static_cast<int64_t>(rows.size()),
                              static_cast<int64_t>(all.size() / rows.size())});
}

Rows as_rows(const Tensor& t) {
  Rows rows;
  for (int64_t i = 0; i < t.size(0); ++i) rows.push_back(t[i].to_vector<double>());
  return rows;
}

Tensor as_tensor(const Labels& labels) {
  return from_data(std::vector<int64_t>(labels.begin(), labels.end()));
}

// A loss that is a mean over the rows of f(row, label).
Tensor mean_of(const Rows& rows, const Labels& labels,
               const std::function<double(const std::vector<double>&, double)>& f) {
  double sum = 0;
  for (size_t i = 0; i < rows.size(); ++i) sum += f(rows[i], rows[i][labels[i]]);
  return scalar(sum / static_cast<double>(rows.size()), DType::f64);
}

double plain_sum(const std::vector<double>& row) {
  double sum = 0;
  for (double x : row) sum += std::exp(x);
  return sum;
}

double safe_sum(const std::vector<double>& row, double largest) {
  double sum = 0;
  for (double x : row) sum += std::exp(x - largest);
  return sum;
}

double largest_of(const std::vector<double>& row) {
  return *std::max_element(row.begin(), row.end());
}

void loss(Check& c, const std::string& name, const Rows& rows, const Labels& labels) {
  c.trying(name);
  const double yours = mine::cross_entropy(rows, labels);
  const double right = cross_entropy(as_tensor(rows), as_tensor(labels)).item();
  const double n = static_cast<double>(rows.size());
  if (!std::isfinite(yours))
    c.equal(
        "the loss", yours, right,
        {{"e^x was taken of the logits as they are: e^1000 is infinite, and e^-1000 is 0; subtract "
          "the largest logit of the row first",
          [&] { return scalar(yours, DType::f64); }}});
  c.equal(
      "the loss", yours, right,
      {{"you gave the sum over the rows: it is the mean",
        [&] { return scalar(right * n, DType::f64); }},
       {"the sign is wrong: the loss is minus the logarithm of the probability",
        [&] { return scalar(-right, DType::f64); }},
       {"you gave 1 - p or -p: it is the logarithm of p",
        [&] {
          return mean_of(rows, labels, [](const auto& row, double x) {
            return 1 - std::exp(x) / plain_sum(row);
          });
        }},
       {"you gave 1 - p or -p: it is the logarithm of p",
        [&] {
          return mean_of(rows, labels,
                         [](const auto& row, double x) { return -std::exp(x) / plain_sum(row); });
        }},
       {"the softmax is missing: this is the negative logit of the label alone",
        [&] { return mean_of(rows, labels, [](const auto&, double x) { return -x; }); }},
       {"you divided by the number of classes: it is the mean over the rows",
        [&] { return scalar(right * n / static_cast<double>(rows[0].size()), DType::f64); }},
       {"this is another logarithm: the natural one is std::log, not log10 or log2",
        [&] {
          return mean_of(rows, labels, [](const auto& row, double x) {
            return std::log10(safe_sum(row, largest_of(row))) - (x - largest_of(row));
          });
        }},
       {"a small number was added inside of the logarithm: it hides that p is 0 there, and caps "
        "the loss; do not compute p at all",
        [&] {
          const double added = std::log10(std::exp(-yours) - std::exp(-right));
          const bool round = rows.size() == 1 && std::abs(added - std::round(added)) < 1e-3;
          return round ? scalar(yours, DType::f64) : Tensor();
        }}},
      1e-11);
}

// Equal logits, all very large: the loss is log(classes).
void offset(Check& c, double by) {
  c.trying(fmt::format("three equal logits of {:g}", by));
  const Rows rows{{by, by, by}};
  const Labels labels{1};
  c.equal(
      "the loss", mine::cross_entropy(rows, labels), std::log(3.0),
      {{"largest + log(sum) - x loses its digits: write log(sum) - (x - largest), so that the two "
        "large numbers meet each other first",
        [&] {
          return mean_of(rows, labels, [](const auto& row, double x) {
            return largest_of(row) + std::log(safe_sum(row, largest_of(row))) - x;
          });
        }},
       {"largest + log(sum) - x loses its digits: write log(sum) - (x - largest), so that the two "
        "large numbers meet each other first",
        [&] {
          return mean_of(rows, labels, [](const auto& row, double x) {
            return std::log(safe_sum(row, largest_of(row))) + largest_of(row) - x;
          });
        }}});
}

void gradient(Check& c, const std::string& name, const Rows& rows, const Labels& labels) {
  c.trying(name + ", the gradient");
  const Tensor x = as_tensor(rows).requires_grad_();
  cross_entropy(x, as_tensor(labels)).backward();
  const Tensor right = x.grad(), p = softmax(x.detach());
  const double n = static_cast<double>(rows.size());
  const Tensor yours = as_tensor(mine::cross_entropy_gradient(rows, labels));
  c.equal(
      "the gradient", yours, right,
      {{"e^x was taken of the logits as they are, in the gradient: subtract the largest logit of "
        "the row there, too",
        [&] { return any(isnan(yours)).item() != 0 ? yours : Tensor(); }},
       {"you left out the 1 at the label: the gradient is p - 1 there", [&] { return p / n; }},
       {"the gradient is not divided by the number of rows: the loss is a mean",
        [&] { return right * n; }},
       {"the gradient has the wrong sign", [&] { return -right; }},
       {"the gradient counts only at the label: the other logits are in the sum below, too",
        [&] { return right * lt(right, 0).to(DType::f64); }}});
}

}  // namespace

void run(Check& c) {
  const int64_t n = c.between(3, 5), classes = c.between(3, 6);
  const Rows rows = as_rows(c.normal({n, classes}));
  Labels labels;
  for (int64_t i = 0; i < n; ++i) labels.push_back(static_cast<size_t>(c.between(0, classes - 1)));
  loss(c, fmt::format("{} rows of {} classes", n, classes), rows, labels);
  gradient(c, fmt::format("{} rows of {} classes", n, classes), rows, labels);
  loss(c, "a label with a logit 60 below the others", {{0, -60, 1}}, {1});
  loss(c, "logits of 1000", {{1000, 999, 0}, {-1000, -1001, -1002}}, {1, 2});
  gradient(c, "logits of 1000", {{1000, 999, 0}, {-1000, -1001, -1002}}, {1, 2});
  offset(c, 1e12);
  c.trying("a case that PyTorch computed");
  const Rows torch_rows = as_rows(c.torch("cross_entropy.x"));
  const std::vector<int64_t> target = c.torch("cross_entropy.target").to_vector<int64_t>();
  const Labels torch_labels(target.begin(), target.end());
  c.equal("the loss", mine::cross_entropy(torch_rows, torch_labels),
          c.torch("cross_entropy.loss").item());
  c.equal("the gradient", as_tensor(mine::cross_entropy_gradient(torch_rows, torch_labels)),
          c.torch("cross_entropy.dx"));
}

}  // namespace loupe::exercises
