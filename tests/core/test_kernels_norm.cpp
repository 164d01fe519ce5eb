#include "catch.h"
#include "core/kernel_tests.h"

#include <loupe/core/cpu.h>
#include <loupe/core/kernels/norm/norm.h>
#include <loupe/core/memory.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <cstring>
#include <vector>

using namespace loupe;
using namespace loupe::kernels;

namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

size_t sz(int64_t n) { return static_cast<size_t>(n); }
Floats normal(Rng& rng, int64_t n, double mean = 0, double std = 1) {
  Floats out(sz(n));
  for (float& v : out) v = static_cast<float>(mean + std * rng.normal());
  return out;
}
Doubles wide(const Floats& v) { return {v.begin(), v.end()}; }

double rms(const Doubles& v) {
  double square = 0;
  for (double x : v) square += x * x;
  return v.empty() ? 0 : std::sqrt(square / static_cast<double>(v.size()));
}

/// The largest difference, relative to the root mean square of the expected values or, where those
/// cancel, of the terms.
double error(const Floats& got, const Doubles& want, double terms = 0) {
  REQUIRE(got.size() == want.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(got[i] - want[i]) <= worst)) worst = std::abs(got[i] - want[i]);
  return worst / std::max({rms(want), terms, 1e-30});
}

/// Everything the float kernels compute for one case, to compare bits and values.
struct ChannelResult {
  Doubles mean, var;
  Floats y, dx, dgamma, dbeta;
  double count = 0;
};

struct Case {
  NormShape shape;
  double offset = 0, extra = 0;
  bool relu = false, affine = true, constant = false;
};

bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * 4) == 0);
}

ChannelResult run_float(const Case& c, const Floats& x, const Floats& dy, const Floats& gamma,
                        const Floats& beta) {
  const NormShape& s = c.shape;
  const int64_t stats = s.images * s.groups, n = s.images * s.rows * s.channels;
  ChannelResult r{Doubles(sz(stats)), Doubles(sz(stats)),     Floats(sz(n)),
                  Floats(sz(n)),      Floats(sz(s.channels)), Floats(sz(s.channels))};
  Scratch<double> scratch(norm_scratch(s));
  const float *g = c.affine ? gamma.data() : nullptr, *b = c.affine ? beta.data() : nullptr;
  const NormInput<float> in{s, x.data(), g, b, c.relu};
  r.count = norm_moments(in, c.extra, {r.mean.data(), r.var.data()}, scratch.data());
  Doubles rstd(sz(stats));
  for (size_t i = 0; i < rstd.size(); ++i) rstd[i] = 1 / std::sqrt(r.var[i] + 1e-5);
  const NormStats st{r.mean.data(), rstd.data(), c.constant, r.count, c.extra};
  norm_apply(in, st, r.y.data(), scratch.data());
  if (!s.mask && !c.relu && !c.constant && c.extra == 0) {
    Doubles mean(sz(stats)), var(sz(stats)), root(sz(stats));
    Floats y(sz(n));
    const double count =
        norm_forward(in, 1e-5, {mean.data(), var.data(), root.data()}, y.data(), scratch.data());
    REQUIRE(
        (count == r.count && mean == r.mean && var == r.var && root == rstd && same_bits(y, r.y)));
  }
  norm_backward(in, st, {dy.data(), r.dx.data(), r.dgamma.data(), r.dbeta.data()}, scratch.data());
  return r;
}

