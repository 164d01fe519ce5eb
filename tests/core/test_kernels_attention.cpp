// f32's tiles against f64 written out, at every CPU level, with sizes around each of the tiles'
// edges; f64 against finite differences.
#include <loupe/core/cpu.h>
#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/attention/attention.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "catch.h"
#include "core/kernel_tests.h"

using namespace loupe;
using namespace loupe::kernels;

namespace {

struct Case {
  int64_t batch, heads, queries, keys, dim, value_dim;
  bool causal = false;
  int mask = 0;  // 1 boolean, 2 additive, 3 boolean with a query that sees nothing
  double dropout = 0;
};

// Tensors in the memory order (batch, rows, heads, columns), as a projection leaves them.
template <class T> struct Run {
  Case c;
  AttentionShape s;
  std::vector<T> q, k, v, out, dout, dq, dk, dv, stats, weights, add;
  std::vector<char> keep;

  template <class P> static Heads<P> heads(P* data, const Case& c, int64_t rows, int64_t cols) {
    return {data, rows * c.heads * cols, cols, c.heads * cols};
  }
  explicit Run(const Case& in) : c(in) {
    s.batch = c.batch, s.heads = c.heads, s.queries = c.queries, s.keys = c.keys, s.dim = c.dim;
    s.value_dim = c.value_dim, s.causal = c.causal, s.dropout = c.dropout;
    s.scale = c.dim ? 1 / std::sqrt(static_cast<double>(c.dim)) : 1;
    s.key = 7, s.counter = 1000;
    Rng rng(3);
    const auto fill = [&](std::vector<T>& x, int64_t n, double size) {
      x.resize(static_cast<size_t>(n));
      for (auto& e : x) e = static_cast<T>(static_cast<float>(size * rng.normal()));
    };
    const int64_t bh = c.batch * c.heads;
    fill(q, bh * c.queries * c.dim, 2);
    fill(k, bh * c.keys * c.dim, 1);
    fill(v, bh * c.keys * c.value_dim, 1);
    fill(dout, bh * c.queries * c.value_dim, 1);
    fill(add, bh * c.queries * c.keys, 1);
    keep.resize(static_cast<size_t>(c.batch * c.queries * c.keys));
    for (auto& e : keep) e = rng.uniform() < 0.6;
    if (c.mask == 3)
      for (int64_t j = 0; j < c.keys; ++j)
        keep[static_cast<size_t>((c.queries / 2) * c.keys + j)] = 0;
    if (c.mask & 1)
      s.mask = {
          reinterpret_cast<const bool*>(keep.data()), nullptr, c.queries * c.keys, 0, c.keys, 1};
    if (c.mask == 2)
      s.mask = {nullptr, add.data(), c.heads * c.queries * c.keys, c.queries * c.keys, c.keys, 1};
    out.assign(dout.size(), static_cast<T>(NAN));
    dq.assign(q.size(), static_cast<T>(NAN));
    dk.assign(k.size(), static_cast<T>(NAN));
    dv.assign(v.size(), static_cast<T>(NAN));
    stats.resize(static_cast<size_t>(2 * bh * c.queries));
    weights.resize(static_cast<size_t>(bh * c.queries * c.keys));
  }
  void forward(bool plain, bool keep_weights) {
    const AttentionForward<T> call{.shape = s,
                                   .q = heads<const T>(q.data(), c, c.queries, c.dim),
                                   .k = heads<const T>(k.data(), c, c.keys, c.dim),
                                   .v = heads<const T>(v.data(), c, c.keys, c.value_dim),
                                   .out = heads(out.data(), c, c.queries, c.value_dim),
                                   .stats = stats.data(),
                                   .weights = keep_weights ? weights.data() : nullptr};
    if (plain) plain::attention(call);
    else kernels::attention(call);
  }
  void backward(bool plain, bool use_weights) {
    const AttentionBackward<T> call{.shape = s,
                                    .q = heads<const T>(q.data(), c, c.queries, c.dim),
                                    .k = heads<const T>(k.data(), c, c.keys, c.dim),
                                    .v = heads<const T>(v.data(), c, c.keys, c.value_dim),
                                    .out = heads<const T>(out.data(), c, c.queries, c.value_dim),
                                    .dout = heads<const T>(dout.data(), c, c.queries, c.value_dim),
                                    .stats = use_weights ? nullptr : stats.data(),
                                    .weights = use_weights ? weights.data() : nullptr,
                                    .dq = heads(dq.data(), c, c.queries, c.dim),
                                    .dk = heads(dk.data(), c, c.keys, c.dim),
                                    .dv = heads(dv.data(), c, c.keys, c.value_dim)};
    if (plain) plain::attention_backward(call);
    else kernels::attention_backward(call);
  }
};

template <class A, class B> double distance(const std::vector<A>& a, const std::vector<B>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

const std::vector<Case> kCases = {
    {2, 2, 64, 64, 32, 32, true},
    {1, 1, 1, 1, 1, 1},
    {1, 1, 1, 1, 1, 1, true},
    {2, 3, 5, 7, 4, 6},
    {1, 2, 17, 17, 8, 24, true},
    {1, 2, 70, 70, 16, 16, true},
    {1, 1, 130, 300, 16, 40},
    {1, 1, 300, 130, 20, 16, true},
    {1, 3, 257, 257, 64, 64, true},
    {9, 1, 129, 129, 32, 32, true},
    {2, 2, 33, 48, 16, 16, false, 1},
    {2, 2, 70, 150, 16, 16, false, 2},
    {2, 2, 40, 150, 16, 16, false, 3},
    {2, 2, 150, 150, 16, 16, true, 1},
    {2, 2, 64, 64, 32, 32, true, 0, 0.3},
    {1, 2, 100, 201, 16, 32, false, 3, 0.25},
    {1, 2, 20, 20, 16, 16, false, 0, 1.0},
};

}  // namespace

TEST_CASE(
    "attention: f32 tiles equal the plain f64 loops at every CPU level, forward and backward") {
  LevelGuard guard;
  for (const Case& c : kCases) {
    Run<double> truth(c);
    truth.forward(true, true);
    truth.backward(true, true);
    for (auto level : cpu_levels()) {
      set_cpu_level(level);
      for (bool weights : {false, true}) {
        CAPTURE(name(level), weights, c.batch, c.heads, c.queries, c.keys, c.dim, c.value_dim,
                c.causal, c.mask, c.dropout);
        Run<float> run(c);
        run.forward(false, weights);
        run.backward(false, weights);
        CHECK(distance(run.out, truth.out) < 3e-6);
        if (weights) CHECK(distance(run.weights, truth.weights) < 1e-6);
        CHECK(distance(run.dq, truth.dq) < 6e-6);
        CHECK(distance(run.dk, truth.dk) < 2e-5);
        CHECK(distance(run.dv, truth.dv) < 6e-6);
      }
    }
  }
}

// A row that no call meets, or whose question is never answered with yes, would be dead code.
TEST_CASE("attention: every row of the tables runs, and is right") {
  const LevelGuard guard;
  const Case one_tile{1, 2, 70, 100, 16, 16}, several_tiles{1, 2, 70, 300, 16, 16};
  std::set<std::string> forward, backward;
  const auto meet = [&](CpuLevel level, const Case& c, bool weights) {
    set_cpu_level(level);
    Run<double> truth(c);
    truth.forward(true, true);
    truth.backward(true, true);
    Run<float> run(c);
    clear_kernel_log();
    run.forward(false, weights);
    forward.insert(last_kernel());
    clear_kernel_log();
    run.backward(false, weights);
    backward.insert(last_kernel());
    CHECK(distance(run.out, truth.out) < 3e-6);
    CHECK(distance(run.dq, truth.dq) < 6e-6);
    CHECK(distance(run.dk, truth.dk) < 2e-5);
    CHECK(distance(run.dv, truth.dv) < 6e-6);
  };
  meet(CpuLevel::reference, one_tile, false);
  meet(best_cpu_level(), several_tiles, true);
  meet(best_cpu_level(), several_tiles, false);
  for (const auto& path : attention_paths<float>()) CHECK(forward.erase(path.name) == 1);
  for (const auto& path : attention_backward_paths<float>()) CHECK(backward.erase(path.name) == 1);
  CHECK(forward.empty());
  CHECK(backward.empty());
}

TEST_CASE("attention: the same bits at any thread limit", "[threads]") {
  for (const Case& c :
       {Case{3, 2, 64, 64, 32, 32, true}, Case{1, 1, 300, 700, 16, 16, false, 0, 0.1},
        Case{1, 2, 513, 513, 16, 16, true}}) {
    Run<float> one(c);
    {
      ThreadLimit limit(1);
      one.forward(false, false);
      one.backward(false, false);
    }
    for (int threads : {2, 3, 8}) {
      ThreadLimit limit(threads);
      Run<float> many(c);
      many.forward(false, false);
      many.backward(false, false);
      CHECK(many.out == one.out);
      CHECK(many.dq == one.dq);
      CHECK(many.dk == one.dk);
      CHECK(many.dv == one.dv);
    }
  }
}

TEST_CASE("attention: the plain gradients agree with finite differences") {
  for (const Case& c : {Case{1, 2, 3, 4, 3, 2}, Case{1, 1, 4, 4, 2, 3, true},
                        Case{2, 1, 3, 3, 2, 2, false, 3}, Case{1, 1, 4, 5, 2, 2, false, 2, 0.4}}) {
    Run<double> run(c);
    run.forward(true, false);
    run.backward(true, false);
    const auto loss = [&] {
      run.forward(true, false);
      double sum = 0;
      for (size_t i = 0; i < run.out.size(); ++i) sum += run.out[i] * run.dout[i];
      return sum;
    };
    const auto check = [&](std::vector<double>& x, const std::vector<double>& dx) {
      for (size_t i = 0; i < x.size(); ++i) {
        const double at = x[i], h = 1e-5;
        x[i] = at + h;
        const double up = loss();
        x[i] = at - h;
        const double down = loss();
        x[i] = at;
        CHECK(dx[i] == Approx((up - down) / (2 * h)).margin(1e-8));
      }
    };
    check(run.q, run.dq);
    check(run.k, run.dk);
    check(run.v, run.dv);
  }
}

TEST_CASE("attention: a query that sees nothing gives zeros and zero gradients") {
  Case c{1, 1, 4, 6, 8, 8, false, 3};
  Run<float> run(c);
  run.forward(false, false);
  run.backward(false, false);
  for (size_t d = 0; d < 8; ++d) {
    CHECK(run.out[2 * 8 + d] == 0.0f);
    CHECK(run.dq[2 * 8 + d] == 0.0f);
  }
}

TEST_CASE("attention: empty sizes") {
  for (const Case& c :
       {Case{0, 2, 3, 3, 4, 4}, Case{1, 2, 0, 3, 4, 4}, Case{1, 2, 3, 0, 4, 4},
        Case{1, 2, 3, 0, 4, 4, true}, Case{1, 1, 3, 2, 0, 4}, Case{1, 1, 3, 2, 4, 0}}) {
    Run<float> run(c);
    run.forward(false, false);
    run.backward(false, false);
    for (const auto* x : {&run.dq, &run.dk, &run.dv, &run.out})
      for (float e : *x) CHECK(std::isfinite(e));
    if (c.keys == 0)
      for (float e : run.out) CHECK(e == 0.0f);
  }
}
