#pragma once
// Indexing of several dimensions at once, as PyTorch's C++ interface has it:
//   x.index({0})                             one position; its dimension disappears
//   x.index({Slice(1, 5), Slice(None, None, 2)})   ranges
//   x.index({Ellipsis, None, -1})            as many whole dimensions as fit; a new one; the last
//   x.index({rows})                          i64 tensor: these positions, its shape in their place
//   x.index({rows, columns})                 both broadcast together: pairs of positions
//   x.index({mask})                          bool tensor of the leading sizes: where it is true
// Dimensions that are not mentioned stay whole. Positions, also those in tensors, count from the
// end when negative. Index tensors that stand side by side put their dimensions in their place,
// others in front. Without tensors the result is a view. All of it is differentiable.
#include <loupe/core/tensor.h>

#include <concepts>
#include <optional>
#include <variant>

namespace loupe {

/// In a list of indices a new dimension of size 1; in a Slice the default.
struct NoneType {
  constexpr operator std::optional<int64_t>() const { return {}; }
};
inline constexpr NoneType None;
/// As many whole dimensions as the other indices leave.
struct EllipsisType {};
inline constexpr EllipsisType Ellipsis;

/// Positions start, start + step, ... before stop, as Tensor::slice takes them: from 0 to the end
/// by default. step must be positive.
struct Slice {
  std::optional<int64_t> start, stop;
  int64_t step = 1;
  Slice(std::optional<int64_t> from = {}, std::optional<int64_t> to = {},
        std::optional<int64_t> by = {})
      : start(from), stop(to), step(by.value_or(1)) {}
};

/// One entry of a list of indices.
class Index {
 public:
  Index(NoneType none) : value_(none) {}
  Index(EllipsisType ellipsis) : value_(ellipsis) {}
  Index(Slice slice) : value_(slice) {}
  template <std::integral I>
  requires(!std::same_as<I, bool>) Index(I position) : value_(static_cast<int64_t>(position)) {}
  /// i64: positions. bool: a mask over as many dimensions as it has.
  Index(const Tensor& tensor) : value_(tensor) {}

  using Value = std::variant<NoneType, EllipsisType, Slice, int64_t, Tensor>;
  const Value& value() const { return value_; }

 private:
  Value value_;
};

}  // namespace loupe
