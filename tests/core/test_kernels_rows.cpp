// Softmax, cross entropy, embedding, dropout and the activations in f32, at every CPU level,
// against plain loops in f64.
#include <loupe/core/cpu.h>
#include <loupe/core/kernels/elementwise/activation.h>
#include <loupe/core/kernels/elementwise/dropout.h>
#include <loupe/core/kernels/rowwise/embedding.h>
#include <loupe/core/kernels/rowwise/loss.h>
#include <loupe/core/kernels/rowwise/softmax.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "worst.h"
#include "core/kernel_tests.h"

using namespace loupe;
using namespace loupe::kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> normal(int64_t n, double size, uint64_t seed = 1) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(n));
  for (auto& e : x) e = static_cast<float>(size * rng.normal());
  return x;
}

// Plain: one line of n elements, `step` apart.
void softmax_line(bool log, size_t n, size_t step, const float* x, double* y) {
  double top = -INFINITY, sum = 0;
  for (size_t i = 0; i < n; ++i) top = std::max(top, static_cast<double>(x[i * step]));
  for (size_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i * step]) - top);
  for (size_t i = 0; i < n; ++i) {
    const double z = static_cast<double>(x[i * step]) - top;
    y[i * step] = log ? z - std::log(sum) : std::exp(z) / sum;
  }
}

}  // namespace

TEST_CASE("softmax and log_softmax along rows and strided axes, forward and backward") {
  at_every_level([] {
    for (int64_t n : {1, 2, 15, 16, 17, 65, 3001})
      for (int64_t inner : {1, 3})
        for (bool log : {false, true}) {
          const int64_t outer = 4, total = outer * n * inner;
          auto x = normal(total, 4), dy = normal(total, 1, 2);
          for (auto& e : x) e += 1000;  // a common offset changes nothing
          std::vector<float> y(x.size()), dx(x.size());
          kernels::softmax(log, {outer, n, inner}, x.data(), y.data());
          kernels::softmax_backward(log, {outer, n, inner}, y.data(), dy.data(), dx.data());
          std::vector<double> want(x.size());
          for (int64_t o = 0; o < outer; ++o)
            for (int64_t j = 0; j < inner; ++j)
              softmax_line(log, static_cast<size_t>(n), static_cast<size_t>(inner),
                           x.data() + o * n * inner + j, want.data() + o * n * inner + j);
          CAPTURE(n, inner, log);
          double worst = 0, worst_dx = 0;
          for (int64_t o = 0; o < outer; ++o)
            for (int64_t j = 0; j < inner; ++j) {
              double sum = 0;
              for (int64_t i = 0; i < n; ++i) {
                const auto at = static_cast<size_t>((o * n + i) * inner + j);
                sum += static_cast<double>(dy[at]) * (log ? 1 : want[at]);
              }
              for (int64_t i = 0; i < n; ++i) {
                const auto at = static_cast<size_t>((o * n + i) * inner + j);
                const double d = static_cast<double>(dy[at]);
                const double grad = log ? d - std::exp(want[at]) * sum : want[at] * (d - sum);
                worst = worst_of(worst, std::fabs(static_cast<double>(y[at]) - want[at]) /
                                            (log ? std::fabs(want[at]) + 1 : 1));
                worst_dx = worst_of(worst_dx, std::fabs(static_cast<double>(dx[at]) - grad));
              }
            }
          CHECK(worst < 4e-7);
          CHECK(worst_dx < (log ? 2e-5 : 1e-6));  // log: sums of up to 3001 gradients
        }
  });
}

TEST_CASE("log_softmax is sharp where the logits are of ordinary size") {
  at_every_level([] {
    const auto x = normal(50 * 65, 3);
    std::vector<float> y(x.size());
    std::vector<double> want(x.size());
    kernels::softmax(true, {50, 65, 1}, x.data(), y.data());
    for (size_t r = 0; r < 50; ++r)
      softmax_line(true, 65, 1, x.data() + r * 65, want.data() + r * 65);
    for (size_t i = 0; i < x.size(); ++i)
      CHECK(std::fabs(static_cast<double>(y[i]) - want[i]) < 2e-6);
  });
}

