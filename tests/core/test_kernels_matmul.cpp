#include "kernel_tests.h"
#include "worst.h"

#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/matmul/gemm.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>
#include <string>
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

// A product to check: its shape, how A and B are stored, and what is done with the sums.
struct Case {
  int64_t m, n, k;
  bool ta = false, tb = false;  // A, B stored as their transpose
  bool accumulate = false, bias = false, relu = false;
};

// A case with numbers, and what they give by the definition.
template <class T> struct Problem {
  Case c;
  int64_t a_stride, b_stride, c_stride;
  std::vector<T> a, b, bias, before;
  Truth truth;

  explicit Problem(const Case& one)
      : c(one),
        a_stride((c.ta ? c.m : c.k) + 3),
        b_stride((c.tb ? c.k : c.n) + 5),
        c_stride(c.n + 2),
        a(numbers<T>((c.ta ? c.k : c.m) * a_stride + 1, 1)),
        b(numbers<T>((c.tb ? c.n : c.k) * b_stride + 1, 2)),
        bias(numbers<T>(c.n + 1, 4)),
        before(numbers<T>(c.m * c_stride + 1, 3)),
        truth(product(c.ta, c.tb, c.m, c.n, c.k, a.data(), a_stride, b.data(), b_stride)) {}

  kernels::Gemm<T> call(std::vector<T>& out) const {
    return {.m = c.m,
            .n = c.n,
            .k = c.k,
            .a = {a.data(), a_stride, c.ta},
            .b = {b.data(), b_stride, c.tb},
            .c = out.data(),
            .c_stride = c_stride,
            .bias = c.bias ? bias.data() : nullptr,
            .accumulate = c.accumulate,
            .relu = c.relu};
  }

  // A product's result at several thread limits, which must give the same bits.
  std::vector<T> result(const std::function<void(const kernels::Gemm<T>&)>& multiply) const {
    std::vector<T> first;
    for (int limit : {1, 2, 3, 8}) {
      ThreadLimit scope(limit);
      auto out = before;
      clear_kernel_log();
      multiply(call(out));
      if (first.empty()) first = out;
      else REQUIRE(std::memcmp(first.data(), out.data(), out.size() * sizeof(T)) == 0);
    }
    return first;
  }

  // The largest error of an element, relative to the sizes of its terms.
  double error_of(const std::vector<T>& got) const {
    double worst = 0;
    for (int64_t i = 0; i < c.m; ++i)
      for (int64_t j = 0; j < c.n; ++j) {
        const size_t at = static_cast<size_t>(i * c_stride + j);
        const size_t sum = static_cast<size_t>(i * c.n + j);
        double start = 0;
        if (c.accumulate) start = static_cast<double>(before[at]);
        else if (c.bias) start = static_cast<double>(bias[static_cast<size_t>(j)]);
        double want = start + truth.sums[sum];
        if (c.relu) want = std::max(want, 0.0);
        const double size = truth.sizes[sum] + std::abs(start);
        const double error = std::abs(static_cast<double>(got[at]) - want);
        worst = worst_of(worst, size > 0 ? error / size : error);
      }
    return worst;
  }

  // Holds a result against the definition.
  void check(const std::vector<T>& got) const {
    const double eps = std::is_same_v<T, float> ? 6e-8 : 1.2e-16;
    REQUIRE(error_of(got) <= eps * static_cast<double>(c.k + 2));
    for (int64_t i = 0; i < c.m; ++i)  // the gaps between rows are not ours
      for (int64_t j = c.n; j < c_stride; ++j) {
        const size_t at = static_cast<size_t>(i * c_stride + j);
        REQUIRE(got[at] == before[at]);
      }
  }

  // Checks gemm() and a SharedRight. Returns the name of gemm()'s way that ran.
  std::string check() const {
    CAPTURE(c.m, c.n, c.k, c.ta, c.tb, c.accumulate, c.bias, c.relu);
    const kernels::SharedRight<T> right(c.k, c.n, {b.data(), b_stride, c.tb}, 2);
    check(result([&](const kernels::Gemm<T>& g) {
      right.multiply({.m = g.m,
                      .a = g.a,
                      .c = g.c,
                      .c_stride = g.c_stride,
                      .bias = g.bias,
                      .accumulate = g.accumulate,
                      .relu = g.relu});
    }));
    check(result(kernels::gemm<T>));
    return last_kernel();
  }
};

