#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

using List = std::vector<int64_t>;

List strides_of(const List& shape) {
  const Strides s = zeros(Shape(shape)).strides();
  return List(s.begin(), s.end());
}

void strides(Check& c, const List& shape) {
  c.trying(fmt::format("shape ({})", fmt::join(shape, ", ")));
  c.equal(
      "the strides", mine::row_major_strides(shape), strides_of(shape),
      {{"these strides are column-major, with the first dimension fastest: in row-major order the "
        "last one has the stride 1",
        [&] {
          List wrong(shape.size());
          int64_t jump = 1;
          for (size_t i = 0; i < shape.size(); ++i) wrong[i] = jump, jump *= shape[i];
          return numbers(wrong);
        }},
       {"each stride has its own dimension's size in it: a step jumps over the dimensions behind "
        "it only",
        [&] {
          List wrong = strides_of(shape);
          for (size_t i = 0; i < shape.size(); ++i) wrong[i] *= shape[i];
          return numbers(wrong);
        }},
       {"a stride is the product of all sizes behind it, not the next size alone", [&] {
          List wrong(shape.size(), 1);
          for (size_t i = 0; i + 1 < shape.size(); ++i) wrong[i] = shape[i + 1];
          return numbers(wrong);
        }}});
}

void places(Check& c, const mine::View& v) {
  List index;
  for (int64_t size : v.shape) index.push_back(c.between(1, size - 1));
  c.trying(fmt::format("element ({}) of strides ({}), offset {}", fmt::join(index, ", "),
                       fmt::join(v.strides, ", "), v.offset));
  int64_t right = v.offset, by_sizes = v.offset, sum = 0;
  for (size_t i = 0; i < index.size(); ++i) {
    right += index[i] * v.strides[i];
    by_sizes += index[i] * v.shape[i];
    sum += index[i];
  }
  c.equal("the place", List{mine::place(v, index)}, List{right},
          {{"you left the offset out: a view need not start at the memory's first element",
            [&] { return numbers(List{right - v.offset}); }},
           {"you multiplied the index by the sizes: multiply by the strides",
            [&] { return numbers(List{by_sizes}); }},
           {"only two dimensions count: a view can have any number of them, so loop over all",
            [&] {
              return numbers(List{v.offset + index[0] * v.strides[0] + index[1] * v.strides[1]});
            }},
           {"you added the indices without the strides",
            [&] { return numbers(List{v.offset + sum}); }}});
}

void transposes(Check& c, const mine::View& v) {
  c.trying(fmt::format("transpose(v, 0, 2) of shape ({}), strides ({})", fmt::join(v.shape, ", "),
                       fmt::join(v.strides, ", ")));
  const mine::View t = mine::transpose(v, 0, 2);
  List shape = v.shape, steps = v.strides;
  std::swap(shape[0], shape[2]);
  std::swap(steps[0], steps[2]);
  c.equal("its shape", t.shape, shape,
          {{"the shape did not change: the sizes change places too",
            [&] { return numbers(v.shape); }}});
  c.equal(
      "its strides", t.strides, steps,
      {{"the strides did not change: the sizes alone give a reshape, with the elements in another "
        "order",
        [&] { return numbers(v.strides); }},
       {"you made new row-major strides: a transpose keeps the memory, so the strides change "
        "places",
        [&] { return numbers(strides_of(shape)); }}});
  c.equal("its offset", List{t.offset}, List{v.offset});
}

void slices(Check& c, const mine::View& v, int64_t step) {
  const size_t axis = 1;
  const int64_t start = 1, stop = v.shape[axis];
  c.trying(fmt::format("slice(v, 1, {}, {}, {}) of shape ({}), strides ({}), offset {}", start,
                       stop, step, fmt::join(v.shape, ", "), fmt::join(v.strides, ", "), v.offset));
  const mine::View s = mine::slice(v, axis, start, stop, step);
  const int64_t stride = v.strides[axis], count = (stop - start + step - 1) / step;
  c.equal("its offset", List{s.offset}, List{v.offset + start * stride},
          {{"the offset moves by `start` elements of memory: one step in this dimension is a whole "
            "stride",
            [&] { return numbers(List{v.offset + start}); }},
           {"the offset did not move: the first element is `start`",
            [&] { return numbers(List{v.offset}); }},
           {"you replaced the offset: the view that is sliced may have one already",
            [&] { return numbers(List{start * stride}); }}});
  const auto sized = [&](int64_t size) {
    List shape = v.shape;
    shape[axis] = size;
    return shape;
  };
  c.equal(
      "its shape", s.shape, sized(count),
      {{"the size is rounded down: 0, 2, 4 are three elements of 0..5 in steps of 2, so round up",
        [&] { return numbers(sized((stop - start) / step)); }},
       {"brackets are missing: stop - start / step divides start alone",
        [&] { return numbers(sized(stop - start / step)); }},
       {"you left the step out of the size", [&] { return numbers(sized(stop - start)); }}});
  List steps = v.strides;
  steps[axis] *= step;
  c.equal("its strides", s.strides, steps,
          {{"the stride did not change: with a step of 2 each step jumps twice as far",
            [&] { return numbers(v.strides); }}});
}

}  // namespace

void run(Check& c) {
  const List shape{c.between(2, 4), c.between(5, 7), c.between(8, 9)};
  strides(c, shape);
  strides(c, {c.between(2, 9)});
  strides(c, {3, 1, 5});
  mine::View v{shape, strides_of(shape), c.between(10, 99)};
  places(c, v);
  transposes(c, v);
  slices(c, v, 1);
  v.shape[1] = 2 * c.between(3, 5);  // an odd number of elements from 1 on
  slices(c, v, 2);
  strides(c, {});
}

}  // namespace loupe::exercises
