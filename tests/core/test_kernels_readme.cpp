// The example of core/kernels/README.md, "How to add a kernel", from the plain loop to vectors. The
// README's blocks of code are cut from this file; the last test compares them.
#include "kernel_tests.h"

#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/paths.h>
#include <loupe/core/threads.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

using namespace loupe;
using kernels::always;
using kernels::Path;
using kernels::reference_mode;
using kernels::run_first;

namespace {

/// out[i] = sum over j of (x[i, j] - y[j])^2: the squared distances of m points to one point.
struct Distances {
  int64_t m = 0, n = 0;
  const float* x = nullptr;  // m x n, its rows follow each other
  const float* y = nullptr;  // n
  float* out = nullptr;      // m
};

void distances_plain(const Distances& d) {
  for (int64_t i = 0; i < d.m; ++i) {
    float sum = 0;
    for (int64_t j = 0; j < d.n; ++j) {
      const float difference = d.x[i * d.n + j] - d.y[j];
      sum += difference * difference;
    }
    d.out[i] = sum;
  }
}

constexpr int64_t kSums = 16;  // partial sums of a row: a vector of the widest set

void distances_in_vectors(const Distances& call) {
  constexpr int64_t kNumbers = 16384;  // the least numbers in a piece, so that a thread pays
  const int64_t grain = std::max<int64_t>(1, kNumbers / call.n);
  parallel_ranges(call.m, grain, [&](int64_t begin, int64_t end) {
    simd([=, d = call](auto level) {
      for (int64_t i = begin; i < end; ++i) {
        const float* x = d.x + i * d.n;
        float sums[kSums] = {};
        int64_t j = 0;
        for (; j + kSums <= d.n; j += kSums) {
#pragma omp simd
          for (int64_t l = 0; l < kSums; ++l) {
            const float difference = x[j + l] - d.y[j + l];
            sums[l] = level.multiply_add(difference, difference, sums[l]);
          }
        }
        for (; j < d.n; ++j) {
          const float difference = x[j] - d.y[j];
          sums[0] = level.multiply_add(difference, difference, sums[0]);
        }
        for (int64_t half = kSums / 2; half > 0; half /= 2)
          for (int64_t l = 0; l < half; ++l) sums[l] += sums[l + half];
        d.out[i] = sums[0];
      }
    });
  });
}

// Rows that fill no vector have nothing to gain.
bool long_rows(const Distances& d) { return d.n >= kSums; }

constexpr Path<Distances> kPaths[] = {
    {"plain", reference_mode, distances_plain},
    {"vectors", long_rows, distances_in_vectors},
    {"short_rows", always, distances_plain},
};

void distances(const Distances& d) { run_first(kPaths, d); }

// The definition in f64, and a bound for the rounding of any order of the sum.
void check_distances(int64_t m, int64_t n, const std::string& row) {
  CAPTURE(m, n);
  const auto x = numbers<float>(m * n, 1), y = numbers<float>(n, 2);
  std::vector<float> first;
  for (const int limit : {1, 2, 3}) {
    const ThreadLimit scope(limit);
    std::vector<float> out(static_cast<size_t>(m));
    distances({m, n, x.data(), y.data(), out.data()});
    REQUIRE(last_kernel() == row);
    if (first.empty()) first = out;
    REQUIRE(out == first);  // the same bits at any thread limit
  }
  for (int64_t i = 0; i < m; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < n; ++j) {
      const size_t at = static_cast<size_t>(i * n + j);
      const double difference = double(x[at]) - double(y[static_cast<size_t>(j)]);
      sum += difference * difference;
    }
    const double bound = 6e-8 * static_cast<double>(n + 3) * sum;
    REQUIRE(std::abs(double(first[static_cast<size_t>(i)]) - sum) <= bound);
  }
}

}  // namespace

TEST_CASE("the README's kernel: every row of its table runs, and is right") {
  std::set<std::string> met;
  at_every_level([&] {
    const bool plain = plain_kernels();
    check_distances(5, 3, plain ? "plain" : "short_rows");
    met.insert(last_kernel());
    for (const int64_t n : {16, 45, 1000}) check_distances(100, n, plain ? "plain" : "vectors");
    met.insert(last_kernel());
  });
  for (const auto& path : kPaths) CHECK(met.count(path.name) == 1);
}

namespace {

std::string text_of(const std::string& file) {
  std::ifstream in(std::string(LOUPE_SOURCE_ROOT) + "/" + file);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("the README's blocks of code are those that run here") {
  const std::string readme = text_of("core/kernels/README.md");
  const std::string source = text_of("tests/core/test_kernels_readme.cpp");
  const std::string start = "```cpp\n", stop = "```";
  int blocks = 0;
  for (size_t at = readme.find(start); at != std::string::npos; at = readme.find(start, at)) {
    at += start.size();
    const size_t end = readme.find(stop, at);
    REQUIRE(end != std::string::npos);
    const std::string block = readme.substr(at, end - at);
    INFO(block);
    CHECK(source.find(block) != std::string::npos);
    ++blocks;
    at = end + stop.size();
  }
  CHECK(blocks >= 5);
}
