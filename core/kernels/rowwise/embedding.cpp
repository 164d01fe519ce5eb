#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/embedding.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

template <class T>
void embedding(int64_t count, int64_t width, const T* table, const int64_t* index, T* out) {
  parallel_ranges(count, std::max<int64_t>(1, 16384 / std::max<int64_t>(width, 1)),
                  [=](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i)
                      std::copy_n(table + index[i] * width, width, out + i * width);
                  });
}

template <class T>
void embedding_backward(int64_t count, int64_t width, int64_t entries, const T* dout,
                        const int64_t* index, int64_t skip, T* dtable) {
  if (entries == 0 || width == 0) return;
  // Each piece reads all indices: worth it only where the rows are most of the work.
  const int64_t pieces = (count + entries) * width > 65536 ? std::min<int64_t>(8, entries) : 1;
  parallel_pieces(pieces, [=](int64_t piece) {
    const int64_t first = entries * piece / pieces, last = entries * (piece + 1) / pieces;
    std::fill(dtable + first * width, dtable + last * width, T(0));
    simd<T>([=] {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = index[i];
        if (row < first || row >= last || row == skip) continue;
        T* const to = dtable + row * width;
        const T* const from = dout + i * width;
#pragma omp simd
        for (int64_t c = 0; c < width; ++c) to[c] += from[c];
      }
    });
  });
}

#define LOUPE_INSTANTIATE(T)                                                               \
  template void embedding<T>(int64_t, int64_t, const T*, const int64_t*, T*);              \
  template void embedding_backward<T>(int64_t, int64_t, int64_t, const T*, const int64_t*, \
                                      int64_t, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
