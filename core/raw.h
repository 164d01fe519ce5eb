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

// --- Copies and fills; no version is bumped ---
/// dst[...] = src[...], broadcast and converted; ValueError where an integer type cannot hold a
/// value (NaN, 300 in u8).
void copy(const Tensor& src, const Tensor& dst, const char* op = "copy");
void fill(const Tensor& t, Number value);
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
enum class Binary : uint8_t { add, sub, mul, div, maximum, minimum, pow, remainder, floor_div };
/// DtypeError if the dtypes differ. Integers wrap around on overflow.
Tensor binary(Binary op, const Tensor& a, const Tensor& b, const char* name);
/// With one operand a number, converted to a's dtype; `swapped`: number op a. Where a holds
/// integers: DtypeError for a part behind the point, ValueError for a number out of range.
Tensor binary(Binary op, const Tensor& a, Number b, bool swapped = false);
/// A number as a 0-dimensional tensor of a's type. Throws the same errors as `binary` with a
/// number.
Tensor number_like(const Tensor& a, Number b, const char* op);
enum class Compare : uint8_t { eq, ne, lt, le, gt, ge };
Tensor compare(Compare op, const Tensor& a, const Tensor& b);
/// With a number. Where a holds integers or bool, the numbers themselves are compared, 0.5, NaN and
/// the infinities too; ValueError for u8 against a whole number out of its range, which PyTorch
/// wraps.
Tensor compare(Compare op, const Tensor& a, Number b);
/// Element by element, for every type: 0 is false, all else (NaN too) true.
enum class Logical : uint8_t { and_, or_, xor_ };
Tensor logical(Logical op, const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& a);
/// Which elements are NaN, infinite, neither; no integer is NaN or infinite.
enum class Test : uint8_t { nan, infinite, finite };
Tensor test(Test what, const Tensor& a);
/// cond ? a : b, all broadcast; cond is bool.
Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b);
/// a limited from one side or both.
Tensor clamp(const Tensor& a, std::optional<Number> low, std::optional<Number> high);

/// dst += alpha * src (broadcast to dst; same dtype).
void add_into(const Tensor& dst, const Tensor& src, Number alpha = 1);
/// dst = dst * factor.
void scale(const Tensor& dst, Number factor);
void mul_into(const Tensor& dst, const Tensor& src);

// --- Reductions ---
/// Sums and products over `axes` (all if empty), keepdim or not. f32 accumulates in f64; bool, u8
/// and i64 give i64, which wraps around.
Tensor sum(const Tensor& t, const Dims& axes, bool keepdim);
/// center (its reduced dimensions of size 1) is the mean, and exactly the element where all are
/// equal; variance is sum (t - center)^2 / max(n - correction, 0). f32 and f64 only.
struct Moments {
  Tensor center, variance;
};
Moments moments(const Tensor& t, const Dims& axes, int64_t correction, bool keepdim);
Tensor prod(const Tensor& t, const Dims& axes, bool keepdim);
/// Whether some (every) element along `axes` differs from 0: bool, but u8 for u8.
Tensor any(const Tensor& t, const Dims& axes, bool keepdim);
Tensor all(const Tensor& t, const Dims& axes, bool keepdim);
/// (sum |t|^p)^(1/p); the largest |t| for p = Inf, the smallest for -Inf, the count of non-zeros
/// for 0. ValueError for no elements and p < 0 or p = Inf.
Tensor norm(const Tensor& t, double p, const Dims& axes, bool keepdim);
/// Sums the dimensions along which `shape` would have been broadcast to t's shape.
Tensor sum_to(const Tensor& t, const Shape& shape);
/// Largest (smallest) element along axes; NaN wins. ValueError on an empty axis.
Tensor extremum(const Tensor& t, const Dims& axes, bool keepdim, bool largest);
/// Position of the largest (smallest) element along one axis (the first of equals, NaN wins), i64.
Tensor arg_extremum(const Tensor& t, int64_t axis, bool keepdim, bool largest);
/// True if some element is NaN or infinite.
bool has_nonfinite(const Tensor& t);

/// `axes` sorted, negative ones counted from the end; all axes if empty. IndexError for an axis
/// outside, ValueError for one that stands twice.
Dims normalize_axes(const Dims& axes, int rank, const char* op);
Shape reduced_shape(const Shape& shape, const Dims& axes, bool keepdim);

}  // namespace loupe::raw
