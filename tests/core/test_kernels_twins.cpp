// The fast rowwise, elementwise and pooling kernels against the plain loops beside them. Where a
// result does not depend on the order of a sum, or both sum in one order, the bits are the same, at
// every CPU level and thread limit; elsewhere the plain loops in f64 are the truth.
#include <loupe/core/kernels/elementwise/dropout.h>
#include <loupe/core/kernels/elementwise/recurrent.h>
#include <loupe/core/kernels/pool/interpolate.h>
#include <loupe/core/kernels/pool/pool.h>
#include <loupe/core/kernels/rowwise/embedding.h>
#include <loupe/core/kernels/rowwise/index.h>
#include <loupe/core/kernels/rowwise/loss.h>
#include <loupe/core/kernels/rowwise/scan.h>
#include <loupe/core/kernels/rowwise/softmax.h>
#include <loupe/core/kernels/rowwise/sort.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "catch.h"
#include "core/kernel_tests.h"

using namespace loupe;
using namespace loupe::kernels;

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;
using Places = std::vector<int64_t>;

size_t sz(int64_t n) { return static_cast<size_t>(n); }
Floats normal(int64_t n, uint64_t seed, double mean = 0) {
  Rng rng(seed);
  Floats x(sz(n));
  for (float& e : x) e = static_cast<float>(mean + rng.normal());
  return x;
}
Places places(int64_t n, int64_t limit, uint64_t seed) {
  Rng rng(seed);
  Places x(sz(n));
  for (int64_t& e : x) e = rng.integer(0, limit);
  return x;
}
Doubles wide(const Floats& x) { return {x.begin(), x.end()}; }

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}
double distance(const Floats& a, const Doubles& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

// Runs f at every CPU level, with one thread and with three.
template <class F> void everywhere(const F& f) {
  at_every_level([&] {
    for (int threads : {1, 3}) {
      ThreadLimit limit(threads);
      f();
    }
  });
}

}  // namespace

TEST_CASE("softmax and log_softmax follow the plain loops in f64") {
  for (const Lines& lines : {Lines{5, 70, 1}, Lines{2, 9, 6}, Lines{3, 5000, 1}, Lines{0, 4, 1}})
    for (bool log : {false, true}) {
      const int64_t n = lines.outer * lines.n * lines.inner;
      const Floats x = normal(n, 1, 3), dy = normal(n, 2);
      const Doubles xd = wide(x), dyd = wide(dy);
      Doubles want(sz(n)), want_dx(sz(n));
      plain::softmax(log, lines, xd.data(), want.data());
      plain::softmax_backward(log, lines, want.data(), dyd.data(), want_dx.data());
      everywhere([&] {
        Floats y(sz(n)), dx(sz(n));
        kernels::softmax(log, lines, x.data(), y.data());
        kernels::softmax_backward(log, lines, y.data(), dy.data(), dx.data());
        CHECK(distance(y, want) < (log ? 3e-6 : 4e-7));
        CHECK(distance(dx, want_dx) < (log ? 2e-5 : 1e-6));
      });
    }
}

TEST_CASE("cross entropy and binary cross entropy follow the plain loops in f64") {
  const int64_t rows = 9, classes = 70;
  const Floats x = normal(rows * classes, 1), g = normal(rows, 2);
  Floats w = normal(classes, 3);
  for (float& e : w) e = std::fabs(e);
  Places target = places(rows, classes, 4);
  target[3] = -100;
  const Doubles xd = wide(x), gd = wide(g), wd = wide(w);
  for (double smoothing : {0.0, 0.1})
    for (bool weighted : {false, true}) {
      const CrossEntropyShape s{rows, classes, -100, smoothing};
      const CrossEntropyInput<float> in{s, x.data(), target.data(), weighted ? w.data() : nullptr};
      const CrossEntropyInput<double> truth{s, xd.data(), target.data(),
                                            weighted ? wd.data() : nullptr};
      Doubles want(sz(rows)), want_stats(sz(2 * rows)), want_dx(xd.size());
      plain::cross_entropy(truth, want.data(), want_stats.data());
      plain::cross_entropy_backward(truth, want_stats.data(), {gd.data(), 1}, want_dx.data());
      everywhere([&] {
        Floats loss(sz(rows)), stats(sz(2 * rows)), dx(x.size());
        kernels::cross_entropy(in, loss.data(), stats.data());
        kernels::cross_entropy_backward(in, stats.data(), {g.data(), 1}, dx.data());
        CHECK(distance(loss, want) < 3e-6);
        CHECK(distance(stats, want_stats) < 1e-6);
        CHECK(distance(dx, want_dx) < 2e-6);
      });
    }
  Floats p(40), t(40), y(40);
  for (size_t i = 0; i < 40; ++i) {
    p[i] = static_cast<float>(i) / 39;
    t[i] = static_cast<float>(i % 3) / 2;
  }
  Doubles want(40);
  plain::binary_cross_entropy(40, wide(p).data(), wide(t).data(), want.data());
  everywhere([&] {
    kernels::binary_cross_entropy(40, p.data(), t.data(), y.data());
    CHECK(distance(y, want) < 2e-6);
  });
}

