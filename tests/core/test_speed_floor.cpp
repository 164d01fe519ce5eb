// A floor under the speed that does not depend on the machine's mood: kernels against plain loops
// that this file compiles itself, one thread each, taken in turns, the best of several runs of
// both. The floors are far below what is measured.
#include "catch.h"

#include <loupe/autograd/grad_mode.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include <chrono>
#include <cmath>
#include <cstdio>

using namespace loupe;

#ifndef LOUPE_OWN_BLOCKS  // debug and sanitizer builds are slow on purpose

namespace {

template <class F> double seconds(F f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// How many times as fast as `plain` the kernel is.
template <class K, class P> double ratio(const char* name, K kernel, P plain) {
  ThreadLimit one(1);
  NoGrad off;
  double best = 1e9, best_plain = 1e9;
  for (int i = 0; i < 12; ++i) {
    best = std::min(best, seconds(kernel));
    best_plain = std::min(best_plain, seconds(plain));
  }
  std::printf("%-24s %6.1f times a plain loop\n", name, best_plain / best);
  return best_plain / best;
}

volatile float g_sink;

}  // namespace

TEST_CASE("kernels are at least as many times as fast as plain loops") {
  Rng rng(1);
  const int64_t n = 160;
  const Tensor a = randn(rng, {n, n}), b = randn(rng, {n, n});
  std::vector<float> out(static_cast<size_t>(n * n));
  CHECK(ratio(
            "matmul 160", [&] { g_sink = matmul(a, b).ptr<float>()[0]; },
            [&] {
              const float *x = a.ptr<float>(), *y = b.ptr<float>();
              for (int64_t i = 0; i < n; ++i)
                for (int64_t j = 0; j < n; ++j) {
                  float s = 0;
                  for (int64_t k = 0; k < n; ++k) s += x[i * n + k] * y[k * n + j];
                  out[static_cast<size_t>(i * n + j)] = s;
                }
              g_sink = out[0];
            }) > 3);

  const int64_t m = 100000;
  const Tensor v = randn(rng, {m}), w = randn(rng, {m});
  std::vector<float> to(static_cast<size_t>(m));
  const float *pv = v.ptr<float>(), *pw = w.ptr<float>();
  CHECK(ratio(
            "exp", [&] { g_sink = exp(v).ptr<float>()[0]; },
            [&] {
              for (int64_t i = 0; i < m; ++i) to[static_cast<size_t>(i)] = std::exp(pv[i]);
              g_sink = to[0];
            }) > 1.5);
  CHECK(ratio(
            "tanh", [&] { g_sink = loupe::tanh(v).ptr<float>()[0]; },
            [&] {
              for (int64_t i = 0; i < m; ++i) to[static_cast<size_t>(i)] = std::tanh(pv[i]);
              g_sink = to[0];
            }) > 2);
  CHECK(ratio(
            "add", [&] { g_sink = add(v, w).ptr<float>()[0]; },
            [&] {
              for (int64_t i = 0; i < m; ++i) to[static_cast<size_t>(i)] = pv[i] + pw[i];
              g_sink = to[0];
            }) > 0.5);
  CHECK(ratio(
            "sum", [&] { g_sink = sum(v).item<float>(); },
            [&] {
              float s = 0;
              for (int64_t i = 0; i < m; ++i) s += pv[i];
              g_sink = s;
            }) > 1.2);

  const Tensor image = randn(rng, {1, 16, 28, 28}), kernel = randn(rng, {16, 16, 3, 3});
  CHECK(ratio(
            "conv2d 16x28x28, 3x3",
            [&] { g_sink = conv2d(image, kernel, Tensor(), {.padding = 1}).ptr<float>()[0]; },
            [&] {
              const float *x = image.ptr<float>(), *k = kernel.ptr<float>();
              for (int64_t o = 0; o < 16; ++o)
                for (int64_t i = 0; i < 28; ++i)
                  for (int64_t j = 0; j < 28; ++j) {
                    float s = 0;
                    for (int64_t c = 0; c < 16; ++c)
                      for (int64_t p = 0; p < 3; ++p)
                        for (int64_t q = 0; q < 3; ++q) {
                          const int64_t r = i + p - 1, t = j + q - 1;
                          if (r >= 0 && r < 28 && t >= 0 && t < 28)
                            s += x[(c * 28 + r) * 28 + t] * k[((o * 16 + c) * 3 + p) * 3 + q];
                        }
                    to[static_cast<size_t>((o * 28 + i) * 28 + j)] = s;
                  }
              g_sink = to[0];
            }) > 3);
}

#endif
