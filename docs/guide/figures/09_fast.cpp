// Cache misses of three loop orders, counted by the simulated cache of the chapter.
#include "../09_cache.h"

#include "figures.h"
#include "svg.h"

namespace guide {

void draw_fast() {
  const int64_t size = 128;
  struct Bar {
    const char* name;
    Order order;
    const char* kind;
  };
  Svg svg(760, 200);
  svg.text(20, 28, "Cache misses of a product of 128 x 128 matrices, 32 KiB of cache", "title");
  const double most = static_cast<double>(count_misses(Order::ijk, size));
  double y = 50;
  for (const Bar& bar : {Bar{"i, j, k", Order::ijk, "warm"}, Bar{"i, k, j", Order::ikj, "cool"},
                         Bar{"tiles of 32", Order::tiles, "third"}}) {
    const double misses = static_cast<double>(count_misses(bar.order, size));
    svg.text(110, y + 22, bar.name, "end");
    svg.rect(120, y, 500 * misses / most, 32, bar.kind, 2);
    svg.text(128 + 500 * misses / most, y + 22, format("%.0f", misses));
    y += 46;
  }
  svg.save("09_misses.svg");
}

}  // namespace guide
