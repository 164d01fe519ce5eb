// Every public function of core and autograd called wrongly: the typed error, with a sentence that
// starts with the op.
#include "misuse.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include <limits>

using namespace loupe;
using misuse::pointed::refuses;  // misuse::refuses where no op is called

namespace {

const double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();
const Tensor f23 = zeros({2, 3}), f22 = zeros({2, 2}), scalar0 = scalar(1),
             i23 = zeros({2, 3}, DType::i64), d23 = zeros({2, 3}, DType::f64),
             b23 = zeros({2, 3}, DType::boolean), u23 = zeros({2, 3}, DType::u8),
             i2 = zeros({2}, DType::i64), empty03 = zeros({0, 3}), none;

using One = Tensor (*)(In);
using Two = Tensor (*)(In, In);

}  // namespace

TEST_CASE("misuse: an undefined tensor is named as such, wherever it is used") {
  const std::vector<One> unary{neg,   square,      reciprocal, sqrt,  rsqrt, exp,   log,     abs,
                               sign,  logical_not, contiguous, clone, sin,   cos,   expm1,   log1p,
                               floor, ceil,        round,      trunc, isnan, isinf, isfinite};
  for (One f : unary) refuses<ValueError>("tensor", [&] { f(none); });
  const std::vector<Two> binary{add,    sub,       mul,         div,        maximum,     minimum,
                                matmul, remainder, logical_and, logical_or, logical_xor, eq,
                                ne,     lt,        le,          gt,         ge};
  for (Two f : binary) {
    refuses<ValueError>("tensor", [&] { f(none, f23); });
    refuses<ValueError>("tensor", [&] { f(f23, none); });
  }
  refuses<ValueError>("tensor", [&] { pow(none, f23); });
  refuses<ValueError>("tensor", [&] { pow(f23, none); });
  refuses<ValueError>("tensor", [&] { none + 1.0; });
  refuses<ValueError>("tensor", [&] { clamp(none, 0, 1); });
  refuses<ValueError>("tensor", [&] { where(none, f23, f23); });
  refuses<ValueError>("tensor", [&] { where(b23, none, f23); });
  refuses<ValueError>("tensor", [&] { masked_fill(f23, none, 0); });
  refuses<ValueError>("tensor", [&] { sum(none); });
  refuses<ValueError>("tensor", [&] { mean(none); });
  refuses<ValueError>("tensor", [&] { var(none); });
  refuses<ValueError>("tensor", [&] { max(none); });
  refuses<ValueError>("tensor", [&] { argmax(none); });
  refuses<ValueError>("tensor", [&] { topk(none, 1); });
  refuses<ValueError>("tensor", [&] { none.reshape({1}); });
  misuse::refuses<ValueError>("tensor", [&] { none.shape(); });
  refuses<ValueError>("tensor", [&] { none.item(); });
  refuses<ValueError>("tensor", [&] { none.to_vector<float>(); });
  refuses<ValueError>("tensor", [&] { none.fill_(0); });
  refuses<ValueError>("tensor", [&] { f23.copy_(none); });
  refuses<ValueError>("tensor", [&] { Tensor().requires_grad_(); });
  refuses<ValueError>("tensor", [&] { cat({f23, none}); });
  refuses<ValueError>("tensor", [&] { stack({f23, none}); });
  refuses<ValueError>("tensor", [&] { split(none, 1); });
  refuses<ValueError>("tensor", [&] { pad(none, {1, 1}); });
  refuses<ValueError>("tensor", [&] { gather(f23, 0, none); });
  refuses<ValueError>("tensor", [&] { index_select(f23, 0, none); });
  refuses<ValueError>("tensor", [&] { one_hot(none); });
  refuses<ValueError>("tensor", [&] { linear(none, f23); });
  refuses<ValueError>("tensor", [&] { linear(f23, none); });
  refuses<ValueError>("tensor", [&] { conv2d(none, f23); });
  refuses<ValueError>("tensor", [&] { max_pool2d(none, 2); });
  refuses<ValueError>("tensor", [&] { equal(none, f23); });
  refuses<ValueError>("tensor", [&] { none.to(DType::f64); });
  refuses<ValueError>("tensor", [&] { zeros_like(none); });
  refuses<ValueError>("tensor", [&] { ones_like(none); });
  refuses<ValueError>("tensor", [&] { empty_like(none); });
  refuses<ValueError>("tensor", [&] { allclose(f23, none); });
  refuses<GradError>("backward", [&] { none.backward(); });
  CHECK(!to_string(none).empty());
}