void check_channels(const Case& c, uint64_t seed) {
  const NormShape& s = c.shape;
  const int64_t n = s.images * s.rows * s.channels, stats = s.images * s.groups;
  INFO("images " << s.images << " rows " << s.rows << " channels " << s.channels << " groups "
                 << s.groups << " mask " << (s.mask != nullptr) << " relu " << c.relu << " affine "
                 << c.affine << " constant " << c.constant);
  Rng rng(seed);
  const Floats x = normal(rng, n, c.offset), dy = normal(rng, n, 0.3),
               gamma = normal(rng, s.channels, 1, 0.4), beta = normal(rng, s.channels, 0, 0.3);
  const Doubles xd = wide(x), dyd = wide(dy), gd = wide(gamma), bd = wide(beta);
  Doubles mean(sz(stats)), var(sz(stats)), rstd(sz(stats)), y(sz(n)), dx(sz(n)), dg(sz(s.channels)),
      db(sz(s.channels));
  const double *g = c.affine ? gd.data() : nullptr, *b = c.affine ? bd.data() : nullptr;
  const NormInput<double> in{s, xd.data(), g, b, c.relu};
  const double count = plain::norm_moments(in, c.extra, {mean.data(), var.data()});
  for (size_t i = 0; i < rstd.size(); ++i) rstd[i] = 1 / std::sqrt(var[i] + 1e-5);
  const NormStats st{mean.data(), rstd.data(), c.constant, count, c.extra};
  plain::norm_apply(in, st, y.data());
  plain::norm_backward(in, st, {dyd.data(), dx.data(), dg.data(), db.data()});

  LevelGuard guard;
  for (CpuLevel level : cpu_levels()) {
    set_cpu_level(level);
    INFO("level " << name(level));
    ChannelResult first;
    for (int threads : {1, 2, 3, 8}) {
      ThreadLimit limit(threads);
      const ChannelResult r = run_float(c, x, dy, gamma, beta);
      if (threads > 1) {
        REQUIRE(same_bits(r.y, first.y));
        REQUIRE(same_bits(r.dx, first.dx));
        REQUIRE(same_bits(r.dgamma, first.dgamma));
        REQUIRE(same_bits(r.dbeta, first.dbeta));
        REQUIRE((r.mean == first.mean && r.var == first.var));
        continue;
      }
      first = r;
      CHECK(r.count == count);
      for (size_t i = 0; i < mean.size(); ++i) {
        CHECK(std::abs(r.mean[i] - mean[i]) <= 2e-6 * std::abs(mean[i]) + 2e-6);
        CHECK(std::abs(r.var[i] - var[i]) <= 3e-6 * var[i] + 1e-12);
      }
      const double bound =
          5e-6;  // whatever the offset: what a float's rounding takes of the mean is put back
      CHECK(error(r.y, y) < bound);
      if (!c.relu)
        CHECK(error(r.dx, dx, rms(dyd) * rms(rstd)) <
              bound);  // with relu a value next to 0 may fall on the other side
      if (!c.relu) CHECK(error(r.dgamma, dg, rms(dyd)) < bound);
      if (!c.relu) CHECK(error(r.dbeta, db) < 5e-6);
    }
  }
}

}  // namespace

TEST_CASE(
    "channel norms: float equals the plain double kernel, at every level, the same bits at any "
    "thread count",
    "[threads]") {
  uint64_t seed = 1;
  for (int64_t channels : {1, 3, 7, 16, 31, 33, 64, 100, 130})
    for (int64_t rows : {1, 2, 9, 65, 1030}) {
      check_channels({{1, rows, channels, channels}}, seed++);
      check_channels({.shape = {1, rows, channels, channels}, .affine = false, .constant = true},
                     seed++);
    }
  check_channels({{1, 40000, 16, 16}}, seed++);  // several items
  check_channels({{1, 3000, 64, 64}}, seed++);
  for (int64_t groups : {1, 2, 4, 8}) {
    check_channels({{5, 49, 8, groups}}, seed++);
    check_channels({{3, 200, 48, groups}}, seed++);
    check_channels({.shape = {2, 3000, 24, groups}, .affine = false}, seed++);
  }
  check_channels({{3, 17, 5, 5}}, seed++);
  check_channels({{1, 3, 0, 0}}, seed++);  // no channels, no groups
  check_channels({{0, 3, 4, 2}}, seed++);
}