// A product that a row of gemm_paths() is there for.
struct RowCase {
  std::string row;
  Case call;
};

// Sizes on both sides of every bound that paths.cpp names.
const std::vector<RowCase> kFloatRows{
    {"no_terms", {.m = 4, .n = 3, .k = 0}},
    {"no_terms", {.m = 4, .n = 3, .k = 0, .accumulate = true}},
    {"no_terms", {.m = 4, .n = 3, .k = 0, .bias = true, .relu = true}},
    {"dots", {.m = 1, .n = 70, .k = 300, .tb = true, .bias = true}},
    {"dots", {.m = 8, .n = 33, .k = 45, .tb = true, .accumulate = true}},
    {"dots", {.m = 7, .n = 9, .k = 20, .tb = true, .bias = true, .relu = true}},
    {"row_multiples", {.m = 1, .n = 70, .k = 301, .bias = true, .relu = true}},
    {"row_multiples", {.m = 8, .n = 33, .k = 46, .accumulate = true}},
    {"split_terms", {.m = 20, .n = 30, .k = 256, .ta = true}},
    {"split_terms", {.m = 130, .n = 50, .k = 900, .ta = true, .accumulate = true}},
    {"split_terms", {.m = 390, .n = 386, .k = 256, .ta = true, .tb = true}},
    {"few_terms", {.m = 20, .n = 150, .k = 128, .ta = true, .accumulate = true}},
    {"few_terms", {.m = 100, .n = 64, .k = 60, .ta = true}},
    {"few_terms", {.m = 30, .n = 37, .k = 9, .ta = true, .tb = true}},
    {"transposed", {.m = 9, .n = 200, .k = 130, .tb = true, .bias = true, .relu = true}},
    {"transposed", {.m = 20, .n = 150, .k = 1000, .tb = true, .accumulate = true}},
    {"column_pieces", {.m = 127, .n = 70, .k = 90, .bias = true, .relu = true}},
    {"column_pieces", {.m = 64, .n = 64, .k = 255, .ta = true}},                // between the two
    {"column_pieces", {.m = 20, .n = 30, .k = 256, .ta = true, .bias = true}},  // a bias
    {"column_pieces", {.m = 9, .n = 40, .k = 30, .ta = true, .relu = true}},
    {"column_pieces", {.m = 100, .n = 50, .k = 40, .tb = true, .accumulate = true}},
    {"row_pieces", {.m = 128, .n = 40, .k = 50, .bias = true, .relu = true}},
    {"row_pieces", {.m = 300, .n = 33, .k = 1000, .accumulate = true}},
    {"row_pieces", {.m = 300, .n = 33, .k = 910, .tb = true, .bias = true}},
    {"row_pieces", {.m = 130, .n = 40, .k = 300, .ta = true, .relu = true}},
};
const std::vector<RowCase> kDoubleRows{
    {"no_terms", {.m = 4, .n = 3, .k = 0, .bias = true, .relu = true}},
    {"dgemm_split_terms", {.m = 130, .n = 50, .k = 900, .ta = true, .accumulate = true}},
    {"dgemm_column_pieces", {.m = 3, .n = 70, .k = 90, .tb = true, .bias = true, .relu = true}},
    {"dgemm_column_pieces", {.m = 20, .n = 30, .k = 256, .ta = true, .bias = true}},
    {"dgemm_row_pieces", {.m = 128, .n = 40, .k = 50, .bias = true, .relu = true}},
};

template <class T> const std::vector<RowCase>& row_cases() {
  if constexpr (std::is_same_v<T, float>) return kFloatRows;
  else return kDoubleRows;
}

}  // namespace

TEMPLATE_TEST_CASE("every way of gemm() runs where its row of the table says, and is right", "",
                   float, double) {
  std::set<std::string> met;
  for (const RowCase& one : row_cases<TestType>()) {
    const Problem<TestType> problem(one.call);
    at_every_level([&] {
      const bool plain = plain_kernels() && one.row != "no_terms";
      const std::string ran = problem.check();
      CAPTURE(one.call.m, one.call.n, one.call.k);
      REQUIRE(ran == (plain ? "plain" : one.row));
      met.insert(ran);
    });
  }
  for (const auto& path : kernels::gemm_paths<TestType>()) {
    INFO("no case meets " << path.name);
    CHECK(met.count(path.name) == 1);
  }
}

