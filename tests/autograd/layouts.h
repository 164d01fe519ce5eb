#pragma once
// The memory layouts in which the op table runs every op: the same numbers, elsewhere in memory.
#include <loupe/core/raw.h>

#include <vector>

namespace loupe::testing {

struct Layout {
  const char* name;
  /// t's values in this layout, not recorded; undefined where t's shape has none.
  Tensor (*of)(const Tensor& t);
  /// false: elements share memory, so that the values are not t's, but some of them repeated.
  bool keeps_values = true;
  /// Worth a run of one input alone, the others row-major.
  bool alone = false;
};

/// All but row-major. What lies between the elements is NaN, or an integer that no index can be.
const std::vector<Layout>& layouts();

/// The same values in row-major memory of their own.
Tensor plain_copy(const Tensor& t);

}  // namespace loupe::testing
