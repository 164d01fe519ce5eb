#include <loupe/core/cpu.h>
#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

template <class T>
void column_sums(int64_t rows, int64_t columns, const T* x, int64_t stride, T* out) {
  if (columns <= 0) return;
  std::fill_n(out, columns, T(0));
  // Up to eight ranges of rows of at least 16,384 numbers, each with partial sums on cache lines of
  // their own.
  const int64_t ranges = std::clamp<int64_t>(rows * columns / 16384, 1, 8);
  const int64_t partial = round_up(columns, 64 / static_cast<int64_t>(sizeof(T)));
  const Scratch<T> partials(ranges * partial);
  parallel_pieces(ranges, [&](int64_t range) {
    const int64_t begin = rows * range / ranges, end = rows * (range + 1) / ranges;
    simd<T>([=, sums = partials + range * partial] {
      std::fill_n(sums, columns, T(0));
      for (int64_t i = begin; i < end; ++i) {
        const T* row = x + i * stride;
#pragma omp simd
        for (int64_t j = 0; j < columns; ++j) sums[j] += row[j];
      }
    });
  });
  for (int64_t range = 0; range < ranges; ++range)
    for (int64_t j = 0; j < columns; ++j) out[j] += partials[range * partial + j];
}

template void column_sums<float>(int64_t, int64_t, const float*, int64_t, float*);
template void column_sums<double>(int64_t, int64_t, const double*, int64_t, double*);

}  // namespace loupe::kernels
