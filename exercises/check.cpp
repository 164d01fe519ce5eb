#include <loupe/autograd/grad_mode.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/exercises/check.h>
#include <loupe/io/safetensors.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace loupe::exercises {

namespace {

struct Worst {
  int64_t at = 0;
  double difference = 0;
};

double size_of_largest(const std::vector<double>& values) {
  double largest = 1;
  for (double v : values)
    if (std::isfinite(v)) largest = std::max(largest, std::abs(v));
  return largest;
}

// The element with the largest difference; equal infinities do not differ, nor do two NaN.
Worst worst(const std::vector<double>& a, const std::vector<double>& b) {
  Worst w{0, -1};
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]));
    double d = same ? 0 : std::abs(a[i] - b[i]);
    if (std::isnan(d)) d = INFINITY;
    if (d > w.difference) w = {static_cast<int64_t>(i), d};
  }
  return w;
}

bool close(const Tensor& a, const Tensor& b, double tolerance) {
  if (a.shape() != b.shape()) return false;
  const std::vector<double> x = a.to_vector<double>(), y = b.to_vector<double>();
  return worst(x, y).difference <= tolerance * size_of_largest(y);
}

std::string index_text(const Shape& shape, int64_t flat) {
  if (shape.numel() == 1) return "";
  std::vector<int64_t> index(static_cast<size_t>(shape.rank()));
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[static_cast<size_t>(axis)] = flat % shape[axis];
    flat /= shape[axis];
  }
  return fmt::format("[{}]", fmt::join(index, ", "));
}

bool all_of(const std::vector<double>& values, const std::function<bool(double)>& holds) {
  return std::all_of(values.begin(), values.end(), holds);
}

// The one factor between all elements, or NaN.
double common_factor(const std::vector<double>& yours, const std::vector<double>& right,
                     double tolerance) {
  const size_t largest = static_cast<size_t>(
      std::max_element(right.begin(), right.end(),
                       [](double a, double b) { return std::abs(a) < std::abs(b); }) -
      right.begin());
  const double factor = yours[largest] / right[largest];
  for (size_t i = 0; i < yours.size(); ++i)
    if (!(std::abs(yours[i] - factor * right[i]) <=
          1e3 * tolerance * std::max(1.0, std::abs(yours[largest]))))
      return NAN;
  return factor;
}

std::string number_text(double v) { return std::isnan(v) ? "NaN" : fmt::format("{:.10g}", v); }

// What can be said of a wrong shape.
std::string shape_words(const Shape& yours, const Shape& right) {
  if (yours.numel() == right.numel() && yours.rank() > right.rank())
    return "the shape has a dimension of size 1 too many: sum or mean without keepdim, or reshape";
  if (yours.numel() == right.numel() && yours.rank() < right.rank())
    return "the shape has lost a dimension of size 1: keepdim = true, or reshape";
  if (yours.rank() > right.rank())
    return "the shape has a dimension too many: something is not summed";
  if (yours.rank() < right.rank()) return "the shape has a dimension too few: too much is summed";
  return "the sizes are not the right ones";
}

// What can be said of wrong numbers without an idea of how they came about.
std::string plain_words(const Tensor& yours, const Tensor& right, double tolerance) {
  const std::vector<double> y = yours.to_vector<double>(), r = right.to_vector<double>();
  const auto nan = std::count_if(y.begin(), y.end(), [](double v) { return std::isnan(v); });
  if (nan > 0 && !std::any_of(r.begin(), r.end(), [](double v) { return std::isnan(v); }))
    return fmt::format(
        "{} of {} numbers are NaN: 0/0, infinity - infinity, or the root or "
        "logarithm of a negative number",
        nan, y.size());
  if (all_of(y, [](double v) { return v == 0; })) return "all your numbers are 0";
  if (y.size() > 1 && yours.dim() == 2 && right.size(0) == right.size(1) &&
      close(yours.t().contiguous(), right, tolerance))
    return "your result is the transpose of the right one";
  const double factor = y.size() > 1 ? common_factor(y, r, tolerance) : NAN;
  if (std::abs(factor + 1) < 1e-6) return "every number has the wrong sign";
  if (std::isfinite(factor) && factor != 0)
    return fmt::format(
        "every number is the right one times {:.6g}: a factor is missing or too many", factor);
  size_t right_ones = 0;
  for (size_t i = 0; i < y.size(); ++i)
    right_ones += std::abs(y[i] - r[i]) <= tolerance * size_of_largest(r);
  if (right_ones > 0)
    return fmt::format("{} of {} numbers are right; look at what the others have in common",
                       right_ones, y.size());
  return "no number is right; work the first one out by hand and compare";
}

}  // namespace