TEST_CASE("channel norms: a mean of 1e3 costs no digits of the variance") {
  uint64_t seed = 100;
  check_channels({.shape = {1, 5000, 32, 32}, .offset = 1e3}, seed++);
  check_channels({.shape = {4, 144, 32, 4}, .offset = -1e3}, seed++);
  check_channels({.shape = {1, 300, 100, 100}, .offset = 1e3}, seed++);
  // One large row first, as a blank image would be: the sums must not be taken about it.
  Floats x(4096, 1.0F);
  for (size_t i = 0; i < x.size(); ++i) x[i] = i < 64 ? 0 : 1000 + static_cast<float>(i % 7);
  NormShape s{1, 4096, 1, 1};
  Scratch<double> scratch(norm_scratch(s));
  double mean = 0, var = 0, mean_d = 0, var_d = 0;
  const Doubles xd = wide(x);
  norm_moments(NormInput<float>{s, x.data()}, 0, {&mean, &var}, scratch.data());
  plain::norm_moments(NormInput<double>{s, xd.data()}, 0, {&mean_d, &var_d});
  CHECK(mean == Approx(mean_d).epsilon(1e-7));
  CHECK(var == Approx(var_d).epsilon(1e-6));
}

TEST_CASE("channel norms: masked rows take no part in the statistics, relu, Keras' denominators") {
  uint64_t seed = 200;
  Rng rng(9);
  for (int64_t rows : {1, 20, 333, 2500}) {
    std::vector<uint8_t> mask(sz(rows));
    for (auto& m : mask) m = rng.uniform() < 0.6;
    mask[0] = 1;
    for (int64_t channels : {3, 16, 70}) {
      check_channels({.shape = {1, rows, channels, channels, mask.data()}}, seed++);
      check_channels({.shape = {1, rows, channels, channels, mask.data()}, .extra = 1e-7}, seed++);
      check_channels(
          {.shape = {1, rows, channels, channels, mask.data()}, .extra = 0.5, .affine = false},
          seed++);
    }
    // What the masked rows hold does not matter, not even NaN.
    Floats x = normal(rng, rows * 16), y = x;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < 16; ++c)
        if (!mask[sz(r)]) y[sz(r * 16 + c)] = std::nanf("");
    NormShape s{1, rows, 16, 16, mask.data()};
    Scratch<double> scratch(norm_scratch(s));
    Doubles m1(16), v1(16), m2(16), v2(16);
    norm_moments(NormInput<float>{s, x.data()}, 0, {m1.data(), v1.data()}, scratch.data());
    norm_moments(NormInput<float>{s, y.data()}, 0, {m2.data(), v2.data()}, scratch.data());
    CHECK((m1 == m2 && v1 == v2));
  }
  for (int64_t channels : {3, 16, 70})
    check_channels({.shape = {1, 700, channels, channels}, .relu = true}, seed++);
}

TEST_CASE("norm with relu and its backward are the parts in order") {
  Rng rng(4);
  for (int64_t channels : {3, 16, 40, 64}) {
    const NormShape s{1, 300, channels, channels};
    const int64_t n = s.rows * channels;
    const Floats x = normal(rng, n), dy = normal(rng, n), gamma = normal(rng, channels, 1, 0.5),
                 beta = normal(rng, channels);
    Scratch<double> scratch(norm_scratch(s));
    Doubles mean(sz(channels)), var(sz(channels)), rstd(sz(channels));
    const NormInput<float> alone{s, x.data(), gamma.data(), beta.data()};
    const NormInput<float> with_relu{s, x.data(), gamma.data(), beta.data(), true};
    const double count = norm_moments(alone, 0, {mean.data(), var.data()}, scratch.data());
    for (size_t i = 0; i < rstd.size(); ++i) rstd[i] = 1 / std::sqrt(var[i] + 1e-5);
    const NormStats st{mean.data(), rstd.data(), false, count, 0};
    Floats y(sz(n)), z(sz(n)), dt = dy, dx(sz(n)), dx2(sz(n)), dg(sz(channels)), dg2 = dg, db = dg,
                               db2 = dg;
    norm_apply(alone, st, y.data(), scratch.data());
    norm_apply(with_relu, st, z.data(), scratch.data());
    for (size_t i = 0; i < y.size(); ++i) {
      REQUIRE(z[i] == (y[i] < 0 ? 0 : y[i]));
      dt[i] = y[i] > 0 ? dy[i] : 0;
    }
    norm_backward(with_relu, st, {dy.data(), dx.data(), dg.data(), db.data()}, scratch.data());
    norm_backward(alone, st, {dt.data(), dx2.data(), dg2.data(), db2.data()}, scratch.data());
    CHECK(error(dx, wide(dx2)) < 1e-6);
    CHECK(error(dg, wide(dg2)) < 1e-6);
    CHECK(error(db, wide(db2)) < 1e-6);
  }
}

