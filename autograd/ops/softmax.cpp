#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/softmax.h>
#include <loupe/core/kernels/rowwise/axis.h>
#include <loupe/core/kernels/rowwise/softmax.h>

namespace loupe {
namespace {

struct SoftmaxNode final : Node {
  SavedTensor y{this, "y"};
  bool log = false;
  int axis = 0;
  const char* name() const override { return log ? "log_softmax" : "softmax"; }
  Attributes attributes() const override { return {{"axis", axis}}; }
  Tensors replay(const Tensors& x) const override {
    return {log ? log_softmax(x[0], axis) : softmax(x[0], axis)};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor out = y.get();
    const Dims axes = out.dim() ? Dims{axis} : Dims{};
    if (grad_enabled()) {
      if (log) return {dy[0] - exp(out) * dy[0].sum(axes, true)};
      return {out * (dy[0] - (dy[0] * out).sum(axes, true))};
    }
    const Tensor g = raw::row_major(dy[0]), dx = raw::empty(out.shape(), out.dtype());
    const kernels::Lines lines = kernels::lines_along(out.shape(), axis);
    dispatch_floating(out.dtype(), name(), [&]<class T>(Type<T>) {
      kernels::softmax_backward(log, lines, out.ptr<T>(), g.ptr<T>(), dx.ptr<T>());
    });
    return {dx};
  }
};

Tensor softmax_of(In x, int64_t axis, bool log) {
  const char* op = log ? "log_softmax" : "softmax";
  const int ax = normalize_axis(axis, x->dim(), op);
  const Tensor from = raw::row_major(x);
  Tensor y = raw::empty(x->shape(), x->dtype());
  const kernels::Lines lines = kernels::lines_along(x->shape(), ax);
  dispatch_floating(x->dtype(), op, [&]<class T>(Type<T>) {
    kernels::softmax(log, lines, from.ptr<T>(), y.ptr<T>());
  });
  if (auto n = record<SoftmaxNode>({x}, y)) {
    n->y.output(y);
    n->log = log;
    n->axis = ax;
  }
  return y;
}

}  // namespace

Tensor softmax(In x, int64_t axis) { return softmax_of(x, axis, false); }
Tensor log_softmax(In x, int64_t axis) { return softmax_of(x, axis, true); }

}  // namespace loupe
