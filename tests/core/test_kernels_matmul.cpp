#include "kernel_tests.h"

#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/threads.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

using namespace loupe;

namespace {

// The definition, in double: sums[i, j] and the sum of absolute products, which bounds the rounding
// of any order.
struct Truth {
  std::vector<double> sums, sizes;
};
template <class T>
Truth product(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const T* a, int64_t lda,
              const T* b, int64_t ldb) {
  Truth truth{std::vector<double>(static_cast<size_t>(m * n)),
              std::vector<double>(static_cast<size_t>(m * n))};
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t p = 0; p < k; ++p) {
        const double v = static_cast<double>(a[ta ? p * lda + i : i * lda + p]) *
                         static_cast<double>(b[tb ? j * ldb + p : p * ldb + j]);
        truth.sums[static_cast<size_t>(i * n + j)] += v;
        truth.sizes[static_cast<size_t>(i * n + j)] += std::abs(v);
      }
  return truth;
}

template <class T>
void check_matmul(bool ta, bool tb, int64_t m, int64_t n, int64_t k, bool accumulate) {
  CAPTURE(ta, tb, m, n, k, accumulate);
  const int64_t lda = (ta ? m : k) + 3, ldb = (tb ? k : n) + 5, ldc = n + 2;
  const auto a = numbers<T>((ta ? k : m) * lda + 1, 1), b = numbers<T>((tb ? n : k) * ldb + 1, 2);
  const auto before = numbers<T>(m * ldc + 1, 3);
  const Truth truth = product(ta, tb, m, n, k, a.data(), lda, b.data(), ldb);
  std::vector<T> first;
  for (int limit : {1, 2, 3, 8}) {
    ThreadLimit scope(limit);
    auto c = before;
    kernels::matmul<T>(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, c.data(), ldc, accumulate);
    if (first.empty()) first = c;
    else REQUIRE(std::memcmp(first.data(), c.data(), c.size() * sizeof(T)) == 0);
  }
  const double eps = std::is_same_v<T, float> ? 6e-8 : 1.2e-16;
  double worst = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < ldc; ++j) {
      const size_t at = static_cast<size_t>(i * ldc + j);
      if (j >= n) {
        REQUIRE(first[at] == before[at]);  // the gap between rows is not ours
        continue;
      }
      const double old = accumulate ? static_cast<double>(before[at]) : 0;
      const double size = truth.sizes[static_cast<size_t>(i * n + j)] + std::abs(old);
      const double error = std::abs(static_cast<double>(first[at]) - old -
                                    truth.sums[static_cast<size_t>(i * n + j)]);
      worst = std::max(worst, size > 0 ? error / size : error);
    }
  REQUIRE(worst <= eps * static_cast<double>(k + 2));
}

}  // namespace

TEMPLATE_TEST_CASE("matmul equals its definition, with the same bits at any thread limit", "",
                   float, double) {
  at_every_level([] {
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1},
                               {3, 5, 7},
                               {130, 33, 65},
                               {64, 1, 300},
                               {1, 70, 40},
                               {6, 19, 100},
                               {200, 48, 600},
                               {20, 150, 90},
                               {150, 80, 96},
                               {9, 64, 30},
                               {150, 300, 700}})
          check_matmul<TestType>(ta, tb, m, n, k, m == 3 || m == 9 || m == 20 || m == 200);
        check_matmul<TestType>(ta, tb, 4, 3, 0, false);
        check_matmul<TestType>(ta, tb, 4, 3, 0, true);
        check_matmul<TestType>(ta, tb, 0, 3, 2, false);
      }
  });
}

TEMPLATE_TEST_CASE("batched matmul takes offsets per operand, equal ones for a shared matrix", "",
                   float, double) {
  using T = TestType;
  const int64_t m = 5, n = 6, k = 9;
  for (int64_t batch : {0, 1, 3, 7})
    for (bool shared : {false, true}) {
      const auto a = numbers<T>(8 * m * k, 1), b = numbers<T>(8 * n * k, 2);
      std::vector<T> c(static_cast<size_t>(8 * m * n), T(0));
      std::vector<int64_t> at_a, at_b, at_c;
      for (int64_t i = 0; i < batch; ++i) {
        at_a.push_back((batch - 1 - i) * m * k);
        at_b.push_back(shared ? 0 : i * n * k);
        at_c.push_back(i * m * n);
      }
      kernels::matmul_batched<T>(batch, m, n, k, {a.data(), at_a.data(), k},
                                 {b.data(), at_b.data(), k, true}, {c.data(), at_c.data(), n},
                                 false);
      for (int64_t i = 0; i < batch; ++i) {
        const Truth truth = product(false, true, m, n, k, a.data() + at_a[static_cast<size_t>(i)],
                                    k, b.data() + (shared ? 0 : i * n * k), k);
        for (int64_t j = 0; j < m * n; ++j)
          REQUIRE(static_cast<double>(c[static_cast<size_t>(i * m * n + j)]) ==
                  Approx(truth.sums[static_cast<size_t>(j)]).epsilon(1e-5).margin(1e-5));
      }
    }
}