TEST_CASE("misuse: factories") {
  Rng rng(1);
  refuses<ShapeError>("empty", [] { empty({2, -1}); });
  refuses<ShapeError>("empty", [] { ones({-3}); });
  refuses<ShapeError>("empty", [] { zeros({int64_t{1} << 40, int64_t{1} << 40}); });
  misuse::refuses<ShapeError>("shape", [] { zeros({1, 1, 1, 1, 1, 1, 1, 1, 1}); });
  refuses<OutOfMemory>("allocate", [] { empty({int64_t{1} << 50}); });
  misuse::refuses<OutOfMemory>("allocate", [] { bytes_of(int64_t{1} << 62, sizeof(double)); });
  misuse::refuses<OutOfMemory>("allocate", [] { bytes_of(-1, sizeof(double)); });
  misuse::refuses<OutOfMemory>("allocate", [] { Scratch<double> scratch(int64_t{1} << 61); });
  refuses<ValueError>("fill", [] { full({2}, kNan, DType::i64); });
  refuses<ValueError>("fill", [] { full({2}, 300, DType::u8); });
  refuses<ValueError>("fill", [] { full({2}, -1, DType::u8); });
  refuses<ValueError>("arange", [] { arange(0, 10, 0); });
  refuses<ValueError>("arange", [] { arange(0, 10, -1); });
  refuses<ValueError>("arange", [] { arange(10, 8, 5); });
  refuses<ValueError>("arange", [] { arange(kNan, 8, 5); });
  refuses<DtypeError>("arange", [] { arange(0, 2, 1, DType::boolean); });
  refuses<DtypeError>("arange", [] { arange(0, 3, 0.5); });
  refuses<ValueError>("arange", [] { arange(0, 1e300, 1); });
  refuses<ValueError>("arange", [] { arange(0, kInf, 1); });
  refuses<ValueError>("arange", [] { arange(-3); });
  refuses<ValueError>("linspace", [] { linspace(0, 1, -1); });
  refuses<ShapeError>("empty", [] { eye(-1); });
  refuses<ShapeError>("from_data", [] { from_data(std::vector<float>{1, 2, 3}, Shape{2, 2}); });
  refuses<ShapeError>("from_data", [] { tensor({1, 2, 3}, Shape{2}); });
  refuses<DtypeError>("randn", [&] { randn(rng, {2}, DType::i64); });
  refuses<DtypeError>("uniform", [&] { uniform(rng, {2}, 0, 1, DType::u8); });
  refuses<ValueError>("uniform", [&] { uniform(rng, {2}, 1, 0); });
  refuses<ValueError>("uniform", [&] { uniform(rng, {2}, kNan, 1); });
  refuses<ValueError>("uniform", [&] { uniform(rng, {2}, 0, kInf); });
  refuses<ShapeError>("empty", [&] { randn(rng, {-2}); });
  refuses<ValueError>("Rng::integer", [&] { randint(rng, 3, 3, {2}); });
  misuse::refuses<ValueError>("Rng::integer", [&] { rng.integer(5, 2); });
  refuses<ValueError>("arange", [&] { permutation(rng, -1); });
  misuse::refuses<ValueError>("set_thread_limit", [] { set_thread_limit(0); });
}

TEST_CASE("misuse: numbers that another type cannot hold") {
  const Tensor large = tensor({1e300}, {}, DType::f64), odd = tensor({kNan, kInf, -1, 1e30});
  refuses<ValueError>("to", [&] { large.to(DType::i64); });
  for (const DType dtype : {DType::i64, DType::u8})
    refuses<ValueError>("to", [&] { odd.to(dtype); });
  refuses<ValueError>("to", [] { tensor({256}).to(DType::u8); });
  refuses<ValueError>("to", [] { tensor({-1}).to(DType::u8); });
  refuses<ValueError>("to", [] { tensor({300}, {}, DType::i64).to(DType::u8); });
  refuses<ValueError>("copy", [&] { zeros({4}, DType::i64).copy_(odd); });
  CHECK(tensor({-2.9, 2.9}).to(DType::i64).to_vector<int64_t>() == std::vector<int64_t>{-2, 2});
  CHECK(tensor({255.5}).to(DType::u8).to_vector<int64_t>() == std::vector<int64_t>{255});
  CHECK(tensor({0, kNan, 0.5}).to(DType::boolean).to_vector<int64_t>() ==
        std::vector<int64_t>{0, 1, 1});
}

