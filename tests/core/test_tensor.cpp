#include "catch.h"

#include <loupe/autograd/ops.h>
#include <loupe/core/raw.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <limits>
#include <set>

using namespace loupe;
using Catch::Matchers::Contains;
using Vec = std::vector<double>;

TEST_CASE("factories fill what they say") {
  REQUIRE(zeros({2, 2}).to_vector<double>() == Vec{0, 0, 0, 0});
  REQUIRE(arange(0, 5, 2).to_vector<double>() == Vec{0, 2, 4});
  REQUIRE(arange(5, 0, -2).to_vector<double>() == Vec{5, 3, 1});
  REQUIRE(linspace(0, 1, 5).to_vector<double>() == Vec{0, .25, .5, .75, 1});
  REQUIRE(eye(2).to_vector<double>() == Vec{1, 0, 0, 1});
  REQUIRE(full({}, 3).item() == 3);
  REQUIRE(from_data(std::vector<int64_t>{1, 2, 3}).dtype() == DType::i64);
  REQUIRE_THROWS_AS(from_data(std::vector<float>{1, 2}, Shape{3}), ShapeError);
  REQUIRE_THROWS_AS(arange(0, 1, 0), ValueError);
  REQUIRE_THROWS_AS(zeros({-1}), ShapeError);
  REQUIRE_THROWS_AS(Tensor().shape(), ValueError);
  REQUIRE_THROWS_AS(zeros({int64_t{1} << 40, int64_t{1} << 40}), ShapeError);
  REQUIRE_THROWS_AS(zeros({int64_t{1} << 43}), OutOfMemory);

  Rng rng(1);
  const Tensor n = randn(rng, {100001}, DType::f64), u = uniform(rng, {100000}, -1, 3);
  REQUIRE(std::abs(n.mean().item()) < 0.01);
  REQUIRE(std::abs(loupe::std(n).item() - 1) < 0.01);
  REQUIRE(min(u).item() >= -1);
  REQUIRE(max(u).item() < 3);
  REQUIRE(std::abs(u.mean().item() - 1) < 0.02);
  const auto p = permutation(rng, 100).to_vector<int64_t>();
  REQUIRE(std::set<int64_t>(p.begin(), p.end()).size() == 100);
  // The same numbers at any thread count.
  Rng a(5), b(5);
  Tensor x, y;
  {
    ThreadLimit one(1);
    x = randn(a, {70000});
  }
  {
    ThreadLimit three(3);
    y = randn(b, {70000});
  }
  REQUIRE(equal(x, y));
  REQUIRE(a.state() == b.state());
}

TEST_CASE("views share memory; reshape copies only when it must") {
  const Tensor t = arange(24).reshape({2, 3, 4});
  REQUIRE(t.transpose(0, 2).shape() == Shape{4, 3, 2});
  REQUIRE(t.permute({2, 0, 1}).contiguous().to_vector<double>()[1] == 4);
  REQUIRE(t.select(1, -1).to_vector<double>() == Vec{8, 9, 10, 11, 20, 21, 22, 23});
  REQUIRE(t.slice(2, 1, -1).shape() == Shape{2, 3, 2});
  REQUIRE(t.slice(2, 0, 100, 3).to_vector<double>() ==
          Vec{0, 3, 4, 7, 8, 11, 12, 15, 16, 19, 20, 23});
  REQUIRE(t.slice(0, 5, 9).numel() == 0);
  REQUIRE(t.reshape({6, -1}).storage() == t.storage());
  REQUIRE(t.transpose(1, 2).reshape({2, 12}).storage() != t.storage());
  REQUIRE(t.slice(1, 0, 2).reshape({2, 8}).storage() == t.storage());
  REQUIRE(t.slice(1, 0, 2).reshape({2, 8}).to_vector<double>()[8] == 12);
  REQUIRE(t.transpose(0, 1).reshape({3, 2, 2, 2}).storage() == t.storage());
  REQUIRE(t.unsqueeze(-1).shape() == Shape{2, 3, 4, 1});
  REQUIRE(t.unsqueeze(0).squeeze().shape() == Shape{2, 3, 4});
  REQUIRE(t.flatten(1).shape() == Shape{2, 12});
  REQUIRE(t[1][2][3].item() == 23);
  const Tensor row = tensor({1, 2, 3});
  REQUIRE(row.expand({2, 3}).to_vector<double>() == Vec{1, 2, 3, 1, 2, 3});
  row.slice(0, 1, 2).fill_(9);
  REQUIRE(row.to_vector<double>() == Vec{1, 9, 3});
  REQUIRE_THROWS_AS(t.reshape({5, -1}), ShapeError);
  REQUIRE_THROWS_AS(t.reshape({-1, -1}), ShapeError);
  REQUIRE_THROWS_AS(t.transpose(0, 3), IndexError);
  REQUIRE_THROWS_AS(t.permute({0, 0, 1}), ValueError);
  REQUIRE_THROWS_AS(t.select(0, 2), IndexError);
  REQUIRE_THROWS_AS(row.expand({2, 4}), ShapeError);
  REQUIRE_THROWS_AS(t.data<float>(), DtypeError);
  REQUIRE_THROWS_AS(t.transpose(0, 1).data<int64_t>(), ShapeError);
}

