#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/dropout.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/core/kernels/elementwise/dropout.h>

namespace loupe {
namespace {

// A mask: where it starts in which stream, and the memory order it was drawn in.
struct Mask {
  double p = 0;
  uint64_t key = 0, first = 0;
  Strides strides;
};

Tensor masked(In x, const Mask& mask);

struct DropoutNode final : Node {
  Mask mask;
  const char* name() const override { return "dropout"; }
  Tensors replay(const Tensors& x) const override { return {masked(x[0], mask)}; }
  Tensors backward(const Tensors& dy) override { return {masked(dy[0], mask)}; }
};

Tensor masked(In x, const Mask& mask) {
  Tensor from = x, y = raw::view(raw::empty({x->numel()}, x->dtype()), x->shape(), mask.strides, 0);
  if (from.strides() != mask.strides) {
    from = raw::empty_like(y);
    raw::copy(x, from);
  }
  dispatch_floating(x->dtype(), "dropout", [&]<class T>(Type<T>) {
    kernels::dropout(x->numel(), {mask.p, mask.key, mask.first}, from.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<DropoutNode>({x}, y)) n->mask = mask;
  return y;
}

void check_p(double p, const char* op) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>("{}: p must lie in [0, 1], got {}", op, p);
}

// One factor for each slice of the first `kept` dimensions: 0 or 1 / (1 - p).
Tensor drop_slices(In x, Rng& rng, double p, int kept, const char* op) {
  check_p(p, op);
  if (!is_floating(x->dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", op, x->dtype());
  if (p == 0) return x;
  Shape slices = x->shape();
  for (int i = kept; i < slices.rank(); ++i) slices[i] = 1;
  SiteScope site(x.here);
  return x * dropout(ones(slices, x->dtype()), rng, p);
}

}  // namespace

Tensor dropout(In x, Rng& rng, double p) {
  check_p(p, "dropout");
  if (p == 0) return x;
  const Rng::State state = rng.state();
  const Strides strides = raw::is_dense(x) ? x->strides() : row_major_strides(x->shape());
  return masked(x, {p, state.key, rng.reserve(x->numel()), strides});
}

Tensor dropout1d(In x, Rng& rng, double p) {
  if (x->dim() != 2 && x->dim() != 3)
    fail<ShapeError>("dropout1d: needs (N, C, L) or (C, L), got shape {}", x->shape());
  return drop_slices(x, rng, p, x->dim() - 1, "dropout1d");
}

Tensor dropout2d(In x, Rng& rng, double p) {
  if (x->dim() != 3 && x->dim() != 4)
    fail<ShapeError>("dropout2d: needs (N, C, H, W) or (N, C, L), got shape {}", x->shape());
  return drop_slices(x, rng, p, 2, "dropout2d");
}

}  // namespace loupe
