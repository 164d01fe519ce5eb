// A tensor without dimensions in every op that takes an axis: axes 0 and -1 stand for its one
// element, as in PyTorch, or the op says that it needs a dimension. Never is memory beyond it met.
#include "misuse.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <cmath>
#include <functional>

using namespace loupe;
using misuse::refuses;
using Vec = std::vector<double>;

namespace {

// The last element of a tensor: what lies before and behind it belongs to others.
Tensor lone(double value, DType dtype = DType::f64) {
  const Tensor t = full({3}, 77, DType::f64).to(dtype);
  t.slice(0, 1, 2).fill_(value);
  return t.select(0, 1);
}

const Tensor zero = scalar(0, DType::i64);

using Unary = std::function<Tensor(In, int64_t)>;

}  // namespace

TEST_CASE("rank 0: reductions, running sums and orders take axis 0 and -1, with gradients") {
  struct Row {
    const char* name;
    Unary f;
    double value, gradient;  // at -3
  };
  const Row rows[] = {
      {"sum", [](In a, int64_t axis) { return sum(a, {axis}); }, -3, 1},
      {"sum(keepdim)", [](In a, int64_t axis) { return sum(a, {axis}, true); }, -3, 1},
      {"mean", [](In a, int64_t axis) { return mean(a, {axis}); }, -3, 1},
      {"prod", [](In a, int64_t axis) { return prod(a, {axis}); }, -3, 1},
      {"max", [](In a, int64_t axis) { return max(a, {axis}); }, -3, 1},
      {"min", [](In a, int64_t axis) { return min(a, {axis}, true); }, -3, 1},
      {"var", [](In a, int64_t axis) { return var(a, {axis}, 0); }, 0, 0},
      {"std", [](In a, int64_t axis) { return loupe::std(a, {axis}, 0); }, 0, 0},
      {"norm", [](In a, int64_t axis) { return norm(a, 2, {axis}); }, 3, -1},
      {"logsumexp", [](In a, int64_t axis) { return logsumexp(a, {axis}); }, -3, 1},
      {"cumsum", [](In a, int64_t axis) { return cumsum(a, axis); }, -3, 1},
      {"cumprod", [](In a, int64_t axis) { return cumprod(a, axis); }, -3, 1},
      {"softmax", [](In a, int64_t axis) { return softmax(a, axis); }, 1, 0},
      {"log_softmax", [](In a, int64_t axis) { return log_softmax(a, axis); }, 0, 0},
      {"sort", [](In a, int64_t axis) { return sort(a, axis).values; }, -3, 1},
      {"topk", [](In a, int64_t axis) { return topk(a, 1, axis).values; }, -3, 1},
      {"flip", [](In a, int64_t axis) { return flip(a, {axis}); }, -3, 1},
      {"roll", [](In a, int64_t axis) { return roll(a, {2}, {axis}); }, -3, 1},
      {"movedim", [](In a, int64_t axis) { return movedim(a, {axis}, {0}); }, -3, 1},
      {"transpose", [](In a, int64_t axis) { return transpose(a, axis, 0); }, -3, 1},
      {"squeeze", [](In a, int64_t axis) { return squeeze(a, axis); }, -3, 1},
      {"gather", [](In a, int64_t axis) { return gather(a, axis, zero); }, -3, 1},
      {"index_select", [](In a, int64_t axis) { return index_select(a, axis, zero); }, -3, 1},
      {"scatter_add", [](In a, int64_t axis) { return scatter_add(a, axis, zero, Shape{}); }, -3,
       1},
      {"scatter_add(to a)", [](In a, int64_t axis) { return scatter_add(a, axis, zero, a); }, -6,
       2},
      {"scatter", [](In a, int64_t axis) { return scatter(a, axis, zero, a); }, -3, 1},
      {"scatter(number)", [](In a, int64_t axis) { return scatter(a, axis, zero, 5); }, 5, 0},
  };
  for (const Row& row : rows)
    for (const int64_t axis : {0, -1}) {
      INFO(row.name << " axis " << axis);
      const Tensor x = lone(-3).detach().requires_grad_();
      const Tensor y = row.f(x, axis);
      CHECK(y.shape() == Shape{});
      CHECK(y.item() == row.value);
      const Tensor dx = grad({y}, {x}, {.create_graph = true, .allow_unused = true})[0];
      CHECK(dx.shape() == Shape{});
      CHECK(dx.item() == row.gradient);
      CHECK_THROWS_AS(row.f(x, 1), IndexError);
      CHECK_THROWS_AS(row.f(x, -2), IndexError);
    }
  for (const int64_t axis : {0, -1}) {
    CHECK(argmax(lone(2), axis).item() == 0);
    CHECK(argmin(lone(2), axis, true).shape() == Shape{});
    CHECK(argsort(lone(2), axis).shape() == Shape{});
    CHECK(sort(lone(2), axis).indices.item() == 0);
    CHECK(any(lone(2), {axis}).item() == 1);
    CHECK(all(lone(0), {axis}, true).item() == 0);
  }
}

