#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/views.h>

#include <numeric>

namespace loupe {
namespace {

struct ReshapeNode final : Node {
  Shape shape;
  const char* label = "reshape";
  const char* name() const override { return label; }
  Attributes attributes() const override { return {{"shape", output_shape(0)}}; }
  Tensors replay(const Tensors& x) const override { return {x[0].reshape(output_shape(0))}; }
  Tensors backward(const Tensors& dy) override { return {dy[0].reshape(shape)}; }
};

struct PermuteNode final : Node {
  Dims axes, inverse;
  const char* label = "permute";
  const char* name() const override { return label; }
  Attributes attributes() const override { return {{"axes", axes}}; }
  Tensors replay(const Tensors& x) const override { return {x[0].permute(axes)}; }
  Tensors backward(const Tensors& dy) override { return {dy[0].permute(inverse)}; }
};

struct ExpandNode final : Node {
  const char* name() const override { return "expand"; }
  Attributes attributes() const override { return {{"shape", output_shape(0)}}; }
  Tensors replay(const Tensors& x) const override { return {x[0].expand(output_shape(0))}; }
  Tensors backward(const Tensors& dy) override { return {dy[0]}; }  // the engine sums it down
};

// Gradients pass unchanged: clone, contiguous.
struct IdentityNode final : Node {
  const char* label = "clone";
  const char* name() const override { return label; }
  Tensors replay(const Tensors& x) const override { return {x[0].clone()}; }
  Tensors backward(const Tensors& dy) override { return {dy[0]}; }
};

struct ToNode final : Node {
  DType from = DType::f32;
  const char* name() const override { return "to"; }
  Attributes attributes() const override {
    return {{"dtype", std::string(loupe::name(output_dtype(0)))}};
  }
  Tensors replay(const Tensors& x) const override { return {x[0].clone()}; }
  Tensors backward(const Tensors& dy) override { return {dy[0].to(from)}; }
};

// Where a slice lies in its tensor, so that its gradient can be put back.
struct Window {
  Shape shape;
  int axis = 0;
  int64_t start = 0, stop = 0, step = 1;
  Attributes attributes() const {
    return {{"axis", axis}, {"start", start}, {"stop", stop}, {"step", step}};
  }
};
Tensor put_back(In dy, const Window& w);

struct SliceNode final : Node {
  Window window;
  const char* label = "slice";
  const char* name() const override { return label; }
  Attributes attributes() const override { return window.attributes(); }
  Tensors replay(const Tensors& x) const override {
    return {
        slice(x[0], window.axis, window.start, window.stop, window.step).reshape(output_shape(0))};
  }
  Tensors backward(const Tensors& dy) override {
    const bool selected = dy[0].dim() < window.shape.rank();
    return {put_back(selected ? dy[0].unsqueeze(window.axis) : dy[0], window)};
  }
};

// Zeros of w.shape with dy at the window.
struct PutBackNode final : Node {
  Window window;
  const char* name() const override { return "slice_backward"; }
  Tensors replay(const Tensors& x) const override { return {put_back(x[0], window)}; }
  Tensors backward(const Tensors& dy) override {
    return {slice(dy[0], window.axis, window.start, window.stop, window.step)};
  }
};

Tensor put_back(In dy, const Window& w) {
  Tensor y = raw::zeros(w.shape, dy->dtype());
  raw::copy(dy, raw::slice(y, w.axis, w.start, w.stop, w.step));
  if (auto n = record<PutBackNode>({dy}, y)) n->window = w;
  return y;
}

struct CatNode final : Node {
  std::vector<int64_t> sizes;
  int axis = 0;
  const char* name() const override { return "cat"; }
  Attributes attributes() const override { return {{"axis", axis}}; }
  Tensors replay(const Tensors& x) const override { return {cat(x, axis)}; }
  Tensors backward(const Tensors& dy) override { return split(dy[0], sizes, axis); }
};

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

Tensor reshaped(In a, Tensor y, const char* label) {
  if (auto n = record<ReshapeNode>({a}, y)) {
    n->shape = a->shape();
    n->label = label;
  }
  return y;
}

Tensor permuted(In a, const Dims& axes, const char* label) {
  Tensor y = raw::permute(a, axes);
  if (auto n = record<PermuteNode>({a}, y)) {
    n->axes = n->inverse = axes;
    for (int i = 0; i < axes.rank(); ++i) n->inverse[normalize_axis(axes[i], a->dim(), label)] = i;
    n->label = label;
  }
  return y;
}

}  // namespace

Tensor reshape(In a, const Shape& shape) { return reshaped(a, raw::reshape(a, shape), "reshape"); }
Tensor squeeze(In a, std::optional<int64_t> axis) {
  return reshaped(a, raw::squeeze(a, axis), "squeeze");
}
Tensor unsqueeze(In a, int64_t axis) { return reshaped(a, raw::unsqueeze(a, axis), "unsqueeze"); }
Tensor permute(In a, const Dims& axes) { return permuted(a, axes, "permute"); }

Tensor transpose(In a, int64_t axis0, int64_t axis1) {
  const int i = normalize_axis(axis0, a->dim(), "transpose"),
            j = normalize_axis(axis1, a->dim(), "transpose");
  Dims axes = a->shape();
  for (int d = 0; d < axes.rank(); ++d) axes[d] = d;
  if (a->dim() > 0) std::swap(axes[i], axes[j]);
  return permuted(a, axes, "transpose");
}

Tensor slice(In a, int64_t axis, int64_t start, int64_t stop, int64_t step) {
  Tensor y = raw::slice(a, axis, start, stop, step);
  if (auto n = record<SliceNode>({a}, y))
    n->window = {a->shape(), normalize_axis(axis, a->dim(), "slice"), start, stop, step};
  return y;
}

Tensor select(In a, int64_t axis, int64_t index) {
  Tensor y = raw::select(a, axis, index);
  if (auto n = record<SliceNode>({a}, y)) {
    const int ax = normalize_axis(axis, a->dim(), "select");
    const int64_t i = index < 0 ? index + a->shape()[ax] : index;
    n->window = {a->shape(), ax, i, i + 1, 1};
    n->label = "select";
  }
  return y;
}

Tensor expand(In a, const Shape& shape) {
  Tensor y = raw::expand(a, shape);
  record<ExpandNode>({a}, y);
  return y;
}

Tensor contiguous(In a) {
  if (raw::is_row_major(a)) return a;
  Tensor y = raw::row_major(a);
  if (auto n = record<IdentityNode>({a}, y)) n->label = "contiguous";
  return y;
}

Tensor clone(In a) {
  Tensor y = raw::clone(a);
  record<IdentityNode>({a}, y);
  return y;
}

Tensor to(In a, DType dtype) {
  if (a->dtype() == dtype) return a;
  Tensor y = raw::to(a, dtype);
  if (!is_floating(dtype)) {
    note("to", {a}, y, {{"dtype", std::string(name(dtype))}});
    return y;
  }
  if (auto n = record<ToNode>({a}, y)) n->from = a->dtype();
  return y;
}

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
  for (size_t i = 0; i < tensors.size(); at += sizes[i++])
    raw::copy(tensors[i], raw::slice(y, ax, at, at + sizes[i], 1));
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
  Tensor y = full(shape, value, a->dtype()), inner = y;
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
