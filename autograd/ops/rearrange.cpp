#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/rearrange.h>
#include <loupe/autograd/ops/views.h>

#include <algorithm>

namespace loupe {
namespace {

struct FlipNode final : Node {
  Dims axes;
  const char* name() const override { return "flip"; }
  Attributes attributes() const override { return {{"axes", axes}}; }
  Tensors replay(const Tensors& x) const override { return {flip(x[0], axes)}; }
  Tensors backward(const Tensors& dy) override { return {flip(dy[0], axes)}; }
};

Tensor rolled(In a, int64_t shift, int axis);

struct RollNode final : Node {
  int64_t shift = 0;
  int axis = 0;
  const char* name() const override { return "roll"; }
  Attributes attributes() const override { return {{"shift", shift}, {"axis", axis}}; }
  Tensors replay(const Tensors& x) const override { return {rolled(x[0], shift, axis)}; }
  Tensors backward(const Tensors& dy) override { return {rolled(dy[0], -shift, axis)}; }
};

Tensor rolled(In a, int64_t shift, int axis) {
  Tensor y = raw::empty(a->shape(), a->dtype());
  const int64_t n = a->dim() == 0 ? 1 : a->size(axis);
  if (a->dim() == 0) {
    raw::copy(a, y);
  } else if (n > 0) {
    shift %= n;
    const int64_t first = (shift + n) % n;  // where element 0 goes
    raw::copy(raw::slice(a, axis, 0, n - first, 1), raw::slice(y, axis, first, n, 1));
    raw::copy(raw::slice(a, axis, n - first, n, 1), raw::slice(y, axis, 0, first, 1));
  }
  if (auto node = record<RollNode>({a}, y)) {
    node->shift = shift;
    node->axis = axis;
  }
  return y;
}

// The sizes of `shape` before and from `axis` on, multiplied.
int64_t sizes(const Shape& shape, int first, int last) {
  int64_t n = 1;
  for (int d = first; d < last; ++d) n *= shape[d];
  return n;
}

// a `count` times along an axis: (outer, n) -> (outer, count, n).
Tensor repeated(const Tensor& a, int axis, int64_t count) {
  Shape shape = a.shape();
  const int64_t outer = sizes(shape, 0, axis), n = sizes(shape, axis, shape.rank());
  if (__builtin_mul_overflow(shape[axis], count, &shape[axis]))
    fail<ValueError>("repeat: count {} is too large", count);
  return a.reshape({outer, 1, n}).expand({outer, count, n}).reshape(shape);
}

}  // namespace

Tensor flip(In a, const Dims& wanted) {
  const Dims axes = wanted.empty() ? Dims{} : raw::normalize_axes(wanted, a->dim(), "flip");
  Strides strides = a->strides();
  int64_t last = 0;  // where the first element of the result is
  if (a->numel() > 0)
    for (const int64_t axis : axes) {
      const int d = static_cast<int>(axis);
      last += (a->shape()[d] - 1) * strides[d];
      strides[d] = -strides[d];
    }
  Tensor y = raw::empty(a->shape(), a->dtype());
  raw::copy(raw::view(a, a->shape(), strides, last), y);
  if (auto n = record<FlipNode>({a}, y)) n->axes = axes;
  return y;
}

Tensor roll(In a, const Dims& shifts, const Dims& axes) {
  SiteScope site(a.here);
  if (axes.empty()) {
    if (shifts.rank() != 1)
      fail<ShapeError>("roll: {} shifts without axes; give one, or as many axes", shifts.rank());
    return rolled(a->reshape({a->numel()}), shifts[0], 0).reshape(a->shape());
  }
  if (shifts.rank() != axes.rank())
    fail<ShapeError>("roll: {} shifts for {} axes", shifts.rank(), axes.rank());
  Tensor y = a;
  for (int i = 0; i < axes.rank(); ++i)
    y = rolled(y, shifts[i], normalize_axis(axes[i], a->dim(), "roll"));
  return y;
}

Tensor repeat(In a, const Dims& counts) {
  if (counts.rank() < a->dim())
    fail<ShapeError>("repeat: {} counts for shape {}; give one for each dimension", counts.rank(),
                     a->shape());
  for (const int64_t count : counts)
    if (count < 0) fail<ValueError>("repeat: count {} is negative", count);
  SiteScope site(a.here);
  Shape shape = a->shape();
  while (shape.rank() < counts.rank()) shape.insert(0, 1);
  Tensor y = a->reshape(shape);
  for (int d = counts.rank() - 1; d >= 0; --d)
    if (counts[d] != 1) y = repeated(y, d, counts[d]);
  return y.storage() == a->storage() ? y.clone() : y;
}

Tensor tile(In a, const Dims& counts) {
  Dims all = counts;
  while (all.rank() < a->dim()) all.insert(0, 1);
  for (const int64_t count : counts)
    if (count < 0) fail<ValueError>("tile: count {} is negative", count);
  return repeat(a, all);
}

Tensor movedim(In a, const Dims& from, const Dims& to) {
  if (from.rank() != to.rank())
    fail<ShapeError>("movedim: {} axes to {} positions", from.rank(), to.rank());
  if (from.empty()) return a;
  raw::normalize_axes(from, a->dim(), "movedim");
  raw::normalize_axes(to, a->dim(), "movedim");
  SiteScope site(a.here);
  if (a->dim() == 0) return a;
  Dims order = a->shape();
  bool placed[kMaxRank] = {}, moved[kMaxRank] = {};
  for (int i = 0; i < from.rank(); ++i) {
    const int source = normalize_axis(from[i], a->dim(), "movedim");
    const int target = normalize_axis(to[i], a->dim(), "movedim");
    order[target] = source;
    placed[target] = moved[source] = true;
  }
  for (int target = 0, source = 0; target < a->dim(); ++target) {
    if (placed[target]) continue;
    while (moved[source]) ++source;
    order[target] = source++;
  }
  return permute(a, order);
}

std::vector<Tensor> unbind(In a, int64_t axis) {
  const int ax = normalize_axis(axis, a->dim(), "unbind");
  if (a->dim() == 0) fail<ShapeError>("unbind: a tensor without dimensions has no positions");
  SiteScope site(a.here);
  if (a->size(ax) == 0) return {};
  std::vector<Tensor> parts = split(a, 1, ax);
  for (Tensor& part : parts) part = squeeze(part, ax);
  return parts;
}

Tensor narrow(In a, int64_t axis, int64_t start, int64_t length) {
  const int ax = normalize_axis(axis, a->dim(), "narrow");
  if (a->dim() == 0) fail<ShapeError>("narrow: a tensor without dimensions has no positions");
  const int64_t n = a->size(ax);
  const int64_t first = start < 0 ? start + n : start;
  if (first < 0 || first > n)
    fail<IndexError>("narrow: start {} is outside [{}, {}] of axis {}", start, -n, n, axis);
  if (length < 0 || length > n - first)
    fail<ValueError>("narrow: {} positions from {} on, axis {} of shape {} has {}", length, start,
                     axis, a->shape(), n);
  return slice(a, ax, first, first + length);
}

Tensor diagonal(In a, int64_t offset, int64_t axis0, int64_t axis1) {
  const int i = normalize_axis(axis0, a->dim(), "diagonal");
  const int j = normalize_axis(axis1, a->dim(), "diagonal");
  if (i == j) fail<ValueError>("diagonal: the two axes are one, {}", axis0);
  SiteScope site(a.here);
  // The two axes stand last and are cut to the square that holds the diagonal; its elements are
  // `side + 1` apart in its row-major order.
  const Tensor last = movedim(a, {i, j}, {-2, -1});
  const int64_t rows = last.size(-2), columns = last.size(-1);
  const int64_t down = std::clamp<int64_t>(-offset, 0, rows);
  const int64_t right = std::clamp<int64_t>(offset, 0, columns);
  const int64_t side = std::min(rows - down, columns - right);
  const Tensor square = last.slice(-2, down, down + side).slice(-1, right, right + side);
  return square.flatten(-2, -1).slice(-1, 0, INT64_MAX, side + 1);
}

std::vector<Tensor> meshgrid(const std::vector<Tensor>& vectors, MeshIndexing indexing, Here here) {
  if (vectors.empty()) fail<ValueError>("meshgrid: the list of tensors is empty");
  SiteScope site(here);
  const int rank = static_cast<int>(vectors.size());
  const bool swapped = indexing == MeshIndexing::xy && rank >= 2;
  const auto axis_of = [&](int i) { return swapped && i < 2 ? 1 - i : i; };
  Shape shape(std::vector<int64_t>(vectors.size(), 1));
  for (int i = 0; i < rank; ++i) {
    const Tensor& v = vectors[static_cast<size_t>(i)];
    if (v.dim() > 1) fail<ShapeError>("meshgrid: tensor {} is no vector, shape {}", i, v.shape());
    shape[axis_of(i)] = v.numel();
  }
  std::vector<Tensor> grids;
  for (int i = 0; i < rank; ++i) {
    const Tensor& v = vectors[static_cast<size_t>(i)];
    Shape line(std::vector<int64_t>(vectors.size(), 1));
    line[axis_of(i)] = v.numel();
    grids.push_back(v.reshape(line).expand(shape));
  }
  return grids;
}

}  // namespace loupe
