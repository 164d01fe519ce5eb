// Transposes a matrix in registers, and finishes it on the way: adds C, a bias, takes max(., 0).
#include <loupe/core/kernels/micro/kernels.h>
#include <loupe/core/kernels/micro/shuffle.h>
#include <loupe/core/kernels/micro/vec.h>

namespace loupe::kernels::LOUPE_LEVEL {

void transpose(const Transpose& all) {
  const Transpose t = all;
  const Vec least = splat(t.relu ? 0 : -__builtin_inff());
  for (int64_t i = 0; i < t.m; i += kLanes)
    for (int64_t j = 0; j < t.n; j += kLanes) {
      Vec v[kLanes];
      load_transposed(t.m - i, t.n - j, t.t + j * t.t_row + i, t.t_row, v);
      const auto finish = [&](auto get, auto put) {
        const Vec start = t.bias ? get(t.bias + j) : splat(-0.0f);  // which changes no number
        float* to = t.c + i * t.c_row + j;
        LOUPE_UNROLL for (int r = 0; r < kLanes; ++r, to = opaque(to + t.c_row)) {
          if (i + r >= t.m) break;
          if (t.accumulate) v[r] += get(to);
          v[r] += start;
          put(to, v[r] < least ? least : v[r]);
        }
      };
      if (t.n - j >= kLanes) finish(load, store);
      else
        finish([&](const float* x) { return load_part(x, t.n - j); },
               [&](float* y, Vec x) { store_part(y, x, t.n - j); });
    }
}

}  // namespace loupe::kernels::LOUPE_LEVEL
