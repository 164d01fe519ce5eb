#include "layouts.h"

#include <algorithm>
#include <limits>

namespace loupe::testing {
namespace {

// Memory whose elements would be noticed in a result.
Tensor poisoned(const Shape& shape, DType dtype) {
  if (is_floating(dtype)) return full(shape, std::numeric_limits<double>::quiet_NaN(), dtype);
  if (dtype == DType::i64) return full(shape, -1e15, dtype);
  return full(shape, dtype == DType::u8 ? 255 : 1, dtype);
}

Tensor filled(const Tensor& view, const Tensor& values) {
  raw::copy(values, view);
  return view;
}

Dims order_of(int rank) {
  Dims axes;
  for (int i = 0; i < rank; ++i) axes.push_back(i);
  return axes;
}

// t's values in memory that runs through the dimensions in the order `axes`.
Tensor in_order(const Tensor& t, const Dims& axes) {
  Shape shape = t.shape();
  Dims inverse = axes;
  for (int i = 0; i < axes.rank(); ++i) {
    shape[i] = t.shape()[static_cast<int>(axes[i])];
    inverse[static_cast<int>(axes[i])] = i;
  }
  return filled(raw::permute(poisoned(shape, t.dtype()), inverse), t);
}

Tensor gaps(const Tensor& t) {
  if (t.dim() == 0) return Tensor();
  Shape shape = t.shape();
  for (int64_t& n : shape) n = 2 * n + 1;
  Tensor view = poisoned(shape, t.dtype());
  for (int i = 0; i < t.dim(); ++i) view = raw::slice(view, i, 1, INT64_MAX, 2);
  return filled(view, t);
}

Tensor rows_apart(const Tensor& t) {
  if (t.dim() == 0) return Tensor();
  Shape shape = t.shape();
  shape[t.dim() - 1] += 3;
  return filled(raw::slice(poisoned(shape, t.dtype()), -1, 1, 1 + t.size(-1), 1), t);
}

Tensor reversed(const Tensor& t) {
  if (t.dim() < 2) return Tensor();
  Dims axes = order_of(t.dim());
  std::reverse(axes.begin(), axes.end());
  return in_order(t, axes);
}

Tensor transposed(const Tensor& t) {
  if (t.dim() < 3) return Tensor();  // of two dimensions it is `reversed`
  Dims axes = order_of(t.dim());
  std::swap(axes[t.dim() - 1], axes[t.dim() - 2]);
  return in_order(t, axes);
}

Tensor transposed_gaps(const Tensor& t) {
  if (t.dim() < 2) return Tensor();
  return raw::transpose(gaps(raw::transpose(t, -1, -2)), -1, -2);
}

Tensor channels_last(const Tensor& t) {
  if (t.dim() < 3) return Tensor();
  Dims axes = order_of(t.dim());
  axes.erase(1);
  axes.push_back(1);
  return in_order(t, axes);
}

// Row-major in itself, one of three in a larger block.
Tensor inside(const Tensor& t) {
  Shape shape = t.shape();
  if (shape.rank() == kMaxRank) return Tensor();
  shape.insert(0, 3);
  return filled(raw::select(poisoned(shape, t.dtype()), 0, 1), t);
}

// The stride of a dimension of size 1 says nothing, whatever it is.
Tensor ones_with_stride(const Tensor& t, int64_t stride) {
  if (std::find(t.shape().begin(), t.shape().end(), 1) == t.shape().end()) return Tensor();
  const Tensor dense = plain_copy(t);
  Strides strides = dense.strides();
  for (int i = 0; i < t.dim(); ++i)
    if (t.shape()[i] == 1) strides[i] = stride;
  return raw::view(dense, t.shape(), strides, 0);
}
Tensor ones_with_stride_zero(const Tensor& t) { return ones_with_stride(t, 0); }
Tensor ones_with_large_stride(const Tensor& t) { return ones_with_stride(t, 1000003); }

Tensor expanded_along(const Tensor& t, int axis) {
  return raw::expand(plain_copy(raw::slice(t, axis, 0, 1, 1)), t.shape());
}
Tensor expanded_first(const Tensor& t) {
  for (int i = 0; i < t.dim(); ++i)
    if (t.shape()[i] > 1) return expanded_along(t, i);
  return Tensor();
}
Tensor expanded_last(const Tensor& t) {
  for (int i = t.dim() - 1; i > 0; --i)
    if (t.shape()[i] > 1) return expanded_along(t, i);
  return Tensor();
}
Tensor one_element(const Tensor& t) {
  if (t.numel() < 2) return Tensor();
  Tensor first = t;
  while (first.dim() > 0) first = raw::select(first, 0, 0);
  return raw::expand(plain_copy(first), t.shape());
}

}  // namespace

Tensor plain_copy(const Tensor& t) {
  Tensor copy = raw::empty(t.shape(), t.dtype());
  raw::copy(t, copy);
  return copy;
}

const std::vector<Layout>& layouts() {
  static const std::vector<Layout> all{
      {.name = "stride 2 with NaN between", .of = gaps, .alone = true},
      {.name = "rows apart", .of = rows_apart},
      {.name = "reversed order of dimensions", .of = reversed, .alone = true},
      {.name = "last two dimensions swapped", .of = transposed},
      {.name = "last two dimensions swapped, stride 2", .of = transposed_gaps},
      {.name = "channels last", .of = channels_last, .alone = true},
      {.name = "inside a larger block", .of = inside},
      {.name = "sizes of 1 with stride 0", .of = ones_with_stride_zero},
      {.name = "sizes of 1 with a large stride", .of = ones_with_large_stride},
      {.name = "first dimension expanded", .of = expanded_first, .keeps_values = false},
      {.name = "last dimension expanded",
       .of = expanded_last,
       .keeps_values = false,
       .alone = true},
      {.name = "one element expanded", .of = one_element, .keeps_values = false},
  };
  return all;
}

}  // namespace loupe::testing
