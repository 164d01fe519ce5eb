// Tensors put together and taken apart: cat, stack, split, chunk, pad.
#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/views.h>

#include <algorithm>

namespace loupe {

namespace {

struct CatNode final : Node {
  std::vector<int64_t> sizes;
  int axis = 0;
  const char* name() const override { return "cat"; }
  Attributes attributes() const override { return {{"axis", axis}}; }
  Tensors replay(const Tensors& x) const override { return {cat(x, axis)}; }
  Tensors backward(const Tensors& dy) override { return split(dy[0], sizes, axis); }
};

}  // namespace

Tensor cat(const std::vector<Tensor>& tensors, int64_t axis, Here here) {
  if (tensors.empty()) fail<ValueError>("cat: the list of tensors is empty");
  const Tensor& first = tensors[0];
  const int ax = normalize_axis(axis, first.dim(), "cat");
  if (first.dim() == 0)
    fail<ShapeError>("cat: tensors without dimensions cannot be joined; use stack");
  Shape shape = first.shape();
  shape[ax] = 0;
  std::vector<int64_t> sizes;
  std::vector<const Tensor*> inputs;
  for (const Tensor& t : tensors) {
    Shape other = t.shape();
    if (t.dtype() != first.dtype())
      fail<DtypeError>("cat: element types differ: {} and {}; convert one with to(...)",
                       first.dtype(), t.dtype());
    if (other.rank() == shape.rank()) {
      sizes.push_back(other[ax]);
      other[ax] = shape[ax];
    }
    if (other != shape)
      fail<ShapeError>("cat: shapes {} and {} differ in more than axis {}", first.shape(),
                       t.shape(), ax);
    shape[ax] += sizes.back();
    inputs.push_back(&t);
  }
  Tensor y = raw::empty(shape, first.dtype());
  int64_t at = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    raw::copy(tensors[i], raw::slice(y, ax, at, at + sizes[i], 1));
    at += sizes[i];
  }
  if (auto n = record<CatNode>(here, inputs, std::span<Tensor>(&y, 1))) {
    n->sizes = sizes;
    n->axis = ax;
  }
  return y;
}

Tensor stack(const std::vector<Tensor>& tensors, int64_t axis, Here here) {
  SiteScope site(here);
  std::vector<Tensor> parts;
  for (const Tensor& t : tensors) {
    if (t.shape() != tensors[0].shape())
      fail<ShapeError>("stack: shapes {} and {} differ", tensors[0].shape(), t.shape());
    parts.push_back(unsqueeze(t, axis));
  }
  if (parts.empty()) fail<ValueError>("stack: the list of tensors is empty");
  return cat(parts, axis);
}

namespace {

struct SplitNode final : Node {
  std::vector<int64_t> sizes;
  int axis = 0;
  const char* name() const override { return "split"; }
  Attributes attributes() const override { return {{"sizes", sizes}, {"axis", axis}}; }
  Tensors replay(const Tensors& x) const override { return split(x[0], sizes, axis); }
  Tensors backward(const Tensors& dy) override {
    Tensors parts = dy;
    for (size_t i = 0; i < parts.size(); ++i)
      if (!parts[i].defined()) parts[i] = zeros(output_shape(i), output_dtype(i));
    return {cat(parts, axis)};
  }
};

}  // namespace

std::vector<Tensor> split(In a, const std::vector<int64_t>& sizes, int64_t axis) {
  const int ax = normalize_axis(axis, a->dim(), "split");
  if (a->dim() == 0) fail<ShapeError>("split: a tensor without dimensions cannot be split");
  int64_t total = 0;
  for (int64_t s : sizes) {
    if (s < 0) fail<ValueError>("split: size {} is negative", s);
    if (__builtin_add_overflow(total, s, &total))
      fail<ValueError>("split: size {} is too large", s);
  }
  if (total != a->shape()[ax])
    fail<ShapeError>("split: sizes add up to {}, axis {} of shape {} has {}", total, ax, a->shape(),
                     a->shape()[ax]);
  Tensors parts;
  int64_t at = 0;
  for (int64_t s : sizes) {
    parts.push_back(raw::slice(a, ax, at, at + s, 1));
    at += s;
  }
  if (auto n = record<SplitNode>({a}, parts)) {
    n->sizes = sizes;
    n->axis = ax;
  }
  return parts;
}

std::vector<Tensor> split(In a, int64_t size, int64_t axis) {
  if (size < 1) fail<ValueError>("split: size {} must be positive", size);
  normalize_axis(axis, a->dim(), "split");
  if (a->dim() == 0) fail<ShapeError>("split: a tensor without dimensions cannot be split");
  const int64_t n = a->size(axis);
  std::vector<int64_t> sizes;
  for (int64_t at = 0; at < n || sizes.empty(); at += size) sizes.push_back(std::min(size, n - at));
  return split(a, sizes, axis);
}

std::vector<Tensor> chunk(In a, int64_t chunks, int64_t axis) {
  if (chunks < 1) fail<ValueError>("chunk: needs at least one chunk, got {}", chunks);
  normalize_axis(axis, a->dim(), "chunk");
  if (a->dim() == 0) fail<ShapeError>("chunk: a tensor without dimensions cannot be split");
  return split(a, std::max<int64_t>(1, (a->size(axis) - 1) / chunks + 1), axis);
}

namespace {

struct PadNode final : Node {
  std::vector<int64_t> amounts;
  double value = 0;
  const char* name() const override { return "pad"; }
  Attributes attributes() const override { return {{"amounts", amounts}, {"value", value}}; }
  Tensors replay(const Tensors& x) const override { return {pad(x[0], amounts, value)}; }
  Tensors backward(const Tensors& dy) override {
    Tensor g = dy[0];
    for (size_t i = 0; i < amounts.size(); i += 2) {
      const int64_t axis = -1 - static_cast<int64_t>(i / 2);
      g = slice(g, axis, amounts[i], g.size(axis) - amounts[i + 1]);
    }
    return {g};
  }
};

}  // namespace

Tensor pad(In a, const std::vector<int64_t>& amounts, double value) {
  if (amounts.size() % 2 != 0 || static_cast<int>(amounts.size()) > 2 * a->dim())
    fail<ValueError>(
        "pad: {} amounts for shape {}; give a pair for each padded dimension, the last first",
        amounts.size(), a->shape());
  Shape shape = a->shape();
  for (size_t i = 0; i < amounts.size(); ++i) {
    if (amounts[i] < 0) fail<ValueError>("pad: amount {} is negative; use slice", amounts[i]);
    int64_t& size = shape[a->dim() - 1 - static_cast<int>(i / 2)];
    if (__builtin_add_overflow(size, amounts[i], &size))
      fail<ValueError>("pad: amount {} is too large", amounts[i]);
  }
  Tensor y = full(shape, value, a->dtype());
  Tensor inner = y;
  for (size_t i = 0; i < amounts.size(); i += 2) {
    const int axis = a->dim() - 1 - static_cast<int>(i / 2);
    inner = raw::slice(inner, axis, amounts[i], amounts[i] + a->shape()[axis], 1);
  }
  raw::copy(a, inner);
  if (auto n = record<PadNode>({a}, y)) {
    n->amounts = amounts;
    n->value = value;
  }
  return y;
}

}  // namespace loupe
