#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/kernels/rowwise/index.h>

#include <algorithm>

namespace loupe {
namespace {

void check_index(const Tensor& index, const char* op) {
  if (index.dtype() != DType::i64)
    fail<DtypeError>("{}: the index must be i64, got {}", op, index.dtype());
}

// A tensor without dimensions has one element and one axis.
Shape at_least_one(const Shape& shape) { return shape.empty() ? Shape{1} : shape; }

// How a row-major index lies over `full` along an axis, once all of it is known to be in range.
kernels::IndexOver index_over(const Shape& full, int axis, const Tensor& index, const char* op) {
  const kernels::IndexOver s{at_least_one(index.shape()), at_least_one(full), axis};
  bool fits = s.index.rank() == s.full.rank();
  for (int d = 0; fits && d < s.full.rank(); ++d) fits = d == axis || s.index[d] <= s.full[d];
  if (!fits)
    fail<ShapeError>("{}: an index of shape {} does not fit shape {} along axis {}", op,
                     index.shape(), full, axis);
  const int64_t* const ix = index.ptr<int64_t>();
  const int64_t bad = kernels::first_outside(index.numel(), ix, s.full[axis]);
  if (bad >= 0)
    fail<IndexError>("{}: index {} is outside [0, {}) of axis {}, shape {}", op, ix[bad],
                     s.full[axis], axis, full);
  return s;
}

// The part of src that lies under the index. ShapeError if it is too small.
Tensor under(In src, const Shape& index, const char* op) {
  bool fits = src->dim() == index.rank();
  for (int d = 0; fits && d < index.rank(); ++d) fits = index[d] <= src->shape()[d];
  if (!fits) fail<ShapeError>("{}: source {} is smaller than index {}", op, src->shape(), index);
  Tensor part = src;
  for (int d = 0; d < index.rank(); ++d)
    if (index[d] != part.size(d)) part = slice(part, d, 0, index[d]);
  return part;
}

// A row-major copy of `a`, to scatter into.
Tensor rows_copy(const Tensor& a) {
  Tensor y = raw::empty(a.shape(), a.dtype());
  raw::copy(a, y);
  return y;
}

struct GatherNode final : Node {
  SavedTensor index{this, "index"};
  int axis = 0;
  Shape shape;
  const char* name() const override { return "gather"; }
  Attributes attributes() const override { return {{"axis", axis}, {"index", index.get()}}; }
  Tensors replay(const Tensors& x) const override { return {gather(x[0], axis, index.get())}; }
  Tensors backward(const Tensors& dy) override {
    return {scatter_add(dy[0], axis, index.get(), shape)};
  }
};

// Zeros, or `a`, with src added at the index.
struct ScatterAddNode final : Node {
  SavedTensor index{this, "index"};
  int axis = 0;
  Shape shape;
  const char* name() const override { return "scatter_add"; }
  Attributes attributes() const override {
    return {{"axis", axis}, {"index", index.get()}, {"shape", shape}};
  }
  Tensors replay(const Tensors& x) const override {
    if (x.size() == 2) return {scatter_add(x[0], axis, index.get(), x[1])};
    return {scatter_add(x[0], axis, index.get(), shape)};
  }
  Tensors backward(const Tensors& dy) override {
    if (input_count() == 1) return {gather(dy[0], axis, index.get())};
    return {dy[0], needs(1) ? gather(dy[0], axis, index.get()) : Tensor()};
  }
};

// `a` with src, or a number, at the index.
struct ScatterNode final : Node {
  SavedTensor index{this, "index"};
  SavedTensor stays{
      this, "stays"};  // where an element of src is the last for its place; undefined: all are
  int axis = 0;
  double value = 0;
  const char* name() const override { return "scatter"; }
  Attributes attributes() const override {
    return {{"axis", axis}, {"index", index.get()}, {"value", value}};
  }
  Tensors replay(const Tensors& x) const override {
    if (x.size() == 2) return {scatter(x[0], axis, index.get(), x[1])};
    return {scatter(x[0], axis, index.get(), value)};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor ix = index.get();
    const Tensor da = needs(0) ? scatter(dy[0], axis, ix, 0.0) : Tensor();
    if (input_count() == 1) return {da};
    if (!needs(1)) return {da, Tensor()};
    const Tensor dsrc = gather(dy[0], axis, ix);
    return {da, where(stays.get(), dsrc, zeros({}, dsrc.dtype()))};
  }
};

struct IndexSelectNode final : Node {
  SavedTensor index{this, "index"};
  int axis = 0;
  Shape shape;
  const char* name() const override { return "index_select"; }
  Attributes attributes() const override { return {{"axis", axis}, {"index", index.get()}}; }
  Tensors replay(const Tensors& x) const override {
    return {index_select(x[0], axis, index.get())};
  }
  Tensors backward(const Tensors& dy) override;
};

kernels::Rows rows_of(const Shape& shape, int axis, int64_t count) {
  kernels::Rows r{1, shape[axis], 1, count};
  for (int d = 0; d < axis; ++d) r.outer *= shape[d];
  for (int d = axis + 1; d < shape.rank(); ++d) r.inner *= shape[d];
  return r;
}

// Zeros of `shape`, with the rows of dy added at the index.
Tensor add_rows(In dy, int axis, const Tensor& index, const Shape& shape);

struct AddRowsNode final : Node {
  SavedTensor index{this, "index"};
  int axis = 0;
  Shape shape;
  const char* name() const override { return "index_select_backward"; }
  Attributes attributes() const override { return {{"axis", axis}, {"index", index.get()}}; }
  Tensors replay(const Tensors& x) const override {
    return {add_rows(x[0], axis, index.get(), shape)};
  }
  Tensors backward(const Tensors& dy) override { return {index_select(dy[0], axis, index.get())}; }
};

Tensor add_rows(In dy, int axis, const Tensor& index, const Shape& shape) {
  const Tensor x = raw::row_major(dy);
  Tensor y = raw::empty(shape, dy->dtype());
  dispatch(dy->dtype(), [&]<class T>(Type<T>) {
    kernels::add_rows(rows_of(at_least_one(shape), axis, index.numel()), index.ptr<int64_t>(),
                      x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<AddRowsNode>({dy}, y)) {
    n->index.input(index);
    n->axis = axis;
    n->shape = shape;
  }
  return y;
}

Tensors IndexSelectNode::backward(const Tensors& dy) {
  return {add_rows(dy[0], axis, index.get(), shape)};
}

}  // namespace

Tensor gather(In a, int64_t axis, In index) {
  check_index(index, "gather");
  const int ax = normalize_axis(axis, a->dim(), "gather");
  const Tensor x = raw::row_major(a), ix = raw::row_major(index);
  const kernels::IndexOver s = index_over(a->shape(), ax, ix, "gather");
  Tensor y = raw::empty(index->shape(), a->dtype());
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    kernels::gather(s, ix.ptr<int64_t>(), x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<GatherNode>({a}, y)) {
    n->index.input(ix);
    n->axis = ax;
    n->shape = a->shape();
  }
  return y;
}

Tensor scatter_add(In src, int64_t axis, In index, const Shape& shape) {
  check_index(index, "scatter_add");
  const int ax = normalize_axis(axis, shape.rank(), "scatter_add");
  const Tensor x = raw::row_major(src), ix = raw::row_major(index);
  const kernels::IndexOver s = index_over(shape, ax, ix, "scatter_add");
  if (at_least_one(src->shape()) != s.index)
    fail<ShapeError>("scatter_add: source {} and index {} must have one shape", src->shape(),
                     index->shape());
  Tensor y = raw::zeros(shape, src->dtype());
  dispatch(src->dtype(), [&]<class T>(Type<T>) {
    kernels::scatter_add(s, ix.ptr<int64_t>(), x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<ScatterAddNode>({src}, y)) {
    n->index.input(raw::reshape(ix, src->shape()));
    n->axis = ax;
    n->shape = shape;
  }
  return y;
}

Tensor scatter_add(In a, int64_t axis, In index, In src) {
  check_index(index, "scatter_add");
  raw::check_same_dtype(a, src, "scatter_add");
  SiteScope site(a.here);
  const int ax = normalize_axis(axis, a->dim(), "scatter_add");
  const Tensor part = under(src, index->shape(), "scatter_add");
  const Tensor x = raw::row_major(part), ix = raw::row_major(index);
  const kernels::IndexOver s = index_over(a->shape(), ax, ix, "scatter_add");
  Tensor y = rows_copy(a);
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    kernels::scatter_add(s, ix.ptr<int64_t>(), x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<ScatterAddNode>({a, part}, y)) {
    n->index.input(ix);
    n->axis = ax;
    n->shape = a->shape();
  }
  return y;
}

namespace {

// For each element of an index, whether no later one goes to the same place of `shape`.
Tensor last_at_its_place(const kernels::IndexOver& s, const Tensor& index, const Shape& shape) {
  // Each place keeps the number of the last element that was put there.
  const Tensor number = raw::reshape(arange(index.numel()), index.shape());
  const Tensor last = raw::empty(shape, DType::i64);
  const Tensor met = raw::empty(index.shape(), DType::i64);
  kernels::scatter(s, index.ptr<int64_t>(), number.ptr<int64_t>(), last.ptr<int64_t>());
  kernels::gather(s, index.ptr<int64_t>(), last.ptr<int64_t>(), met.ptr<int64_t>());
  return raw::compare(raw::Compare::eq, met, number);
}

}  // namespace

Tensor scatter(In a, int64_t axis, In index, In src) {
  check_index(index, "scatter");
  raw::check_same_dtype(a, src, "scatter");
  SiteScope site(a.here);
  const int ax = normalize_axis(axis, a->dim(), "scatter");
  const Tensor part = under(src, index->shape(), "scatter");
  const Tensor x = raw::row_major(part), ix = raw::row_major(index);
  const kernels::IndexOver s = index_over(a->shape(), ax, ix, "scatter");
  Tensor y = rows_copy(a);
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    kernels::scatter(s, ix.ptr<int64_t>(), x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<ScatterNode>({a, part}, y)) {
    n->index.input(ix);
    n->axis = ax;
    if (n->needs(1)) n->stays.input(last_at_its_place(s, ix, a->shape()));
  }
  return y;
}

Tensor scatter(In a, int64_t axis, In index, double value) {
  check_index(index, "scatter");
  const int ax = normalize_axis(axis, a->dim(), "scatter");
  const Tensor ix = raw::row_major(index);
  const kernels::IndexOver s = index_over(a->shape(), ax, ix, "scatter");
  const Tensor x = full(index->shape(), value, a->dtype());
  Tensor y = rows_copy(a);
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    kernels::scatter(s, ix.ptr<int64_t>(), x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<ScatterNode>({a}, y)) {
    n->index.input(ix);
    n->axis = ax;
    n->value = value;
  }
  return y;
}

Tensor index_select(In a, int64_t axis, In index) {
  check_index(index, "index_select");
  if (index->dim() > 1)
    fail<ShapeError>("index_select: the index must have one dimension, got shape {}",
                     index->shape());
  const int ax = normalize_axis(axis, a->dim(), "index_select");
  if (a->dim() == 0 && index->numel() != 1)
    fail<ShapeError>("index_select: {} positions of a tensor without dimensions, which has one",
                     index->numel());
  const Shape from = at_least_one(a->shape());
  const Tensor x = raw::row_major(a), ix = raw::row_major(index);
  const int64_t bad = kernels::first_outside(ix.numel(), ix.ptr<int64_t>(), from[ax]);
  if (bad >= 0)
    fail<IndexError>("index_select: index {} is outside [0, {}) of axis {}, shape {}",
                     ix.ptr<int64_t>()[bad], from[ax], ax, a->shape());
  Shape shape = a->shape();
  if (a->dim() > 0) shape[ax] = ix.numel();
  Tensor y = raw::empty(shape, a->dtype());
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    kernels::take_rows(rows_of(from, ax, ix.numel()), ix.ptr<int64_t>(), x.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<IndexSelectNode>({a}, y)) {
    n->index.input(ix);
    n->axis = ax;
    n->shape = a->shape();
  }
  return y;
}

Tensor nonzero(In a) {
  const std::vector<bool> set = raw::to(a, DType::boolean).to_vector<bool>();
  const int64_t count = std::count(set.begin(), set.end(), true);
  const Shape& shape = a->shape();
  Tensor out = raw::empty({count, shape.rank()}, DType::i64);
  int64_t* to = out.ptr<int64_t>();
  for (size_t i = 0; i < set.size(); ++i) {
    if (!set[i]) continue;
    int64_t rest = static_cast<int64_t>(i);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      to[d] = rest % shape[d];
      rest /= shape[d];
    }
    to += shape.rank();
  }
  note("nonzero", {a}, out);
  return out;
}

Tensor masked_select(In a, In mask) {
  if (mask->dtype() != DType::boolean)
    fail<DtypeError>("masked_select: the mask must be bool, got {}", mask->dtype());
  const Shape shape = broadcast_shapes(a->shape(), mask->shape(), "masked_select");
  SiteScope site(a.here);
  const int64_t n = shape.numel();
  const Tensor where_true = nonzero(raw::reshape(raw::expand(mask, shape), {n}));
  return index_select(expand(a, shape).reshape({n}), 0,
                      raw::reshape(where_true, {where_true.numel()}));
}

Tensor one_hot(In labels, int64_t classes, DType dtype) {
  check_index(labels, "one_hot");
  if (classes < -1)
    fail<ValueError>("one_hot: the number of classes must not be negative, got {}", classes);
  if (classes == -1)
    classes = labels->numel() == 0 ? 0 : raw::extremum(labels, {}, false, true).item<int64_t>() + 1;
  const Tensor l = raw::unsqueeze(labels, -1), dense = raw::row_major(labels);
  for (int64_t label : dense.data<int64_t>())
    if (label < 0 || label >= classes)
      fail<IndexError>("one_hot: label {} is outside [0, {})", label, classes);
  Shape shape = labels->shape();
  shape.push_back(classes);
  Tensor y = raw::to(raw::compare(raw::Compare::eq, raw::expand(l, shape), arange(classes)), dtype);
  note("one_hot", {labels}, y, {{"classes", classes}});
  return y;
}

}  // namespace loupe