TEST_CASE(
    "norm, relu and max pool in one: float equals the plain kernel, the same bits at any thread "
    "count",
    "[threads]") {
  LevelGuard guard;
  Rng rng(5);
  struct Size {
    int64_t n, h, w, c;
  };
  for (Size z : {Size{2, 4, 4, 3},
                 {3, 7, 5, 16},
                 {2, 1, 6, 4},
                 {2, 6, 1, 4},
                 {1, 2, 2, 1},
                 {8, 28, 28, 32},
                 {2, 9, 8, 100},
                 {1, 300, 30, 16}}) {
    const NormShape s{1, z.n * z.h * z.w, z.c, z.c};
    const int64_t n = s.rows * z.c, out = z.n * (z.h / 2) * (z.w / 2) * z.c;
    INFO(z.n << " " << z.h << " " << z.w << " " << z.c);
    Floats x = normal(rng, n), dy = normal(rng, out), gamma = normal(rng, z.c, 0.5, 1),
           beta = normal(rng, z.c);
    // Ties: whole windows of equal values, so that the first must win.
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::round(x[i] * 2) / 2;
    const Doubles xd = wide(x), dyd = wide(dy), gd = wide(gamma), bd = wide(beta);
    Doubles mean(sz(z.c)), var(sz(z.c)), rstd(sz(z.c));
    const NormInput<double> truth{s, xd.data(), gd.data(), bd.data()};
    const NormInput<float> in{s, x.data(), gamma.data(), beta.data()};
    const NormImage image{z.h, z.w};
    const double count = plain::norm_moments(truth, 0, {mean.data(), var.data()});
    for (size_t i = 0; i < rstd.size(); ++i) rstd[i] = 1 / std::sqrt(var[i] + 1e-5);
    for (bool constant : {false, true}) {
      const NormStats st{mean.data(), rstd.data(), constant, count, 0};
      Doubles y(sz(out)), dx(sz(n)), dg(sz(z.c)), db(sz(z.c));
      plain::norm_relu_pool(truth, image, st, y.data());
      plain::norm_relu_pool_backward(truth, image, st,
                                     {dyd.data(), dx.data(), dg.data(), db.data()});
      for (CpuLevel level : cpu_levels()) {
        set_cpu_level(level);
        Floats first_y, first_dx, first_dg;
        for (int threads : {1, 2, 3, 8}) {
          ThreadLimit limit(threads);
          Scratch<double> scratch(norm_pool_scratch(s, image));
          Floats yf(sz(out)), dxf(sz(n), std::nanf("")), dgf(sz(z.c)), dbf(sz(z.c));
          norm_relu_pool(in, image, st, yf.data(), scratch.data());
          norm_relu_pool_backward(in, image, st, {dy.data(), dxf.data(), dgf.data(), dbf.data()},
                                  scratch.data());
          if (threads == 1) {
            CHECK(error(yf, y) < 5e-6);
            CHECK(error(dxf, dx) < 5e-6);
            CHECK(error(dgf, dg) < 5e-6);
            CHECK(error(dbf, db) < 5e-6);
            first_y = yf, first_dx = dxf, first_dg = dgf;
          } else {
            REQUIRE(
                (same_bits(yf, first_y) && same_bits(dxf, first_dx) && same_bits(dgf, first_dg)));
          }
        }
      }
    }
  }
  // NaN stays NaN, wherever in the window it is.
  for (size_t at = 0; at < 4; ++at) {
    Floats x(4 * 16, -1.0F), y(16);
    x[at * 16 + 3] = std::nanf("");
    const NormShape s{1, 4, 16, 16};
    const Doubles mean(16, 0), rstd(16, 1);
    Scratch<double> scratch(norm_pool_scratch(s, {2, 2}));
    norm_relu_pool(NormInput<float>{s, x.data()}, {2, 2}, {mean.data(), rstd.data(), true},
                   y.data(), scratch.data());
    CHECK(std::isnan(y[3]));
    CHECK(y[2] == 0);
  }
}

