#include "exercise.h"

#include <loupe/exercises/check.h>
#include <loupe/exercises/counted.h>

#include <fmt/format.h>

#include <chrono>

#include <loupe/loupe.h>

namespace mine {
using loupe::exercises::Counted;
// The student's function once more, with numbers that count; null where it takes no other float.
__attribute__((weak)) void multiply(const Counted* a, const Counted* b, Counted* c, int64_t n,
                                    int64_t k, int64_t m);
}  // namespace mine

namespace loupe::exercises {

namespace {

constexpr int64_t kBlock = 64;   // the depth that most people choose
constexpr int64_t kTimed = 256;  // sides of the product that is timed
constexpr int64_t kCounted =
    192;  // of the one whose passes over memory are counted: 144 KiB a matrix

using Numbers = std::vector<float>;

struct Case {
  int64_t n, k, m;
  Tensor a, b, old;  // f32
};

Tensor multiplied(const Case& t) {
  const Tensor c = t.old.clone();
  mine::multiply(t.a.data<float>().data(), t.b.data<float>().data(), c.data<float>().data(), t.n,
                 t.k, t.m);
  return c.to(DType::f64);
}

void compare(Check& c, const std::string& name, int64_t n, int64_t k, int64_t m) {
  c.trying(fmt::format("{}: a ({}, {}), b ({}, {})", name, n, k, k, m));
  const Case t{n, k, m, randn(c.rng, {n, k}), randn(c.rng, {k, m}), randn(c.rng, {n, m})};
  const Tensor a = t.a.to(DType::f64), b = t.b.to(DType::f64), old = t.old.to(DType::f64);
  const Tensor right = matmul(a, b);
  const auto depth = [&](int64_t from, int64_t to) {
    return matmul(a.slice(1, from, to), b.slice(0, from, to));
  };
  // The same memory read as another shape.
  const auto b_of = [&](int64_t step) {
    std::vector<double> all = b.to_vector<double>(), out(static_cast<size_t>(k * m));
    for (int64_t l = 0; l < k; ++l)
      for (int64_t j = 0; j < m; ++j)
        out[static_cast<size_t>(l * m + j)] = all[static_cast<size_t>((l * step + j) % (k * m))];
    return from_data(out, Shape{k, m});
  };
  c.equal("c", multiplied(t), right,
          {{"the old numbers of c are still there: fill it with zeros first",
            [&] { return right + old; }},
           {"only the last block of the inner dimension is left: blocks add to c",
            [&] { return depth((k - 1) / kBlock * kBlock, k); }},
           {"a part of the inner dimension is missing: the last block is smaller than the others",
            [&] { return depth(0, k / kBlock * kBlock); }},
           {"b is read with the wrong row length: element (l, j) lies at l * m + j",
            [&] { return matmul(a, b_of(k)); }},
           {"b is read as its transpose: element (l, j) lies at l * m + j",
            [&] {
              return matmul(a, b.reshape({m, k}).t());
            }},
           {"nothing was written: c holds its old numbers", [&] { return old; }},
           {"the last product alone is left: add them up", [&] { return depth(k - 1, k); }}},
          1e-5);
}

double seconds_of(const std::function<void()>& f) {
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void plain(const float* a, const float* b, float* c, int64_t n, int64_t k, int64_t m) {
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) {
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += a[i * k + l] * b[l * m + j];
      c[i * m + j] = sum;
    }
}

using Counting = void (*)(const Counted* a, const Counted* b, Counted* c, int64_t n, int64_t k,
                          int64_t m);

// Bytes that come from memory into the cache, divided by those of a, b and c.
double passes(Counting f) {
  constexpr int64_t n = kCounted;
  const std::vector<Counted> a(n * n, 1.0f), b(n * n, 1.0f);
  std::vector<Counted> c(n * n);
  CacheModel& cache = CacheModel::the();
  cache.clear();
  f(a.data(), b.data(), c.data(), n, n, n);
  return static_cast<double>(cache.bytes()) / (3.0 * sizeof(Counted) * n * n);
}

// "passes over memory: 2.1, plain loops 65", or nothing if the file does not compile with Counted.
std::string passes_in_words() {
  const Counting yours = mine::multiply;
  if (!yours) return "";
  const double plain_loops = (kCounted + 2) / 3.0;  // b once for each row of a; a and c once
  return fmt::format("; passes over memory {:.1f}, plain loops {:.0f} ({} x {}, 64 KiB of cache)",
                     passes(yours), plain_loops, kCounted, kCounted);
}

void speed(Check& c) {
  c.trying(fmt::format("the speed of {0} x {0} times {0} x {0}", kTimed));
  const int64_t n = kTimed;
  const Tensor a = randn(c.rng, {n, n}), b = randn(c.rng, {n, n}), out = zeros({n, n});
  const float *pa = a.data<float>().data(), *pb = b.data<float>().data();
  float* pc = out.data<float>().data();
  const int threads = thread_limit();
  set_thread_limit(1);
  const double yours = seconds_of([&] { mine::multiply(pa, pb, pc, n, n, n); });
  const double library = seconds_of([&] { matmul(a, b); });
  set_thread_limit(threads);
  const double naive = seconds_of([&] { plain(pa, pb, pc, n, n, n); });
  const double work = 2e-9 * static_cast<double>(n * n * n);
  c.score(fmt::format("{:.1f} GFLOP/s; plain loops {:.1f}, the library {:.1f} (one thread)",
                      work / yours, work / naive, work / library) +
              passes_in_words(),
          std::log(naive / yours) / std::log(naive / library));
}

}  // namespace

void run(Check& c) {
  compare(c, "small", c.between(2, 4), c.between(5, 7), c.between(8, 9));
  compare(c, "two blocks", 2 * kBlock, 2 * kBlock, 2 * kBlock);
  compare(c, "not a multiple of any block", c.between(65, 70), c.between(130, 140),
          c.between(260, 270));
  compare(c, "one row", 1, c.between(65, 70), 3);
  speed(c);
}

}  // namespace loupe::exercises
