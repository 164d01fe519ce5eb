// What must hold whatever the numbers: a permuted batch, an image alone, linearity, scale and shift
// of what is normalized, rows of attention, the mean of dropout. In f64 and f32, at the table's
// small shapes and at those where the fast kernels run.
#include "layouts.h"
#include "op_checks.h"
#include "worst.h"

#include <limits>
#include <map>
#include <set>

namespace loupe::testing {
namespace {

std::string op_of(const OpCase& c) { return c.name.substr(0, c.name.find('(')); }

double tolerance_of(const OpCase& c, DType dtype) {
  return dtype == DType::f64 ? 1e-11 : 4 * c.f32_tolerance;
}

Tensor permuted(const Tensor& t, const Tensor& order) { return index_select(t, 0, order); }

// Ops whose first dimension is a batch, with the inputs that have it.
struct BatchOp {
  std::set<size_t> inputs{0};
  bool alone = true;  // an image's result does not depend on the others
};
const std::map<std::string, BatchOp>& batch_ops() {
  static const std::map<std::string, BatchOp> all{
      {"conv1d", {}},
      {"conv2d", {}},
      {"linear", {}},
      {"linear_relu", {}},
      {"max_pool1d", {}},
      {"max_pool2d", {}},
      {"avg_pool1d", {}},
      {"avg_pool2d", {}},
      {"adaptive_avg_pool1d", {}},
      {"adaptive_avg_pool2d", {}},
      {"batch_norm", {.inputs = {0, 3}, .alone = false}},
      {"batch_norm_relu", {.alone = false}},
      {"batch_norm_relu_max_pool", {.alone = false}},
      {"group_norm", {}},
      {"instance_norm", {}},
      {"layer_norm", {}},
      {"rms_norm", {}},
      {"embedding", {}},
      {"scaled_dot_product_attention", {.inputs = {0, 1, 2}}},
      {"attention_with_weights", {.inputs = {0, 1, 2}}},
      {"self_attention", {}},
  };
  return all;
}

// Calls check(case, op, inputs, images, tolerance) for the rows of such ops whose inputs share a
// batch of two or more.
template <class F> void for_batches(F check) {
  for (const OpCase& c : op_cases()) {
    const auto found = batch_ops().find(op_of(c));
    if (found == batch_ops().end() || c.name.find("dropout") != std::string::npos) continue;
    DYNAMIC_SECTION(c.name) {
      std::vector<std::vector<Shape>> sizes = c.shapes;
      if (!c.large.empty()) sizes.push_back(c.large);
      for (const auto& shapes : sizes) {
        const int64_t images = shapes[0].empty() ? 0 : shapes[0][0];
        // One without a batch, or with one that is broadcast, or one mask for several images.
        bool fits = images > 1 && shapes[0].rank() > 1;
        for (size_t k = 0; k < shapes.size(); ++k) {
          if (found->second.inputs.count(k))
            fits = fits && shapes[k].rank() > 0 && shapes[k][0] == images &&
                   (op_of(c).find("attention") == std::string::npos || shapes[k].rank() > 2);
          else if (op_of(c).find("attention") != std::string::npos)
            fits = fits && shapes[k].rank() < shapes[0].rank();
        }
        if (op_of(c) == "layer_norm" || op_of(c) == "rms_norm")
          fits = fits && (shapes.size() < 2 || shapes[1].rank() < shapes[0].rank());
        if (!fits) continue;
        for (const DType dtype : {DType::f64, DType::f32}) {
          INFO(title(c, shapes) << " " << (dtype == DType::f64 ? "f64" : "f32"));
          check(c, found->second, converted(draw_inputs(c, shapes, 31), dtype), images,
                tolerance_of(c, dtype));
        }
      }
    }
  }
}

Tensors gradients_for(const OpCase& c, const Tensors& inputs, const Tensors& up) {
  const Tensors x = marked(inputs), y = c.f(x);
  return grad(y, needing_gradient(x), {}, up);
}

}  // namespace

TEST_CASE("property: a permuted batch gives permuted results and gradients") {
  for_batches(
      [](const OpCase& c, const BatchOp& op, const Tensors& x, int64_t images, double tolerance) {
        Tensor order = arange(images);
        for (int64_t& i : order.data<int64_t>()) i = (i + 1) % images;
        Tensors turned = x;
        for (size_t k = 0; k < x.size(); ++k)
          if (op.inputs.count(k)) turned[k] = permuted(x[k], order);
        const Tensors y = c.f(x), up = upstreams(y, y[0].dtype());
        Tensors wanted, turned_up;
        for (const Tensor& t : y) wanted.push_back(permuted(t, order));
        for (const Tensor& t : up) turned_up.push_back(permuted(t, order));
        require_same(c.f(turned), wanted, tolerance);
        const Tensors g = gradients_for(c, x, up), h = gradients_for(c, turned, turned_up);
        for (size_t k = 0, at = 0; k < x.size(); ++k) {
          if (!is_floating(x[k].dtype())) continue;
          INFO("gradient of input " << k);
          require_same(h[at], op.inputs.count(k) ? permuted(g[at], order) : g[at], 4 * tolerance);
          ++at;
        }
      });
}

TEST_CASE("property: an image alone gives what it gives among others") {
  for_batches(
      [](const OpCase& c, const BatchOp& op, const Tensors& x, int64_t images, double tolerance) {
        // Running statistics do not depend on the batch either.
        if (!op.alone && c.name.find("running") == std::string::npos) return;
        const Tensors y = c.f(x);
        for (int64_t i = 0; i < std::min<int64_t>(images, 3); ++i) {
          Tensors one = x;
          for (size_t k = 0; k < x.size(); ++k)
            if (op.inputs.count(k)) one[k] = x[k].slice(0, i, i + 1);
          const Tensors z = c.f(one);
          for (size_t o = 0; o < y.size(); ++o) {
            INFO("image " << i);
            require_same(z[o], y[o].slice(0, i, i + 1), tolerance);
          }
        }
      });
}

// Infinity or NaN in one image stays there: in the results and in the gradients of the batch.
TEST_CASE("property: what is not finite in one image does not reach the others") {
  for_batches(
      [](const OpCase& c, const BatchOp& op, const Tensors& x, int64_t images, double tolerance) {
        if ((!op.alone && c.name.find("running") == std::string::npos) ||
            !is_floating(x[0].dtype()) || x[0].numel() == 0)
          return;
        const Tensors y = c.f(x), up = upstreams(y, y[0].dtype()), g = gradients_for(c, x, up);
        const auto others = [images](const Tensor& t) { return t.slice(0, 1, images); };
        for (const double bad :
             {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
              std::numeric_limits<double>::quiet_NaN()}) {
          INFO("with " << bad);
          Tensors spoiled = x;
          spoiled[0] = plain_copy(x[0]);
          Tensor first = raw::select(spoiled[0], 0, 0);
          while (first.dim() > 0) first = raw::select(first, 0, first.size(0) / 2);
          raw::fill(first, bad);
          const Tensors z = c.f(spoiled), h = gradients_for(c, spoiled, up);
          for (size_t o = 0; o < y.size(); ++o) require_same(others(z[o]), others(y[o]), tolerance);
          for (size_t k = 0, at = 0; k < x.size(); ++k) {
            if (!is_floating(x[k].dtype())) continue;
            INFO("gradient of input " << k);
            if (op.inputs.count(k)) require_same(others(h[at]), others(g[at]), tolerance);
            ++at;
          }
        }
      });
}

// f(a u + b v) = a f(u) + b f(v) in one input, the others fixed, what follows as a bias left out.
TEST_CASE("property: convolutions, products and means are linear in each of their inputs") {
  const std::set<std::string> linear{"conv1d",
                                     "conv2d",
                                     "linear",
                                     "matmul",
                                     "avg_pool1d",
                                     "avg_pool2d",
                                     "adaptive_avg_pool1d",
                                     "adaptive_avg_pool2d"};
  for (const OpCase& c : op_cases()) {
    if (linear.count(op_of(c)) == 0) continue;
    DYNAMIC_SECTION(c.name) {
      std::vector<std::vector<Shape>> sizes{c.shapes[0]};
      if (!c.large.empty()) sizes.push_back(c.large);
      for (std::vector<Shape> shapes : sizes) {
        shapes.resize(std::min<size_t>(shapes.size(), 2));  // without a bias
        for (const DType dtype : {DType::f64, DType::f32})
          for (size_t k = 0; k < shapes.size(); ++k) {
            INFO(title(c, shapes) << ", in input " << k << (dtype == DType::f64 ? " f64" : " f32"));
            const Tensors u = converted(draw_inputs(c, shapes, 41), dtype);
            Tensors v = u, sum = u;
            v[k] = converted(draw_inputs(c, shapes, 42), dtype)[k];
            sum[k] = u[k] * 0.75 - v[k] * 1.5;
            require_same(c.f(sum)[0], c.f(u)[0] * 0.75 - c.f(v)[0] * 1.5,
                         2 * tolerance_of(c, dtype));
          }
      }
    }
  }
}

TEST_CASE("property: a constant added to what is pooled is added to the result") {
  for (const OpCase& c : op_cases()) {
    const std::string op = op_of(c);
    // Padding counts as zeros in a mean.
    if (op.find("pool") == std::string::npos || op.find("norm") != std::string::npos ||
        c.name.rfind("avg_pool1d(padded)", 0) == 0 || c.name.rfind("avg_pool2d(padded", 0) == 0)
      continue;
    INFO(c.name);
    const Tensor x = draw_inputs(c, c.large, 51)[0];
    for (const double shift : {-3.0, 1e4})
      require_same(c.f({x + shift})[0], c.f({x})[0] + shift, 1e-11);
  }
}

namespace {

// A norm with next to no eps, its axes, and whether it takes the mean away.
struct NormUnderTest {
  const char* name;
  Tensor (*f)(In x);
  bool centred = true;
  Shape shape{6, 4, 5, 3};
};
constexpr double kTiny = 1e-14;
const std::vector<NormUnderTest>& norms() {
  static const std::vector<NormUnderTest> all{
      {"batch_norm", [](In x) { return batch_norm(x, Tensor(), Tensor(), {.eps = kTiny}); }},
      {"group_norm", [](In x) { return group_norm(x, 2, Tensor(), Tensor(), kTiny); }},
      {"instance_norm", [](In x) { return instance_norm(x, Tensor(), Tensor(), {.eps = kTiny}); }},
      {"layer_norm",
       [](In x) {
         return layer_norm(x, {5, 3}, Tensor(), Tensor(), kTiny);
       }},
      {"layer_norm, wide",
       [](In x) { return layer_norm(x, {130}, Tensor(), Tensor(), kTiny); },
       true,
       {70, 130}},
      {"rms_norm",
       [](In x) {
         return rms_norm(x, {5, 3}, Tensor(), kTiny);
       },
       false},
      {"rms_norm, wide",
       [](In x) { return rms_norm(x, {130}, Tensor(), kTiny); },
       false,
       {70, 130}},
  };
  return all;
}

}  // namespace

TEST_CASE("property: a norm does not see the scale and, if it is centred, the shift of its input") {
  for (const NormUnderTest& n : norms())
    for (const DType dtype : {DType::f64, DType::f32}) {
      INFO(n.name << (dtype == DType::f64 ? " f64" : " f32"));
      Rng rng(61);
      const Tensor x = randn(rng, n.shape, DType::f64).to(dtype), y = n.f(x);
      const double rounding = dtype == DType::f64 ? 1e-12 : 1e-5;
      for (const double scale : {0.25, 3.0, 1e5, -2.0})
        require_same(n.f(x * scale), scale > 0 ? y : -y, rounding);
      if (!n.centred) continue;
      // The shifted numbers have fewer digits after the point.
      for (const double shift : {-7.0, 300.0})
        require_same(n.f(x + shift), y, rounding * std::abs(shift));
    }
}

// What a scale or a shift does not change has no gradient along it.
TEST_CASE("property: the gradient of a norm is orthogonal to its input and, if centred, to ones") {
  for (const NormUnderTest& n : norms())
    for (const DType dtype : {DType::f64, DType::f32}) {
      INFO(n.name << (dtype == DType::f64 ? " f64" : " f32"));
      Rng rng(62);
      const Tensor x = randn(rng, n.shape, DType::f64).to(dtype).requires_grad_();
      const Tensor up = randn(rng, n.shape, DType::f64).to(dtype);
      const Tensor dx = grad({n.f(x)}, {x}, {}, {up})[0];
      const double bound = (dtype == DType::f64 ? 1e-13 : 1e-5) * static_cast<double>(x.numel());
      CHECK(square(dx).sum().item() > 1);
      CHECK(std::abs((dx * x.detach()).sum().item()) < bound);
      if (n.centred) CHECK(std::abs(dx.sum().item()) < bound);
    }
}

// With values of 1 every query gets 1, or 0 if it may attend to nothing.
TEST_CASE("property: the weights of attention add up to 1") {
  for (const OpCase& c : op_cases()) {
    if (op_of(c) != "scaled_dot_product_attention" || c.name.find("dropout") != std::string::npos)
      continue;
    DYNAMIC_SECTION(c.name) {
      std::vector<std::vector<Shape>> sizes = c.shapes;
      if (!c.large.empty()) sizes.push_back(c.large);
      for (const auto& shapes : sizes)
        for (const DType dtype : {DType::f64, DType::f32}) {
          if (shapes[1][shapes[1].rank() - 2] == 0) continue;
          INFO(title(c, shapes) << (dtype == DType::f64 ? " f64" : " f32"));
          Tensors x = converted(draw_inputs(c, shapes, 71), dtype);
          x[2] = ones(shapes[2], dtype);
          double off = 0;
          for (const double s : c.f(x)[0].to_vector<double>())
            off = worst_of(off, s == 0 ? 0 : std::abs(s - 1));
          CHECK(off < (dtype == DType::f64 ? 1e-14 : 1e-6));
        }
    }
  }
}

TEST_CASE("property: dropout keeps the mean, and what it keeps is x / (1 - p)") {
  const int64_t n = 200000;
  for (const double p : {0.1, 0.5, 0.9})
    for (const DType dtype : {DType::f64, DType::f32}) {
      Rng rng(81);
      const Tensor y = dropout(ones({n}, dtype), rng, p);
      double sum = 0;
      for (const double v : y.to_vector<double>()) {
        if (v != 0) REQUIRE(std::abs(v * (1 - p) - 1) < 1e-6);
        sum += v;
      }
      const double deviation = std::sqrt(p / (1 - p) / static_cast<double>(n));
      CAPTURE(p, sum / static_cast<double>(n), deviation);
      CHECK(std::abs(sum / static_cast<double>(n) - 1) < 4 * deviation);
    }
}

TEST_CASE("property: attention with dropout keeps the mean of its result") {
  Rng rng(82);
  const Tensor q = randn(rng, {2, 4, 16, 8}), k = randn(rng, {2, 4, 24, 8}),
               v = ones({2, 4, 24, 8});
  double sum = 0, squares = 0;
  const int runs = 200;
  for (int i = 0; i < runs; ++i) {
    const double m =
        scaled_dot_product_attention(q, k, v, {.dropout_p = 0.3, .rng = &rng}).mean().item();
    sum += m;
    squares += m * m;
  }
  const double mean = sum / runs, deviation = std::sqrt((squares / runs - mean * mean) / runs);
  CAPTURE(mean, deviation);
  CHECK(deviation > 0);
  CHECK(std::abs(mean - 1) < 4 * deviation);
}

}  // namespace loupe::testing
