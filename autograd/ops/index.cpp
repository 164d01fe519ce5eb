#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/views.h>

namespace loupe {
namespace {

void check_index(const Tensor& index, const char* op) {
  if (index.dtype() != DType::i64)
    fail<DtypeError>("{}: the index must be i64, got {}", op, index.dtype());
}

// Calls f(position in a, position in index) for every element of index, in row-major order; both in
// elements of row-major memory. Indices are checked against a's axis.
template <class F>
void visit_gather(const Shape& shape, int axis, const Tensor& index, const char* op, const F& f) {
  const int64_t* ix = index.ptr<int64_t>();
  const Strides strides = row_major_strides(shape);
  const int64_t n = index.numel();
  int64_t at[kMaxRank] = {};
  for (int64_t i = 0; i < n; ++i) {
    if (ix[i] < 0 || ix[i] >= shape[axis])
      fail<IndexError>("{}: index {} is outside [0, {}) of axis {}, shape {}", op, ix[i],
                       shape[axis], axis, shape);
    int64_t from = ix[i] * strides[axis];
    for (int d = 0; d < shape.rank(); ++d)
      if (d != axis) from += at[d] * strides[d];
    f(from, i);
    for (int d = shape.rank() - 1; d >= 0 && ++at[d] == index.shape()[d]; --d) at[d] = 0;
  }
}

void check_gather_shapes(const Shape& shape, int axis, const Tensor& index, const char* op) {
  bool fits = index.dim() == shape.rank();
  for (int d = 0; fits && d < shape.rank(); ++d) fits = d == axis || index.shape()[d] <= shape[d];
  if (!fits)
    fail<ShapeError>("{}: an index of shape {} does not fit shape {} along axis {}", op,
                     index.shape(), shape, axis);
}

struct GatherNode final : Node {
  SavedTensor index{this};
  int axis = 0;
  Shape shape;
  const char* name() const override { return "gather"; }
  Attributes attributes() const override { return {{"axis", axis}, {"index", index.get()}}; }
  Tensors replay(const Tensors& x) const override { return {gather(x[0], axis, index.get())}; }
  Tensors backward(const Tensors& dy) override {
    return {scatter_add(dy[0], axis, index.get(), shape)};
  }
};

struct ScatterAddNode final : Node {
  SavedTensor index{this};
  int axis = 0;
  Shape shape;
  const char* name() const override { return "scatter_add"; }
  Attributes attributes() const override {
    return {{"axis", axis}, {"index", index.get()}, {"shape", shape}};
  }
  Tensors replay(const Tensors& x) const override {
    return {scatter_add(x[0], axis, index.get(), shape)};
  }
  Tensors backward(const Tensors& dy) override { return {gather(dy[0], axis, index.get())}; }
};

}  // namespace

Tensor gather(In a, int64_t axis, In index) {
  check_index(index, "gather");
  const int ax = normalize_axis(axis, a->dim(), "gather");
  check_gather_shapes(a->shape(), ax, index, "gather");
  const Tensor x = raw::row_major(a), ix = raw::row_major(index);
  Tensor y = raw::empty(index->shape(), a->dtype());
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    const T* from = x.ptr<T>();
    T* to = y.ptr<T>();
    visit_gather(a->shape(), ax, ix, "gather", [=](int64_t i, int64_t j) { to[j] = from[i]; });
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
  check_gather_shapes(shape, ax, index, "scatter_add");
  if (src->shape() != index->shape())
    fail<ShapeError>("scatter_add: source {} and index {} must have one shape", src->shape(),
                     index->shape());
  const Tensor x = raw::row_major(src), ix = raw::row_major(index);
  Tensor y = raw::zeros(shape, src->dtype());
  dispatch(src->dtype(), [&]<class T>(Type<T>) {
    const T* from = x.ptr<T>();
    T* to = y.ptr<T>();
    visit_gather(shape, ax, ix, "scatter_add",
                 [=](int64_t i, int64_t j) { to[i] = static_cast<T>(to[i] + from[j]); });
  });
  if (auto n = record<ScatterAddNode>({src}, y)) {
    n->index.input(ix);
    n->axis = ax;
    n->shape = shape;
  }
  return y;
}

Tensor index_select(In a, int64_t axis, In index) {
  check_index(index, "index_select");
  if (index->dim() != 1)
    fail<ShapeError>("index_select: the index must have one dimension, got shape {}",
                     index->shape());
  const int ax = normalize_axis(axis, a->dim(), "index_select");
  if (a->dim() == 0) fail<ShapeError>("index_select: a tensor without dimensions has no positions");
  SiteScope site(a.here);
  Shape shape = a->shape(), column = Shape(std::vector<int64_t>(static_cast<size_t>(a->dim()), 1));
  shape[ax] = column[ax] = index->numel();
  return gather(a, ax, raw::expand(raw::reshape(index, column), shape));
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
  return raw::to(raw::compare(raw::Compare::eq, raw::expand(l, shape), arange(classes)), dtype);
}

}  // namespace loupe