TEST_CASE("misuse: reading and writing a tensor") {
  Rng rng(1);
  refuses<IndexError>("size", [] { f23.size(2); });
  refuses<IndexError>("size", [] { f23.size(-3); });
  misuse::refuses<DtypeError>("tensor", [] { f23.ptr<double>(); });
  refuses<DtypeError>("tensor", [] { i23.data<float>(); });
  refuses<ShapeError>("data", [] { f23.t().data<float>(); });
  refuses<ShapeError>("item", [] { f23.item(); });
  refuses<ShapeError>("item", [] { empty03.item(); });
  refuses<ShapeError>("item", [] { i23.item<int64_t>(); });
  refuses<ShapeError>("copy", [] { zeros({2, 3}).copy_(zeros({2, 2})); });
  refuses<ShapeError>("copy", [] { zeros({3}).copy_(zeros({2, 3})); });
  refuses<ShapeError>("add_", [] { zeros({3}).add_(zeros({2, 3})); });
  refuses<DtypeError>("add_", [] { zeros({2, 3}).add_(d23); });
  refuses<ValueError>("add_", [] { zeros({2}, DType::i64).add_(i2, kNan); });
  refuses<DtypeError>("mul_", [] { zeros({2, 3}).mul_(i23); });
  refuses<DtypeError>("mul_", [] { zeros({2, 3}, DType::boolean).mul_(2); });
  refuses<ValueError>("fill_", [] { zeros({1, 3}).expand({2, 3}).fill_(1); });
  refuses<ValueError>("add_", [] { zeros({1, 3}).expand({2, 3}).add_(f23); });
  refuses<DtypeError>("uniform", [&] { zeros({2}, DType::i64).uniform_(rng); });
  refuses<DtypeError>("randn", [&] { zeros({2}, DType::u8).normal_(rng); });
  refuses<ValueError>("normal_", [&] { zeros({2}).normal_(rng, 0, -1); });
  refuses<ValueError>("normal_", [&] { zeros({2}).normal_(rng, 0, kNan); });
  refuses<ValueError>("uniform", [&] { zeros({2}).uniform_(rng, 1, 0); });
}

TEST_CASE(
    "misuse: a refused in-place call leaves the version where it was; overlapping memory is read "
    "first") {
  const Tensor x = tensor({1, 2, 3, 4}, Shape{2, 2});
  const uint64_t version = x.storage()->version();
  CHECK_THROWS_AS(x.copy_(zeros({3})), ShapeError);
  CHECK_THROWS_AS(x.add_(d23), DtypeError);
  CHECK(x.storage()->version() == version);
  x.add_(x.t());
  CHECK(x.to_vector<float>() == std::vector<float>{2, 5, 5, 8});
  x.mul_(x.select(0, 0));
  CHECK(x.to_vector<float>() == std::vector<float>{4, 25, 10, 40});
  x.copy_(x.t());
  CHECK(x.to_vector<float>() == std::vector<float>{4, 10, 25, 40});
}

