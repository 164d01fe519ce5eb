#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/threads.h>

#include <algorithm>

namespace loupe::kernels {

template <class T> void gemm_plain(const Gemm<T>& g) {
  const auto a = [&](int64_t i, int64_t p) {
    return g.a.data[g.a.transposed ? p * g.a.stride + i : i * g.a.stride + p];
  };
  const auto b = [&](int64_t p, int64_t j) {
    return g.b.data[g.b.transposed ? j * g.b.stride + p : p * g.b.stride + j];
  };
  // Rows of C in a piece: 65,536 products, so that starting a thread pays.
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(g.n * g.k, 1));
  parallel_ranges(g.m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < g.n; ++j) {
        T& c = g.c[i * g.c_stride + j];
        T sum = T(0);
        if (g.accumulate) sum = c;
        else if (g.bias) sum = g.bias[j];
        for (int64_t p = 0; p < g.k; ++p) sum += a(i, p) * b(p, j);
        c = g.relu && sum < T(0) ? T(0) : sum;
      }
  });
}

template void gemm_plain<float>(const Gemm<float>&);
template void gemm_plain<double>(const Gemm<double>&);

}  // namespace loupe::kernels
