#pragma once
// Elements in another order or several times, and short names for views.
#include <loupe/core/tensor.h>

#include <vector>

namespace loupe {

/// The order of positions reversed along each axis of the list; a copy, as in PyTorch.
Tensor flip(In a, const Dims& axes);
/// y[i + shift] = a[i], what leaves at the end comes back at the start: one shift for each axis.
/// Without axes one shift, over all elements in row-major order.
Tensor roll(In a, const Dims& shifts, const Dims& axes = {});
/// a several times along each dimension, one count for each; more counts than dimensions add
/// dimensions in front. ShapeError for fewer.
Tensor repeat(In a, const Dims& counts);
/// The same, where missing counts in front are 1.
Tensor tile(In a, const Dims& counts);

/// Axes `from` at the positions `to`, the others in their order.
Tensor movedim(In a, const Dims& from, const Dims& to);
/// The positions of an axis, each a view without it.
std::vector<Tensor> unbind(In a, int64_t axis = 0);
/// `length` positions of an axis from `start` on, which counts from the end when negative. Unlike
/// slice, it refuses what lies beyond the end.
Tensor narrow(In a, int64_t axis, int64_t start, int64_t length);
/// The elements a[.., i, .., i + offset, ..] of two axes, as a new last axis.
Tensor diagonal(In a, int64_t offset = 0, int64_t axis0 = 0, int64_t axis1 = 1);

/// How meshgrid orders its dimensions: by the list (matrix, "ij"), or with the first two swapped
/// (plot, "xy").
enum class MeshIndexing { ij, xy };
/// For n vectors, n views of one shape with n dimensions: the coordinates of a grid's points.
/// ShapeError for a tensor with more than one dimension.
std::vector<Tensor> meshgrid(const std::vector<Tensor>& vectors,
                             MeshIndexing indexing = MeshIndexing::ij, Here here = {});

}  // namespace loupe
