#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/index.h>
#include <loupe/autograd/ops/sort.h>
#include <loupe/core/kernels/rowwise/sort.h>

namespace loupe {
namespace {

// The positions of the first k elements in order along an axis.
Tensor ordered_positions(const Tensor& a, int axis, int64_t k, bool descending) {
  const Tensor lines = a.dim() == 0 ? raw::view(a, {1}, {1}, 0) : a;
  const Tensor rows = raw::row_major(raw::transpose(lines, axis, -1));
  const int64_t n = rows.size(-1);
  Shape shape = rows.shape();
  shape[shape.rank() - 1] = k;
  const Tensor index = raw::empty(shape, DType::i64);
  dispatch(a.dtype(), [&]<class T>(Type<T>) {
    const kernels::SortShape s{n == 0 ? 0 : rows.numel() / n, n, k, descending};
    kernels::sort_rows(s, rows.ptr<T>(), index.ptr<int64_t>());
  });
  if (a.dim() == 0) return raw::reshape(index, {});
  return raw::row_major(raw::transpose(index, axis, -1));
}

}  // namespace

Sorted sort(In a, int64_t axis, bool descending) {
  const int ax = normalize_axis(axis, a->dim(), "sort");
  SiteScope site(a.here);
  Tensor index = ordered_positions(a, ax, a->dim() == 0 ? 1 : a->size(ax), descending);
  note("argsort", {a}, index, {{"axis", ax}, {"descending", descending}});
  return {gather(a, ax, index), index};
}

Tensor argsort(In a, int64_t axis, bool descending) {
  const int ax = normalize_axis(axis, a->dim(), "argsort");
  Tensor index = ordered_positions(a, ax, a->dim() == 0 ? 1 : a->size(ax), descending);
  note("argsort", {a}, index, {{"axis", ax}, {"descending", descending}});
  return index;
}

TopK topk(In a, int64_t k, int64_t axis, bool largest) {
  const int ax = normalize_axis(axis, a->dim(), "topk");
  const int64_t n = a->dim() == 0 ? 1 : a->size(ax);
  if (k < 0 || k > n) fail<ValueError>("topk: k = {} of {} elements along axis {}", k, n, axis);
  if (a->dim() == 0 && k == 0)
    fail<ShapeError>("topk: k = 0 of a tensor without dimensions, which has no axis to shorten");
  SiteScope site(a.here);
  Tensor index = ordered_positions(a, ax, k, largest);
  note("topk", {a}, index, {{"k", k}, {"axis", ax}, {"largest", largest}});
  return {gather(a, ax, index), index};
}

}  // namespace loupe
