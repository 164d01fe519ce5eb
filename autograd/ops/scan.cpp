#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/rearrange.h>
#include <loupe/autograd/ops/scan.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/rowwise/axis.h>
#include <loupe/core/kernels/rowwise/scan.h>

namespace loupe {
namespace {

using kernels::Lines;

struct CumsumNode final : Node {
  int axis = 0;
  const char* name() const override { return "cumsum"; }
  Attributes attributes() const override { return {{"axis", axis}}; }
  Tensors replay(const Tensors& x) const override { return {cumsum(x[0], axis)}; }
  // dx[k] = dy[k] + dy[k + 1] + ...
  Tensors backward(const Tensors& dy) override {
    return {flip(cumsum(flip(dy[0], {axis}), axis), {axis})};
  }
};

// a[k + distance] at k; `beyond` where that is past the end.
Tensor ahead(const Tensor& a, int axis, int64_t distance, double beyond) {
  const Tensor last = a.transpose(axis, -1);
  return pad(slice(last, -1, distance), {0, distance}, beyond).transpose(axis, -1);
}
// a[k - 1] at k, 1 at 0.
Tensor behind(const Tensor& a, int axis) {
  const Tensor last = a.transpose(axis, -1);
  return pad(slice(last, -1, 0, -1), {1, 0}, 1).transpose(axis, -1);
}

struct CumprodNode final : Node {
  SavedTensor a{this, "a"};
  int axis = 0;
  const char* name() const override { return "cumprod"; }
  Attributes attributes() const override { return {{"axis", axis}}; }
  Tensors replay(const Tensors& x) const override { return {cumprod(x[0], axis)}; }
  // dx[k] = (x[0] ... x[k - 1]) s[k],   s[k] = dy[k] + x[k + 1] s[k + 1]
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get();
    if (x.dim() == 0 || x.numel() == 0) return {dy[0]};
    if (grad_enabled()) return {recorded(x, dy[0])};
    const Tensor rows = raw::row_major(x), g = raw::row_major(dy[0]);
    const Tensor dx = raw::empty(x.shape(), x.dtype());
    const Lines lines = kernels::lines_along(x.shape(), axis);
    dispatch_floating(x.dtype(), name(), [&]<class T>(Type<T>) {
      kernels::cumprod_backward(lines, rows.ptr<T>(), g.ptr<T>(), dx.ptr<T>());
    });
    return {dx};
  }

 private:
  // The same in recorded ops. Steps of doubled length solve the recurrence:
  //   s[k] = s[k] + f[k] s[k + d],   f[k] = f[k] f[k + d],   d = 1, 2, 4, ...
  Tensor recorded(const Tensor& x, const Tensor& dy) const {
    const int64_t n = x.size(axis);
    Tensor s = dy, factor = ahead(x, axis, 1, 0);
    for (int64_t d = 1; d < n; d *= 2) {
      s = s + factor * ahead(s, axis, d, 0);
      factor = factor * ahead(factor, axis, d, 0);
    }
    return behind(cumprod(x, axis), axis) * s;
  }
};

template <class F> Tensor scan(In a, int axis, const F& kernel) {
  const Tensor x = raw::row_major(a);
  const Tensor y = raw::empty(a->shape(), is_floating(a->dtype()) ? a->dtype() : DType::i64);
  const Lines l = kernels::lines_along(a->shape(), axis);
  dispatch(a->dtype(),
           [&]<class T>(Type<T>) { kernel(l, x.ptr<T>(), y.ptr<kernels::ScanResult<T>>()); });
  return y;
}

}  // namespace

Tensor cumsum(In a, int64_t axis) {
  const int ax = normalize_axis(axis, a->dim(), "cumsum");
  Tensor y = scan(a, ax, []<class T>(const Lines& l, const T* x, kernels::ScanResult<T>* to) {
    kernels::cumsum(l, x, to);
  });
  if (auto n = record<CumsumNode>({a}, y)) n->axis = ax;
  return y;
}

Tensor cumprod(In a, int64_t axis) {
  const int ax = normalize_axis(axis, a->dim(), "cumprod");
  Tensor y = scan(a, ax, []<class T>(const Lines& l, const T* x, kernels::ScanResult<T>* to) {
    kernels::cumprod(l, x, to);
  });
  if (auto n = record<CumprodNode>({a}, y)) {
    n->a.input(a);
    n->axis = ax;
  }
  return y;
}

}  // namespace loupe
