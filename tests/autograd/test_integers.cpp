// Integers and numbers: nothing goes through a double that could lose it, nothing is cast in
// silence.
#include "catch.h"

#include <loupe/autograd/ops.h>

#include <limits>

using namespace loupe;

namespace {

constexpr int64_t kOdd = (int64_t{1} << 53) + 1;  // no double holds it
constexpr int64_t kMin = INT64_MIN, kMax = INT64_MAX;
const double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();

using Ints = std::vector<int64_t>;
Tensor ints(const Ints& v) { return from_data(v); }
Tensor bytes(const std::vector<uint8_t>& v) { return from_data(v); }
Ints values(const Tensor& t) { return t.to_vector<int64_t>(); }

}  // namespace

TEST_CASE("2^53 + 1 survives factories, reading, printing, arithmetic and comparisons") {
  const Tensor x = ints({kOdd});
  CHECK(x.item<int64_t>() == kOdd);
  CHECK(full({}, kOdd, DType::i64).item<int64_t>() == kOdd);
  CHECK(scalar(kOdd, DType::i64).item<int64_t>() == kOdd);
  CHECK(zeros({1}, DType::i64).fill_(kOdd).item<int64_t>() == kOdd);
  CHECK(values(arange(kOdd - 1, kOdd + 2)) == Ints{kOdd - 1, kOdd, kOdd + 1});
  CHECK(values(arange(kMax, kMax - 3, -2)) == Ints{kMax, kMax - 2});
  CHECK(to_string(x) == "tensor([9007199254740993], i64)");
  CHECK(values(x.clone()) == Ints{kOdd});
  CHECK(values(sum(ints({kOdd, 1, -1}))) == Ints{kOdd});
  CHECK(values(max(ints({kOdd, kOdd - 1}))) == Ints{kOdd});
  CHECK(values(x + 0) == Ints{kOdd});
  CHECK(values(zeros({1}, DType::i64) + kOdd) == Ints{kOdd});
  CHECK(values(kOdd - zeros({1}, DType::i64)) == Ints{kOdd});
  CHECK(values(ones({1}, DType::i64) * kOdd) == Ints{kOdd});
  CHECK(values(ones({1}, DType::i64).mul_(kOdd)) == Ints{kOdd});
  CHECK(values(zeros({1}, DType::i64).add_(ones({1}, DType::i64), kOdd)) == Ints{kOdd});
  CHECK(values(maximum(x, kOdd - 1)) == Ints{kOdd});
  CHECK(values(minimum(x + 1, kOdd)) == Ints{kOdd});
  CHECK(values(clamp(ints({0, kMax}), kOdd, kOdd + 2)) == Ints{kOdd, kOdd + 2});
  CHECK(values(where(x > 0, kOdd, x)) == Ints{kOdd});
  CHECK(values(where(x > 0, kOdd, 0)) == Ints{kOdd});
  CHECK(values(masked_fill(x - 5, x > 0, kOdd)) == Ints{kOdd});
  CHECK(values(abs(-x)) == Ints{kOdd});
  CHECK(values(pow(x, 1)) == Ints{kOdd});
  CHECK(values(remainder(x, 2)) == Ints{1});
  CHECK(values(remainder(x, kOdd - 1)) == Ints{1});
  CHECK(values(floor(x)) == Ints{kOdd});
  CHECK(eq(x, kOdd).item<bool>());
  CHECK(!eq(x, kOdd - 1).item<bool>());
  CHECK(!(x < kOdd).item<bool>());
  CHECK((x > kOdd - 1).item<bool>());
  CHECK(!equal(x, x - 1));
  CHECK(!allclose(x, x - 1, 0, 0));
}

TEST_CASE("integer powers are exact and wrap around as PyTorch's") {
  CHECK(pow(ints({3}), 35).item<int64_t>() == 50031545098999707);
  CHECK(pow(ints({3}), ints({35})).item<int64_t>() == 50031545098999707);
  CHECK(values(pow(ints({3, -3, 7, 10, 2}), 39)) == Ints{4052555153018976267, -4052555153018976267,
                                                         -3522809609551315465, 6873995514006732800,
                                                         int64_t{1} << 39});
  CHECK(values(pow(ints({2, 3, -1}), ints({64, 64, 64}))) == Ints{0, 8733086111712066817, 1});
  CHECK(values(pow(ints({0, 0, 5}), ints({0, 3, 0}))) == Ints{1, 0, 1});
  CHECK(values(pow(ints({0, 1, -1, -1, 2, -7}), ints({-1, -3, -3, -4, -1, -2}))) ==
        Ints{0, 1, -1, 1, 0, 0});
  CHECK(values(pow(2, ints({-1, 3, 62, 63, 64}))) == Ints{0, 8, int64_t{1} << 62, kMin, 0});
  CHECK(values(pow(bytes({3, 44, 255, 2}), 10)) == Ints{169, 0, 1, 0});
  CHECK(values(pow(bytes({3, 7}), bytes({5, 200}))) == Ints{243, 193});
  CHECK(values(square(ints({3037000500}))) == Ints{-9223372036709301616});
  CHECK_THROWS_AS(pow(ints({3}), -1), ValueError);
  CHECK_THROWS_AS(pow(ints({3}), 0.5), DtypeError);
  CHECK_THROWS_AS(pow(bytes({3}), 300), ValueError);
}