Check::Check(uint64_t seed, std::string fixtures, std::function<void(const std::string&)> report)
    : rng(seed), fixtures_(std::move(fixtures)), report_(std::move(report)) {}

void Check::trying(const std::string& text) {
  trying_ = text;
  report_(text);
}

Tensor Check::normal(const Shape& shape, double deviation, double mean) {
  NoGrad off;
  return randn(rng, shape, DType::f64) * deviation + mean;
}

Tensor Check::torch(const std::string& name) const {
  return load_safetensors(fixtures_).tensors.at(name).clone();
}

void Check::fail_with(const std::string& what, const std::string& yours, const std::string& right,
                      const std::string& says, bool named) const {
  throw Failure{trying_, what, yours, right, says, named};
}

void Check::equal(const std::string& what, const Tensor& yours, const Tensor& right,
                  const Ideas& ideas, double tolerance) {
  const std::string expected = to_string(right.shape());
  if (!yours.defined())
    fail_with(what, "an undefined tensor", "shape " + expected, "you gave back an empty Tensor()",
              false);
  for (const Idea& idea : ideas) {
    try {
      const Tensor wrong = idea.value();
      // An idea that gives the right value here, or nearly, explains nothing.
      if (close(wrong, right, 100 * tolerance)) continue;
      if (!close(yours, wrong, tolerance)) continue;
    } catch (const Error&) { continue; }
    std::string shown_what = what, shown_yours = to_string(yours.shape()), shown_right = expected;
    if (yours.shape() == right.shape()) {
      const std::vector<double> y = yours.to_vector<double>(), r = right.to_vector<double>();
      const size_t at = static_cast<size_t>(worst(y, r).at);
      shown_what += index_text(right.shape(), static_cast<int64_t>(at));
      shown_yours = number_text(y[at]);
      shown_right = number_text(r[at]);
    }
    fail_with(shown_what, shown_yours, shown_right, idea.says, true);
  }
  if (yours.shape() != right.shape())
    fail_with(what, "shape " + to_string(yours.shape()), "shape " + expected,
              shape_words(yours.shape(), right.shape()), false);
  const std::vector<double> y = yours.to_vector<double>(), r = right.to_vector<double>();
  const Worst w = worst(y, r);
  if (w.difference <= tolerance * size_of_largest(r)) return;
  const size_t at = static_cast<size_t>(w.at);
  fail_with(what + index_text(right.shape(), w.at), number_text(y[at]), number_text(r[at]),
            plain_words(yours, right, tolerance), false);
}

void Check::equal(const std::string& what, double yours, double right, const Ideas& ideas,
                  double tolerance) {
  equal(what, scalar(yours, DType::f64), scalar(right, DType::f64), ideas, tolerance);
}

void Check::equal(const std::string& what, const std::vector<double>& yours,
                  const std::vector<double>& right, const Ideas& ideas, double tolerance) {
  equal(what, numbers(yours), numbers(right), ideas, tolerance);
}

void Check::equal(const std::string& what, const std::vector<int64_t>& yours,
                  const std::vector<int64_t>& right, const Ideas& ideas) {
  equal(what, numbers(yours), numbers(right), ideas);
}

void Check::expect(bool holds, const std::string& says) {
  if (!holds) fail_with("", "", "", says, true);
}

void Check::score(const std::string& text, double p) {
  score_text = text;
  points = std::clamp(p, 0.0, 1.0);
}

Tensor differences(const std::function<Tensor(const Tensor&)>& f, const Tensor& x,
                   const Tensor& upstream) {
  NoGrad off;
  const double step = 1e-5;
  const Tensor at = x.clone().contiguous(), slope = zeros(x.shape(), DType::f64);
  const auto value = at.data<double>(), out = slope.data<double>();
  for (size_t i = 0; i < value.size(); ++i) {
    const double before = value[i];
    value[i] = before + step;
    const double above = (f(at) * upstream).sum().item();
    value[i] = before - step;
    const double below = (f(at) * upstream).sum().item();
    value[i] = before;
    out[i] = (above - below) / (2 * step);
  }
  return slope;
}

Tensor numbers(const std::vector<double>& values) { return from_data(values); }
Tensor numbers(const std::vector<int64_t>& values) {
  return from_data(std::vector<double>(values.begin(), values.end()));
}

}  // namespace loupe::exercises
