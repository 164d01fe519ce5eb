#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>

#include <cmath>

using namespace loupe;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

Tensor leaf(Rng& rng, const Shape& shape) { return randn(rng, shape, DType::f64).requires_grad_(); }

// Away from 0, where some activations have a kink.
Tensor off_zero(Rng& rng, const Shape& shape) {
  const Tensor x = randn(rng, shape, DType::f64);
  return x + sign(x) * 0.1;
}

struct Activation {
  const char* name;
  Tensor (*op)(const Tensor&);
  double (*plain)(double);
};
const Activation kActivations[] = {
    {"relu", [](const Tensor& x) { return relu(x); }, [](double x) { return x > 0 ? x : 0; }},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); },
     [](double x) { return x > 0 ? x : 0.2 * x; }},
    {"gelu", [](const Tensor& x) { return gelu(x); },
     [](double x) { return x * 0.5 * (1 + std::erf(x / std::sqrt(2))); }},
    {"gelu tanh", [](const Tensor& x) { return gelu(x, {.approximate = Approximate::tanh}); },
     [](double x) {
       return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
     }},
    {"silu", [](const Tensor& x) { return silu(x); },
     [](double x) { return x / (1 + std::exp(-x)); }},
    {"sigmoid", [](const Tensor& x) { return sigmoid(x); },
     [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"tanh", [](const Tensor& x) { return loupe::tanh(x); }, [](double x) { return std::tanh(x); }},
    {"erf", [](const Tensor& x) { return loupe::erf(x); }, [](double x) { return std::erf(x); }},
    {"softplus", [](const Tensor& x) { return softplus(x, {.beta = 1.5, .threshold = 2}); },
     [](double x) { return 1.5 * x > 2 ? x : std::log1p(std::exp(1.5 * x)) / 1.5; }},
    {"elu", [](const Tensor& x) { return elu(x, 0.7); },
     [](double x) { return x > 0 ? x : 0.7 * std::expm1(x); }},
};

}  // namespace

TEST_CASE("activations: value, first and second derivative, any strides, f32 against f64") {
  Rng rng(1);
  for (const auto& a : kActivations) {
    CAPTURE(a.name);
    const Tensor x = off_zero(rng, {5, 7});
    const auto got = a.op(x).to_vector<double>(), from = x.to_vector<double>();
    for (size_t i = 0; i < got.size(); ++i)
      CHECK(got[i] == Approx(a.plain(from[i])).epsilon(1e-12).margin(1e-14));
    const auto f = [&](const Tensors& t) { return a.op(t[0]); };
    CHECK(gradcheck(f, {x}));
    CHECK(gradgradcheck(f, {x}, {.tolerance = 1e-5}));
    CHECK(gradcheck(f, {x.t()}));
    CHECK(gradcheck(f, {off_zero(rng, {4, 6}).slice(1, 0, 6, 2)}));
    CHECK(gradcheck(f, {off_zero(rng, {1})}));
    CHECK(a.op(zeros({0, 3})).shape() == Shape{0, 3});

    const Tensor wide = off_zero(rng, {37, 41}), narrow = wide.to(DType::f32).requires_grad_();
    const Tensor truth = narrow.detach().to(DType::f64).requires_grad_(),
                 up = randn(rng, {37, 41}, DType::f64);
    const Tensor y = a.op(narrow), yt = a.op(truth);
    CHECK(allclose(y.to(DType::f64), yt, 1e-6, 1e-6));
    y.backward(up.to(DType::f32));
    yt.backward(up);
    CHECK(allclose(narrow.grad().to(DType::f64), truth.grad(), 2e-6, 2e-6));
  }
}

TEST_CASE("activations: the slope at 0, NaN, and a tensor used twice") {
  const Tensor zero = tensor({0, -0.0}, {}, DType::f64).requires_grad_();
  relu(zero).sum().backward();
  CHECK(zero.grad().to_vector<double>() == std::vector<double>{0, 0});
  const double nan = std::nan("");
  for (const auto& a : kActivations) CHECK(std::isnan(a.op(tensor({nan})).item()));
  Rng rng(2);
  const Tensor x = leaf(rng, {3});
  (gelu(x) * gelu(x)).sum().backward();
  const Tensor y = x.detach().requires_grad_();
  square(gelu(y)).sum().backward();
  CHECK(allclose(x.grad(), y.grad(), 1e-12, 1e-12));
}

TEST_CASE("activations say what they do not take") {
  CHECK_THROWS_WITH(gelu(arange(3)), Contains("gelu: needs f32 or f64, got i64"));
  CHECK_THROWS_AS(softplus(zeros({2}), {.beta = 0}), ValueError);
  CHECK_THROWS_AS(relu(Tensor()), Error);
}