TEST_CASE("softmax of masked rows and extremes") {
  at_every_level([] {
    const std::vector<float> x = {-kInf, 1,      -kInf, -kInf, -kInf, -kInf,
                                  3e38f, -3e38f, 0,     NAN,   0,     1};
    std::vector<float> y(12), z(12);
    kernels::softmax(false, {4, 3, 1}, x.data(), y.data());
    kernels::softmax(true, {4, 3, 1}, x.data(), z.data());
    CHECK(std::vector<float>(y.begin(), y.begin() + 9) ==
          std::vector<float>{0, 1, 0, 0, 0, 0, 1, 0, 0});
    CHECK(z[1] == 0.0f);
    for (size_t i : {0u, 2u, 3u, 4u, 5u}) CHECK(z[i] == -kInf);
    for (size_t i : {9u, 10u, 11u}) {
      CHECK(std::isnan(y[i]));
      CHECK(std::isnan(z[i]));
    }
    kernels::softmax<float>(false, {0, 5, 1}, nullptr, nullptr);
    kernels::softmax<float>(false, {5, 0, 1}, nullptr, nullptr);
  });
}

TEST_CASE("cross entropy with weights, smoothing and ignored rows") {
  at_every_level([] {
    for (int64_t classes : {1, 2, 10, 65, 2500})
      for (double smoothing : {0.0, 0.1})
        for (bool weighted : {false, true}) {
          CrossEntropyShape s{7, classes, -100, smoothing};
          const auto x = normal(7 * classes, 3), g = normal(7, 1, 5);
          auto w = normal(classes, 1, 6);
          for (auto& e : w) e = std::fabs(e);
          std::vector<int64_t> target = {0, classes - 1, -100, classes / 2, 0, 0, classes / 3};
          std::vector<float> loss(7), stats(14), dx(x.size());
          const float* weight = weighted ? w.data() : nullptr;
          const CrossEntropyInput<float> in{s, x.data(), target.data(), weight};
          kernels::cross_entropy(in, loss.data(), stats.data());
          kernels::cross_entropy_backward(in, stats.data(), {g.data(), 1}, dx.data());
          CAPTURE(classes, smoothing, weighted);
          const double spread = smoothing / static_cast<double>(classes);
          for (size_t i = 0; i < 7; ++i) {
            const size_t n = static_cast<size_t>(classes);
            std::vector<double> logp(n);
            softmax_line(true, n, 1, x.data() + i * n, logp.data());
            const bool ignored = target[i] == -100;
            const size_t t = ignored ? 0 : static_cast<size_t>(target[i]);
            const auto wc = [&](size_t c) { return weighted ? static_cast<double>(w[c]) : 1.0; };
            double want = -(1 - smoothing) * wc(t) * logp[t], sum = 0;
            for (size_t c = 0; c < n; ++c) {
              want -= spread * wc(c) * logp[c];
              sum += (c == t ? (1 - smoothing) * wc(c) : 0) + spread * wc(c);
            }
            CHECK(static_cast<double>(loss[i]) ==
                  Approx(ignored ? 0 : want).epsilon(1e-6).margin(1e-6));
            for (size_t c = 0; c < n; ++c) {
              const double d =
                  std::exp(logp[c]) * sum - (c == t ? (1 - smoothing) * wc(c) : 0) - spread * wc(c);
              const double up = static_cast<double>(g[i]);
              if (!(std::fabs(static_cast<double>(dx[i * n + c]) - (ignored ? 0 : up * d)) <
                    3e-6)) {
                CAPTURE(i, c);
                CHECK(static_cast<double>(dx[i * n + c]) == Approx(ignored ? 0 : up * d));
              }
            }
          }
        }
  });
}

TEST_CASE("embedding gathers rows and adds gradients in order, the same bits at any thread limit",
          "[threads]") {
  const int64_t entries = 300, width = 37, count = 5000;
  const auto table = normal(entries * width, 1), dout = normal(count * width, 1, 2);
  Rng rng(4);
  std::vector<int64_t> index(static_cast<size_t>(count));
  for (auto& i : index) i = rng.integer(0, entries);
  std::vector<float> out(static_cast<size_t>(count * width)), want(table.size(), 0.0f);
  kernels::embedding({count, width, entries}, table.data(), index.data(), out.data());
  bool same = true;
  for (size_t i = 0; i < index.size(); ++i)
    for (size_t c = 0; c < 37; ++c) {
      same &= out[i * 37 + c] == table[static_cast<size_t>(index[i]) * 37 + c];
      if (index[i] != 5) want[static_cast<size_t>(index[i]) * 37 + c] += dout[i * 37 + c];
    }
  CHECK(same);
  for (int threads : {1, 2, 3, 8}) {
    ThreadLimit limit(threads);
    std::vector<float> grad(table.size(), NAN);
    kernels::embedding_backward({count, width, entries}, dout.data(), index.data(), 5, grad.data());
    CHECK(grad == want);
  }
}

