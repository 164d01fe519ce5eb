#include <loupe/distributed/in_order.h>

#include <algorithm>
#include <type_traits>

namespace loupe::detail {
namespace {

void add_in_order(const std::vector<const std::byte*>& parts, int64_t n, float* out) {
  constexpr int64_t kBlock = 512;
  double sums[kBlock];
  for (int64_t from = 0; from < n; from += kBlock) {
    const int64_t count = std::min(kBlock, n - from);
    std::fill_n(sums, count, 0.0);
    for (const std::byte* part : parts) {
      const float* const x = reinterpret_cast<const float*>(part) + from;
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) sums[i] += double(x[i]);
    }
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) out[from + i] = static_cast<float>(sums[i]);
  }
}
template <class T>
void add_in_order(const std::vector<const std::byte*>& parts, int64_t n, T* out) {
  for (int64_t i = 0; i < n; ++i) {
    T sum = 0;
    for (const std::byte* part : parts) {
      const T x = reinterpret_cast<const T*>(part)[i];
      if constexpr (std::is_integral_v<T>)  // wraps around
        sum = static_cast<T>(static_cast<uint64_t>(sum) + static_cast<uint64_t>(x));
      else sum += x;
    }
    out[i] = sum;
  }
}

}  // namespace

void add_in_order(DType dtype, const std::vector<const std::byte*>& parts, int64_t n,
                  std::byte* out) {
  if (dtype == DType::f32) add_in_order(parts, n, reinterpret_cast<float*>(out));
  else if (dtype == DType::f64) add_in_order(parts, n, reinterpret_cast<double*>(out));
  else add_in_order(parts, n, reinterpret_cast<int64_t*>(out));
}

}  // namespace loupe::detail
