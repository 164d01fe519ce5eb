#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/reduce.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <numeric>

namespace loupe {
namespace {

// dy with the reduced dimensions put back as size 1.
Tensor with_axes(const Tensor& dy, const Shape& input, const Dims& axes) {
  return dy.reshape(raw::reduced_shape(input, axes, true));
}

struct SumNode final : Node {
  Shape shape;
  Dims axes;
  bool keepdim = false;
  const char* name() const override { return "sum"; }
  Attributes attributes() const override { return {{"axes", axes}, {"keepdim", keepdim}}; }
  Tensors replay(const Tensors& x) const override { return {sum(x[0], axes, keepdim)}; }
  Tensors backward(const Tensors& dy) override {
    return {with_axes(dy[0], shape, axes).expand(shape)};
  }
};

struct ExtremeNode final : Node {
  SavedTensor a{this}, y{this};
  Dims axes;
  bool keepdim = false, largest = true;
  const char* name() const override { return largest ? "max" : "min"; }
  Attributes attributes() const override { return {{"axes", axes}, {"keepdim", keepdim}}; }
  Tensors replay(const Tensors& x) const override {
    return {largest ? max(x[0], axes, keepdim) : min(x[0], axes, keepdim)};
  }
  Tensors backward(const Tensors& dy) override {
    const Tensor x = a.get().detach();
    const Tensor hit = eq(x, with_axes(y.get().detach(), x.shape(), axes)).to(dy[0].dtype());
    return {with_axes(dy[0], x.shape(), axes) * (hit / hit.sum(axes, true))};
  }
};

Tensor extreme(In a, const Dims& wanted, bool keepdim, bool largest) {
  const Dims axes = raw::normalize_axes(wanted, a->dim(), largest ? "max" : "min");
  Tensor y = raw::extremum(a, axes, keepdim, largest);
  if (auto n = record<ExtremeNode>({a}, y)) {
    n->a.input(a);
    n->y.output(y);
    n->axes = axes;
    n->keepdim = keepdim;
    n->largest = largest;
  }
  return y;
}

int64_t count(const Tensor& a, const Dims& axes) {
  int64_t n = 1;
  for (int64_t axis : axes) n *= a.shape()[static_cast<int>(axis)];
  return n;
}

// The axes of a mean, which only f32 and f64 have.
Dims averaged_axes(const Tensor& a, const Dims& axes, const char* op) {
  if (!is_floating(a.dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", op, a.dtype());
  return raw::normalize_axes(axes, a.dim(), op);
}

}  // namespace

Tensor sum(In a, const Dims& wanted, bool keepdim) {
  const Dims axes = raw::normalize_axes(wanted, a->dim(), "sum");
  Tensor y = a->dim() == 0 ? raw::clone(a) : raw::sum(a, axes, keepdim);
  if (auto n = record<SumNode>({a}, y)) {
    n->shape = a->shape();
    n->axes = axes;
    n->keepdim = keepdim;
  }
  return y;
}

Tensor mean(In a, const Dims& wanted, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "mean");
  SiteScope site(a.here);
  return sum(a, axes, keepdim) / static_cast<double>(count(a, axes));
}

Tensor var(In a, const Dims& wanted, int64_t correction, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "var");
  SiteScope site(a.here);
  const Tensor d = a.t - mean(a, axes, true);
  const double n = static_cast<double>(count(a, axes) - correction);
  return sum(d * d, axes, keepdim) / (n > 0 ? n : 0.0);
}

Tensor std(In a, const Dims& wanted, int64_t correction, bool keepdim) {
  const Dims axes = averaged_axes(a, wanted, "std");
  SiteScope site(a.here);
  return sqrt(var(a, axes, correction, keepdim));
}

Tensor max(In a, const Dims& axes, bool keepdim) { return extreme(a, axes, keepdim, true); }
Tensor min(In a, const Dims& axes, bool keepdim) { return extreme(a, axes, keepdim, false); }
Tensor argmax(In a, int64_t axis, bool keepdim) {
  Tensor y = raw::argmax(a, axis, keepdim);
  note("argmax", {a}, y, {{"axis", axis}, {"keepdim", keepdim}});
  return y;
}

TopK topk(In a, int64_t k, int64_t axis) {
  const int ax = normalize_axis(axis, a->dim(), "topk");
  if (a->dim() == 0) fail<ShapeError>("topk: a tensor without dimensions has no axis");
  const int64_t n = a->shape()[ax];
  if (k < 0 || k > n) fail<ValueError>("topk: k = {} of {} elements along axis {}", k, n, axis);
  const Tensor rows = raw::row_major(raw::transpose(a, ax, -1));
  Shape shape = rows.shape();
  shape[shape.rank() - 1] = k;
  const Tensor indices = raw::empty(shape, DType::i64);
  dispatch(a->dtype(), [&]<class T>(Type<T>) {
    const T* x = rows.ptr<T>();
    int64_t* out = indices.ptr<int64_t>();
    parallel_ranges(
        k == 0 ? 0 : indices.numel() / k, std::max<int64_t>(1, 8192 / std::max<int64_t>(n, 1)),
        [=](int64_t begin, int64_t end) {
          std::vector<int64_t> order(static_cast<size_t>(n));
          for (int64_t r = begin; r < end; ++r) {
            const T* row = x + r * n;
            std::iota(order.begin(), order.end(), 0);
            std::partial_sort(order.begin(), order.begin() + k, order.end(),
                              [row](int64_t i, int64_t j) {
                                const bool ni = row[i] != row[i],
                                           nj = row[j] != row[j];  // NaN counts as the largest
                                if (ni != nj) return ni;
                                return row[i] == row[j] || ni ? i < j : row[i] > row[j];
                              });
            std::copy_n(order.begin(), k, out + r * k);
          }
        });
  });
  const Tensor where_from = raw::row_major(raw::transpose(indices, ax, -1));
  return {gather(a, ax, where_from), where_from};
}

}  // namespace loupe
