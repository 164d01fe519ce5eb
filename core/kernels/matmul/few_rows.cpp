// Products of a few rows: packing B would cost more than it saves, so it is read as it is stored.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/matmul/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {
namespace {

constexpr int64_t kTerms = 65536;  // the least products in a piece, for each row of A

// The columns of C in one piece: from `begin` to `end`.
struct Columns {
  int64_t begin, end;
};

// C = what the sums start from.
void start(const Gemm<float>& g, Columns columns) {
  if (g.accumulate) return;
  for (int64_t i = 0; i < g.m; ++i)
    for (int64_t j = columns.begin; j < columns.end; ++j)
      g.c[i * g.c_stride + j] = g.bias ? g.bias[j] : 0.0f;
}

// C += A B, four rows of B at a time from front to back.
void add_multiples(const Gemm<float>& g, Columns columns) {
  simd([=, a = g.a.data, a_stride = g.a.stride, b = g.b.data, b_stride = g.b.stride, c = g.c,
        c_stride = g.c_stride, m = g.m, k = g.k] {
    for (int64_t p = 0; p < k; p += 4)
      for (int64_t i = 0; i < m; ++i) {
        const float* left = a + i * a_stride + p;
        const float* row = b + p * b_stride;
        float* to = c + i * c_stride;
        if (p + 4 <= k) {
          const float a0 = left[0], a1 = left[1], a2 = left[2], a3 = left[3];
#pragma omp simd
          for (int64_t j = columns.begin; j < columns.end; ++j)
            to[j] += (a0 * row[j] + a1 * row[b_stride + j]) +
                     (a2 * row[2 * b_stride + j] + a3 * row[3 * b_stride + j]);
          continue;
        }
        for (int64_t r = 0; r < k - p; ++r) {
          const float factor = left[r];
#pragma omp simd
          for (int64_t j = columns.begin; j < columns.end; ++j)
            to[j] += factor * row[r * b_stride + j];
        }
      }
  });
}

}  // namespace

void dot_products(const Gemm<float>& g) {
  const int64_t grain = std::max<int64_t>(16, kTerms / g.k / 4 * 4);
  parallel_ranges(g.n, grain, [&](int64_t begin, int64_t end) {
    micro().dots({.m = g.m,
                  .n = end - begin,
                  .k = g.k,
                  .a = g.a.data,
                  .a_row = g.a.stride,
                  .b = g.b.data + begin * g.b.stride,
                  .b_row = g.b.stride,
                  .c = g.c + begin,
                  .c_row = g.c_stride,
                  .bias = g.bias ? g.bias + begin : nullptr,
                  .accumulate = g.accumulate});
  });
  finish(g);
}

void row_multiples(const Gemm<float>& g) {
  const int64_t grain = round_up(std::max(g.n / 4, kTerms / g.k + 1), 16);
  parallel_ranges(g.n, grain, [&](int64_t begin, int64_t end) {
    start(g, {begin, end});
    add_multiples(g, {begin, end});
  });
  finish(g);
}

}  // namespace loupe::kernels
