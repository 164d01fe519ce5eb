#pragma once
// C++ numbers that meet tensors.
#include <loupe/core/dtype.h>

#include <type_traits>
#include <utility>

namespace loupe {

/// A C++ number beside a tensor: what every function takes that PyTorch gives a Python number to.
/// Integers stay integers, so that 2^53 + 1, which no double holds, reaches an i64 tensor whole.
struct Number {
  double real;      // the number, rounded to a double
  int64_t integer;  // the number itself where `exact`
  bool exact;       // it came as an integer, and i64 holds it

  template <class T>
  requires std::is_arithmetic_v<T>
  constexpr Number(T value) : real(static_cast<double>(value)), integer(0), exact(false) {
    if constexpr (std::is_integral_v<T>)
      if (std::is_same_v<T, bool> || std::is_signed_v<T> ||
          static_cast<uint64_t>(value) <= static_cast<uint64_t>(INT64_MAX)) {
        integer = static_cast<int64_t>(value);
        exact = true;
      }
  }
  /// Without a part behind the point. False for NaN and the infinities.
  bool whole() const { return exact || (real - real == 0 && real == __builtin_floor(real)); }
};

namespace raw {

/// True if some int64_t equals `value` when its part behind the point is cut.
inline bool fits_i64(double value) { return value >= -0x1p63 && value < 0x1p63; }

/// A C++ number as an element of type T; ValueError, with `op` in front, for an integer type that
/// cannot hold it. A part behind the point is cut, as in a C++ cast. bool: not 0.
template <class T> T checked_number(Number n, const char* op) {
  if constexpr (std::is_same_v<T, bool>) {
    return n.real != 0;
  } else if constexpr (std::is_integral_v<T>) {
    if (!n.exact && !fits_i64(n.real))
      fail<ValueError>("{}: {} does not fit into {}", op, n.real, name(dtype_of<T>()));
    const int64_t value = n.exact ? n.integer : static_cast<int64_t>(n.real);
    if (!std::in_range<T>(value))
      fail<ValueError>("{}: {} does not fit into {}", op, n.real, name(dtype_of<T>()));
    return static_cast<T>(value);
  } else {
    return n.exact ? static_cast<T>(n.integer) : static_cast<T>(n.real);
  }
}

/// checked_number for arithmetic, where a part behind the point must not get lost: DtypeError.
template <class T> T checked_factor(Number n, const char* op) {
  if (std::is_integral_v<T> && !n.whole() && n.real - n.real == 0)
    fail<DtypeError>(
        "{}: {} is not a whole number and the tensor is {}; convert with to(DType::f32)", op,
        n.real, name(dtype_of<T>()));
  if (std::is_same_v<T, bool> && n.real != 0 && n.real != 1)
    fail<ValueError>("{}: {} does not fit into bool", op, n.real);
  return checked_number<T>(n, op);
}

}  // namespace raw
}  // namespace loupe
