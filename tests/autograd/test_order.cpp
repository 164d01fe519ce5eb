// Sorting at sizes where the radix path runs, random choices, indexing as views, and the same bits
// at any thread count.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "catch.h"

using namespace loupe;
using Vec = std::vector<double>;

namespace {

// NaN as the largest, equals in their order.
std::vector<int64_t> stable_order(const Vec& v, bool descending) {
  std::vector<int64_t> order(v.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
    double a = v[static_cast<size_t>(i)], b = v[static_cast<size_t>(j)];
    if (descending) std::swap(a, b);
    return std::isnan(a) ? false : std::isnan(b) || a < b;
  });
  return order;
}

// Numbers with ties, both zeros, infinities and NaN, as far as the type has them.
Tensor mixed(Rng& rng, const Shape& shape, DType dtype) {
  const Tensor t =
      randint(rng, dtype == DType::u8 ? 0 : -500, dtype == DType::u8 ? 256 : 500, shape);
  if (!is_floating(dtype)) return t.to(dtype);
  const Tensor x = t.to(dtype) * randn(rng, shape, dtype);
  const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, -NAN, 1e-40, -1e-40};
  dispatch_floating(dtype, "mixed", [&]<class T>(Type<T>) {
    for (int64_t i = 0; i < x.numel(); i += 5)
      x.ptr<T>()[i] = static_cast<T>(special[static_cast<size_t>(i / 5) % 8]);
  });
  return x;
}

}  // namespace

TEST_CASE("sort is stable at any size, in every type and both directions") {
  Rng rng(1);
  for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::u8, DType::boolean})
    for (const int64_t n : {2, 100, 511, 512, 20000})
      for (const bool descending : {false, true}) {
        INFO(name(dtype) << " " << n << " " << descending);
        const Tensor x = mixed(rng, {n}, dtype);
        const auto order = stable_order(x.to_vector<double>(), descending);
        REQUIRE(argsort(x, 0, descending).to_vector<int64_t>() == order);
        REQUIRE(sort(x, 0, descending).indices.to_vector<int64_t>() == order);
        for (const int64_t k : {int64_t{1}, std::min<int64_t>(n, 70), n / 2}) {
          const auto top = topk(x, k, 0, descending).indices.to_vector<int64_t>();
          REQUIRE(top == std::vector<int64_t>(order.begin(), order.begin() + k));
        }
      }
  const Tensor large = from_data(std::vector<int64_t>{INT64_MAX, INT64_MIN, -1, 0});
  REQUIRE(argsort(large).to_vector<int64_t>() == std::vector<int64_t>{1, 2, 3, 0});
}

TEST_CASE("orders, running sums and scattered sums have the same bits at any thread count",
          "[threads]") {
  Rng rng(2);
  const Tensor x = randn(rng, {300, 700}), lines = randn(rng, {70, 3, 900});
  const Tensor index = randint(rng, 0, 300, {2000, 700}), rows = randint(rng, 0, 300, {5000});
  const Tensor source = randn(rng, {2000, 700});
  const auto all = [&] {
    const Tensor leaf = x.detach().requires_grad_();
    index_select(leaf, 0, rows).sum().backward();
    return std::vector<Tensor>{sort(x).values,
                               sort(x, 0).indices.to(DType::f32),
                               cumsum(x, 1),
                               cumsum(x, 0),
                               cumprod(lines, 1),
                               scatter_add(source, 0, index, {300, 700}),
                               scatter(x, 0, index, source),
                               gather(x, 0, index),
                               leaf.grad(),
                               prod(x, {1}),
                               norm(x, 2, {0}),
                               norm(x),
                               logsumexp(x, {0})};
  };
  std::vector<Tensor> one, three;
  {
    ThreadLimit limit(1);
    one = all();
  }
  {
    ThreadLimit limit(3);
    three = all();
  }
  for (size_t i = 0; i < one.size(); ++i) {
    INFO(i);
    REQUIRE(equal(one[i], three[i]));
  }
  // Against plain sums.
  Vec wanted(300 * 700, 0.0);
  const Vec s = source.to_vector<double>(), at = index.to_vector<double>();
  for (size_t i = 0; i < s.size(); ++i) wanted[static_cast<size_t>(at[i]) * 700 + i % 700] += s[i];
  const Vec got = one[5].to_vector<double>();
  for (size_t i = 0; i < got.size(); ++i) REQUIRE(std::abs(got[i] - wanted[i]) < 1e-4);
}