TEST_CASE("misuse: elementwise") {
  const std::vector<std::pair<const char*, Two>> arithmetic{
      {"add", add}, {"sub", sub},         {"mul", mul},
      {"div", div}, {"maximum", maximum}, {"minimum", minimum}};
  misuse::each(arithmetic, [](const char* name, Two f) {
    refuses<ShapeError>(name, [&] { f(f23, f22); });
    refuses<DtypeError>(name, [&] { f(f23, d23); });
    refuses<DtypeError>(name, [&] { f(f23, i23); });
    refuses<DtypeError>(name, [&] { f(b23, b23); });
  });
  refuses<DtypeError>("div", [] { i23 / i23; });
  refuses<DtypeError>("div", [] { i23 / 2.0; });
  refuses<DtypeError>("add", [] { i23 + 0.5; });
  refuses<DtypeError>("add", [] { b23 + 1.0; });
  refuses<ValueError>("mul", [] { i23* kInf; });
  refuses<ValueError>("add", [] { u23 + 300.0; });
  refuses<ShapeError>("pow", [] { pow(f23, f22); });
  refuses<DtypeError>("pow", [] { pow(f23, d23); });
  const std::vector<std::pair<const char*, One>> floating{
      {"sqrt", sqrt}, {"rsqrt", rsqrt}, {"exp", exp}, {"log", log}};
  misuse::each(floating, [](const char* name, One f) {
    refuses<DtypeError>(name, [&] { f(i23); });
    refuses<DtypeError>(name, [&] { f(b23); });
  });
  const std::vector<std::pair<const char*, One>> signed_only{
      {"neg", neg}, {"abs", abs}, {"sign", sign}};
  misuse::each(signed_only,
               [](const char* name, One f) { refuses<DtypeError>(name, [&] { f(b23); }); });
  const std::vector<std::pair<const char*, One>> any_number{
      {"floor", floor}, {"ceil", ceil}, {"round", round}, {"trunc", trunc},
      {"sin", sin},     {"cos", cos},   {"expm1", expm1}, {"log1p", log1p}};
  misuse::each(any_number,
               [](const char* name, One f) { refuses<DtypeError>(name, [&] { f(b23); }); });
  refuses<DtypeError>("sin", [] { sin(i23); });
  const std::vector<std::pair<const char*, Two>> logical{
      {"logical_and", logical_and}, {"logical_or", logical_or}, {"logical_xor", logical_xor}};
  misuse::each(logical,
               [](const char* name, Two f) { refuses<ShapeError>(name, [&] { f(f23, f22); }); });
  refuses<DtypeError>("&", [] { b23& f23; });
  refuses<DtypeError>("|", [] { i23 | b23; });
  refuses<DtypeError>("^", [] { f23 ^ f23; });
  refuses<DtypeError>("~", [] { ~i23; });
  refuses<DtypeError>("remainder", [] { remainder(f23, i23); });
  refuses<DtypeError>("remainder", [] { remainder(b23, b23); });
  refuses<ShapeError>("remainder", [] { remainder(f23, f22); });
  refuses<ValueError>("remainder", [] { remainder(i23, 0); });
  refuses<ValueError>("clamp", [] { clamp(f23, {}, kNan); });
  refuses<ValueError>("clamp", [] { clamp(f23, std::nullopt, std::nullopt); });
  refuses<ValueError>("clamp", [] { clamp(f23, none, none); });
  refuses<DtypeError>("clamp", [] { clamp(f23, d23, none); });
  refuses<ShapeError>("clamp", [] { clamp(f23, f22, none); });
  refuses<ValueError>("clamp", [] { clamp(u23, -1, 3); });
  refuses<DtypeError>("clamp", [] { clamp(b23, 0, 1); });
  refuses<DtypeError>("where", [] { where(f23, 1, 2); });
  refuses<DtypeError>("maximum", [] { maximum(i23, 0.5); });
  refuses<ValueError>("clamp", [] { clamp(f23, kNan, 0); });
  refuses<DtypeError>("clamp", [] { clamp(i23, 0.5, 1); });
  refuses<DtypeError>("where", [] { where(f23, f23, f23); });
  refuses<DtypeError>("where", [] { where(b23, f23, d23); });
  refuses<ShapeError>("where", [] { where(b23, f23, f22); });
  refuses<ShapeError>("where", [] { where(zeros({4}, DType::boolean), f23, f23); });
  refuses<DtypeError>("masked_fill", [] { masked_fill(f23, i23, 0); });
  refuses<ShapeError>("masked_fill", [] { masked_fill(zeros({3}), b23, 0); });
  refuses<ValueError>("masked_fill", [] { masked_fill(i23, b23, kInf); });
  refuses<ShapeError>("tril", [] { tril(zeros({3})); });
  refuses<ShapeError>("triu", [] { triu(scalar0); });
  refuses<ShapeError>("compare", [] { eq(f23, f22); });
  refuses<DtypeError>("compare", [] { lt(f23, d23); });
  refuses<ValueError>("compare", [] { gt(u23, 1000.0); });
}

TEST_CASE("misuse: reductions") {
  const auto each = [](const char* name, auto f) {
    refuses<IndexError>(name, [&] { f(f23, Dims{2}); });
    refuses<IndexError>(name, [&] { f(f23, Dims{-3}); });
    refuses<ValueError>(name, [&] { f(f23, Dims{0, -2}); });
  };
  each("sum", [](In a, const Dims& d) { sum(a, d); });
  each("mean", [](In a, const Dims& d) { mean(a, d); });
  each("var", [](In a, const Dims& d) { var(a, d); });
  each("std", [](In a, const Dims& d) { loupe::std(a, d); });
  each("max", [](In a, const Dims& d) { max(a, d); });
  each("min", [](In a, const Dims& d) { min(a, d); });
  refuses<DtypeError>("mean", [] { mean(i23); });
  refuses<DtypeError>("var", [] { var(i23); });
  refuses<DtypeError>("std", [] { loupe::std(b23); });
  refuses<ValueError>("max", [] { max(empty03); });
  refuses<ValueError>("min", [] { min(empty03, {0}); });
  refuses<ValueError>("argmax", [] { argmax(empty03, 0); });
  refuses<IndexError>("argmax", [] { argmax(f23, 2); });
  refuses<ValueError>("topk", [] { topk(f23, 4); });
  refuses<ValueError>("topk", [] { topk(f23, -1); });
  refuses<IndexError>("topk", [] { topk(f23, 1, 2); });
  refuses<ShapeError>("topk", [] { topk(scalar0, 0); });
}

