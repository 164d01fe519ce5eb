#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/dropout.h>
#include <loupe/core/kernels/dropout.h>

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
    kernels::dropout(x->numel(), from.ptr<T>(), mask.p, mask.key, mask.first, y.ptr<T>());
  });
  if (auto n = record<DropoutNode>({x}, y)) n->mask = mask;
  return y;
}

}  // namespace

Tensor dropout(In x, Rng& rng, double p) {
  if (!(p >= 0 && p <= 1)) fail<ValueError>("dropout: p must lie in [0, 1], got {}", p);
  if (p == 0) return x;
  const Rng::State state = rng.state();
  const Strides strides = raw::is_dense(x) ? x->strides() : row_major_strides(x->shape());
  return masked(x, {p, state.key, rng.reserve(x->numel()), strides});
}

}  // namespace loupe