TEST_CASE("integer arithmetic wraps around") {
  CHECK(values(ints({kMax}) + 1) == Ints{kMin});
  CHECK(values(ints({kMin}) - 1) == Ints{kMax});
  CHECK(values(ints({kMax}) * 2) == Ints{-2});
  CHECK(values(-ints({kMin})) == Ints{kMin});
  CHECK(values(abs(ints({kMin, -5}))) == Ints{kMin, 5});
  CHECK(values(ints({kMax}).add_(ints({kMax}), 3)) == Ints{-4});
  CHECK(values(bytes({200, 44}) + bytes({100, 1})) == Ints{44, 45});
  CHECK(values(-bytes({44, 255, 0})) == Ints{212, 1, 0});
  CHECK(values(remainder(ints({-7, 7, kMin}), ints({3, -3, -1}))) == Ints{2, -2, 0});
  CHECK_THROWS_AS(remainder(ints({1}), 0), ValueError);
  CHECK_THROWS_AS(remainder(ints({1, 2}), ints({1, 0})), ValueError);
}

TEST_CASE("an integer or bool tensor is compared with the number itself") {
  const Tensor b = from_data(std::vector<bool>{true, false}), i = ints({3, -1, 0, kOdd}),
               u = bytes({44, 255, 0});
  CHECK(values(eq(b, 2)) == Ints{0, 0});
  CHECK(values(ne(b, 2)) == Ints{1, 1});
  CHECK(values(b < 2) == Ints{1, 1});
  CHECK(values(b >= -1) == Ints{1, 1});
  CHECK(values(b > 0) == Ints{1, 0});
  CHECK(values(b < 0.5) == Ints{0, 1});
  CHECK(values(eq(b, 0.5)) == Ints{0, 0});
  CHECK(values(eq(b, true)) == Ints{1, 0});
  CHECK(values(i < 0.5) == Ints{0, 1, 1, 0});
  CHECK(values(i <= -0.5) == Ints{0, 1, 0, 0});
  CHECK(values(i > -0.5) == Ints{1, 0, 1, 1});
  CHECK(values(i >= 2.5) == Ints{1, 0, 0, 1});
  CHECK(values(eq(i, 2.5)) == Ints{0, 0, 0, 0});
  CHECK(values(ne(i, 2.5)) == Ints{1, 1, 1, 1});
  for (const Tensor& t : {b, i, u}) {
    const Ints none(static_cast<size_t>(t.numel()), 0), all(static_cast<size_t>(t.numel()), 1);
    CHECK(values(eq(t, kNan)) == none);
    CHECK(values(ne(t, kNan)) == all);
    CHECK(values(t < kNan) == none);
    CHECK(values(t >= kNan) == none);
    CHECK(values(t < kInf) == all);
    CHECK(values(t <= -kInf) == none);
    CHECK(values(t > -kInf) == all);
    CHECK(values(eq(t, kInf)) == none);
  }
  CHECK(values(ints({kMax}) < 0x1p63) == Ints{1});
  CHECK(values(ints({kMin}) >= -0x1p63) == Ints{1});
  CHECK(values(ints({kMax}) > 1e30) == Ints{0});
  CHECK(values(u < 44.5) == Ints{1, 0, 1});
  CHECK_THROWS_AS(eq(u, 300), ValueError);  // PyTorch compares with 300 - 256
  CHECK_THROWS_AS(u > -1, ValueError);
}