TEST_CASE("misuse: views") {
  refuses<ShapeError>("reshape", [] { f23.reshape({4}); });
  refuses<ShapeError>("reshape", [] { f23.reshape({-1, 4}); });
  refuses<ShapeError>("reshape", [] { f23.reshape({-1, -1}); });
  refuses<ShapeError>("reshape", [] { f23.reshape({-2, 3}); });
  refuses<ShapeError>("reshape", [] { empty03.reshape({-1, 0}); });
  refuses<ShapeError>("reshape", [] { empty03.reshape({int64_t{1} << 32, int64_t{1} << 32}); });
  refuses<IndexError>("flatten", [] { f23.flatten(0, 2); });
  refuses<ValueError>("flatten", [] { f23.flatten(1, 0); });
  refuses<IndexError>("transpose", [] { f23.transpose(0, 2); });
  refuses<ShapeError>("t", [] { zeros({3}).t(); });
  refuses<ShapeError>("permute", [] { f23.permute({0}); });
  refuses<ValueError>("permute", [] { f23.permute({0, 0}); });
  refuses<IndexError>("permute", [] { f23.permute({0, 2}); });
  refuses<IndexError>("slice", [] { f23.slice(2, 0, 1); });
  refuses<ValueError>("slice", [] { f23.slice(0, 0, 1, 0); });
  refuses<ValueError>("slice", [] { f23.slice(0, 0, 1, -1); });
  refuses<IndexError>("slice", [] { scalar0.slice(0, 0, 1); });
  CHECK(f23.slice(1, 0, 3, INT64_MAX).shape() == Shape{2, 1});
  refuses<IndexError>("select", [] { f23.select(0, 2); });
  refuses<IndexError>("select", [] { f23.select(0, -3); });
  refuses<IndexError>("select", [] { f23.select(5, 0); });
  refuses<IndexError>("select", [] { scalar0[0]; });
  refuses<ShapeError>("expand", [] { f23.expand({4, 3}); });
  refuses<ShapeError>("expand", [] { f23.expand({3}); });
  refuses<ShapeError>("expand", [] { f23.expand({-1, 2, 3}); });
  refuses<ShapeError>("expand", [] { scalar0.expand({int64_t{1} << 40, int64_t{1} << 40}); });
  refuses<IndexError>("squeeze", [] { f23.squeeze(2); });
  refuses<IndexError>("unsqueeze", [] { f23.unsqueeze(3); });
  misuse::refuses<ShapeError>("shape", [] { zeros({1, 1, 1, 1, 1, 1, 1, 1}).unsqueeze(0); });
}

TEST_CASE("misuse: joining and cutting") {
  refuses<ValueError>("cat", [] { cat({}); });
  refuses<ShapeError>("cat", [] { cat({f23, f22}); });
  refuses<ShapeError>("cat", [] { cat({f23, zeros({3})}); });
  refuses<ShapeError>("cat", [] { cat({scalar0, scalar0}); });
  refuses<DtypeError>("cat", [] { cat({f23, d23}); });
  refuses<IndexError>("cat", [] { cat({f23, f23}, 2); });
  refuses<ValueError>("stack", [] { stack({}); });
  refuses<ShapeError>("split", [] { split(f23, {2}, 1); });  // one part of 2, not parts of 2
  refuses<ShapeError>("stack", [] { stack({f23, f22}); });
  refuses<IndexError>("unsqueeze", [] { stack({f23, f23}, 3); });
  refuses<ShapeError>("split", [] { split(f23, {1, 1}, 1); });
  refuses<ValueError>("split", [] { split(f23, {4, -1}, 1); });
  refuses<ValueError>("split", [] { split(f23, {INT64_MAX, INT64_MAX}, 1); });
  refuses<ValueError>("split", [] { split(f23, 0); });
  refuses<IndexError>("split", [] { split(f23, {2}, 4); });
  refuses<ShapeError>("split", [] { split(scalar0, 1); });
  refuses<ValueError>("chunk", [] { chunk(f23, 0); });
  CHECK(chunk(f23, INT64_MAX).size() == 2);
  refuses<ValueError>("pad", [] { pad(f23, {1}); });
  refuses<ValueError>("pad", [] { pad(f23, {-1, 0}); });
  refuses<ValueError>("pad", [] { pad(f23, {0, 0, 0, 0, 1, 1}); });
  refuses<ValueError>("pad", [] { pad(f23, {INT64_MAX, 0}); });
}

