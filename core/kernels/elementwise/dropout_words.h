#pragma once
// What the plain dropout and the fast one share.
#include <loupe/core/kernels/elementwise/dropout.h>

#include <algorithm>

namespace loupe::kernels {

inline constexpr int64_t kWordsOfCounter = 4;  // a counter of the stream stands for so many words

/// Words below this drop their number.
inline uint32_t drop_below(double p) {
  return static_cast<uint32_t>(std::min(p * 0x1p32, 0x1p32 - 1));
}
/// The factor of the others.
template <class T> T kept_factor(double p) { return p < 1 ? static_cast<T>(1 / (1 - p)) : T(0); }

}  // namespace loupe::kernels