TEST_CASE("a number that an integer tensor cannot take is refused, never cast") {
  const Tensor b = zeros({2}, DType::boolean), i = zeros({2}, DType::i64),
               u = zeros({2}, DType::u8);
  for (const double odd : {0.5, -2.5, 1e-9}) {
    CHECK_THROWS_AS(i + odd, DtypeError);
    CHECK_THROWS_AS(odd * u, DtypeError);
    CHECK_THROWS_AS(i.mul_(odd), DtypeError);
    CHECK_THROWS_AS(i.add_(i, odd), DtypeError);
    CHECK_THROWS_AS(maximum(i, odd), DtypeError);
    CHECK_THROWS_AS(clamp(i, odd, 7), DtypeError);
    CHECK_THROWS_AS(where(i > 0, i, odd), DtypeError);
    CHECK_THROWS_AS(masked_fill(i, i > 0, odd), DtypeError);
    CHECK_THROWS_AS(remainder(i, odd), DtypeError);
    CHECK_THROWS_AS(arange(odd, 5), DtypeError);
    CHECK_THROWS_AS(arange(0, odd, odd), DtypeError);
  }
  for (const double far : {kInf, -kInf, kNan, 1e19, 300.0, -1.0}) {
    CHECK_THROWS_AS(u + far, ValueError);
    CHECK_THROWS_AS(u.add_(u, far), ValueError);
    CHECK_THROWS_AS(minimum(u, far), ValueError);
    CHECK_THROWS_AS(where(u > 0, far, u), ValueError);
    CHECK_THROWS_AS(masked_fill(u, u > 0, far), ValueError);
    CHECK_THROWS_AS(full({}, far, DType::u8), ValueError);
  }
  CHECK_THROWS_AS(where(b, b, 2), ValueError);
  CHECK(values(masked_fill(b, ~b, 10)) == Ints{1, 1});  // as a fill does
  CHECK_THROWS_AS(b * 2, DtypeError);
  CHECK_THROWS_AS(pow(b, 1), DtypeError);
  CHECK_THROWS_AS(arange(0, 300, 100, DType::u8).fill_(kNan), ValueError);
  CHECK_THROWS_AS(arange(0, 301, 100, DType::u8), ValueError);
  CHECK_THROWS_AS(arange(-2, 3, 1, DType::u8), ValueError);
  CHECK_THROWS_AS(linspace(0, kNan, 3, DType::i64), ValueError);
  CHECK_THROWS_AS(linspace(0, 300, 4, DType::u8), ValueError);
  CHECK_THROWS_AS(scalar(kNan).item<int64_t>(), ValueError);
  CHECK_THROWS_AS(scalar(1e30).item<int64_t>(), ValueError);
  CHECK_THROWS_AS(ints({300}).select(0, 0).item<uint8_t>(), ValueError);
  CHECK_THROWS_AS(ints({-1}).select(0, 0).item<size_t>(), ValueError);
  CHECK(values(arange(0, 300, 100, DType::u8)) == Ints{0, 100, 200});
  CHECK(values(arange(0, 2.5)) == Ints{0, 1, 2});
  CHECK(scalar(-2.9).item<int>() == -2);
}

TEST_CASE("arange refuses a step that points away from the end, however short the way") {
  CHECK_THROWS_AS(arange(10, 8, 5), ValueError);
  CHECK_THROWS_AS(arange(0, 1, -3), ValueError);
  CHECK_THROWS_AS(arange(0.0, 0.1, -3, DType::f32), ValueError);
  CHECK(arange(5, 5, -3).numel() == 0);
  CHECK(arange(5, 5, 3, DType::f32).numel() == 0);
  CHECK(values(arange(10, 8, -5)) == Ints{10});
}

TEST_CASE("logic takes every type, mixed ones too, and broadcasts") {
  const Tensor f = tensor({0, -0.0, 2, static_cast<float>(kNan)}), i = ints({1, 0, 0, 7});
  CHECK(values(logical_and(f, i)) == Ints{0, 0, 0, 1});
  CHECK(values(logical_or(f, i)) == Ints{1, 0, 1, 1});
  CHECK(values(logical_xor(f, i)) == Ints{1, 0, 1, 0});
  CHECK(values(logical_not(f)) == Ints{1, 1, 0, 0});
  const Tensor p = gt(f, 1), q = eq(i, 0);
  CHECK(values(p & q) == Ints{0, 0, 1, 0});
  CHECK(values(p | q) == Ints{0, 1, 1, 0});
  CHECK(values(p ^ q) == Ints{0, 1, 0, 0});
  CHECK(values(~p) == Ints{1, 1, 0, 1});
  CHECK(logical_and(zeros({2, 1}), ones({3})).shape() == Shape{2, 3});
  CHECK(values(isfinite(i)) == Ints{1, 1, 1, 1});
  CHECK(values(isnan(i)) == Ints{0, 0, 0, 0});
}

TEST_CASE("arange over the whole range of i64; fill_ cuts a part behind the point") {
  CHECK(values(arange(kMin, kMax, int64_t{1} << 62)) ==
        Ints{kMin, -(int64_t{1} << 62), 0, int64_t{1} << 62});
  CHECK(values(zeros({1}, DType::i64).fill_(-2.9)) == Ints{-2});
  CHECK_THROWS_AS(pow(ints({2}), -2.5), DtypeError);
  CHECK_THROWS_AS(pow(ints({2}), -2), ValueError);
}
