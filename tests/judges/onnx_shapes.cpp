// ONNX's ops that make, cut and join tensors.
#include <algorithm>
#include <numeric>

#include "onnx_ops.h"

namespace judges {
namespace {

Tensors reshape_of(const OnnxCall& c) {
  std::vector<int64_t> to = c.numbers(1, "shape");
  const bool zero_is_zero = c.integer("allowzero", 0) != 0;
  for (size_t d = 0; d < to.size(); ++d)
    if (to[d] == 0 && !zero_is_zero) to[d] = c.x[0].size(static_cast<int64_t>(d));
  return {c.x[0].reshape(dims(to))};
}
Tensors flatten_of(const OnnxCall& c) {
  int64_t axis = c.integer("axis", 1);
  if (axis < 0) axis += c.x[0].dim();
  int64_t rows = 1;
  for (int d = 0; d < axis; ++d) rows *= c.x[0].shape()[d];
  return {c.x[0].reshape({rows, -1})};
}
Tensors transpose_of(const OnnxCall& c) {
  std::vector<int64_t> perm = c.list("perm");
  for (int64_t d = c.x[0].dim() - 1; !c.given("perm") && d >= 0; --d) perm.push_back(d);
  return {c.x[0].permute(dims(perm))};
}
Tensors squeeze_of(const OnnxCall& c) {
  std::vector<int64_t> axes = c.numbers(1, "axes");
  if (axes.empty()) return {c.x[0].squeeze()};
  for (int64_t& axis : axes)
    if (axis < 0) axis += c.x[0].dim();
  std::sort(axes.rbegin(), axes.rend());
  Tensor y = c.x[0];
  for (const int64_t axis : axes) y = y.squeeze(axis);
  return {y};
}
Tensors unsqueeze_of(const OnnxCall& c) {
  std::vector<int64_t> axes = c.numbers(1, "axes");
  for (int64_t& axis : axes)
    if (axis < 0) axis += c.x[0].dim() + static_cast<int64_t>(axes.size());
  std::sort(axes.begin(), axes.end());
  Tensor y = c.x[0];
  for (const int64_t axis : axes) y = y.unsqueeze(axis);
  return {y};
}
Tensors expand_of(const OnnxCall& c) {
  const Shape to = dims(c.numbers(1, "shape"));
  return {c.x[0].expand(broadcast_shapes(c.x[0].shape(), to, "expand"))};
}
Tensors concat(const OnnxCall& c) { return {cat(c.x, c.integer("axis", 0))}; }
Tensors split_of(const OnnxCall& c) {
  const int64_t axis = c.integer("axis", 0);
  std::vector<int64_t> sizes = c.numbers(1, "split");
  if (!sizes.empty()) return split(c.x[0], sizes, axis);
  const int64_t parts = c.integer("num_outputs", static_cast<int64_t>(c.outputs));
  return split(c.x[0], (c.x[0].size(axis) + parts - 1) / parts, axis);
}
// With a negative step: from the other end, in reverse.
Tensor sliced(const Tensor& x, int64_t axis, int64_t start, int64_t end, int64_t step) {
  if (step > 0) return x.slice(axis, start, end, step);
  const int64_t size = x.size(axis);
  const auto from_end = [&](int64_t i) {
    const int64_t at = i < 0 ? std::max<int64_t>(i + size, -1) : std::min(i, size - 1);
    return size - 1 - at;
  };
  return flip(x, {axis}).slice(axis, from_end(start), from_end(end), -step);
}
Tensors slice_of(const OnnxCall& c) {
  const auto starts = c.numbers(1, "starts"), ends = c.numbers(2, "ends"),
             steps = c.numbers(4, "steps");
  std::vector<int64_t> axes = c.numbers(3, "axes");
  for (size_t i = 0; i < starts.size() && axes.size() < starts.size(); ++i)
    axes.push_back(static_cast<int64_t>(i));
  Tensor y = c.x[0];
  for (size_t i = 0; i < starts.size(); ++i)
    y = sliced(y, axes[i], starts[i], ends[i], steps.empty() ? 1 : steps[i]);
  return {y};
}
Tensors pad_of(const OnnxCall& c) {
  if (c.word("mode", "constant") != "constant") refuse("pad: mode " + c.word("mode", ""));
  const std::vector<int64_t> pads = c.numbers(1, "pads");
  const int64_t rank = c.x[0].dim();
  std::vector<int64_t> axes = c.numbers(3, "axes");
  if (axes.empty()) {
    axes.resize(static_cast<size_t>(rank));
    std::iota(axes.begin(), axes.end(), 0);
  }
  std::vector<int64_t> amounts(static_cast<size_t>(2 * rank));
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
    const size_t at = static_cast<size_t>(2 * (rank - 1 - axis));
    amounts[at] = pads[i];
    amounts[at + 1] = pads[axes.size() + i];
  }
  if (*std::min_element(amounts.begin(), amounts.end()) < 0) refuse("pad: negative amounts");
  return {pad(c.x[0], amounts, c.has(2) ? c.x[2].item() : c.real("value", 0))};
}
Tensors shape_of(const OnnxCall& c) {
  const Shape& shape = c.x[0].shape();
  const std::vector<int64_t> all(shape.begin(), shape.end());
  const int64_t rank = shape.rank();
  const auto limited = [&](int64_t i) {
    return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank);
  };
  const int64_t start = limited(c.integer("start", 0)), end = limited(c.integer("end", rank));
  return {from_data(all).slice(0, start, std::max(start, end))};
}
Tensors size_of_tensor(const OnnxCall& c) {
  return {scalar(static_cast<double>(c.x[0].numel()), DType::i64)};
}
Tensors constant_of_shape(const OnnxCall& c) {
  const Shape shape = dims(c.x[0].to_vector<int64_t>());
  if (!c.given("value")) return {zeros(shape)};
  const Tensor value = parse_tensor(c.node.attributes.at("value").tensor);
  return {full(shape, value.item(), value.dtype())};
}
Tensors constant(const OnnxCall& c) {
  if (!c.given("value")) refuse("a constant that is no tensor");
  return {parse_tensor(c.node.attributes.at("value").tensor)};
}
Tensors range(const OnnxCall& c) {
  return {arange(c.x[0].item(), c.x[1].item(), c.x[2].item(), c.x[0].dtype())};
}
Tensors eye_like(const OnnxCall& c) {
  const Tensor& x = c.x[0];
  if (x.size(0) != x.size(1) || c.integer("k", 0) != 0) refuse("eye: square, main diagonal only");
  DType dtype = x.dtype();
  if (c.given("dtype")) {
    if (c.integer("dtype", 1) == 11) dtype = DType::f64;
    else if (c.integer("dtype", 1) == 1) dtype = DType::f32;
    else refuse("element type " + type_name(c.integer("dtype", 1)));
  }
  return {eye(x.size(0), dtype)};
}
Tensors tile_of(const OnnxCall& c) { return {tile(c.x[0], dims(c.x[1].to_vector<int64_t>()))}; }

}  // namespace

const Functions& shapes() {
  static const Functions table{
      {"Concat", concat},
      {"Constant", constant},
      {"ConstantOfShape", constant_of_shape},
      {"Expand", expand_of},
      {"EyeLike", eye_like},
      {"Flatten", flatten_of},
      {"Pad", pad_of},
      {"Range", range},
      {"Reshape", reshape_of},
      {"Shape", shape_of},
      {"Size", size_of_tensor},
      {"Slice", slice_of},
      {"Split", split_of},
      {"Squeeze", squeeze_of},
      {"Tile", tile_of},
      {"Transpose", transpose_of},
      {"Unsqueeze", unsqueeze_of},
  };
  return table;
}

}  // namespace judges
