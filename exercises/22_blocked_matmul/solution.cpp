#include "exercise.h"

void mine::multiply(const float* a, const float* b, float* c, int64_t n, int64_t k, int64_t m) {
  // >>> your part
  constexpr int64_t kDepth = 64, kWidth = 256;
  std::fill(c, c + n * m, 0.0f);
  for (int64_t l0 = 0; l0 < k; l0 += kDepth) {
    const int64_t l_end = std::min(l0 + kDepth, k);
    for (int64_t j0 = 0; j0 < m; j0 += kWidth) {
      const int64_t j_end = std::min(j0 + kWidth, m);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t l = l0; l < l_end; ++l) {
          const float x = a[i * k + l];
          for (int64_t j = j0; j < j_end; ++j) c[i * m + j] += x * b[l * m + j];
        }
    }
  }
  // <<<
}