TEMPLATE_TEST_CASE("linear: forward and the three gradients", "", float, double) {
  using T = TestType;
  for (auto [rows, in, out] : {std::array<int64_t, 3>{1, 1, 1},
                               {7, 13, 5},
                               {64, 300, 10},
                               {16, 130, 200},
                               {768, 40, 130},
                               {3, 0, 4},
                               {0, 4, 3}}) {
    CAPTURE(rows, in, out);
    const auto x = numbers<T>(rows * in, 1), w = numbers<T>(out * in, 2), bias = numbers<T>(out, 3),
               dy = numbers<T>(rows * out, 4);
    std::vector<T> y(static_cast<size_t>(rows * out)), dx(x.size()), dw(w.size()), db(bias.size());
    kernels::linear<T>(rows, in, out, x.data(), w.data(), false, bias.data(), false, y.data());
    kernels::linear_dx<T>(rows, in, out, dy.data(), w.data(), dx.data());
    kernels::linear_dw<T>(rows, in, out, dy.data(), x.data(), dw.data());
    kernels::column_sums<T>(rows, out, dy.data(), out, db.data(), false);
    const double eps = std::is_same_v<T, float> ? 6e-8 : 1.2e-16;
    const auto check = [&](const std::vector<T>& got, const Truth& truth, int64_t terms,
                           const T* add) {
      for (size_t i = 0; i < got.size(); ++i) {
        const double more = add ? static_cast<double>(add[i % bias.size()]) : 0;
        REQUIRE(std::abs(static_cast<double>(got[i]) - more - truth.sums[i]) <=
                eps * static_cast<double>(terms + 2) * (truth.sizes[i] + std::abs(more)));
      }
    };
    check(y, product(false, true, rows, out, in, x.data(), in, w.data(), in), in, bias.data());
    check(dx, product(false, false, rows, in, out, dy.data(), out, w.data(), in), out, nullptr);
    check(dw, product(true, false, out, in, rows, dy.data(), out, x.data(), in), rows, nullptr);
    const std::vector<T> ones(static_cast<size_t>(rows), T(1));
    check(db, product(false, false, 1, out, rows, ones.data(), rows, dy.data(), out), rows,
          nullptr);
  }
}

TEMPLATE_TEST_CASE("linear: both layouts of W, and max(y, 0) to the bit on every path", "", float,
                   double) {
  using T = TestType;
  for (auto [rows, in, out] : {std::array<int64_t, 3>{1, 300, 70},
                               {7, 13, 5},
                               {16, 130, 200},
                               {64, 784, 40},
                               {100, 40, 50},
                               {768, 40, 130},
                               {300, 520, 33},
                               {5, 0, 4},
                               {130, 0, 3}}) {
    const auto x = numbers<T>(rows * in, 1), w = numbers<T>(out * in, 2), bias = numbers<T>(out, 3);
    for (const T* b : {bias.data(), static_cast<const T*>(nullptr)})
      for (bool turned : {false, true})
        at_every_level([&, rows = rows, in = in, out = out] {
          CAPTURE(rows, in, out, turned, b != nullptr);
          std::vector<T> y(static_cast<size_t>(rows * out)), z(y.size());
          kernels::linear<T>(rows, in, out, x.data(), w.data(), turned, b, false, y.data());
          kernels::linear<T>(rows, in, out, x.data(), w.data(), turned, b, true, z.data());
          const Truth truth =
              product(false, !turned, rows, out, in, x.data(), in, w.data(), turned ? out : in);
          const double eps = std::is_same_v<T, float> ? 6e-8 : 1.2e-16;
          for (size_t i = 0; i < y.size(); ++i) {
            const double more = b ? static_cast<double>(b[i % bias.size()]) : 0;
            REQUIRE(std::abs(static_cast<double>(y[i]) - more - truth.sums[i]) <=
                    eps * static_cast<double>(in + 2) * (truth.sizes[i] + std::abs(more)));
            REQUIRE(z[i] == (y[i] < T(0) ? T(0) : y[i]));
          }
        });
  }
  // NaN stays; with 3, 20 and 200 rows.
  for (int64_t rows : {3, 20, 200}) {
    std::vector<T> x(static_cast<size_t>(rows * 40), std::numeric_limits<T>::quiet_NaN()),
        w(40 * 30, T(-1)), y(static_cast<size_t>(rows * 30));
    kernels::linear<T>(rows, 40, 30, x.data(), w.data(), false, nullptr, true, y.data());
    for (T v : y) REQUIRE(std::isnan(v));
  }
}
