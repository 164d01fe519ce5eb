#pragma once
// Shape and strides: a short list of sizes that lives inside the tensor, without a heap block of
// its own.
#include <fmt/core.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>
#include <vector>

namespace loupe {

/// The largest number of dimensions a tensor can have.
inline constexpr int kMaxRank = 8;

/// Up to kMaxRank integers: a shape, strides (in elements), or a list of axes. A longer list throws
/// ShapeError.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> values) { assign(values.begin(), values.size()); }
  Dims(const std::vector<int64_t>& values) { assign(values.data(), values.size()); }
  Dims(std::span<const int64_t> values) { assign(values.data(), values.size()); }

  int rank() const { return rank_; }
  size_t size() const { return static_cast<size_t>(rank_); }
  bool empty() const { return rank_ == 0; }
  int64_t& operator[](int i) { return d_[static_cast<size_t>(i)]; }
  int64_t operator[](int i) const { return d_[static_cast<size_t>(i)]; }
  int64_t back() const { return d_[static_cast<size_t>(rank_ - 1)]; }
  const int64_t* begin() const { return d_.data(); }
  const int64_t* end() const { return d_.data() + rank_; }
  int64_t* begin() { return d_.data(); }
  int64_t* end() { return d_.data() + rank_; }

  void push_back(int64_t value);
  void insert(int at, int64_t value);
  void erase(int at);
  /// Product of the entries; 1 for a scalar's empty shape.
  int64_t numel() const {
    int64_t n = 1;
    for (int64_t d : *this) n *= d;
    return n;
  }
  friend bool operator==(const Dims& a, const Dims& b) {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }
  /// As to_string() has it.
  friend std::ostream& operator<<(std::ostream& out, const Dims& d);

 private:
  void assign(const int64_t* values, size_t n);
  std::array<int64_t, kMaxRank> d_{};
  int rank_ = 0;
};

using Shape = Dims;
using Strides = Dims;

/// "(2, 3)"; "()" for a scalar, "(5,)" for one dimension: Python's notation.
std::string to_string(const Dims& d);

/// Strides of a dense tensor whose last index runs fastest.
Strides row_major_strides(const Shape& shape);

/// The shape that NumPy broadcasting gives two operands. ShapeError, with `op` in front, if they do
/// not fit.
Shape broadcast_shapes(const Shape& a, const Shape& b, const char* op);

/// `axis` counted from the end when negative; IndexError, with `op` in front, if outside [-rank,
/// rank). A tensor without dimensions takes 0 and -1, as in PyTorch.
int normalize_axis(int64_t axis, int rank, const char* op);

}  // namespace loupe

template <> struct fmt::formatter<loupe::Dims> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  template <class Context> auto format(const loupe::Dims& d, Context& ctx) const {
    auto out = ctx.out();
    for (char c : loupe::to_string(d)) *out++ = c;
    return out;
  }
};