TEST_CASE("misuse: indexing") {
  const Tensor beyond = from_data(std::vector<int64_t>{0, 3}),
               negative = from_data(std::vector<int64_t>{0, -1});
  refuses<DtypeError>("index_select", [] { index_select(f23, 0, f23); });
  refuses<ShapeError>("index_select", [] { index_select(f23, 0, i23); });
  refuses<IndexError>("index_select", [] { index_select(f23, 2, i2); });
  refuses<ShapeError>("index_select", [] { index_select(scalar0, 0, i2); });
  refuses<DtypeError>("gather", [] { gather(f23, 0, u23); });
  refuses<ShapeError>("gather", [] { gather(f23, 0, i2); });
  refuses<ShapeError>("gather", [] { gather(f22, 0, i23); });
  refuses<IndexError>("index_select", [&] { index_select(f23, 1, beyond); });
  refuses<IndexError>("index_select", [&] { index_select(f23, 1, negative); });
  refuses<DtypeError>("scatter_add", [] { scatter_add(f23, 0, f23, {2, 3}); });
  refuses<ShapeError>("scatter_add", [] { scatter_add(f22, 0, i23, {2, 3}); });
  refuses<ShapeError>("scatter_add", [] { scatter_add(f23, 0, i23, {2, 2}); });
  refuses<IndexError>("scatter_add", [&] { scatter_add(zeros({2}), 0, beyond, {2}); });
  refuses<DtypeError>("one_hot", [] { one_hot(f23); });
  refuses<IndexError>("one_hot", [&] { one_hot(beyond, 3); });
  refuses<IndexError>("one_hot", [&] { one_hot(negative); });
  refuses<ValueError>("one_hot", [] { one_hot(i2, -5); });
}

