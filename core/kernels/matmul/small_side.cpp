// Products with one small operand, which is packed once for all pieces.
#include <loupe/core/kernels/matmul/packed_right.h>
#include <loupe/core/kernels/matmul/fast.h>
#include <loupe/core/kernels/micro/micro.h>
#include <loupe/core/memory.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

// A^T op(B) of few terms and rows, the weight gradient of a small batch: A is packed once, and a
// piece multiplies all of it by some panels of B. Tiles are short here, so packing counts.
void few_terms(const Gemm<float>& g) {
  const Micro& mu = micro();
  const RightMatrix b{g.k, g.n, g.b.data, g.b.stride, g.b.transposed};
  const int64_t panels = ceil_div(g.n, mu.panel);
  // B is read where it is unless its rows share few sets of L1 and many tiles need them.
  const bool shares_sets = g.b.stride % 64 == 0 && g.m > 2 * mu.rows;
  const bool in_place = !g.b.transposed && g.n % mu.lanes == 0 && !shares_sets;
  const Scratch<float> left(g.k * round_up(g.m, mu.rows));
  const Scratch<float> right(in_place ? 0 : g.k * panels * mu.panel);
  mu.pack_left({g.k, g.m, g.a.data, g.a.stride}, left);
  const int64_t b_panel = in_place ? mu.panel : g.k * mu.panel;
  const int64_t grain = std::max<int64_t>({1, panels / 32, 65536 / (g.m * g.k * mu.panel)});
  parallel_ranges(panels, grain, [&](int64_t begin, int64_t end) {
    if (!in_place) mu.pack_right(b, begin, end, right);
    const int64_t first = begin * mu.panel;
    mu.product({.m = g.m,
                .n = std::min(end * mu.panel, g.n) - first,
                .k = g.k,
                .a = left,
                .a_row = 1,
                .a_term = mu.rows,
                .a_tile = g.k * mu.rows,
                .b = (in_place ? g.b.data : right) + begin * b_panel,
                .b_term = in_place ? g.b.stride : mu.panel,
                .b_panel = b_panel,
                .c = g.c + first,
                .c_row = g.c_stride,
                .accumulate = g.accumulate});
  });
}

// A B^T where B is larger than A and C: as (B A^T)^T, which packs A instead.
//
//   C^T = B A^T   by the micro-kernel, some rows of B a piece; A^T is packed into panels
//   C   = (C^T)^T in registers, with bias and max(., 0)
void transposed_product(const Gemm<float>& g) {
  const PackedRight<float> right(g.k, g.m, {g.a.data, g.a.stride, true});
  const int64_t grain = std::min<int64_t>(64, column_grain(g.m, g.n, g.k));
  parallel_ranges(g.n, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> transposed((end - begin) * g.m);
    right.multiply({.m = end - begin,
                    .n = g.m,
                    .k = g.k,
                    .a = {g.b.data + begin * g.b.stride, g.b.stride},
                    .c = transposed,
                    .c_stride = g.m});
    micro().transpose({.m = g.m,
                       .n = end - begin,
                       .t = transposed,
                       .t_row = g.m,
                       .c = g.c + begin,
                       .c_row = g.c_stride,
                       .bias = g.bias ? g.bias + begin : nullptr,
                       .accumulate = g.accumulate,
                       .relu = g.relu});
  });
}

}  // namespace loupe::kernels