TEST_CASE("elementwise loops agree with the plain definition for every layout and broadcast") {
  Rng rng(2);
  const Shape shapes[][2] = {
      {{3, 4}, {3, 4}},   {{3, 4}, {4}}, {{3, 1}, {1, 4}}, {{2, 3, 40, 50}, {3, 1, 1}},
      {{70000}, {70000}}, {{0, 3}, {3}}, {{}, {2, 2}}};
  for (const auto& [sa, sb] : shapes)
    for (bool flip : {false, true}) {
      Tensor a = randn(rng, sa), b = randn(rng, sb);
      if (flip && a.dim() >= 2) a = raw::row_major(a.transpose(0, 1)).transpose(0, 1);
      const Tensor y = a * b - b;
      const Shape s = broadcast_shapes(sa, sb, "test");
      REQUIRE(y.shape() == s);
      const Vec xa = a.expand(s).to_vector<double>(), xb = b.expand(s).to_vector<double>(),
                r = y.to_vector<double>();
      for (size_t i = 0; i < r.size(); ++i)
        REQUIRE(r[i] == static_cast<double>(static_cast<float>(xa[i]) * static_cast<float>(xb[i]) -
                                            static_cast<float>(xb[i])));
    }
  REQUIRE_THROWS_WITH(zeros({2, 3}) + zeros({2, 4}),
                      Contains("add") && Contains("(2, 3)") && Contains("(2, 4)"));
  REQUIRE_THROWS_WITH(zeros({2}) + zeros({2}, DType::f64),
                      Contains("f32") && Contains("f64") && Contains("to("));
  REQUIRE_THROWS_AS(arange(3) / arange(3), DtypeError);
  REQUIRE_THROWS_AS(arange(3) + 0.5, DtypeError);
  REQUIRE((arange(3) * 2 + 1).to_vector<double>() == Vec{1, 3, 5});
}

TEST_CASE("elementwise results keep the strides of the first dense full-shape operand") {
  const Tensor nhwc = raw::empty_channels_last({2, 3, 4, 5}, DType::f32);
  nhwc.fill_(1);
  REQUIRE(raw::is_channels_last(nhwc + ones({2, 3, 4, 5})));
  REQUIRE(raw::is_channels_last(nhwc * ones({3, 1, 1})));
  REQUIRE(raw::is_row_major(ones({2, 3, 4, 5}) + nhwc));
  REQUIRE(equal(nhwc + ones({2, 3, 4, 5}), full({2, 3, 4, 5}, 2)));
}

TEST_CASE("copies between layouts and types are exact") {
  Rng rng(3);
  for (Shape s : {Shape{2, 3, 17, 33}, Shape{5, 64, 7, 7}, Shape{2, 12, 5, 4}, Shape{1, 1, 3, 3},
                  Shape{2, 16, 1, 1}, Shape{0, 3, 4, 4}}) {
    const Tensor x = randn(rng, s);
    const Tensor last = raw::channels_last(x);
    REQUIRE(raw::is_channels_last(last));
    REQUIRE(equal(last, x));
    REQUIRE(equal(raw::row_major(last), x));
    const Tensor p = x.permute({3, 1, 0, 2});
    REQUIRE(raw::row_major(p).to_vector<float>() == p.to_vector<float>());
  }
  REQUIRE(tensor({1.7, -2.5, 0}).to(DType::i64).to_vector<double>() == Vec{1, -2, 0});
  REQUIRE(tensor({1.7, 0}).to(DType::boolean).to_vector<bool>() == std::vector<bool>{true, false});
  const Tensor big = zeros({600, 700});
  big.copy_(arange(700).to(DType::f32));
  REQUIRE(big[599][699].item() == 699);
  REQUIRE_THROWS_AS(zeros({3}).copy_(zeros({4})), ShapeError);
  // Overlapping copy within one storage.
  const Tensor line = arange(6);
  line.slice(0, 1).copy_(line.slice(0, 0, 5));
  REQUIRE(line.to_vector<double>() == Vec{0, 0, 1, 2, 3, 4});
}