TEST_CASE("running sums and products have the plain loops' bits") {
  for (const Lines& lines : {Lines{3, 2000, 1}, Lines{2, 5, 700}, Lines{1, 1, 1}, Lines{2, 0, 3}}) {
    const int64_t n = lines.outer * lines.n * lines.inner;
    const Floats x = normal(n, 1), dy = normal(n, 2);
    const Places whole = places(n, 9, 3);
    Floats sum(sz(n)), product(sz(n)), dx(sz(n));
    Places count(sz(n));
    plain::cumsum(lines, x.data(), sum.data());
    plain::cumprod(lines, x.data(), product.data());
    plain::cumprod_backward(lines, x.data(), dy.data(), dx.data());
    plain::cumsum(lines, whole.data(), count.data());
    everywhere([&] {
      Floats y(sz(n)), z(sz(n)), d(sz(n));
      Places c(sz(n));
      kernels::cumsum(lines, x.data(), y.data());
      kernels::cumprod(lines, x.data(), z.data());
      kernels::cumprod_backward(lines, x.data(), dy.data(), d.data());
      kernels::cumsum(lines, whole.data(), c.data());
      CHECK(same_bits(y, sum));
      CHECK(same_bits(z, product));
      CHECK(same_bits(d, dx));
      CHECK(c == count);
    });
  }
}

TEST_CASE("every way to sort gives the stable order") {
  // By comparisons, a heap, a selection and digits of the keys.
  for (const SortShape& shape : {SortShape{4, 50, 50}, SortShape{3, 300, 20}, SortShape{2, 900, 70},
                                 SortShape{3, 1000, 1000}, SortShape{0, 5, 5}})
    for (bool descending : {false, true}) {
      SortShape s = shape;
      s.descending = descending;
      Floats x = normal(s.rows * s.n, 5);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] = std::round(4 * x[i]) / 4;  // many equal ones, 0 and -0 among them
        if (i % 97 == 3) x[i] = std::nanf("");
      }
      const Doubles xd = wide(x);
      Places want(sz(s.rows * s.k));
      plain::sort_rows(s, x.data(), want.data());
      everywhere([&] {
        Places f32(want.size()), f64(want.size());
        kernels::sort_rows(s, x.data(), f32.data());
        kernels::sort_rows(s, xd.data(), f64.data());
        CHECK(f32 == want);
        CHECK(f64 == want);
      });
    }
}

TEST_CASE("gather, scatter and rows by index have the plain loops' bits") {
  for (int axis : {0, 1, 2}) {
    const IndexOver s{{7, 30, 40}, {9, 50, 60}, axis};
    const Places index = places(7 * 30 * 40, s.full[axis], 6);
    const Floats full = normal(9 * 50 * 60, 7), part = normal(7 * 30 * 40, 8);
    Floats gathered(part.size()), scattered = full, added = full;
    plain::gather(s, index.data(), full.data(), gathered.data());
    plain::scatter(s, index.data(), part.data(), scattered.data());
    plain::scatter_add(s, index.data(), part.data(), added.data());
    everywhere([&] {
      Floats y(part.size()), z = full, w = full;
      kernels::gather(s, index.data(), full.data(), y.data());
      kernels::scatter(s, index.data(), part.data(), z.data());
      kernels::scatter_add(s, index.data(), part.data(), w.data());
      CHECK(same_bits(y, gathered));
      CHECK(same_bits(z, scattered));
      CHECK(same_bits(w, added));
    });
  }
  for (const Rows& s : {Rows{2, 30, 100, 800}, Rows{3, 20, 1, 50}, Rows{1, 4, 0, 3}}) {
    const Places index = places(s.count, s.n, 9);
    const Floats x = normal(s.outer * s.n * s.inner, 10),
                 dy = normal(s.outer * s.count * s.inner, 11);
    Floats taken(dy.size()), sums(x.size());
    plain::take_rows(s, index.data(), x.data(), taken.data());
    plain::add_rows(s, index.data(), dy.data(), sums.data());
    everywhere([&] {
      Floats y(dy.size()), dx(x.size(), NAN);
      kernels::take_rows(s, index.data(), x.data(), y.data());
      kernels::add_rows(s, index.data(), dy.data(), dx.data());
      CHECK(same_bits(y, taken));
      CHECK(same_bits(dx, sums));
    });
  }
}

