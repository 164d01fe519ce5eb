// Equal elements, whose mean rounds: no spread, and no gradient of one.
#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <functional>

using namespace loupe;

namespace {

double largest(const Tensor& t) { return max(abs(t.detach())).item(); }

// Calls f(value, length) for values that no binary fraction holds, and lengths that divide nothing.
void for_equal(const std::function<void(double value, int64_t length)>& f) {
  Rng rng(6);
  std::vector<double> values{0.1, 0.3, 1.0 / 3, -0.7, 123.456, 1e5 + 0.1, 1e7 + 1, 1e-5, 1e-30, 0};
  for (int i = 0; i < 20; ++i) values.push_back((rng.uniform() - 0.5) * 2000);
  for (const double value : values)
    for (const int64_t length : {2, 3, 5, 6, 7, 9, 10, 11, 13, 31, 49, 100, 333, 1000, 3001}) {
      CAPTURE(value, length);
      f(value, length);
    }
}

// The gradient of sum(y u) by x, u at random.
Tensor gradient(const Tensor& y, const Tensor& x, bool create_graph) {
  Rng rng(7);
  const Tensor u = randn(rng, y.shape(), y.dtype());
  return grad({y}, {x}, {.create_graph = create_graph, .retain_graph = true}, {u})[0];
}

}  // namespace

TEST_CASE("var and std of equal elements are 0, and so are their gradients") {
  for (const DType dtype : {DType::f32, DType::f64})
    for_equal([&](double value, int64_t length) {
      for (const bool columns : {false, true}) {
        const Tensor x =
            full(columns ? Shape{length, 3} : Shape{3, length}, value, dtype).requires_grad_();
        const Dims axes{columns ? 0 : 1};
        for (const Dims& over : {axes, Dims{}}) {
          const Tensor v = var(x, over), s = loupe::std(x, over);
          REQUIRE(largest(v) == 0);
          REQUIRE(largest(s) == 0);
          for (const bool create_graph : {false, true}) {
            REQUIRE(largest(gradient(v, x, create_graph)) == 0);
            REQUIRE(largest(gradient(s, x, create_graph)) == 0);
          }
        }
      }
    });
}

TEST_CASE("std next to equal elements is right") {
  for (const DType dtype : {DType::f32, DType::f64})
    for (const double value : {0.1, 0.3, 123.456}) {
      // One element is off by the last digit: the deviations are known exactly.
      Tensor x = full({3}, value, dtype);
      const double at = x[0].item(), unit = dtype == DType::f32 ? 0x1p-20 : 0x1p-45;
      x[1].fill_(at + unit * 4);
      const double step = x[1].item() - at;
      REQUIRE(step > 0);
      x.requires_grad_();
      const Tensor s = loupe::std(x);
      REQUIRE(s.item() == Approx(step / std::sqrt(3.0)).epsilon(1e-6));
      s.backward();
      const double g = 1 / std::sqrt(3.0);
      REQUIRE(x.grad()[1].item() == Approx(g).epsilon(1e-6));
      REQUIRE(x.grad()[0].item() == Approx(-g / 2).epsilon(1e-6));
    }
}

TEST_CASE("norms of equal elements give the bias") {
  using Call = std::function<Tensor(const Tensor& rows)>;  // of (3, length)
  const auto batch = [](bool instance, const Tensor& rows) {
    BatchNormArgs args;
    args.training = true;
    if (instance) return instance_norm(rows.unsqueeze(0), Tensor(), Tensor(), args);
    return batch_norm(rows.transpose(0, 1), Tensor(), Tensor(), args);
  };
  const std::pair<const char*, Call> calls[] = {
      {"layer_norm",
       [](const Tensor& t) { return layer_norm(t, {t.size(1)}, Tensor(), Tensor()); }},
      {"group_norm",
       [](const Tensor& t) { return group_norm(t.unsqueeze(0), 3, Tensor(), Tensor()); }},
      {"instance_norm", [&](const Tensor& t) { return batch(true, t); }},
      {"batch_norm", [&](const Tensor& t) { return batch(false, t); }},
  };
  for (const auto& [name, call] : calls)
    for (const DType dtype : {DType::f32, DType::f64})
      for_equal([&, &call = call, &name = name](double value, int64_t length) {
        INFO(name);
        const Tensor x = full({3, length}, value, dtype).requires_grad_();
        const Tensor y = call(x);
        // The channel norms keep a mean in f64: what it lacks is far below an f32's last digit.
        REQUIRE(largest(y) <= (dtype == DType::f32 ? 1e-12 * std::abs(value) : 0));
        // dx = (dy - mean dy) / sqrt(eps): xhat has no part in it.
        const Tensor once = gradient(y, x, false), again = gradient(y, x, true);
        REQUIRE(allclose(once, again, 1e-4, 1e-3));
        REQUIRE(largest(sum(once, {1})) <= 2e-3 * static_cast<double>(length));
      });
}
