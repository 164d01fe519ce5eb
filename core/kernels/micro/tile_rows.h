#pragma once
// How the rows of a product are divided among register tiles. Product and pack_left agree on it.
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {

/// m rows in tiles of nearly equal height: 16 is 8 + 8 rather than 14 + 2.
struct TileRows {
  int64_t tiles;   // how many
  int64_t height;  // of the lower ones
  int64_t taller;  // the first `taller` tiles have a row more

  [[gnu::always_inline]] explicit TileRows(int64_t m)
      : tiles((m + kMaxRows - 1) / kMaxRows), height(m / tiles), taller(m % tiles) {}
  [[gnu::always_inline]] int64_t rows(int64_t tile) const { return height + (tile < taller); }
};

}  // namespace loupe::kernels::LOUPE_LEVEL
