// Norms, pools, products, softmaxes, attention and losses at special inputs (zeros of both signs,
// infinities, NaN, subnormal numbers, ties, equal elements, the largest numbers) against PyTorch:
// results, and gradients by the kernels and under create_graph.
// Fixture: tests/fixtures/make_special_layers.py.
#include "fixture.h"
#include "op_checks.h"

#include <loupe/autograd/ops.h>

#include <functional>
#include <map>
#include <set>
#include <sstream>

namespace loupe::testing {
namespace {

Tensor images(const Tensor& x) { return x.reshape({-1, 1, 2, 2}); }

// Small numbers that differ from each other, as the fixture's script makes them.
Tensor numbers(const Tensor& x, const Shape& shape) {
  Tensor t = raw::empty({shape.numel()}, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<double>()[static_cast<size_t>(i)] = static_cast<double>(i % 5) * 0.5 - 0.75;
  return t.to(x.dtype()).reshape(shape);
}
Tensor labels(const Tensor& x) {
  Tensor t = arange(x.size(0));
  for (int64_t& i : t.data<int64_t>()) i %= 4;
  return t;
}
Tensor upstream(const Tensor& y) {
  Tensor t = raw::empty({y.numel()}, DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i)
    t.data<double>()[static_cast<size_t>(i)] = 1 + 0.25 * static_cast<double>(i % 4);
  return t.to(y.dtype()).reshape(y.shape());
}

const Tensor kNone;

using Function = std::function<Tensor(const Tensor&)>;

const std::map<std::string, Function>& functions() {
  static const std::map<std::string, Function> all{
      {"softmax", [](const Tensor& x) { return softmax(x); }},
      {"log_softmax", [](const Tensor& x) { return log_softmax(x); }},
      {"layer_norm", [](const Tensor& x) { return layer_norm(x, {4}, kNone, kNone); }},
      {"rms_norm", [](const Tensor& x) { return rms_norm(x, {4}, kNone, 1e-5); }},
      {"batch_norm", [](const Tensor& x) { return batch_norm(x.t(), kNone, kNone, {}); }},
      {"batch_norm_eval",
       [](const Tensor& x) {
         const int64_t n = x.size(0);
         return batch_norm(x.t(), kNone, kNone,
                           {.running_mean = zeros({n}, x.dtype()),
                            .running_var = ones({n}, x.dtype()),
                            .training = false});
       }},
      {"group_norm", [](const Tensor& x) { return group_norm(x, 1, kNone, kNone); }},
      {"instance_norm", [](const Tensor& x) { return instance_norm(images(x), kNone, kNone, {}); }},
      {"max_pool1d", [](const Tensor& x) { return max_pool1d(x.unsqueeze(1), 3, {.stride = 1}); }},
      {"max_pool2d", [](const Tensor& x) { return max_pool2d(images(x), 2); }},
      {"max_pool2d_padded",
       [](const Tensor& x) { return max_pool2d(images(x), 2, {.padding = 1}); }},
      {"avg_pool1d", [](const Tensor& x) { return avg_pool1d(x.unsqueeze(1), 2, {.stride = 1}); }},
      {"avg_pool2d", [](const Tensor& x) { return avg_pool2d(images(x), 2, {.padding = 1}); }},
      {"adaptive_avg_pool2d", [](const Tensor& x) { return adaptive_avg_pool2d(images(x), 1); }},
      {"matmul",
       [](const Tensor& x) {
         return matmul(x.unsqueeze(1), numbers(x, {4, 3}));
       }},
      {"linear",
       [](const Tensor& x) {
         return linear(x, numbers(x, {3, 4}));
       }},
      {"attention_query",
       [](const Tensor& x) {
         const int64_t n = x.size(0);
         return scaled_dot_product_attention(x.unsqueeze(1), numbers(x, {n, 3, 4}),
                                             numbers(x, {n, 3, 2}), {.scale = 0.5});
       }},
      {"attention_mask",
       [](const Tensor& x) {
         const int64_t n = x.size(0);
         return scaled_dot_product_attention(numbers(x, {n, 1, 4}), numbers(x, {n, 4, 4}),
                                             numbers(x, {n, 4, 2}),
                                             {.attn_mask = x.unsqueeze(1), .scale = 0.5});
       }},
      {"cross_entropy",
       [](const Tensor& x) { return cross_entropy(x, labels(x), {.reduction = Reduction::none}); }},
      {"cross_entropy_smoothing",
       [](const Tensor& x) {
         return cross_entropy(x, labels(x), {.reduction = Reduction::none, .label_smoothing = 0.1});
       }},
      {"nll_loss",
       [](const Tensor& x) { return nll_loss(x, labels(x), {.reduction = Reduction::none}); }},
      {"mse_loss",
       [](const Tensor& x) {
         return mse_loss(x, full(x.shape(), 1.5, x.dtype()), {Reduction::none});
       }},
      {"l1_loss",
       [](const Tensor& x) {
         return l1_loss(x, full(x.shape(), 1.5, x.dtype()), {Reduction::none});
       }},
      {"smooth_l1_loss",
       [](const Tensor& x) {
         return smooth_l1_loss(x, full(x.shape(), 1.0, x.dtype()), {1, Reduction::none});
       }},
      {"huber_loss",
       [](const Tensor& x) {
         return huber_loss(x, full(x.shape(), 1.0, x.dtype()), {1, Reduction::none});
       }},
      {"bce",
       [](const Tensor& x) {
         return binary_cross_entropy_with_logits(x, full(x.shape(), 0.25, x.dtype()),
                                                 {.reduction = Reduction::none});
       }},
  };
  return all;
}

std::vector<std::string> row_names(const std::string& text) {
  std::vector<std::string> names;
  std::istringstream in(text);
  for (std::string name; std::getline(in, name, ';');) names.push_back(name);
  return names;
}

bool close(double got, double wanted, double tolerance, double size) {
  if (std::isnan(wanted)) return std::isnan(got);
  if (std::isinf(wanted)) return got == wanted;
  return std::abs(got - wanted) <= tolerance * std::max(std::abs(wanted), size);
}

// Which rows differ. In batch_norm's result a row of the table is a column.
std::set<size_t> differing(const Tensor& got, const Tensor& wanted, size_t rows, bool columns,
                           double tolerance) {
  REQUIRE(got.defined());
  REQUIRE(to_string(got.shape()) == to_string(wanted.shape()));
  const Tensor g = columns ? got.t() : got, w = columns ? wanted.t() : wanted;
  const std::vector<double> a = g.to_vector<double>(), b = w.to_vector<double>();
  const size_t width = a.size() / rows;
  std::set<size_t> bad;
  for (size_t r = 0; r < rows; ++r) {
    double size = 0.1;  // what is 0 in theory may be rounding noise
    for (size_t i = 0; i < width; ++i)
      if (std::isfinite(b[r * width + i])) size = std::max(size, std::abs(b[r * width + i]));
    for (size_t i = 0; i < width; ++i)
      if (!close(a[r * width + i], b[r * width + i], tolerance, size)) bad.insert(r);
  }
  return bad;
}

// PyTorch adds in f32, where these rows lose all digits or overflow; here f32 gives what f64 gives,
// which the second test holds.
const std::map<std::string, std::string>& better_in_f32() {
  static const std::map<std::string, std::string> all{{"instance_norm", "equal"},
                                                      {"cross_entropy_smoothing", "largest"}};
  return all;
}
// The squares of these overflow: no result could be right, PyTorch's are NaN or 0.
bool overflows(const std::string& name, const std::string& row, DType dtype) {
  const std::set<std::string> norms{"layer_norm", "group_norm", "batch_norm", "rms_norm"};
  return norms.count(name) == 1 && (row == "largest" || (row == "large" && dtype == DType::f32));
}
bool known(const std::string& name, const std::string& row, DType dtype) {
  const auto found = better_in_f32().find(name);
  const bool better = found != better_in_f32().end() && found->second == row;
  return overflows(name, row, dtype) || (better && dtype == DType::f32);
}

// "case: row (what)" of every difference.
std::set<std::string> all_differences() {
  const fixture::Fixture f("special_layers.safetensors");
  const std::vector<std::string> names = row_names(f.meta("rows"));
  std::set<std::string> found;
  for (const auto& entry : functions())
    for (const DType dtype : {DType::f64, DType::f32}) {
      const std::string& name = entry.first;
      const auto& function = entry.second;
      const std::string tag = dtype == DType::f64 ? "f64" : "f32", key = name + "/" + tag;
      const double tolerance = dtype == DType::f64 ? 1e-11 : 2e-5;
      const bool columns = name.rfind("batch_norm", 0) == 0;
      const Tensor x = f.get("rows/" + tag, dtype).requires_grad_(), y = function(x);
      const auto note = [&](const char* what, const Tensor& got, const std::string& wanted,
                            bool turned) {
        for (const size_t r :
             differing(got, f.get(key + wanted, dtype), names.size(), turned, tolerance)) {
          if (known(name, names[r], dtype)) continue;
          std::ostringstream text;
          text << key << ": " << names[r] << " (" << what << "), got " << got << ", PyTorch "
               << f.get(key + wanted, dtype);
          found.insert(text.str());
        }
      };
      note("result", no_grad([&] { return function(x); }), "/y", columns);
      note("recorded result", y, "/y", columns);
      const Tensors up{upstream(y)};
      note("gradient", grad({y}, {x}, {.retain_graph = true}, up)[0], "/dx", false);
      note("gradient under create_graph", grad({y}, {x}, {.create_graph = true}, up)[0], "/dx",
           false);
    }
  return found;
}

}  // namespace

TEST_CASE("special inputs at which PyTorch's f32 is inexact give what they give in f64") {
  const fixture::Fixture f("special_layers.safetensors");
  const std::vector<std::string> names = row_names(f.meta("rows"));
  for (const auto& [name, row] : better_in_f32()) {
    const auto r = static_cast<size_t>(std::find(names.begin(), names.end(), row) - names.begin());
    INFO(name << ": " << row);
    REQUIRE(r < names.size());
    const Tensor x = f.get("rows/f32", DType::f32);
    const Tensor y = functions().at(name)(x), wide = functions().at(name)(x.to(DType::f64));
    CHECK(differing(y, wide.to(DType::f32), names.size(), false, 2e-5).count(r) == 0);
  }
}

TEST_CASE("special inputs of layer ops give what they give in PyTorch") {
  const fixture::Fixture f("special_layers.safetensors");
  REQUIRE(row_names(f.meta("rows")).size() == 17);
  for (const std::string& name : f.cases())
    if (name != "rows") CHECK(functions().count(name) == 1);
  for (const std::string& difference : all_differences()) {
    INFO(difference);
    CHECK(false);
  }
}

}  // namespace loupe::testing