TEST_CASE("misuse: products, convolution, pooling") {
  refuses<ShapeError>("matmul", [] { matmul(f23, f23); });
  refuses<ShapeError>("matmul", [] { matmul(scalar0, f23); });
  refuses<ShapeError>("matmul", [] { matmul(zeros({2, 2, 3}), zeros({3, 3, 2})); });
  refuses<DtypeError>("matmul", [] { matmul(f23, zeros({3, 2}, DType::f64)); });
  refuses<DtypeError>("matmul", [] { matmul(i23, zeros({3, 2}, DType::i64)); });
  refuses<ShapeError>("linear", [] { linear(f23, f22); });
  refuses<ShapeError>("linear_relu", [] { linear_relu(f23, f22); });
  refuses<DtypeError>("linear_relu", [] { linear_relu(i23, zeros({4, 3}, DType::i64)); });
  refuses<ShapeError>("linear", [] { linear(f23, zeros({3})); });
  refuses<ShapeError>("linear", [] { linear(scalar0, f23); });
  refuses<ShapeError>("linear", [] { linear(f23, zeros({4, 3}), zeros({3})); });
  refuses<DtypeError>("linear", [] { linear(f23, zeros({4, 3}, DType::f64)); });
  refuses<DtypeError>("linear", [] { linear(f23, zeros({4, 3}), zeros({4}, DType::f64)); });
  refuses<DtypeError>("linear", [] { linear(i23, zeros({4, 3}, DType::i64)); });
  const Tensor image = zeros({1, 2, 4, 4}), kernel = zeros({2, 2, 3, 3});
  refuses<ShapeError>("conv2d", [&] { conv2d(f23, kernel); });
  refuses<ShapeError>("conv2d", [&] { conv2d(image, f23); });
  refuses<ShapeError>("conv2d", [&] { conv2d(image, zeros({2, 3, 3, 3})); });
  refuses<ShapeError>("conv2d", [&] { conv2d(image, zeros({2, 2, 5, 3})); });
  refuses<ShapeError>("conv2d", [&] { conv2d(image, zeros({2, 2, 0, 3})); });
  refuses<ShapeError>("conv2d", [&] { conv2d(image, kernel, zeros({3})); });
  refuses<DtypeError>("conv2d", [&] { conv2d(image, zeros({2, 2, 3, 3}, DType::f64)); });
  refuses<DtypeError>("conv2d", [&] {
    conv2d(zeros({1, 2, 4, 4}, DType::i64), zeros({2, 2, 3, 3}, DType::i64));
  });
  refuses<DtypeError>("conv2d", [&] { conv2d(image, kernel, zeros({2}, DType::f64)); });
  refuses<ValueError>("conv2d", [&] { conv2d(image, kernel, none, {.stride = 0}); });
  refuses<ValueError>("conv2d", [&] { conv2d(image, kernel, none, {.padding = -1}); });
  refuses<ValueError>("conv2d", [&] { conv2d(image, kernel, none, {.dilation = 0}); });
  refuses<ValueError>("conv2d", [&] { conv2d(image, kernel, none, {.groups = 0}); });
  refuses<ShapeError>("conv2d", [&] { conv2d(image, kernel, none, {.groups = 3}); });
  refuses<ShapeError>("conv1d", [&] { conv1d(image, kernel); });
  refuses<ShapeError>("conv1d", [&] { conv1d(zeros({1, 2, 4}), kernel); });
  refuses<ShapeError>("conv1d", [&] { conv1d(zeros({1, 2, 4}), zeros({2, 2, 5})); });
  refuses<ShapeError>("max_pool2d", [&] { max_pool2d(f23, 2); });
  refuses<ShapeError>("max_pool2d", [&] { max_pool2d(image, 5); });
  refuses<ValueError>("max_pool2d", [&] { max_pool2d(image, 0); });
  refuses<ValueError>("max_pool2d", [&] { max_pool2d(image, 2, {.stride = 0}); });
  refuses<ValueError>("max_pool2d", [&] { max_pool2d(image, 2, {.padding = 2}); });
  refuses<DtypeError>("max_pool2d", [&] { max_pool2d(zeros({1, 2, 4, 4}, DType::i64), 2); });
  refuses<ShapeError>("avg_pool2d", [&] { avg_pool2d(f23, 2); });
  refuses<ValueError>("avg_pool2d", [&] { avg_pool2d(image, 2, {.padding = -1}); });
  refuses<ValueError>("avg_pool2d", [&] { avg_pool2d(image, 2, {.dilation = 2}); });
  refuses<ValueError>("max_pool2d", [&] { max_pool2d(image, 2, {.dilation = 0}); });
  refuses<ShapeError>("max_pool2d", [&] { max_pool2d(image, 3, {.dilation = 2}); });
  refuses<ShapeError>("max_pool2d", [] {
    max_pool2d(zeros({1, 1, 2, 2}), 2, {.padding = 1, .dilation = 3});
  });
  refuses<ShapeError>("max_pool2d_with_indices", [&] { max_pool2d_with_indices(f23, 2); });
  refuses<ShapeError>("max_pool1d_with_indices", [&] { max_pool1d_with_indices(image, 2); });
  refuses<ValueError>("conv2d",
                      [&] { conv2d(image, kernel, none, {.stride = 2, .padding = kSame}); });
  const Tensor transposed = zeros({2, 3, 3, 3});
  const char* op = "conv_transpose2d";
  refuses<ShapeError>(op, [&] { conv_transpose2d(f23, transposed); });
  refuses<ShapeError>(op, [&] { conv_transpose2d(image, f23); });
  refuses<ShapeError>(op, [&] { conv_transpose2d(image, zeros({3, 2, 3, 3})); });
  refuses<ShapeError>(op, [&] { conv_transpose2d(image, zeros({2, 2, 0, 3})); });
  refuses<ShapeError>(op, [&] { conv_transpose2d(image, transposed, zeros({2})); });
  refuses<ShapeError>(op, [&] { conv_transpose2d(image, transposed, none, {.padding = 4}); });
  refuses<DtypeError>(op, [&] { conv_transpose2d(image, zeros({2, 3, 3, 3}, DType::f64)); });
  refuses<ValueError>(op, [&] { conv_transpose2d(image, transposed, none, {.stride = 0}); });
  refuses<ValueError>(op,
                      [&] { conv_transpose2d(image, transposed, none, {.output_padding = 1}); });
  refuses<ValueError>(op, [&] { conv_transpose2d(image, transposed, none, {.groups = 0}); });
  refuses<ShapeError>("conv_transpose1d", [&] { conv_transpose1d(image, transposed); });
  refuses<ShapeError>("conv_transpose1d", [&] { conv_transpose1d(f23, transposed); });
  refuses<ShapeError>("interpolate", [&] { interpolate(f23, {.size = 2}); });
  refuses<DtypeError>("interpolate", [] {
    interpolate(zeros({1, 1, 2, 2}, DType::i64), {.size = 2});
  });
  refuses<ValueError>("interpolate", [&] { interpolate(image, {}); });
  refuses<ValueError>("interpolate", [&] { interpolate(image, {.size = 2, .scale_factor = 2}); });
  refuses<ValueError>("interpolate", [&] { interpolate(image, {.size = 0}); });
  refuses<ValueError>("interpolate", [&] { interpolate(image, {.scale_factor = std::nan("")}); });
  refuses<ValueError>("interpolate", [&] { interpolate(image, {.scale_factor = 0.1}); });
  refuses<ValueError>("interpolate",
                      [&] { interpolate(image, {.size = 2, .align_corners = true}); });
  refuses<ShapeError>("interpolate", [] { interpolate(zeros({1, 1, 0, 2}), {.size = 2}); });
  refuses<ShapeError>("max_pool1d", [&] { max_pool1d(image, 2); });
  refuses<ShapeError>("avg_pool1d", [&] { avg_pool1d(zeros({4}), 2); });
  refuses<ValueError>("adaptive_avg_pool2d", [&] { adaptive_avg_pool2d(image, 0); });
  refuses<ShapeError>("adaptive_avg_pool2d", [&] { adaptive_avg_pool2d(f23, 1); });
  refuses<ShapeError>("adaptive_avg_pool2d", [&] { adaptive_avg_pool2d(zeros({1, 2, 0, 4}), 1); });
}