TEST_CASE("softmax and log_softmax: derivatives along every axis") {
  Rng rng(3);
  const Tensor x = randn(rng, {3, 4, 5}, DType::f64);
  for (int64_t axis : {-1, 0, 1}) {
    const auto f = [=](const Tensors& t) { return softmax(t[0], axis); };
    const auto g = [=](const Tensors& t) { return log_softmax(t[0], axis); };
    CHECK(gradcheck(f, {x}));
    CHECK(gradcheck(g, {x}));
    CHECK(gradgradcheck(f, {x}, {.tolerance = 1e-5}));
    CHECK(gradgradcheck(g, {x}, {.tolerance = 1e-5}));
    CHECK(gradcheck(f, {x.transpose(0, 2)}));
    CHECK(allclose(softmax(x, axis).sum({axis}), ones(x.sum({axis}).shape(), DType::f64), 1e-12,
                   1e-12));
    CHECK(allclose(log_softmax(x, axis), log(softmax(x, axis)), 1e-12, 1e-12));
  }
  CHECK(softmax(scalar(3)).item() == 1.0);
  CHECK(softmax(zeros({0, 4})).shape() == Shape{0, 4});
  CHECK(softmax(zeros({4, 0})).shape() == Shape{4, 0});
  CHECK_THROWS_WITH(softmax(x, 3), Contains("softmax: axis 3 is outside [-3, 3)"));
  CHECK_THROWS_AS(log_softmax(arange(3)), DtypeError);
  // A row that is masked wholly has zero gradient, not NaN.
  const double inf = INFINITY;
  const Tensor masked = tensor({-inf, -inf, 1, -inf}, Shape{2, 2}, DType::f64).requires_grad_();
  const Tensor y = softmax(masked, 1);
  y.backward(tensor({1, 2, 3, 4}, Shape{2, 2}, DType::f64));
  CHECK(y.to_vector<double>() == std::vector<double>{0, 0, 1, 0});
  CHECK(masked.grad().to_vector<double>() == std::vector<double>{0, 0, 0, 0});
}

TEST_CASE("embedding: rows, derivatives, the padding row, indices outside") {
  Rng rng(4);
  const Tensor w = randn(rng, {5, 3}, DType::f64);
  const Tensor index = from_data<int64_t>({1, 4, 1, 0, 2, 1}, Shape{2, 3});
  CHECK(equal(embedding(index, w), index_select(w, 0, index.reshape({6})).reshape({2, 3, 3})));
  const auto f = [&](const Tensors& t) { return embedding(index, t[0], {.padding_idx = -4}); };
  const auto plain = [&](const Tensors& t) { return embedding(index, t[0]); };
  CHECK(gradcheck(plain, {w}));
  CHECK(gradgradcheck([&](const Tensors& t) { return square(embedding(index, t[0])); }, {w},
                      {.tolerance = 1e-5}));
  CHECK(gradcheck(plain, {randn(rng, {3, 5}, DType::f64).t()}));
  const Tensor leaf_w = w.clone().requires_grad_();
  f({leaf_w}).sum().backward();
  CHECK(leaf_w.grad().sum({1}).to_vector<double>() == std::vector<double>{3, 0, 3, 0, 3});
  const Tensor again = grad({f({leaf_w}).sum()}, {leaf_w}, {.create_graph = true})[0];
  CHECK(equal(again, leaf_w.grad()));
  CHECK(embedding(zeros({0}, DType::i64), w).shape() == Shape{0, 3});
  CHECK_THROWS_WITH(
      embedding(from_data<int64_t>({0, 5}), w),
      StartsWith("embedding: index 5 at position 1 is outside [0, 5), the rows of the weight"));
  CHECK_THROWS_AS(embedding(from_data<int64_t>({-1}), w), IndexError);
  CHECK_THROWS_AS(embedding(zeros({2}), w), DtypeError);
  CHECK_THROWS_AS(embedding(index, zeros({3})), ShapeError);
  CHECK_THROWS_AS(embedding(index, w, {.padding_idx = 5}), IndexError);
}

TEST_CASE("dropout: its mask is drawn again in backward, whatever the memory order") {
  Rng rng(5);
  const Tensor x = (randn(rng, {4, 6, 5}, DType::f64) + 3.0).detach().requires_grad_();
  const Tensor y = dropout(x, rng, 0.4);
  const Tensor up =
      randn(rng, {5, 4, 6}, DType::f64).permute({1, 2, 0});  // another memory order than x
  y.backward(up);
  const Tensor mask = y / x;  // 0 or 1 / 0.6
  CHECK(allclose(x.grad(), up * mask.detach(), 1e-12, 1e-12));
  const double kept = gt(abs(mask), 0.0).to(DType::f64).mean().item();
  CHECK(kept > 0.4);
  CHECK(kept < 0.8);
  const Rng::State state = rng.state();
  const auto f = [&](const Tensors& t) {
    Rng same;
    same.set_state(state);
    return square(dropout(t[0], same, 0.4));
  };
  const Tensor small = randn(rng, {3, 4}, DType::f64);
  CHECK(gradcheck(f, {small}));
  CHECK(gradcheck(f, {small.t()}));
  CHECK(gradgradcheck(f, {small}, {.tolerance = 1e-5}));
  CHECK(!equal(dropout(x, rng, 0.5), dropout(x, rng, 0.5)));
  CHECK(dropout(x, rng, 0).is_same(x));
  CHECK(equal(dropout(x, rng, 1), zeros_like(x)));
  CHECK(dropout(zeros({0, 2}), rng, 0.5).shape() == Shape{0, 2});
  CHECK_THROWS_AS(dropout(x, rng, 1.5), ValueError);
  CHECK_THROWS_AS(dropout(arange(3), rng, 0.5), DtypeError);
}