TEST_CASE(
    "dropout: the share that is kept, the factor, one mask for f32 and f64 and any thread limit",
    "[threads]") {
  const int64_t n = 100003;
  const std::vector<float> x(static_cast<size_t>(n), 2.0f);
  const std::vector<double> xd(static_cast<size_t>(n), 2.0);
  std::vector<float> first(x.size());
  std::vector<double> wide(x.size());
  kernels::dropout(n, {0.25, 9, 77}, x.data(), first.data());
  kernels::dropout(n, {0.25, 9, 77}, xd.data(), wide.data());
  int64_t kept = 0;
  bool same = true;
  for (size_t i = 0; i < x.size(); ++i) {
    kept += first[i] != 0;
    same &= first[i] == (wide[i] != 0 ? 2.0f / 0.75f : 0.0f);
    if (i < 1000) same &= (first[i] == 0) == (philox(9, 77 + i / 4)[i % 4] < (1u << 30));
  }
  CHECK(same);
  CHECK(std::fabs(static_cast<double>(kept) / static_cast<double>(n) - 0.75) <
        0.006);  // 4 standard deviations
  for (int threads : {1, 2, 3, 8}) {
    ThreadLimit limit(threads);
    std::vector<float> y(x.size());
    kernels::dropout(n, {0.25, 9, 77}, x.data(), y.data());
    CHECK(y == first);
  }
  std::vector<float> y(x.size());
  kernels::dropout(n, {0.0, 9, 77}, x.data(), y.data());
  CHECK(y == x);
  kernels::dropout(n, {1.0, 9, 77}, x.data(), y.data());
  CHECK(y == std::vector<float>(x.size(), 0.0f));
  // Word 1 there is 2^32 - 1: no bound of 32 bits is above it.
  const uint64_t counter = 1538303059;
  REQUIRE(philox(0, counter)[1] == 0xffffffffu);
  const std::vector<float> infinite(4, kInf);
  at_every_level([&] {
    std::vector<float> none(4, 1.0f);
    kernels::dropout(4, {1.0, 0, counter}, infinite.data(), none.data());
    CHECK(none == std::vector<float>(4, 0.0f));
  });
}

TEST_CASE("activations in f32 follow f64, whose slopes follow differences") {
  const auto run = [](auto f, auto slope) {
    at_every_level([&] {
      std::vector<float> x, y, d;
      for (float v = -30; v < 30; v += 0.037f) x.push_back(v);
      for (float v : {0.0f, -0.0f, 1e-20f, -1e-20f, -100.0f, 100.0f, -1e30f, 1e30f}) x.push_back(v);
      y.resize(x.size());
      d.resize(x.size());
      const float* in = x.data();
      float *out = y.data(), *down = d.data();
      const size_t n = x.size();
      simd([=](auto level) {
#pragma omp simd
        for (size_t i = 0; i < n; ++i) {
          out[i] = f(in[i], level);
          down[i] = slope(in[i], level);
        }
      });
      for (size_t i = 0; i < n; ++i) {
        const double v = static_cast<double>(x[i]);
        CAPTURE(x[i]);
        if (std::fabs(static_cast<double>(y[i]) - f(v)) > 2e-6 + 1e-6 * std::fabs(f(v)))
          CHECK(y[i] == static_cast<float>(f(v)));
        if (std::fabs(static_cast<double>(d[i]) - slope(v)) > 2e-6)
          CHECK(d[i] == static_cast<float>(slope(v)));
        if (std::fabs(v) < 30) {
          const double h = 1e-6;
          const double difference = (f(v + h) - f(v - h)) / (2 * h);
          if (v != 0 && std::fabs(v) > 1e-10) CHECK(slope(v) == Approx(difference).margin(1e-7));
        }
      }
      CHECK(std::isnan(f(NAN)));
      CHECK(f(kInf) == kInf);
      CHECK(std::isfinite(f(-kInf)));
      CHECK(std::isfinite(slope(kInf)));
      CHECK(std::isfinite(slope(-kInf)));
    });
  };
  run([](auto x, auto... level) { return gelu(x, level...); },
      [](auto x, auto... level) { return gelu_slope(x, level...); });
  run([](auto x, auto... level) { return gelu_tanh(x, level...); },
      [](auto x, auto... level) { return gelu_tanh_slope(x, level...); });
  run([](auto x, auto... level) { return silu(x, level...); },
      [](auto x, auto... level) { return silu_slope(x, level...); });
  run([](auto x,
         auto... level) { return softplus(x, decltype(x)(1.5), decltype(x)(20), level...); },
      [](auto x, auto... level) {
        return softplus_slope(x, decltype(x)(1.5), decltype(x)(20), level...);
      });
  run([](auto x, auto... level) { return elu(x, decltype(x)(0.7), level...); },
      [](auto x, auto... level) { return elu_slope(x, decltype(x)(0.7), level...); });
}
