// The checker itself is checked: it must find every kind of wrong gradient.
#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

#include <cmath>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

Tensor draw(const Shape& shape, uint64_t seed = 1) {
  Rng rng(seed);
  return randn(rng, shape, DType::f64);
}

// y = x^3 with a rule that can be made wrong in several ways.
enum class Fault { none, factor, one_element, nothing, first_order_only, fused, shape };
struct CubeNode final : Node {
  SavedTensor x{this};
  Fault fault = Fault::none;
  const char* name() const override { return "cube"; }
  bool fused() const override { return fault == Fault::fused; }
  Tensors backward(const Tensors& dy) override {
    const Tensor t = x.get();
    Tensor g = dy[0] * t * t * (fault == Fault::factor ? 3.00001 : 3.0);
    if (fault == Fault::one_element) g.detach().slice(0, 1, 2).mul_(1.001);
    if (fault == Fault::nothing) return {Tensor()};
    if (fault == Fault::first_order_only) g = g.detach();
    if (fault == Fault::shape) return {g.sum().reshape({1}).expand({2, 3, 4})};
    return {g};
  }
};
Tensor cube(In a, Fault fault) {
  Tensor y = no_grad([&] { return a.t * a.t * a.t; });
  if (auto n = record<CubeNode>({a}, y)) {
    n->x.input(a);
    n->fault = fault;
  }
  return y;
}
auto cube_with(Fault fault) {
  return [fault](const Tensors& x) { return cube(x[0], fault); };
}

}  // namespace

TEST_CASE("gradcheck passes right rules, tightly") {
  const auto f = [](const Tensors& x) { return Tensors{x[0] * exp(x[1]), x[0].sum()}; };
  const GradcheckResult first = gradcheck(f, {draw({3, 1}), draw({4}, 2)});
  REQUIRE(first);
  REQUIRE(first.worst < 1e-8);
  REQUIRE(first.comparisons ==
          7 + 7 * 13);  // each element for the projection, and the full Jacobian
  REQUIRE(gradgradcheck(f, {draw({3, 1}), draw({4}, 2)}).worst < 1e-8);
  REQUIRE(gradcheck(cube_with(Fault::none), {draw({5})}));
  REQUIRE(gradgradcheck(cube_with(Fault::none), {draw({5})}));
  // A large input: drawn elements and one direction through all of them.
  const GradcheckResult large = gradcheck(cube_with(Fault::none), {draw({40, 50})});
  REQUIRE(large.comparisons == 257);
  REQUIRE(large.worst < 1e-7);
}

TEST_CASE(
    "gradcheck finds a wrong factor, a wrong element, a lost gradient and a cut graph, and names "
    "them") {
  REQUIRE_THROWS_WITH(
      gradcheck(cube_with(Fault::factor), {draw({5})}),
      Contains("gradcheck: cube: the gradient of input 0 at (") && Contains("difference quotient"));
  REQUIRE_THROWS_WITH(gradcheck(cube_with(Fault::one_element), {draw({5})}),
                      Contains("input 0 at (1,)"));
  REQUIRE_THROWS_AS(
      gradcheck(cube_with(Fault::one_element), {draw({2000})}, {.max_elements = 2000}), GradError);
  REQUIRE_THROWS_WITH(gradcheck(cube_with(Fault::nothing), {draw({5})}),
                      Contains("no gradient arrives at input 0"));
  REQUIRE_THROWS_AS(
      gradcheck([](const Tensors& x) { return x[0] * x[1].detach(); }, {draw({3}), draw({3})}),
      GradError);
  // Also where a missing gradient is allowed, it must be zero.
  REQUIRE_THROWS_WITH(gradcheck([](const Tensors& x) { return x[0] * exp(x[1].detach()); },
                                {draw({3}), draw({3})}, {.allow_unused = true}),
                      Contains("mul") && Contains("input 1 at (0,)") && Contains("is 0,"));
  REQUIRE(gradcheck([](const Tensors& x) { return x[0] * 2.0; }, {draw({3}), draw({3})},
                    {.allow_unused = true}));
  // One of several outputs that is not recorded.
  REQUIRE_THROWS_AS(gradcheck(
                        [](const Tensors& x) {
                          return Tensors{x[0] * 2.0, x[0].detach()};
                        },
                        {draw({3})}),
                    GradError);
  REQUIRE_THROWS_AS(gradcheck(cube_with(Fault::shape), {draw({5})}), Error);
  REQUIRE_THROWS_WITH(gradcheck(cube_with(Fault::factor), {draw({5})}, {.label = "my cube"}),
                      Contains("gradcheck: my cube"));
}