namespace {

struct ManyNode final : Node {
  const char* name() const override { return "many"; }
  Tensors backward(const Tensors& /*dy*/) override { return Tensors(input_count()); }
};

}  // namespace

TEST_CASE("misuse: record takes eight inputs in braces, and refuses a ninth") {
  const Tensor ones2 = ones({2});
  const In x = ones2;
  Tensor y = ones({2});
  CHECK(record<ManyNode>({x, x, x, x, x, x, x, x}, y) == nullptr);
  misuse::refuses<ValueError>("record", [&] { record<ManyNode>({x, x, x, x, x, x, x, x, x}, y); });
}

TEST_CASE("misuse: gradients") {
  const auto leaf = [] { return zeros({2, 3}).requires_grad_(); };
  const Tensor x = leaf();
  refuses<DtypeError>("requires_grad_", [] { zeros({2}, DType::i64).requires_grad_(); });
  refuses<GradError>("requires_grad_", [&] { (x * 2.0).requires_grad_(false); });
  refuses<GradError>("backward", [] { f23.backward(); });
  refuses<GradError>("backward", [&] { (x * 2.0).backward(); });
  refuses<ShapeError>("backward", [&] { (x * 2.0).backward(f22); });
  refuses<ShapeError>("backward", [&] { (x * 2.0).backward(d23); });
  refuses<GradError>("set_grad", [] { f23.set_grad(f23); });
  refuses<ShapeError>("set_grad", [&] { x.set_grad(f22); });
  refuses<GradError>("set_data", [&] { (x * 2.0).set_data(f23); });
  refuses<ShapeError>("set_data", [&] { leaf().set_data(f22); });
  refuses<DtypeError>("set_data", [&] { leaf().set_data(i23); });
  refuses<GradError>("grad", [&] { grad({(x * 2.0).sum()}, {leaf()}); });
  refuses<GradError>("grad", [&] { grad({(x * 2.0).sum()}, {f23}); });
  refuses<GradError>("grad", [&] { grad({none}, {x}); });
  refuses<GradError>("grad", [&] { grad({x * 2.0}, {x}); });
  refuses<ValueError>("grad", [&] { grad({x.sum()}, {x}, {}, {scalar0, scalar0}); });
  refuses<ValueError>("tensor", [&] { grad({x.sum()}, {none}); });
  refuses<GradError>("register_hook",
                     [] { register_hook(f23, [](const Tensor& g) { return g; }); });
  refuses<ValueError>("register_hook", [&] { register_hook(x, nullptr); });
  const auto nothing = [](const Tensor&) {};
  refuses<GradError>("register_post_accumulate_grad_hook",
                     [&] { register_post_accumulate_grad_hook(f23, nothing); });
  refuses<GradError>("register_post_accumulate_grad_hook",
                     [&] { register_post_accumulate_grad_hook(x * 2.0, nothing); });
  refuses<ValueError>("register_post_accumulate_grad_hook",
                      [&] { register_post_accumulate_grad_hook(x, nullptr); });
  GradHookHandle().remove();  // of no hook: nothing
  refuses<GradError>("call_after_backward", [] { call_after_backward([] {}); });
  refuses<ValueError>("call_after_backward", [] { call_after_backward(nullptr); });
  refuses<GradError>("fill_", [&] { x.fill_(0); });
  refuses<GradError>("copy_", [&] { x.t().copy_(zeros({3, 2})); });
  refuses<GradError>("add_", [&] { x.add_(f23); });
  refuses<GradError>("mul_", [&] { (x * 2.0).mul_(2); });
  misuse::refuses<DtypeError>("gradcheck",
                              [] { gradcheck([](const Tensors& t) { return t[0]; }, {f23}); });
}

TEST_CASE("misuse: running out of memory is an exception, and the process goes on") {
  const MemoryStats before = memory_stats();
  std::vector<Tensor> kept;
  for (int i = 0; i < 3; ++i)
    CHECK_THROWS_AS(kept.push_back(empty({int64_t{1} << 46})), OutOfMemory);
  CHECK(memory_stats().live_bytes == before.live_bytes);
  CHECK(memory_stats().live_storages == before.live_storages);
  const Tensor small = zeros({8}).requires_grad_();
  // The graph around a failed op stays usable.
  const Tensor y = small * 2.0;
  CHECK_THROWS_AS(y.expand({int64_t{1} << 44, 8}).clone(), OutOfMemory);
  y.sum().backward();
  CHECK(small.grad().to_vector<float>() == std::vector<float>(8, 2));
}
