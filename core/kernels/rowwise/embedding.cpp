#include <loupe/core/cpu.h>
#include <loupe/core/kernels/rowwise/embedding.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;  // elements of a forward piece
constexpr int64_t kPieces = 8;       // of backward
// Each piece of backward reads all indices: worth it only where the rows are most of the work.
constexpr int64_t kWorthPieces = 1 << 16;  // elements

}  // namespace

template <class T>
void embedding(const EmbeddingShape& s, const T* table, const int64_t* index, T* out) {
  if (plain_kernels()) return plain::embedding(s, table, index, out);
  const int64_t width = s.width, grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1));
  parallel_ranges(s.count, grain, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::copy_n(table + index[i] * width, width, out + i * width);
  });
}

template <class T>
void embedding_backward(const EmbeddingShape& s, const T* dout, const int64_t* index, int64_t skip,
                        T* dtable) {
  if (s.entries == 0 || s.width == 0) return;
  if (plain_kernels()) return plain::embedding_backward(s, dout, index, skip, dtable);
  const int64_t count = s.count, width = s.width, entries = s.entries;
  const bool worth_it = (count + entries) * width > kWorthPieces;
  const int64_t pieces = worth_it ? std::min(kPieces, entries) : 1;
  // A piece owns a range of the table's rows: no two write the same one.
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

#define LOUPE_INSTANTIATE(T)                                                       \
  template void embedding<T>(const EmbeddingShape&, const T*, const int64_t*, T*); \
  template void embedding_backward<T>(const EmbeddingShape&, const T*, const int64_t*, int64_t, T*);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels
