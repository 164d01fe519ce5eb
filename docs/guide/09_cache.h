#pragma once
// A simulated first-level cache: 32 KiB in lines of 64 bytes, 8 ways, the least recently used line goes.
#include <algorithm>
#include <array>
#include <cstdint>

namespace guide {

// [cache]
class Cache {
 public:
  // One access to a number of 4 bytes at this address.
  void touch(int64_t address) {
    const int64_t line = address / 64;
    auto& set = sets_[static_cast<size_t>(line % 64)];
    auto place = std::find(set.begin(), set.end(), line);
    if (place == set.end()) {
      ++misses_;
      place = set.end() - 1;  // the line that was not used for the longest time
      *place = line;
    }
    std::rotate(set.begin(), place, place + 1);  // now the most recent
  }
  int64_t misses() const { return misses_; }

 private:
  std::array<std::array<int64_t, 8>, 64> sets_{};
  int64_t misses_ = 0;
};
// [/cache]

enum class Order { ijk, ikj, tiles };

// [orders]
// The misses of C = A B for matrices of n x n, three loop orders. A, B and C follow each other in memory.
inline int64_t count_misses(Order order, int64_t n) {
  Cache cache;
  const auto step = [&](int64_t i, int64_t j, int64_t k) {
    cache.touch(4 * (i * n + k) + 64);              // A[i][k]
    cache.touch(4 * (n * n + k * n + j) + 64);      // B[k][j]
    cache.touch(4 * (2 * n * n + i * n + j) + 64);  // C[i][j]
  };
  const int64_t tile = order == Order::tiles ? 32 : n;
  for (int64_t kk = 0; kk < n; kk += tile)
    for (int64_t jj = 0; jj < n; jj += tile)
      for (int64_t i = 0; i < n; ++i) {
        if (order == Order::ijk)
          for (int64_t j = 0; j < n; ++j)
            for (int64_t k = 0; k < n; ++k) step(i, j, k);
        else
          for (int64_t k = kk; k < kk + tile; ++k)
            for (int64_t j = jj; j < jj + tile; ++j) step(i, j, k);
      }
  return cache.misses();
}
// [/orders]

}  // namespace guide
