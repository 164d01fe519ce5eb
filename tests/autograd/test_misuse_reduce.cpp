// Reductions, orders, indexing and factories called wrongly: the typed error, with a sentence that
// starts with the op.
#include "misuse.h"

#include <loupe/autograd/ops.h>

#include <limits>

using namespace loupe;
using misuse::refuses;

namespace {

const double kInf = std::numeric_limits<double>::infinity();
const double kNan = std::numeric_limits<double>::quiet_NaN();
const Tensor f23 = zeros({2, 3}), d23 = zeros({2, 3}, DType::f64), i23 = zeros({2, 3}, DType::i64),
             b23 = zeros({2, 3}, DType::boolean), i2 = zeros({2}, DType::i64),
             empty03 = zeros({0, 3}), none;

}  // namespace

TEST_CASE("misuse: products, norms and truth") {
  const auto each = [](const char* name, auto f) {
    refuses<IndexError>(name, [&] { f(f23, Dims{2}); });
    refuses<ValueError>(name, [&] { f(f23, Dims{0, -2}); });
    refuses<ValueError>("tensor", [&] { f(none, Dims{}); });
  };
  each("prod", [](In a, const Dims& d) { prod(a, d); });
  each("any", [](In a, const Dims& d) { any(a, d); });
  each("all", [](In a, const Dims& d) { all(a, d); });
  each("norm", [](In a, const Dims& d) { norm(a, 2, d); });
  each("logsumexp", [](In a, const Dims& d) { logsumexp(a, d); });
  refuses<DtypeError>("norm", [] { norm(i23); });
  refuses<ValueError>("norm", [] { norm(f23, kNan); });
  refuses<ValueError>("norm", [] { norm(empty03, kInf); });
  refuses<ValueError>("norm", [] { norm(empty03, -1, {0}); });
  refuses<DtypeError>("logsumexp", [] { logsumexp(b23); });
  refuses<ValueError>("argmax", [] { argmax(empty03); });
  refuses<ValueError>("argmin", [] { argmin(empty03); });
  refuses<ValueError>("argmin", [] { argmin(empty03, 0); });
  refuses<IndexError>("argmin", [] { argmin(f23, -3); });
  refuses<IndexError>("cumsum", [] { cumsum(f23, 2); });
  refuses<IndexError>("cumprod", [] { cumprod(f23, -3); });
}

TEST_CASE("misuse: orders and rearranging") {
  refuses<IndexError>("sort", [] { sort(f23, 2); });
  refuses<IndexError>("argsort", [] { argsort(f23, -3); });
  refuses<ValueError>("topk", [] { topk(f23, 3, 0, false); });
  refuses<IndexError>("flip", [] { flip(f23, {2}); });
  refuses<ValueError>("flip", [] { flip(f23, {0, -2}); });
  refuses<ShapeError>("roll", [] { roll(f23, {1, 2}); });
  refuses<ShapeError>("roll", [] { roll(f23, {}); });
  refuses<ShapeError>("roll", [] { roll(f23, {1}, {0, 1}); });
  refuses<IndexError>("roll", [] { roll(f23, {1}, {2}); });
  refuses<ShapeError>("repeat", [] { repeat(f23, {2}); });
  refuses<ValueError>("repeat", [] { repeat(f23, {2, -1}); });
  refuses<ValueError>("repeat", [] { repeat(f23, {2, INT64_MAX}); });
  refuses<ValueError>("tile", [] { tile(f23, {-1}); });
  refuses<ShapeError>("movedim", [] { movedim(f23, {0, 1}, {0}); });
  refuses<IndexError>("movedim", [] { movedim(f23, {2}, {0}); });
  refuses<ValueError>("movedim", [] { movedim(f23, {0, 1}, {1, 1}); });
  refuses<IndexError>("unbind", [] { unbind(f23, 2); });
  refuses<IndexError>("narrow", [] { narrow(f23, 2, 0, 1); });
  refuses<IndexError>("narrow", [] { narrow(f23, 1, 4, 0); });
  refuses<IndexError>("narrow", [] { narrow(f23, 1, -4, 1); });
  refuses<ValueError>("narrow", [] { narrow(f23, 1, 1, 3); });
  refuses<ValueError>("narrow", [] { narrow(f23, 1, 1, INT64_MAX); });
  refuses<IndexError>("diagonal", [] { diagonal(f23, 0, 0, 2); });
  refuses<ValueError>("diagonal", [] { diagonal(f23, 0, 1, -1); });
  refuses<ValueError>("meshgrid", [] { meshgrid({}); });
  refuses<ShapeError>("meshgrid", [] { meshgrid({zeros({2}), f23}); });
}

