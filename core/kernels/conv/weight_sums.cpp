#include <loupe/core/cpu.h>
#include <loupe/core/kernels/conv/fast.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {

// [tap, c, o] of each partial sum to [o, c, tap].
void add_weight_sums(const ConvShape& s, const WeightSums& partials, float* dw) {
  constexpr int64_t kAddGrain = 8192, kRows = 8;  // numbers, and rows of the result, in a piece
  const int64_t cg = s.c / s.groups;
  parallel_ranges(s.taps() * cg * s.o, kAddGrain, [&](int64_t begin, int64_t end) {
    simd([=, sums = partials.sums, count = partials.count, distance = partials.distance] {
      for (int64_t i = 1; i < count; ++i) {
        const float* from = sums + i * distance;
#pragma omp simd
        for (int64_t j = begin; j < end; ++j) sums[j] += from[j];
      }
    });
  });
  // A few rows of the result at a time, each written from front to back.
  parallel_ranges(s.o, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t c = 0; c < cg; ++c)
      for (int64_t t = 0; t < s.taps(); ++t)
        for (int64_t o = begin; o < end; ++o)
          dw[(o * cg + c) * s.taps() + t] = partials.sums[(t * cg + c) * s.o + o];
  });
}

}  // namespace loupe::kernels