TEST_CASE("embedding and dropout have the plain loops' bits") {
  const EmbeddingShape s{2000, 37, 90};
  const Floats table = normal(s.entries * s.width, 12), dout = normal(s.count * s.width, 13);
  const Places index = places(s.count, s.entries, 14);
  Floats want(dout.size()), want_grad(table.size());
  plain::embedding(s, table.data(), index.data(), want.data());
  plain::embedding_backward(s, dout.data(), index.data(), 5, want_grad.data());
  const DropoutStream stream{0.3, 9, 77};
  const int64_t n = 20001;
  const Floats x = normal(n, 15);
  Floats want_dropped(x.size());
  plain::dropout(n, stream, x.data(), want_dropped.data());
  everywhere([&] {
    Floats out(dout.size()), grad(table.size(), NAN), dropped(x.size());
    kernels::embedding(s, table.data(), index.data(), out.data());
    kernels::embedding_backward(s, dout.data(), index.data(), 5, grad.data());
    kernels::dropout(n, stream, x.data(), dropped.data());
    CHECK(same_bits(out, want));
    CHECK(same_bits(grad, want_grad));
    CHECK(same_bits(dropped, want_dropped));
  });
}

TEST_CASE("pooling has the plain loops' bits") {
  struct Form {
    int64_t n, h, w, c;
    WindowRule rule;
  };
  for (const Form& f : {Form{2, 9, 7, 5, {3, 2, 1}}, Form{9, 6, 6, 33, {2, 2}},
                        Form{1, 12, 11, 70, {3, 2, 1, 2, true, false}}}) {
    const PoolShape s{f.n, f.h, f.w, f.c, windows(f.h, f.rule), windows(f.w, f.rule)};
    Floats x = normal(f.n * f.h * f.w * f.c, 16);
    for (float& e : x) e = std::round(2 * e) / 2;  // ties: the first wins
    x[7] = std::nanf("");
    const Floats dy = normal(f.n * s.out_h() * s.out_w() * f.c, 17);
    Floats best(dy.size()), mean(dy.size()), gathered(dy.size()), dbest(x.size()), dmean(x.size());
    std::vector<int32_t> at(dy.size());
    plain::max_pool(s, x.data(), best.data(), at.data());
    plain::max_pool_backward(s, dy.data(), at.data(), dbest.data());
    plain::max_pool_gather(s, x.data(), at.data(), gathered.data());
    plain::avg_pool(s, x.data(), mean.data());
    plain::avg_pool_backward(s, dy.data(), dmean.data());
    CHECK(same_bits(gathered, best));
    everywhere([&] {
      Floats y(dy.size()), z(dy.size()), w(dy.size()), dx(x.size(), NAN), dz(x.size(), NAN);
      std::vector<int32_t> indices(dy.size());
      kernels::max_pool(s, x.data(), y.data(), indices.data());
      kernels::max_pool_backward(s, dy.data(), indices.data(), dx.data());
      kernels::max_pool_gather(s, x.data(), indices.data(), w.data());
      kernels::avg_pool(s, x.data(), z.data());
      kernels::avg_pool_backward(s, dy.data(), dz.data());
      CHECK(same_bits(y, best));
      CHECK(indices == at);
      CHECK(same_bits(w, best));
      CHECK(same_bits(dx, dbest));
      CHECK(same_bits(z, mean));
      CHECK(same_bits(dz, dmean));
    });
  }
}

