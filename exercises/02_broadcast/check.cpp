#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

// The library's own gradient of expand().
Tensor right_gradient(const Tensor& g, const Shape& shape) {
  const Tensor x = zeros(shape, DType::f64).requires_grad_();
  return grad({x.expand(g.shape())}, {x}, {}, {g})[0];
}

Tensor missing_summed(const Tensor& g, const Shape& shape) {
  Tensor sum = g;
  while (sum.dim() > shape.rank()) sum = sum.sum({0});
  return sum;
}

Tensor first_of_missing(const Tensor& g, const Shape& shape) {
  Tensor t = g;
  while (t.dim() > shape.rank()) t = t[0];
  return right_gradient(t, shape);
}

Tensor from_the_left(const Tensor& g, const Shape& shape) {
  Tensor sum = g;
  while (sum.dim() > shape.rank()) sum = sum.sum({-1});
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == 1) sum = sum.sum({axis}, true);
  return sum;
}

Tensor without_keepdim(const Tensor& g, const Shape& shape) {
  Tensor sum = missing_summed(g, shape);
  for (int axis = shape.rank() - 1; axis >= 0; --axis)
    if (shape[axis] == 1) sum = sum.sum({axis});
  return sum;
}

Tensor one_axis_only(const Tensor& g, const Shape& shape) {
  Tensor sum = missing_summed(g, shape);
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == 1) return sum.sum({axis}, true);
  return sum;
}

Tensor first_of_ones(const Tensor& g, const Shape& shape) {
  Tensor t = missing_summed(g, shape);
  for (int axis = 0; axis < shape.rank(); ++axis)
    if (shape[axis] == 1) t = t.slice(axis, 0, 1);
  return t;
}

void compare(Check& c, const Shape& from, const Shape& to) {
  c.trying(
      fmt::format("an input of shape {} that was broadcast to {}", to_string(from), to_string(to)));
  const Tensor g = c.normal(to), right = right_gradient(g, from);
  const double uses = static_cast<double>(g.numel()) / static_cast<double>(from.numel());
  c.equal(
      "the gradient", mine::sum_to(g, from), right,
      {{"you took the mean: an input that is used several times gets the sum of its gradients",
        [&] { return right / uses; }},
       {"you took the first slice of a missing dimension: each use of the input has a gradient, "
        "and they add up",
        [&] { return first_of_missing(g, from); }},
       {"you took the first slice of a dimension of size 1: all along this dimension the input "
        "was used, and the gradients add up",
        [&] { return first_of_ones(g, from); }},
       {"you summed over the last dimensions: shapes are aligned from the right, so the missing "
        "dimensions are the first ones",
        [&] { return from_the_left(g, from); }},
       {"you summed over the missing dimensions only: a dimension of size 1 was expanded too",
        [&] { return missing_summed(g, from); }},
       {"you lost a dimension of size 1: sum over it with keepdim = true",
        [&] { return without_keepdim(g, from); }},
       {"you stopped after the first dimension of size 1: there can be several",
        [&] { return one_axis_only(g, from); }},
       {"you gave back g itself: its shape is that of the result, not of the input",
        [&] { return g; }}});
}

}  // namespace

void run(Check& c) {
  const int64_t a = c.between(2, 3), b = c.between(4, 5), d = c.between(6, 7);
  compare(c, {a, b}, {a, b});
  compare(c, {b}, {a, b});
  compare(c, {a, 1}, {a, b});
  compare(c, {b}, {b, b});  // square: the wrong end gives the right shape
  compare(c, {1, b, 1}, {a, b, d});
  compare(c, {b, 1}, {a, b, d});
  compare(c, {}, {a, b});
  compare(c, {1, 1}, {d, 1});
}

}  // namespace loupe::exercises
