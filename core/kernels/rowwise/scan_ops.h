#pragma once
// How running sums and products join two numbers: for the plain loop and for the fast one.
#include <cstdint>
#include <type_traits>

namespace loupe::kernels {

/// What a scan of T accumulates in.
template <class T> using ScanSum = std::conditional_t<std::is_floating_point_v<T>, double, int64_t>;

struct Plus {
  static constexpr int64_t kStart = 0;
  static double join(double a, double b) { return a + b; }
  static int64_t join(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
  }
};
struct Times {
  static constexpr int64_t kStart = 1;
  static double join(double a, double b) { return a * b; }
  static int64_t join(int64_t a, int64_t b) {
    return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  }
};

}  // namespace loupe::kernels