TEST_CASE("interpolation has the plain loops' bits") {
  const InterpolateShape s{2,
                           4,
                           3,
                           19,
                           {{0, 0, 1, 0}, {0, 1, 0.25, 0.75}, {2, 3, 0.5, 0.5}, {3, 3, 1, 0}},
                           {{0, 1, 0.3, 0.7}, {1, 1, 1, 0}, {1, 2, 0.5, 0.5}}};
  const Floats x = normal(s.n * s.h * s.w * s.c, 18);
  const Floats dy = normal(s.n * s.out_h() * s.out_w() * s.c, 19);
  Floats want(dy.size()), want_dx(x.size());
  plain::interpolate(s, x.data(), want.data());
  plain::interpolate_backward(s, dy.data(), want_dx.data());
  everywhere([&] {
    Floats y(dy.size()), dx(x.size(), NAN);
    kernels::interpolate(s, x.data(), y.data());
    kernels::interpolate_backward(s, dy.data(), dx.data());
    CHECK(same_bits(y, want));
    CHECK(same_bits(dx, want_dx));
  });
}

namespace {

// A step and its backward on numbers of one type.
template <class T> struct RecurrentRun {
  int64_t rows = 3, n = 21;
  Cell cell;
  std::vector<uint8_t> active{1, 0, 1};
  std::vector<T> x, u, h, c, dh, dc, h_next, c_next, kept, dx, du, dh_before, dc_before;

  explicit RecurrentRun(Cell kind) : cell(kind) {
    const int64_t size = rows * n, gates = size * gates_of(kind);
    const auto fill = [](std::vector<T>& to, int64_t count, uint64_t seed) {
      const Floats from = normal(count, seed);
      to.assign(from.begin(), from.end());
    };
    fill(x, gates, 20);
    fill(u, gates, 21);
    fill(h, size, 22);
    fill(c, size, 23);
    fill(dh, size, 24);
    fill(dc, size, 25);
    for (auto* to : {&h_next, &c_next, &dh_before, &dc_before}) to->resize(sz(size));
    kept.resize(sz(size * 4));
    dx.resize(sz(gates));
    du.resize(sz(gates));
  }
  void run(bool naive) {
    const bool lstm = cell == Cell::lstm;
    const RecurrentStep<T> step{.rows = rows,
                                .n = n,
                                .active = active.data(),
                                .x_gates = x.data(),
                                .h_gates = u.data(),
                                .h = h.data(),
                                .c = lstm ? c.data() : nullptr,
                                .h_next = h_next.data(),
                                .c_next = lstm ? c_next.data() : nullptr,
                                .kept = kept.data()};
    const RecurrentStepBackward<T> back{.rows = rows,
                                        .n = n,
                                        .active = active.data(),
                                        .h = h.data(),
                                        .c = lstm ? c.data() : nullptr,
                                        .h_next = h_next.data(),
                                        .c_next = lstm ? c_next.data() : nullptr,
                                        .kept = kept.data(),
                                        .dh = dh.data(),
                                        .dc = lstm ? dc.data() : nullptr,
                                        .d_x_gates = dx.data(),
                                        .d_h_gates = cell == Cell::gru ? du.data() : dx.data(),
                                        .dh_before = dh_before.data(),
                                        .dc_before = lstm ? dc_before.data() : nullptr};
    if (naive) {
      plain::recurrent_step(cell, step);
      plain::recurrent_step_backward(cell, back);
    } else {
      kernels::recurrent_step(cell, step);
      kernels::recurrent_step_backward(cell, back);
    }
  }
};

}  // namespace

TEST_CASE("recurrent steps follow the plain loops in f64") {
  for (Cell cell : {Cell::rnn_tanh, Cell::rnn_relu, Cell::lstm, Cell::gru}) {
    RecurrentRun<double> truth(cell);
    truth.run(true);
    everywhere([&] {
      RecurrentRun<float> run(cell);
      run.run(false);
      CHECK(distance(run.h_next, truth.h_next) < 1e-6);
      CHECK(distance(run.c_next, truth.c_next) < 1e-6);
      CHECK(distance(run.dx, truth.dx) < 2e-6);
      CHECK(distance(run.du, truth.du) < 2e-6);
      CHECK(distance(run.dh_before, truth.dh_before) < 2e-6);
      CHECK(distance(run.dc_before, truth.dc_before) < 2e-6);
    });
  }
}
