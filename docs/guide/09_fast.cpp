// Chapter 9: a matrix product, from three loops to a kernel, and what fusion saves.
#include "09_cache.h"

#include <loupe/loupe.h>

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>
#include <vector>

using Matrix = std::vector<float>;
constexpr int64_t n = 512;

// [naive]
// 1. As in the book: a row of A times a column of B.
void naive(const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += a[i * n + k] * b[k * n + j];
      c[i * n + j] = sum;
    }
}
// [/naive]

// [rows]
// 2. The loops in another order: rows of B are added to rows of C.
void rows(const float* a, const float* b, float* c) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < n; ++k) {
      const float factor = a[i * n + k];
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += factor * b[k * n + j];
    }
}
// [/rows]

// [tile]
// 3. Four rows and 16 columns of C stay in registers while k runs: 8 registers of 8 numbers (AVX2). `step` is the distance
// from one row of B to the next.
__attribute__((target("avx2,fma"))) void tile(const float* a, const float* b, int64_t step,
                                              float* c) {
  __m256 sum[4][2] = {};
  for (int64_t k = 0; k < n; ++k) {
    const __m256 left = _mm256_loadu_ps(b + k * step), right = _mm256_loadu_ps(b + k * step + 8);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const __m256 factor = _mm256_broadcast_ss(a + r * n + k);
      sum[r][0] = _mm256_fmadd_ps(factor, left, sum[r][0]);
      sum[r][1] = _mm256_fmadd_ps(factor, right, sum[r][1]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    _mm256_storeu_ps(c + r * n, sum[r][0]);
    _mm256_storeu_ps(c + r * n + 8, sum[r][1]);
  }
}
void tiles(const float* a, const float* b, float* c) {
  for (int64_t j = 0; j < n; j += 16)
    for (int64_t i = 0; i < n; i += 4) tile(a + i * n, b + j, n, c + i * n + j);
}
// [/tile]

// [packed]
// 4. The 16 columns of B are copied side by side first, so that they are one run of memory.
void packed(const float* a, const float* b, float* c, int64_t from, int64_t to) {
  Matrix panel(static_cast<size_t>(n) * 16);
  for (int64_t j = 0; j < n; j += 16) {
    for (int64_t k = 0; k < n; ++k) std::copy_n(b + k * n + j, 16, panel.data() + k * 16);
    for (int64_t i = from; i < to; i += 4) tile(a + i * n, panel.data(), 16, c + i * n + j);
  }
}
// [/packed]

using Work = std::function<void()>;
using Timed = std::function<double()>;

// What this thread has spent working.
double cpu_time() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
double cpu_seconds(const Work& f) {
  const double start = cpu_time();
  f();
  return cpu_time() - start;
}
// The shortest of several runs.
double shortest(const Timed& f) {
  double best = 1e9, all = 0;
  for (int round = 0; round < 3 || (round < 50 && all < 0.3); ++round) {
    const double time = f();
    best = std::min(best, time);
    all += time;
  }
  return best;
}
double seconds(const Work& f) {
  return shortest([&] { return cpu_seconds(f); });
}

// [threads]
// 5. Each of two threads takes half of the rows.
void on_two_threads(const std::function<void(int64_t from, int64_t to)>& work) {
  std::thread other([&] { work(0, n / 2); });
  work(n / 2, n);
  other.join();
}
// [/threads]

// Times it, and compares its result with the library's.
void measure(const char* name, const loupe::Tensor& right, const Matrix& c, const Timed& f) {
  const double time = shortest(f);
  double error = 0;
  const auto wanted = right.data<float>();
  for (size_t i = 0; i < c.size(); ++i)
    error = std::max(error, std::abs(static_cast<double>(c[i] - wanted[i])));
  std::printf("%-28s %8.2f ms %8.1f GFLOP/s   %s\n", name, 1e3 * time,
              2.0 * n * n * n / time * 1e-9, error < 1e-3 ? "right" : "WRONG");
}

void products() {
  loupe::Rng rng(0);
  const loupe::Tensor ta = loupe::randn(rng, {n, n}), tb = loupe::randn(rng, {n, n});
  const loupe::Tensor right = matmul(ta, tb);
  const float* a = ta.ptr<float>();
  const float* b = tb.ptr<float>();
  Matrix c(static_cast<size_t>(n * n));
  std::printf("== product\n");
  const auto once = [](const Work& work) { return Timed([work] { return cpu_seconds(work); }); };
  const Timed by_rows = once([&] {
    std::fill(c.begin(), c.end(), 0.0f);
    rows(a, b, c.data());
  });
  const Timed on_two = [&] {
    std::atomic<double> slower = 0;
    on_two_threads([&](int64_t from, int64_t to) {
      const double time = cpu_seconds([&] { packed(a, b, c.data(), from, to); });
      if (time > slower) slower = time;
    });
    return slower.load();
  };
  measure("1. three loops", right, c, once([&] { naive(a, b, c.data()); }));
  measure("2. rows", right, c, by_rows);
  // [choose]
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  // [/choose]
  measure("3. tiles of vectors", right, c, avx2 ? once([&] { tiles(a, b, c.data()); }) : by_rows);
  measure("4. and packed", right, c, avx2 ? once([&] { packed(a, b, c.data(), 0, n); }) : by_rows);
  measure("5. and two threads", right, c, avx2 ? on_two : by_rows);
  loupe::ThreadLimit one(1);
  const double time = seconds([&] { matmul(ta, tb); });
  std::printf("%-28s %8.2f ms %8.1f GFLOP/s\n", "Loupe's matmul, one thread", 1e3 * time,
              2.0 * n * n * n / time * 1e-9);
}

void strides() {
  std::printf("== strides\n");
  // [strides]
  // Reads one number of each `stride`, through 64 MB.
  const std::vector<unsigned> memory(size_t{1} << 24, 1);
  for (size_t stride : std::vector<size_t>{1, 2, 4, 8, 16, 32}) {
    volatile unsigned sink = 0;
    const double time = seconds([&] {
      unsigned sum = 0;
      for (size_t i = 0; i < memory.size(); i += stride) sum += memory[i];
      sink = sum;
    });
    const double reads = static_cast<double>(memory.size()) / static_cast<double>(stride);
    std::printf("stride %2zu: %6.2f ms, %5.2f ns a number\n", stride, 1e3 * time,
                1e9 * time / reads);
  }
  // [/strides]
}

void fusion() {
  std::printf("== fusion\n");
  // [fusion]
  // y = max(a x + b, 0) on 8 million numbers: three passes over memory, or one.
  std::vector<float> x(size_t{1} << 23, 1.5f), y(x.size());
  const double three = seconds([&] {
    for (size_t i = 0; i < x.size(); ++i) y[i] = 2 * x[i];
    for (size_t i = 0; i < x.size(); ++i) y[i] = y[i] + 1;
    for (size_t i = 0; i < x.size(); ++i) y[i] = y[i] > 0 ? y[i] : 0;
  });
  const double fused = seconds([&] {
    for (size_t i = 0; i < x.size(); ++i) {
      const float value = 2 * x[i] + 1;
      y[i] = value > 0 ? value : 0;
    }
  });
  std::printf("three passes %.2f ms, one pass %.2f ms: %.1f times as fast\n", 1e3 * three,
              1e3 * fused, three / fused);
  // [/fusion]
}

void simulated() {
  std::printf("== misses\n");
  // [misses]
  const int64_t size = 128;
  const double products = static_cast<double>(size * size * size);
  for (const auto& [name, order] :
       {std::pair("i, j, k", guide::Order::ijk), std::pair("i, k, j", guide::Order::ikj),
        std::pair("tiles  ", guide::Order::tiles)}) {
    const int64_t misses = guide::count_misses(order, size);
    std::printf("%s: %8lld misses, one for %.1f products\n", name, static_cast<long long>(misses),
                products / static_cast<double>(misses));
  }
  // [/misses]
}

int main() {
  simulated();
  products();
  strides();
  fusion();
}