TEST_CASE("a uniform upstream gradient would hide a wrong rule; the random one does not") {
  // sum(softmax) is constant: with dy = 1 everywhere the right gradient is 0, and so is the one of
  // a cut graph.
  const auto cut = [](const Tensors& x) {
    const Tensor e = exp(x[0]);
    return e / e.sum({-1}, true) + (x[0] - x[0]);
  };
  const auto wrong = [](const Tensors& x) {
    return no_grad([&] {
             const Tensor e = exp(x[0]);
             return e / e.sum({-1}, true);
           }) +
           (x[0] - x[0]);
  };
  REQUIRE(gradcheck(cut, {draw({2, 3})}));
  REQUIRE_THROWS_AS(gradcheck(wrong, {draw({2, 3})}), GradError);
}

TEST_CASE(
    "gradgradcheck finds a rule whose derivative is wrong or missing, and fused ops name "
    "themselves") {
  REQUIRE(gradcheck(cube_with(Fault::first_order_only), {draw({5})}));
  REQUIRE_THROWS_WITH(gradgradcheck(cube_with(Fault::first_order_only), {draw({5})}),
                      Contains("gradgradcheck: cube_backward"));
  REQUIRE_THROWS_WITH(gradgradcheck(cube_with(Fault::fused), {draw({5})}),
                      Contains("cube") && Contains("fused"));
}

TEST_CASE("gradcheck refuses what it cannot check") {
  const auto twice = [](const Tensors& x) { return x[0] * 2.0; };
  REQUIRE_THROWS_AS(gradcheck(twice, {zeros({2})}), DtypeError);
  REQUIRE_THROWS_AS(gradcheck([](const Tensors& x) { return x[0].to(DType::f32); }, {draw({2})}),
                    DtypeError);
  REQUIRE_THROWS_AS(gradcheck(twice, {arange(3)}), ValueError);
  REQUIRE_THROWS_AS(gradcheck(twice, {Tensor()}), ValueError);
  Rng rng(3);
  const auto noisy = [&rng](const Tensors& x) {
    return x[0] * uniform(rng, x[0].shape(), 0, 1, DType::f64);
  };
  REQUIRE_THROWS_WITH(gradcheck(noisy, {draw({2})}), Contains("not the same when called again"));
  REQUIRE_THROWS_WITH(
      gradcheck([](const Tensors& x) { return log(x[0] * 0.0 - 1.0); }, {draw({2})}),
      Contains("not finite"));
  REQUIRE_THROWS_AS(
      gradcheck([](const Tensors&) -> Tensor { fail<ShapeError>("inner"); }, {draw({2})}),
      ShapeError);
}

TEST_CASE("gradcheck keeps strides, leaves the caller's tensors alone, and takes sizes 0 and 1") {
  const Tensor base = draw({4, 6});
  const std::vector<double> before = base.to_vector<double>();
  const Tensor view = base.slice(1, 0, 6, 2).t();
  Strides seen;
  gradcheck(
      [&](const Tensors& x) {
        seen = x[0].strides();
        return x[0] * x[0];
      },
      {view});
  REQUIRE(seen == view.strides());
  REQUIRE(base.to_vector<double>() == before);
  REQUIRE(!base.requires_grad());
  REQUIRE(gradcheck(cube_with(Fault::none), {draw({1}).expand({3})}));
  REQUIRE(gradcheck([](const Tensors& x) { return x[0] * x[0]; }, {scalar(2, DType::f64)})
              .comparisons == 2);
  REQUIRE(gradcheck(cube_with(Fault::none), {draw({0, 3})}).comparisons == 0);
  NoGrad off;
  REQUIRE(gradcheck([](const Tensors& x) { return x[0] * x[0]; }, {draw({2})}));
}