TEST_CASE("multinomial draws classes by their weights") {
  Rng rng(3);
  const Tensor w = tensor({1, 0, 3, 6, 2, 2, 2, 2}, Shape{2, 4});
  constexpr int64_t kDraws = 40000;
  const Tensor many = multinomial(rng, w, kDraws, true);
  REQUIRE(many.shape() == Shape{2, kDraws});
  const double wanted[2][4] = {{0.1, 0, 0.3, 0.6}, {0.25, 0.25, 0.25, 0.25}};
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t c = 0; c < 4; ++c) {
      const double share = eq(many[r], static_cast<double>(c)).to(DType::f64).mean().item();
      const double p = wanted[r][c];
      CHECK(std::abs(share - p) <= 5 * std::sqrt(p * (1 - p) / kDraws));  // 5 standard deviations
    }
  // Without replacement: the first of two draws has the weights, and the pair (2, 3) comes with
  // 0.3 * 0.6 / 0.7.
  int64_t first = 0, pair = 0;
  constexpr int64_t kTrials = 20000;
  const Tensor two = multinomial(rng, w[0].expand({kTrials, 4}), 2);
  const auto v = two.to_vector<int64_t>();
  for (size_t i = 0; i < v.size(); i += 2) {
    REQUIRE(v[i] != v[i + 1]);
    REQUIRE(v[i] != 1);
    REQUIRE(v[i + 1] != 1);
    first += v[i] == 3 ? 1 : 0;
    pair += v[i] == 2 && v[i + 1] == 3 ? 1 : 0;
  }
  const auto near = [](int64_t count, double p) {
    return std::abs(static_cast<double>(count) / kTrials - p) <=
           5 * std::sqrt(p * (1 - p) / kTrials);
  };
  CHECK(near(first, 0.6));
  CHECK(near(pair, 0.3 * 0.6 / 0.7));
  REQUIRE(multinomial(rng, w[0], 1).shape() == Shape{1});
  REQUIRE(multinomial(rng, zeros({0, 3}), 1).shape() == Shape{0, 1});
  // The same stream gives the same draws at any thread count, and moves on.
  Rng a(9), b(9);
  Tensor x, y;
  {
    ThreadLimit limit(1);
    x = multinomial(a, ones({3000, 5}), 3);
  }
  {
    ThreadLimit limit(3);
    y = multinomial(b, ones({3000, 5}), 3);
  }
  REQUIRE(equal(x, y));
  REQUIRE(a.state() == b.state());
  REQUIRE_FALSE(equal(x, multinomial(a, ones({3000, 5}), 3)));
}

TEST_CASE("index gives views where no tensor is among the indices") {
  const Tensor x = arange(24).reshape({2, 3, 4});
  const Tensor y = x.index({1, Slice(None, 2), None, -1});
  REQUIRE(y.shape() == Shape{2, 1});
  REQUIRE(y.to_vector<double>() == Vec{15, 19});
  REQUIRE(y.storage() == x.storage());
  REQUIRE(x.index({}).is_same(x));
  REQUIRE(x.index({Ellipsis}).storage() == x.storage());
  REQUIRE(x.index({Ellipsis, 0}).shape() == Shape{2, 3});
  REQUIRE(x.index({Slice(1, 100), Slice(-1), Slice(0, 4, 3)}).to_vector<double>() == Vec{20, 23});
  const Tensor picked = x.index({Slice(), from_data(std::vector<int64_t>{-1, 0})});
  REQUIRE(picked.shape() == Shape{2, 2, 4});
  REQUIRE(picked.storage() != x.storage());
  REQUIRE(x.index({gt(x, 20)}).to_vector<double>() == Vec{21, 22, 23});
  // A position that comes twice gets both gradients.
  const Tensor leaf = tensor({1, 2, 3}).requires_grad_();
  leaf.index({from_data(std::vector<int64_t>{2, 0, 2})}).sum().backward();
  REQUIRE(leaf.grad().to_vector<double>() == Vec{1, 0, 2});
}

TEST_CASE("argmax and argmin without an axis look at all elements in row-major order") {
  const Tensor x = tensor({1, 9, 3, 9, 0, 0}, Shape{2, 3});
  REQUIRE(argmax(x).item() == 1);
  REQUIRE(argmax(x.t()).item() == 1);
  REQUIRE(argmax(x.t().contiguous().t()).item() == 1);
  REQUIRE(argmin(x).item() == 4);
  REQUIRE(argmax(x, {}, true).shape() == Shape{1, 1});
  REQUIRE(argmax(x, -1).to_vector<double>() == Vec{1, 0});
  REQUIRE(argmin(x, 0, true).to_vector<double>() == Vec{0, 1, 1});
}
