#include <loupe/core/cpu.h>
#include <loupe/core/kernels/elementwise/dropout_words.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

namespace loupe::kernels {
namespace {

constexpr int64_t kGrain = 1 << 14;  // numbers of a piece
constexpr int64_t kDrawn = 1 << 10;  // words drawn at once: 4 KiB of the L1 cache

}  // namespace

template <class T> void dropout(int64_t n, const DropoutStream& stream, const T* x, T* y) {
  if (plain_kernels()) return plain::dropout(n, stream, x, y);
  if (stream.p >= 1) {  // a word of 2^32 - 1 is not below it, and Inf * 0 would not be 0
    std::fill_n(y, n, T(0));
    return;
  }
  const uint32_t below = drop_below(stream.p);
  const T factor = kept_factor<T>(stream.p);
  parallel_ranges(n, kGrain, [=](int64_t begin, int64_t end) {
    uint32_t drawn[kDrawn];
    uint32_t* const words = drawn;
    for (int64_t at = begin; at < end; at += kDrawn) {
      const int64_t count = std::min(kDrawn, end - at);
      const auto counter = static_cast<uint64_t>(at / kWordsOfCounter);
      philox_fill(stream.key, stream.first + counter, words, count);
      const T* const from = x + at;
      T* const to = y + at;
      simd<T>([=] {
#pragma omp simd
        for (int64_t i = 0; i < count; ++i) {
          const T kept = from[i] * factor;
          to[i] = words[i] < below ? T(0) : kept;
        }
      });
    }
  });
}

template void dropout<float>(int64_t, const DropoutStream&, const float*, float*);
template void dropout<double>(int64_t, const DropoutStream&, const double*, double*);

}  // namespace loupe::kernels
