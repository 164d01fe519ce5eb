// Views, and what gives the elements of one tensor again: clone, contiguous, to.
#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/views.h>

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
    n->axes = axes;
    n->inverse = axes;
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
  const int i = normalize_axis(axis0, a->dim(), "transpose");
  const int j = normalize_axis(axis1, a->dim(), "transpose");
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

}  // namespace loupe
