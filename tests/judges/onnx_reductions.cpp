// ONNX's reductions, running sums, orders and indices.
#include <optional>

#include "onnx_ops.h"

namespace judges {
namespace {

template <Tensor (*f)(In, const Dims&, bool)> Tensors reduced(const OnnxCall& c) {
  const std::vector<int64_t> axes = c.numbers(1, "axes");
  if (axes.empty() && c.integer("noop_with_empty_axes", 0) != 0) refuse("a reduction over no axes");
  return {f(c.x[0], dims(axes), c.integer("keepdims", 1) != 0)};
}
Tensor sum_square(In x, const Dims& axes, bool keep) { return sum(square(x), axes, keep); }
Tensor sum_abs(In x, const Dims& axes, bool keep) { return sum(abs(x), axes, keep); }
Tensor log_sum(In x, const Dims& axes, bool keep) { return log(sum(x, axes, keep)); }
Tensor root_sum_square(In x, const Dims& axes, bool keep) {
  return sqrt(sum(square(x), axes, keep));
}
Tensor biggest(In x, const Dims& axes, bool keep) {
  if (x->numel() == 0) refuse("max and min of no elements (a ValueError)");
  return max(x, axes, keep);
}
Tensor smallest(In x, const Dims& axes, bool keep) {
  if (x->numel() == 0) refuse("max and min of no elements (a ValueError)");
  return min(x, axes, keep);
}
Tensor absolute_sum(In x, const Dims& axes, bool keep) {
  return is_floating(x->dtype()) ? norm(x, 1, axes, keep) : sum_abs(x, axes, keep);
}
Tensor length(In x, const Dims& axes, bool keep) {
  return is_floating(x->dtype()) ? norm(x, 2, axes, keep) : root_sum_square(x, axes, keep);
}
using Place = Tensor (*)(In, std::optional<int64_t>, bool);
template <Place f> Tensors place(const OnnxCall& c) {
  if (c.integer("select_last_index", 0) != 0) refuse("argmax and argmin: the last of equals");
  return {f(c.x[0], c.integer("axis", 0), c.integer("keepdims", 1) != 0)};
}
Tensors top_k(const OnnxCall& c) {
  const bool largest = c.integer("largest", 1) != 0;
  c.integer("sorted", 1);  // ours always are
  const TopK t = topk(c.x[0], c.x[1].item<int64_t>(), c.integer("axis", -1), largest);
  return {t.values, t.indices};
}
// cumsum and cumprod, whose start is 0 or 1. Reverse: from the last on. Exclusive: without the
// element itself.
using Scan = Tensor (*)(In, int64_t);
template <Scan f> Tensors scan(const OnnxCall& c) {
  const bool reverse = c.integer("reverse", 0) != 0;
  const int64_t axis = normalize_axis(c.x[1].item<int64_t>(), c.x[0].dim(), "scan");
  Tensor x = reverse ? flip(c.x[0], {axis}) : c.x[0];
  if (c.integer("exclusive", 0) != 0) {
    std::vector<int64_t> before(static_cast<size_t>(2 * (x.dim() - axis)));
    before[before.size() - 2] = 1;
    x = pad(x, before, f == Scan(cumprod) ? 1 : 0).slice(axis, 0, x.size(axis));
  }
  const Tensor y = f(x, axis);
  return {reverse ? flip(y, {axis}) : y};
}

// --- Indices ---

// Loupe counts indices from the front only.
Tensor from_front(const Tensor& index, int64_t size) {
  const Tensor i = index.to(DType::i64);
  return where(lt(i, 0.0), i + static_cast<double>(size), i);
}
Tensors gather_rows(const OnnxCall& c) {
  const int64_t axis = c.integer("axis", 0);
  const Tensor& x = c.x[0];
  const Tensor index = from_front(c.x[1], x.size(axis));
  const int at = normalize_axis(axis, x.dim(), "gather");
  Shape shape;
  for (int d = 0; d < x.dim(); ++d) {
    if (d != at) shape.push_back(x.shape()[d]);
    for (int e = 0; d == at && e < index.dim(); ++e) shape.push_back(index.shape()[e]);
  }
  return {index_select(x, axis, index.reshape({-1})).reshape(shape)};
}
Tensors gather_elements(const OnnxCall& c) {
  const int64_t axis = c.integer("axis", 0);
  return {gather(c.x[0], axis, from_front(c.x[1], c.x[0].size(axis)))};
}
Tensors scatter_elements(const OnnxCall& c) {
  const std::string reduction = c.word("reduction", "none");
  const int64_t axis = c.integer("axis", 0);
  const Tensor index = from_front(c.x[1], c.x[0].size(axis));
  if (reduction == "none") return {scatter(c.x[0], axis, index, c.x[2])};
  if (reduction == "add") return {scatter_add(c.x[0], axis, index, c.x[2])};
  refuse("scatter: only in place of, or as a sum");
}
Tensors one_hot_of(const OnnxCall& c) {
  const int64_t depth = c.x[1].item<int64_t>();
  const Tensor index = from_front(c.x[0], depth);
  if (any(lt(index, 0.0) | ge(index, static_cast<double>(depth))).item<bool>())
    refuse("one_hot of a label that is no class");
  const Tensor hot = one_hot(index, depth, c.x[2].dtype());
  const Tensor y = c.x[2][0] + hot * (c.x[2][1] - c.x[2][0]);
  return {movedim(y, {-1}, {c.integer("axis", -1)})};
}
Tensors non_zero(const OnnxCall& c) { return {nonzero(c.x[0]).t()}; }
// Where the condition holds, along an axis or over all elements.
Tensors compress(const OnnxCall& c) {
  const Tensor all = c.given("axis") ? c.x[0] : c.x[0].reshape({-1});
  const int64_t axis = normalize_axis(c.integer("axis", 0), all.dim(), "compress");
  const Tensor x = all.slice(axis, 0, c.x[1].numel());  // a short mask says nothing of the rest
  std::vector<Index> at(static_cast<size_t>(axis), Index(Slice()));
  at.push_back(c.x[1]);
  return {x.index(at)};
}
// The last axis of the indices holds positions of the first axes.
Tensors gather_nd(const OnnxCall& c) {
  if (c.integer("batch_dims", 0) != 0) refuse("gather_nd with an index for each sample");
  std::vector<Index> at;
  for (const Tensor& column : unbind(c.x[1], -1)) at.push_back(column);
  return {c.x[0].index(at)};
}

}  // namespace

const Functions& reductions() {
  static const Functions table{
      {"ArgMax", place<argmax>},
      {"ArgMin", place<argmin>},
      {"Compress", compress},
      {"CumProd", scan<cumprod>},
      {"CumSum", scan<cumsum>},
      {"Gather", gather_rows},
      {"GatherElements", gather_elements},
      {"GatherND", gather_nd},
      {"NonZero", non_zero},
      {"OneHot", one_hot_of},
      {"ReduceL1", reduced<absolute_sum>},
      {"ReduceL2", reduced<length>},
      {"ReduceLogSum", reduced<log_sum>},
      {"ReduceLogSumExp", reduced<logsumexp>},
      {"ReduceMax", reduced<biggest>},
      {"ReduceMean", reduced<mean>},
      {"ReduceMin", reduced<smallest>},
      {"ReduceProd", reduced<prod>},
      {"ReduceSum", reduced<sum>},
      {"ReduceSumSquare", reduced<sum_square>},
      {"Scatter", scatter_elements},
      {"ScatterElements", scatter_elements},
      {"TopK", top_k},
  };
  return table;
}

}  // namespace judges
