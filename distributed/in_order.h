#pragma once
// Sums over ranks in a fixed order, so that every run gives the same bits.
#include <loupe/core/dtype.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace loupe::detail {

/// out[i] = the sum of parts[r][i] in the order of r, for n elements of f32 (summed in f64), f64 or
/// i64 (wraps around). `out` may be one of the parts.
void add_in_order(DType dtype, const std::vector<const std::byte*>& parts, int64_t n,
                  std::byte* out);

}  // namespace loupe::detail
