#pragma once
// C++ numbers that become elements.
#include <loupe/core/dtype.h>

namespace loupe::raw {

/// A C++ number as an element of type T; ValueError, with `op` in front, for an integer type that
/// cannot hold it.
template <class T> T checked_number(double value, const char* op) {
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr double low = std::is_signed_v<T> ? -0x1p63 : 0,
                     end = std::is_signed_v<T> ? 0x1p63 : 256;
    if (!(value >= low && value < end))
      fail<ValueError>("{}: {} does not fit into {}", op, value, name(dtype_of<T>()));
  }
  return static_cast<T>(value);
}

}  // namespace loupe::raw
