#pragma once
// Tensor operations that are not recorded: what ops, kernels' callers, optimizers and io use. The
// namespace keeps them from being found by accident: the recorded op of the same name is in
// autograd/ops.
#include <loupe/core/tensor.h>

namespace loupe::raw {

// --- Memory (empty, empty_like and zeros stand in tensor.h) ---
/// empty_like with another element type.
Tensor empty_like(const Tensor& t, DType dtype);
/// (N, C, spatial...) whose memory runs N, spatial, C.
Tensor empty_channels_last(const Shape& shape, DType dtype);

bool is_row_major(const Tensor& t);
/// True if memory runs N, spatial..., C without gaps (rank 3 and up; row-major otherwise).
bool is_channels_last(const Tensor& t);
/// Strides are a permutation of row-major: every element once, no gaps.
bool is_dense(const Tensor& t);

/// t itself if it has that layout, else a copy that has.
Tensor row_major(const Tensor& t);
Tensor channels_last(const Tensor& t);
/// t itself if its last dimension has stride 1 and the others are in row-major order without gaps,
/// else a copy.
inline Tensor rows(const Tensor& t) { return row_major(t); }

// --- Copies and fills; no version is bumped ---
/// dst[...] = src[...], broadcast and converted; ValueError where an integer type cannot hold a
/// value (NaN, 300 in u8).
void copy(const Tensor& src, const Tensor& dst, const char* op = "copy");
void fill(const Tensor& t, double value);
Tensor clone(const Tensor& t);
Tensor to(const Tensor& t, DType dtype);

// --- Views: metadata only ---
Tensor view(const Tensor& t, const Shape& shape, const Strides& strides, int64_t offset);
/// The strides under which t can be seen as `shape` without a copy; nothing if it cannot.
std::optional<Strides> view_strides(const Tensor& t, const Shape& shape);
/// Replaces one -1; ShapeError if the element counts differ.
Shape resolve_shape(const Tensor& t, const Shape& shape, const char* op);
Tensor reshape(const Tensor& t, const Shape& shape);
Tensor transpose(const Tensor& t, int64_t axis0, int64_t axis1);
Tensor permute(const Tensor& t, const Dims& axes);
Tensor slice(const Tensor& t, int64_t axis, int64_t start, int64_t stop, int64_t step);
Tensor select(const Tensor& t, int64_t axis, int64_t index);
Tensor expand(const Tensor& t, const Shape& shape);
Tensor squeeze(const Tensor& t, std::optional<int64_t> axis);
Tensor unsqueeze(const Tensor& t, int64_t axis);

// --- Elementwise. Shapes broadcast; the result takes the strides of the first dense full-shape
// operand. ---
enum class Unary : uint8_t {
  neg,
  sqrt,
  rsqrt,
  exp,
  log,
  abs,
  relu,
  sigmoid,
  tanh,
  square,
  reciprocal,
  sign,
  logical_not
};
Tensor unary(Unary op, const Tensor& a);
enum class Binary : uint8_t { add, sub, mul, div, maximum, minimum, pow };
/// DtypeError if the dtypes differ.
Tensor binary(Binary op, const Tensor& a, const Tensor& b, const char* name);
/// With one operand a number, converted to a's dtype; `swapped`: number op a.
Tensor binary(Binary op, const Tensor& a, double b, bool swapped = false);
enum class Compare : uint8_t { eq, ne, lt, le, gt, ge };
Tensor compare(Compare op, const Tensor& a, const Tensor& b);
Tensor compare(Compare op, const Tensor& a, double b);
/// cond ? a : b, all broadcast; cond is bool.
Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b);
Tensor clamp(const Tensor& a, double low, double high);

/// dst += alpha * src (broadcast to dst; same dtype).
void add_into(const Tensor& dst, const Tensor& src, double alpha = 1);
/// dst = dst * factor.
void scale(const Tensor& dst, double factor);
void mul_into(const Tensor& dst, const Tensor& src);

// --- Reductions ---
/// Sums over `axes` (all if empty), keepdim or not. f32 sums accumulate in float lanes, pairwise
/// over blocks.
Tensor sum(const Tensor& t, const Dims& axes, bool keepdim);
/// Sums the dimensions along which `shape` would have been broadcast to t's shape.
Tensor sum_to(const Tensor& t, const Shape& shape);
/// Largest (smallest) element along axes; NaN wins. ValueError on an empty axis.
Tensor extremum(const Tensor& t, const Dims& axes, bool keepdim, bool largest);
/// Position of the largest element along one axis (the first of equals, NaN wins), i64.
Tensor argmax(const Tensor& t, int64_t axis, bool keepdim);
/// True if some element is NaN or infinite.
bool has_nonfinite(const Tensor& t);

/// `axes` with negatives resolved, sorted, without doubles; all axes if empty.
Dims normalize_axes(const Dims& axes, int rank, const char* op);
Shape reduced_shape(const Shape& shape, const Dims& axes, bool keepdim);

}  // namespace loupe::raw
