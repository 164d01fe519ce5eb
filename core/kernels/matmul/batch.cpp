#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {

template <class T> void gemm_batch(const GemmBatch<T>& batch) {
  constexpr int64_t kEnoughPieces = 4;  // so many products are the pieces, and each runs serially
  const auto one = [&](int64_t i) {
    Gemm<T> g = batch.gemm;
    g.a.data += batch.a_offsets[i];
    g.b.data += batch.b_offsets[i];
    g.c += batch.c_offsets[i];
    gemm(g);
  };
  if (batch.count >= kEnoughPieces) return parallel_pieces(batch.count, one);
  for (int64_t i = 0; i < batch.count; ++i) one(i);
}

template void gemm_batch<float>(const GemmBatch<float>&);
template void gemm_batch<double>(const GemmBatch<double>&);

}  // namespace loupe::kernels