TEST_CASE("reductions over any axes agree with the plain sum, at any size, layout and thread count",
          "[threads]") {
  Rng rng(4);
  const Shape shapes[] = {{7},      {3, 5},      {4, 3, 2}, {33, 1000}, {1000, 33}, {5, 70, 11, 13},
                          {200000}, {2, 100000}, {0, 3},    {1, 1}};
  const Dims axes[] = {{}, {0}, {1}, {-1}, {0, 1}, {0, 2}, {0, 2, 3}, {1, 3}};
  for (const Shape& s : shapes)
    for (const Dims& ax : axes) {
      bool valid = true;
      for (int64_t a : ax) valid = valid && a < s.rank();
      if (!valid) continue;
      for (bool flip : {false, true}) {
        Tensor x = randn(rng, s);
        if (flip && x.dim() == 4) x = raw::channels_last(x);
        const Dims norm = raw::normalize_axes(ax, s.rank(), "test");
        const Shape kept = raw::reduced_shape(s, norm, true);
        std::vector<long double> want(static_cast<size_t>(kept.numel()), 0);
        Vec values = x.to_vector<double>();
        const Strides ks = row_major_strides(kept), ss = row_major_strides(s);
        for (size_t i = 0; i < values.size(); ++i) {
          int64_t at = 0;
          for (int d = 0; d < s.rank(); ++d)
            if (kept[d] != 1) at += static_cast<int64_t>(i) / ss[d] % s[d] * ks[d];
          want[static_cast<size_t>(at)] += values[i];
        }
        Tensor y;
        {
          ThreadLimit one(1);
          y = x.sum(ax, true);
        }
        REQUIRE(y.shape() == kept);
        {
          ThreadLimit three(3);
          REQUIRE(equal(y, x.sum(ax, true)));
        }
        const Vec got = y.to_vector<double>();
        for (size_t i = 0; i < got.size(); ++i)
          REQUIRE(got[i] == static_cast<double>(static_cast<float>(want[i])));
      }
    }
  const double nan = std::numeric_limits<double>::quiet_NaN();
  REQUIRE(max(tensor({1, 5, 3})).item() == 5);
  REQUIRE(std::isnan(max(tensor({1, nan, 3})).item()));
  REQUIRE(min(tensor({4, -2, 3}, Shape{3, 1}), {0}).to_vector<double>() == Vec{-2});
  REQUIRE(argmax(tensor({1, 5, 5, 2}, Shape{2, 2}), 1).to_vector<double>() == Vec{1, 0});
  REQUIRE(argmax(tensor({1, 5, 5, 2}, Shape{2, 2}), 0, true).shape() == Shape{1, 2});
  REQUIRE_THROWS_AS(max(zeros({0})), ValueError);
  REQUIRE(zeros({0}).sum().item() == 0);
  REQUIRE((arange(5) >= 2.0).sum().item<int64_t>() == 3);
  const TopK top = topk(tensor({3, 9, 1, 9, 5}), 3);
  REQUIRE(top.values.to_vector<double>() == Vec{9, 9, 5});
  REQUIRE(top.indices.to_vector<double>() == Vec{1, 3, 4});
  REQUIRE_THROWS_AS(topk(zeros({3}), 4), ValueError);
}

TEST_CASE("printing is readable, also for large tensors") {
  REQUIRE(to_string(tensor({1, 2.5})) == "tensor([1.0000, 2.5000])");
  REQUIRE(to_string(arange(3)) == "tensor([0, 1, 2], i64)");
  REQUIRE(to_string(zeros({0, 3})) == "tensor([], shape=(0, 3))");
  REQUIRE(to_string(scalar(3)) == "tensor(3.)");
  REQUIRE(to_string(eye(2)) == "tensor([[1., 0.],\n        [0., 1.]])");
  const std::string big = to_string(zeros({100, 100}));
  REQUIRE_THAT(big, Contains("...") && Contains("shape=(100, 100)"));
  REQUIRE(big.size() < 800);
  REQUIRE(to_string(Tensor()) == "tensor(undefined)");
}

TEST_CASE("uniform never gives its upper bound, where rounding to f32 would") {
  Rng rng(1);
  const double high = 1 + 0x1p-22;  // two floats lie in [1, high)
  const Tensor u = uniform(rng, {4096}, 1, high);
  CHECK(max(u).item() < high);
  CHECK(min(u).item() == 1);
  CHECK(equal(uniform(rng, {3}, 2, 2), full({3}, 2)));
}

TEST_CASE("contiguous and to give the tensor itself where nothing is to do; clone keeps strides") {
  const Tensor x = ones({2, 3, 4, 5}), last = raw::channels_last(x);
  CHECK(x.contiguous().is_same(x));
  CHECK(x.to(DType::f32).is_same(x));
  CHECK(last.clone().strides() == last.strides());
  CHECK(last.clone().storage() != last.storage());
}

TEST_CASE("set_data takes memory and layout, and drops a gradient of another type") {
  Tensor w = ones({2, 2}).requires_grad_();
  (w * 2.0).sum().backward();
  w.set_data(zeros({2, 2}));
  CHECK(w.grad().defined());
  const Tensor source = full({2, 2}, 3, DType::f64).t();
  w.set_data(source);
  CHECK(w.storage() == source.storage());
  CHECK(w.strides() == source.strides());
  CHECK(!w.grad().defined());
}