#ifdef LOUPE_OWN_BLOCKS  // debug and sanitizer builds: the larger one takes minutes there
constexpr std::array<int64_t, 3> kLargest{75, 150, 350};
#else
constexpr std::array<int64_t, 3> kLargest{150, 300, 700};
#endif

TEMPLATE_TEST_CASE("matmul equals its definition, with the same bits at any thread limit",
                   "[threads]", float, double) {
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
                               kLargest})
          Problem<TestType>({.m = m,
                             .n = n,
                             .k = k,
                             .ta = ta,
                             .tb = tb,
                             .accumulate = m == 3 || m == 9 || m == 20 || m == 200})
              .check();
        Problem<TestType>({.m = 4, .n = 3, .k = 0, .ta = ta, .tb = tb}).check();
        Problem<TestType>({.m = 4, .n = 3, .k = 0, .ta = ta, .tb = tb, .accumulate = true}).check();
        Problem<TestType>({.m = 0, .n = 3, .k = 2, .ta = ta, .tb = tb}).check();
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
      kernels::gemm_batch<T>({.gemm = {.m = m,
                                       .n = n,
                                       .k = k,
                                       .a = {a.data(), k},
                                       .b = {b.data(), k, true},
                                       .c = c.data(),
                                       .c_stride = n},
                              .count = batch,
                              .a_offsets = at_a.data(),
                              .b_offsets = at_b.data(),
                              .c_offsets = at_c.data()});
      for (int64_t i = 0; i < batch; ++i) {
        const Truth truth = product(false, true, m, n, k, a.data() + at_a[static_cast<size_t>(i)],
                                    k, b.data() + (shared ? 0 : i * n * k), k);
        for (int64_t j = 0; j < m * n; ++j)
          REQUIRE(static_cast<double>(c[static_cast<size_t>(i * m * n + j)]) ==
                  Approx(truth.sums[static_cast<size_t>(j)]).epsilon(1e-5).margin(1e-5));
      }
    }
}

namespace {

// The four products of a linear layer: x is rows x in, W out x in, dy rows x out.
template <class T> struct LinearLayer {
  int64_t rows, in, out;

  // y = x W^T + bias; W is stored as out x in or, if `turned`, as in x out.
  void forward(const T* x, const T* w, bool turned, const T* bias, bool relu, T* y) const {
    kernels::gemm<T>({.m = rows,
                      .n = out,
                      .k = in,
                      .a = {x, in},
                      .b = {w, turned ? out : in, !turned},
                      .c = y,
                      .c_stride = out,
                      .bias = bias,
                      .relu = relu});
  }
  // dx = dy W
  void input_gradient(const T* dy, const T* w, T* dx) const {
    kernels::gemm<T>(
        {.m = rows, .n = in, .k = out, .a = {dy, out}, .b = {w, in}, .c = dx, .c_stride = in});
  }
  // dW = dy^T x
  void weight_gradient(const T* dy, const T* x, T* dw) const {
    kernels::gemm<T>({.m = out,
                      .n = in,
                      .k = rows,
                      .a = {dy, out, true},
                      .b = {x, in},
                      .c = dw,
                      .c_stride = in});
  }
};

}  // namespace

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
    const LinearLayer<T> layer{rows, in, out};
    layer.forward(x.data(), w.data(), false, bias.data(), false, y.data());
    layer.input_gradient(dy.data(), w.data(), dx.data());
    layer.weight_gradient(dy.data(), x.data(), dw.data());
    kernels::column_sums<T>(rows, out, dy.data(), out, db.data());
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
          const LinearLayer<T> layer{rows, in, out};
          layer.forward(x.data(), w.data(), turned, b, false, y.data());
          layer.forward(x.data(), w.data(), turned, b, true, z.data());
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
    LinearLayer<T>{rows, 40, 30}.forward(x.data(), w.data(), false, nullptr, true, y.data());
    for (T v : y) REQUIRE(std::isnan(v));
  }
}
