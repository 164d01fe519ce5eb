#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/kernel_log.h>

#include <algorithm>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

// Squares, but wrong at one element of one shape, forward or backward.
bool g_wrong_forward = false, g_wrong_backward = false;

struct PlantedNode final : Node {
  SavedTensor a{this};
  const char* name() const override { return "planted"; }
  Tensors replay(const Tensors& x) const override { return {x[0] * x[0]}; }
  Tensors backward(const Tensors& dy) override {
    Tensor dx = dy[0] * a.get() * 2.0;
    if (g_wrong_backward && dx.shape() == Shape{3, 5}) dx.slice(0, 2).slice(1, 4).mul_(1.01);
    return {dx};
  }
};

Tensor planted(In a) {
  Tensor y = raw::binary(raw::Binary::mul, a, a, "planted");
  log_kernel("fast_square");
  if (g_wrong_forward && y.shape() == Shape{3, 5})
    raw::scale(raw::slice(raw::slice(y, 0, 1, 2, 1), 1, 3, 4, 1), 1.01);
  if (auto n = record<PlantedNode>({a}, y)) n->a.input(a);
  return y;
}

Tensor network(const Tensor& x, const Tensor& w) {
  PathScope path("net");
  const Tensor h = exp(planted(x) * w) / (w + 3.0);
  return (h.t().reshape({-1}).slice(0, 1, 9) * 2.0 - 1.0).sum() + max(h, {1}).mean() +
         abs(cat({h, x}, 0)).sum();
}

}  // namespace

TEST_CASE("shadow mode sees every op forward and backward, in bounds") {
  Rng rng(1);
  const Tensor x = randn(rng, {3, 5}).requires_grad_(), w = randn(rng, {5}).requires_grad_();
  ShadowGuard shadow;
  for (int step = 0; step < 2; ++step) network(x, w).backward();
  const auto rows = shadow.rows();
  REQUIRE(rows.size() >= 10);
  for (const ShadowRow& r : rows) {
    INFO(r.op);
    REQUIRE(r.checks >= 2);
    REQUIRE(r.forward < 1e-6);
    REQUIRE(r.backward < 1e-6);
  }
  REQUIRE(std::any_of(rows.begin(), rows.end(), [](const ShadowRow& r) { return r.forward > 0; }));
  REQUIRE(std::any_of(rows.begin(), rows.end(), [](const ShadowRow& r) { return r.backward > 0; }));
  REQUIRE_THAT(shadow.table(), Contains("planted") && Contains("test_shadow.cpp"));
}

TEST_CASE("shadow mode says which kernel ran, and none for an op that has no choice") {
  Rng rng(1);
  const Tensor x = randn(rng, {2, 16, 8, 8}).requires_grad_(),
               w = randn(rng, {16, 16, 5, 5}).requires_grad_();
  ShadowGuard shadow;
  exp(conv2d(x, w, Tensor(), {.padding = 2}) * 0.01).sum().backward();
  for (const ShadowRow& r : shadow.rows()) CHECK(r.kernel == (r.op == "conv2d" ? "direct" : ""));
}

TEST_CASE("shadow mode names a kernel that is wrong in one element of one shape") {
  Rng rng(1);
  const Tensor x = randn(rng, {3, 5}).requires_grad_(), other = randn(rng, {5, 3}).requires_grad_();
  ShadowGuard shadow;
  g_wrong_forward = true;
  (planted(other) * 1.0).sum().backward();  // another shape: fine
  REQUIRE_THROWS_WITH((planted(x) * 1.0),
                      Contains("planted") && Contains("(3, 5)") && Contains("element 8") &&
                          Contains("test_shadow.cpp") && Contains("kernel fast_square"));
  g_wrong_forward = false;
  g_wrong_backward = true;
  const Tensor y = planted(x).sum();
  REQUIRE_THROWS_WITH(y.backward(), Contains("planted") && Contains("gradient of input 0") &&
                                        Contains("element 14"));
  g_wrong_backward = false;
}

namespace {

// log_softmax with maximum + log(sum) in one float, forward and backward.
struct OneNumberNode final : Node {
  SavedTensor x{this};
  Tensor lse;
  const char* name() const override { return "one_number"; }
  Tensors replay(const Tensors& in) const override { return {log_softmax(in[0], 1)}; }
  Tensors backward(const Tensors& dy) override {
    return {dy[0] - exp(x.get() - lse) * dy[0].sum({1}, true)};
  }
};

bool g_one_number_forward = true;

Tensor one_number(In x) {
  NoGrad off;
  const Tensor top = max(x, {1}, true), lse = top + log(exp(x.t - top).sum({1}, true));
  Tensor y = g_one_number_forward ? x.t - lse : log_softmax(x, 1);
  GradMode on(true);
  if (auto n = record<OneNumberNode>({x}, y)) {
    n->x.input(x);
    n->lse = lse;
  }
  return y;
}

}  // namespace

TEST_CASE("shadow mode catches a logarithm of a sum that is kept as one number") {
  // Around 1e4 a float holds multiples of 1/1024: both errors are about 1e-4.
  const Tensor x = (tensor({1, 0.25, 2, 0, 0, 3, 1.5, 0.5}).reshape({2, 4}) + 1e4).requires_grad_();
  for (const bool forward : {true, false}) {
    g_one_number_forward = forward;
    ShadowGuard shadow(2e-5);
    const auto run = [&] { (one_number(x) * tensor({1, 2, -1, 0.5})).sum().backward(); };
    REQUIRE_THROWS_WITH(run(), Contains("one_number") &&
                                   Contains(forward ? "the output" : "the gradient of input 0"));
  }
  g_one_number_forward = true;
  // The library's own pass, as do ops whose rounding is that of larger terms.
  ShadowGuard shadow(2e-5);
  const Tensor labels = from_data<int64_t>({2, 0});
  (log_softmax(x, 1) * tensor({1, 2, -1, 0.5})).sum().backward();
  cross_entropy(x, labels, {.label_smoothing = 0.1}).backward();
  softmax(x, 1).sum().backward();
  (x.mean({1}) - 1e4).sum().backward();
  for (const ShadowRow& r : shadow.rows()) CHECK(r.checks > 0);
}

TEST_CASE("shadow mode blames no kernel that ran before it or in an op that is not recorded") {
  Rng rng(1);
  const Tensor image = randn(rng, {2, 16, 8, 8}), w = randn(rng, {16, 16, 5, 5});
  const Tensor x = randn(rng, {3, 5}).requires_grad_();
  conv2d(image, w);
  ShadowGuard shadow;
  const Tensor y = exp(x);  // right after the guard's start
  conv2d(image, w);
  const Tensor z = y * x;  // after an op without a record
  conv2d(image, w);
  z.sum().backward();
  REQUIRE(shadow.rows().size() == 3);
  for (const ShadowRow& r : shadow.rows()) {
    INFO(r.op);
    CHECK(r.kernel == "");
  }
}