TEST_CASE("rank 0 and rank 1 together, as PyTorch lets them meet") {
  const Tensor one = zeros({1}, DType::i64), vector = tensor({4, 5, 6}, {}, DType::f64);
  CHECK(gather(lone(5), 0, one).shape() == Shape{1});
  CHECK(gather(vector, 0, scalar(2, DType::i64)).item() == 6);
  CHECK(gather(vector, -1, scalar(2, DType::i64)).shape() == Shape{});
  CHECK(index_select(vector, 0, scalar(1, DType::i64)).shape() == Shape{1});
  CHECK(scatter_add(lone(5), 0, scalar(1, DType::i64), {3}).to_vector<double>() == Vec{0, 5, 0});
  refuses<IndexError>("gather", [] { gather(lone(5), 0, scalar(1, DType::i64)); });
  refuses<IndexError>("scatter_add",
                      [] { scatter_add(lone(5), 0, scalar(-1, DType::i64), Shape{}); });
  refuses<IndexError>("scatter", [] { scatter(lone(5), 0, scalar(1, DType::i64), 0); });
  refuses<IndexError>("index_select", [] { index_select(lone(5), 0, scalar(3, DType::i64)); });
  refuses<ShapeError>("index_select", [] { index_select(lone(5), 0, zeros({2}, DType::i64)); });
  refuses<ShapeError>("gather", [] { gather(lone(5), 0, zeros({1, 1}, DType::i64)); });
  refuses<ShapeError>("gather", [] { gather(lone(5), 0, zeros({2, 1}, DType::i64)); });
}

TEST_CASE("rank 0: ops that cut or join say that there is nothing to cut") {
  const Tensor x = lone(5);
  for (const int64_t axis : {0, -1}) {
    refuses<IndexError>("size", [&] { x.size(axis); });
    refuses<IndexError>("slice", [&] { x.slice(axis, 0, 1); });
    refuses<IndexError>("select", [&] { x.select(axis, 0); });
    refuses<ShapeError>("split", [&] { split(x, 1, axis); });
    refuses<ShapeError>("split", [&] { split(x, {1}, axis); });
    refuses<ShapeError>("chunk", [&] { chunk(x, 1, axis); });
    refuses<ShapeError>("unbind", [&] { unbind(x, axis); });
    refuses<ShapeError>("narrow", [&] { narrow(x, axis, 0, 1); });
    refuses<ShapeError>("cat", [&] { cat({x, x}, axis); });
  }
  CHECK(stack({x, x}, -1).shape() == Shape{2});
  CHECK(unsqueeze(x, -1).shape() == Shape{1});
  CHECK(x.flatten(0, -1).shape() == Shape{1});
  refuses<IndexError>("diagonal", [&] { diagonal(x); });
  refuses<ValueError>("diagonal", [&] { diagonal(x, 0, 0, -1); });
  refuses<ShapeError>("topk", [&] { topk(x, 0); });
  refuses<ValueError>("topk", [&] { topk(x, 2); });
  refuses<IndexError>("index", [&] { x.index({0}); });
}

TEST_CASE("rank 0 and size 0: the element types of reductions are PyTorch's") {
  struct Row {
    DType in, sum, any;
  };
  for (const Row& r :
       {Row{DType::f32, DType::f32, DType::boolean}, Row{DType::f64, DType::f64, DType::boolean},
        Row{DType::i64, DType::i64, DType::boolean}, Row{DType::u8, DType::i64, DType::u8},
        Row{DType::boolean, DType::i64, DType::boolean}})
    for (const Shape& shape : {Shape{}, Shape{0}, Shape{2}, Shape{0, 3}}) {
      INFO(name(r.in) << " " << to_string(shape));
      const Tensor x = ones(shape, r.in);
      CHECK(sum(x).dtype() == r.sum);
      CHECK(sum(x, {0}, true).dtype() == r.sum);
      CHECK(prod(x).dtype() == r.sum);
      CHECK(prod(x, {-1}).dtype() == r.sum);
      CHECK(cumsum(x, 0).dtype() == r.sum);
      CHECK(cumprod(x, -1).dtype() == r.sum);
      CHECK(any(x).dtype() == r.any);
      CHECK(all(x, {0}).dtype() == r.any);
      if (x.numel() == 0) continue;
      CHECK(max(x).dtype() == r.in);
      CHECK(min(x, {0}).dtype() == r.in);
      CHECK(argmax(x).dtype() == DType::i64);
      CHECK(argmin(x, 0).dtype() == DType::i64);
    }
  CHECK(sum(scalar(200, DType::u8)).item<int64_t>() == 200);
  CHECK(sum(full({2}, 200, DType::u8)).item<int64_t>() == 400);
  CHECK(prod(full({2}, 200, DType::u8)).item<int64_t>() == 40000);
  const Tensor none = zeros({0, 3});
  CHECK(sum(none, {0}).to_vector<double>() == Vec{0, 0, 0});
  CHECK(prod(none, {0}).to_vector<double>() == Vec{1, 1, 1});
  CHECK(any(none, {0}).to_vector<double>() == Vec{0, 0, 0});
  CHECK(all(none, {0}).to_vector<double>() == Vec{1, 1, 1});
  CHECK(norm(none, 2, {0}).to_vector<double>() == Vec{0, 0, 0});
  CHECK(std::isinf(logsumexp(none, {0})[0].item()));
  CHECK(std::isnan(mean(none, {0})[0].item()));
  CHECK(std::isnan(var(none, {0})[0].item()));
  CHECK(std::isnan(loupe::std(none).item()));
  CHECK(argmax(none, 1).shape() == Shape{0});
  CHECK(max(none, {1}).shape() == Shape{0});
}