TEST_CASE("misuse: scatter, masks and positions") {
  const Tensor beyond = from_data(std::vector<int64_t>{0, 2}, Shape{1, 2});
  refuses<DtypeError>("scatter", [] { scatter(f23, 0, f23, f23); });
  refuses<DtypeError>("scatter", [] { scatter(f23, 0, i23, d23); });
  refuses<ShapeError>("scatter", [] { scatter(f23, 0, i23, zeros({2, 2})); });
  refuses<ShapeError>("scatter", [] { scatter(zeros({2, 2}), 0, i23, 1); });
  refuses<IndexError>("scatter", [&] { scatter(f23, 0, beyond, 1); });
  refuses<IndexError>("scatter", [] { scatter(f23, 2, i23, 1); });
  refuses<ValueError>("fill", [] { scatter(i23, 0, i23, kNan); });
  refuses<DtypeError>("scatter_add", [] { scatter_add(f23, 0, i23, d23); });
  refuses<ShapeError>("scatter_add", [] { scatter_add(f23, 0, i23, zeros({2, 2})); });
  refuses<IndexError>("scatter_add", [&] { scatter_add(f23, 0, beyond, f23); });
  refuses<DtypeError>("masked_select", [] { masked_select(f23, i23); });
  refuses<ShapeError>("masked_select", [] { masked_select(f23, zeros({2}, DType::boolean)); });
  refuses<ValueError>("tensor", [] { nonzero(none); });
}

TEST_CASE("misuse: lists of indices") {
  const std::vector<Index> three{0, 0, 0};
  refuses<IndexError>("index", [&] { f23.index(three); });
  refuses<IndexError>("index", [] { f23.index({2}); });
  refuses<IndexError>("index", [] { f23.index({Slice(), -4}); });
  refuses<IndexError>("index", [] { f23.index({Ellipsis, Ellipsis}); });
  refuses<ValueError>("index", [] { f23.index({Slice(None, None, 0)}); });
  refuses<ValueError>("index", [] { f23.index({Slice(None, None, -1)}); });
  refuses<DtypeError>("index", [] { f23.index({zeros({2})}); });
  refuses<IndexError>("index", [] { f23.index({full({1}, 2, DType::i64)}); });
  refuses<IndexError>("index", [] { f23.index({full({1}, -3, DType::i64)}); });
  refuses<IndexError>("index", [] { f23.index({zeros({3}, DType::boolean)}); });
  refuses<ShapeError>("index", [] { f23.index({i2, zeros({3}, DType::i64)}); });
  refuses<ValueError>("tensor", [] { none.index({0}); });
  refuses<ValueError>("tensor", [] { f23.index({none}); });
}

TEST_CASE("misuse: random choices") {
  Rng rng(1);
  const Tensor w = tensor({1, 0, 2});
  refuses<DtypeError>("multinomial", [&] { multinomial(rng, i2, 1); });
  refuses<ShapeError>("multinomial", [&] { multinomial(rng, scalar(1), 1); });
  refuses<ShapeError>("multinomial", [&] { multinomial(rng, ones({2, 2, 2}), 1); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, w, 0, true); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, w, 3); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, f23, 1, true); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, tensor({1, -1}), 1); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, tensor({1, kNan}), 1, true); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, tensor({kInf, 1}), 1); });
  refuses<ValueError>("multinomial", [&] { multinomial(rng, zeros({0}), 1); });
  refuses<ValueError>("tensor", [&] { multinomial(rng, none, 1); });
}

TEST_CASE("misuse: factories whose sizes or ends make no sense") {
  Rng rng(1);
  refuses<ValueError>("arange", [] { arange(10, 8, 5); });
  refuses<ValueError>("arange", [] { arange(0, 1, -3); });
  refuses<ValueError>("arange", [] { arange(5, 0); });
  refuses<ValueError>("arange", [] { arange(0, 1e-300, -1e300); });
  refuses<ValueError>("arange", [] { arange(kNan, 1); });
  refuses<ValueError>("arange", [] { arange(0, 1, kNan); });
  refuses<ValueError>("arange", [] { arange(0, 1, kInf); });
  refuses<ValueError>("arange", [] { arange(-kInf, 0); });
  refuses<ValueError>("arange", [] { arange(0, 300, 1, DType::u8); });
  refuses<ValueError>("arange", [] { arange(1e30, 1.1e30, 1e29); });
  CHECK(arange(3, 3).numel() == 0);
  CHECK(arange(3, 3, -1).numel() == 0);
  refuses<ValueError>("linspace", [] { linspace(0, kInf, 3); });
  refuses<ValueError>("linspace", [] { linspace(kNan, 0, 3); });
  refuses<ValueError>("linspace", [] { linspace(0, 1000, 3, DType::u8); });
  refuses<OutOfMemory>("allocate", [] { linspace(0, 1, int64_t{1} << 50); });
  CHECK(linspace(-1.7e308, 1.7e308, 3, DType::f64)[1].item() == 0);
  CHECK(linspace(2, 5, 1).to_vector<double>() == std::vector<double>{2});
  refuses<ShapeError>("empty", [] { eye(int64_t{1} << 40); });
  refuses<ShapeError>("empty", [] { full({-1}, 0); });
  refuses<ShapeError>("empty", [&] { randint(rng, 0, 3, {-2}); });
  refuses<ValueError>("uniform", [&] { uniform(rng, {2}, 0, kInf); });
  refuses<ValueError>("uniform", [&] { uniform(rng, {2}, -1e308, 1.7e308, DType::f64); });
  refuses<IndexError>("size", [] { scalar(1).size(0); });
}
