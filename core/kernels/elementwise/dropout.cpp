#include <loupe/core/cpu.h>
#include <loupe/core/kernels/elementwise/dropout.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

template <class T>
void dropout(int64_t n, const T* x, double p, uint64_t key, uint64_t first, T* y) {
  const uint32_t below = static_cast<uint32_t>(std::min(p * 0x1p32, 0x1p32 - 1));
  const T factor = p < 1 ? static_cast<T>(1 / (1 - p)) : T(0);
  parallel_ranges(n, 16384, [=](int64_t begin, int64_t end) {
    constexpr int64_t kBlock = 1024;
    uint32_t block[kBlock];
    uint32_t* const words = block;
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      philox_fill(key, first + static_cast<uint64_t>(at / 4), words, count);
      const T* const from = x + at;
      T* const to = y + at;
      simd<T>([=] {
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) {
          const T kept = from[i] * factor;
          to[i] = words[i] < below ? T(0) : kept;
        }
      });
    }
  });
}

template void dropout<float>(int64_t, const float*, double, uint64_t, uint64_t, float*);
template void dropout<double>(int64_t, const double*, double, uint64_t, uint64_t, double*);

}  // namespace loupe::kernels
