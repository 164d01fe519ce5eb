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
