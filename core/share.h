#pragma once
// A part of a batch or of a data set: what one of several processes works on.
#include <cstdint>

namespace loupe {

/// Positions first, first + 1, ... before last.
struct ShareRange {
  int64_t first, last;
  int64_t size() const { return last - first; }
};

/// Which of `ranks` processes, counted from 0. The default is one process that has everything.
struct Share {
  int64_t rank = 0, ranks = 1;
  /// Its part of n things in a row: every one belongs to exactly one process, and sizes differ by
  /// one at most. Empty where there are fewer things than processes.
  ShareRange of(int64_t n) const {
    const int64_t each = n / ranks, more = n % ranks;
    const auto begin = [&](int64_t r) { return r * each + (r < more ? r : more); };
    return {begin(rank), begin(rank + 1)};
  }
  bool is_whole() const { return ranks == 1; }
  bool is_valid() const { return ranks >= 1 && rank >= 0 && rank < ranks; }
};

}  // namespace loupe
