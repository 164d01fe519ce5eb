// The largest magnitude of a matrix: two vectors of maxima, so that one row's load need not wait
// for the maximum of the row before.
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {

int32_t largest(int64_t rows, int64_t n, const float* x, int64_t stride) {
  Bits even{}, odd{};
  for (int64_t r = 0; r < rows; ++r, x += stride) {
    int64_t c = 0;
    for (; c + 2 * kLanes <= n; c += 2 * kLanes) {
      even = larger(even, load(x + c));
      odd = larger(odd, load(x + c + kLanes));
    }
    for (; c < n; c += kLanes) even = larger(even, load_part(x + c, n - c));
  }
  int32_t lanes[2 * kLanes];
  store_bits(lanes, even);
  store_bits(lanes + kLanes, odd);
  int32_t most = 0;
  for (int32_t lane : lanes) most = lane > most ? lane : most;
  return most;
}

}  // namespace loupe::kernels::LOUPE_LEVEL