TEST_CASE(
    "row norms: float equals the plain double kernel, at every level, the same bits at any thread "
    "count",
    "[threads]") {
  LevelGuard guard;
  Rng rng(6);
  struct Size {
    int64_t rows, d;
    double offset = 0;
  };
  for (Size z : {Size{0, 5},
                 {1, 1},
                 {1, 7},
                 {5, 16},
                 {6, 63},
                 {9, 64},
                 {13, 100},
                 {700, 128},
                 {64, 384},
                 {3, 5000},
                 {2000, 20},
                 {50, 256, 1e3},
                 {7, 33, -1e3}})
    for (int form = 0; form < 8; ++form) {
      const bool centre = form & 1, affine = form & 2, sums = form & 4;
      if (!centre && z.offset != 0) continue;
      INFO("rows " << z.rows << " d " << z.d << " centre " << centre << " affine " << affine);
      const Floats x = normal(rng, z.rows * z.d, z.offset), dy = normal(rng, z.rows * z.d, 0.2),
                   gamma = normal(rng, z.d, 1, 0.4), beta = normal(rng, z.d);
      const Doubles xd = wide(x), dyd = wide(dy), gd = wide(gamma), bd = wide(beta);
      Doubles mean(sz(z.rows)), rstd(sz(z.rows)), y(xd.size()), dx(xd.size()), dg(sz(z.d)),
          db(sz(z.d));
      const double *g = affine ? gd.data() : nullptr, *b = affine && centre ? bd.data() : nullptr;
      const RowNormInput<double> truth{z.rows, z.d, xd.data(), g, b};
      double* const m = centre ? mean.data() : nullptr;
      plain::row_norm(truth, 1e-5, y.data(), {m, rstd.data()});
      plain::row_norm_backward(truth, {m, rstd.data()},
                               {dyd.data(), dx.data(), dg.data(), db.data()});
      for (CpuLevel level : cpu_levels()) {
        set_cpu_level(level);
        Floats first_y, first_dx, first_dg, first_db;
        for (int threads : {1, 2, 3, 8}) {
          ThreadLimit limit(threads);
          Floats yf(x.size()), dxf(x.size()), dgf(sz(z.d)), dbf(sz(z.d)), mf(sz(z.rows)),
              rf(sz(z.rows));
          const float *gf = affine ? gamma.data() : nullptr,
                      *bf = affine && centre ? beta.data() : nullptr;
          const RowNormInput<float> in{z.rows, z.d, x.data(), gf, bf};
          float* const mean_f = centre ? mf.data() : nullptr;
          row_norm(in, 1e-5, yf.data(), {mean_f, rf.data()});
          Scratch<double> scratch(row_norm_scratch(z.rows, z.d));
          row_norm_backward(
              in, {mean_f, rf.data()},
              {dy.data(), dxf.data(), sums ? dgf.data() : nullptr, sums ? dbf.data() : nullptr},
              scratch.data());
          if (threads == 1) {
            const double bound =
                z.offset == 0 ? 5e-6 : 2e-4;  // a float holds a mean of 1e3 to 3e-5 at best
            CHECK(error(yf, y) < bound);
            CHECK(error(rf, rstd) < 2e-6);
            CHECK(error(dxf, dx, rms(dyd) * rms(rstd)) < bound);
            if (sums) CHECK(error(dgf, dg, rms(dyd)) < bound);
            if (sums) CHECK(error(dbf, db) < 5e-6);
            first_y = yf, first_dx = dxf, first_dg = dgf, first_db = dbf;
          } else {
            REQUIRE((same_bits(yf, first_y) && same_bits(dxf, first_dx) &&
                     same_bits(dgf, first_dg) && same_bits(dbf, first_db)));
          }
        }
      }
    }
}
