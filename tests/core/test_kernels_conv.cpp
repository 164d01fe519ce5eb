#include "kernel_tests.h"
#include "worst.h"

#include <loupe/core/kernel_log.h>
#include <loupe/core/kernels/conv/conv.h>
#include <loupe/core/kernels/conv/winograd.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>

using namespace loupe;
using kernels::ConvShape;

namespace {

template <class T> std::vector<double> widened(const std::vector<T>& v) {
  return {v.begin(), v.end()};
}

// Largest error relative to the largest number that the truth holds.
double error_of(const std::vector<float>& got, const std::vector<double>& truth) {
  double worst = 0, size = 1e-30;
  for (size_t i = 0; i < got.size(); ++i) {
    worst = worst_of(worst, std::abs(static_cast<double>(got[i]) - truth[i]));
    size = std::max(size, std::abs(truth[i]));
  }
  return worst / size;
}

// Runs f into a vector of n NaNs at several thread limits; the bits must agree.
template <class F> std::vector<float> same_bits(int64_t n, const F& f) {
  std::vector<float> first;
  for (int limit : {1, 2, 3, 8}) {
    ThreadLimit scope(limit);
    std::vector<float> y(static_cast<size_t>(n), std::nanf(""));
    f(y.data());
    if (first.empty()) first = y;
    else if (n > 0) REQUIRE(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)) == 0);
  }
  return first;
}

struct Bounds {
  double forward, input, weight;
};

struct Widened {
  std::vector<double> x, w, bias, dy;
};

// The rows of the tables that ran so far: of the forward pass and of the two gradients.
struct Met {
  std::set<std::string> forward, input, weight;
} met;

// The f32 kernels against plain loops in f64: output, input gradient and weight gradient.
void check(const ConvShape& s, const std::string& fast, Bounds bounds) {
  const std::string kernel = plain_kernels() ? "plain" : fast;
  CAPTURE(s.n, s.c, s.h, s.w, s.o, s.kh, s.kw, s.sh, s.sw, s.ph, s.pw, s.dh, s.dw, s.groups);
  const int64_t in = s.n * s.h * s.w * s.c, out = s.n * s.oh() * s.ow() * s.o,
                weights = s.o * s.c / s.groups * s.taps();
  const auto x = numbers<float>(in, 1), w = numbers<float>(weights, 2),
             bias = numbers<float>(s.o, 3), dy = numbers<float>(out, 4);
  std::vector<double> y64(static_cast<size_t>(out)), dx64(x.size()), dw64(w.size());
  const Widened wide{widened(x), widened(w), widened(bias), widened(dy)};
  kernels::conv_forward_plain<double>(
      {s, wide.x.data(), wide.w.data(), wide.bias.data(), y64.data()});
  kernels::conv_input_gradient_plain<double>({s, wide.dy.data(), wide.w.data(), dx64.data()});
  kernels::conv_weight_gradient_plain<double>({s, wide.x.data(), wide.dy.data(), dw64.data()});

  const auto y = same_bits(out, [&](float* p) {
    kernels::conv_forward<float>({s, x.data(), w.data(), bias.data(), p});
  });
  REQUIRE(last_kernel() == kernel);
  met.forward.insert(kernel);
  REQUIRE(error_of(y, y64) <= bounds.forward);
  const auto dx = same_bits(in, [&](float* p) {
    kernels::conv_input_gradient<float>({s, dy.data(), w.data(), p});
  });
  REQUIRE(last_kernel() == kernel);
  met.input.insert(kernel);
  REQUIRE(error_of(dx, dx64) <= bounds.input);
  const auto dw = same_bits(weights, [&](float* p) {
    kernels::conv_weight_gradient<float>({s, x.data(), dy.data(), p});
  });
  REQUIRE(last_kernel() == kernel);
  met.weight.insert(kernel);
  REQUIRE(error_of(dw, dw64) <= bounds.weight);
}

constexpr Bounds kExact{2e-6, 2e-6, 3e-6};

}  // namespace

TEST_CASE("direct convolution equals plain loops in f64 at every CPU level", "[threads]") {
  at_every_level([] {
    check({.n = 2, .c = 3, .h = 5, .w = 7, .o = 4, .kh = 3, .kw = 2, .ph = 1}, "direct", kExact);
    check({.n = 9, .c = 1, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3, .ph = 1, .pw = 1}, "direct",
          kExact);
    check({.n = 2, .c = 1, .h = 9, .w = 7, .o = 72, .kh = 3, .kw = 2, .ph = 1}, "direct", kExact);
    check({.n = 3, .c = 16, .h = 9, .w = 16, .o = 40, .kh = 5, .kw = 5, .ph = 2, .pw = 2}, "direct",
          kExact);
    check({.n = 2,
           .c = 8,
           .h = 9,
           .w = 10,
           .o = 19,
           .kh = 3,
           .kw = 3,
           .sh = 2,
           .sw = 3,
           .ph = 1,
           .pw = 2},
          "direct", kExact);
    check({.n = 2,
           .c = 8,
           .h = 11,
           .w = 10,
           .o = 16,
           .kh = 3,
           .kw = 3,
           .ph = 2,
           .pw = 1,
           .dh = 2,
           .dw = 3},
          "direct", kExact);
    check({.n = 2,
           .c = 6,
           .h = 13,
           .w = 9,
           .o = 5,
           .kh = 3,
           .kw = 4,
           .sh = 3,
           .sw = 2,
           .ph = 2,
           .pw = 5,
           .dh = 3,
           .dw = 2},
          "direct", kExact);
    check({.n = 3, .c = 16, .h = 8, .w = 8, .o = 32, .sh = 2, .sw = 2}, "direct",
          kExact);  // 1x1, stride 2
    check({.n = 2, .c = 3, .h = 17, .w = 17, .o = 48, .kh = 4, .kw = 4, .sh = 4, .sw = 4}, "direct",
          kExact);  // patches
    check({.n = 1,
           .c = 4,
           .h = 100,
           .w = 200,
           .o = 8,
           .kh = 3,
           .kw = 3,
           .sh = 2,
           .sw = 2,
           .ph = 1,
           .pw = 1},
          "direct", kExact);
    check(
        {.n = 2, .c = 12, .h = 6, .w = 6, .o = 18, .kh = 3, .kw = 3, .ph = 1, .pw = 1, .groups = 3},
        "direct", kExact);
    check({.n = 2, .c = 4, .h = 6, .w = 6, .o = 8, .kh = 3, .kw = 3, .sh = 2, .sw = 2, .groups = 4},
          "direct", kExact);
    check({.n = 2, .c = 5, .h = 1, .w = 30, .o = 7, .kh = 1, .kw = 3, .pw = 2, .dw = 2}, "direct",
          kExact);  // conv1d
    check({.n = 1, .c = 1, .h = 1, .w = 1, .o = 1, .kh = 3, .kw = 3, .ph = 1, .pw = 1}, "direct",
          kExact);
    check({.n = 2,
           .c = 3,
           .h = 2,
           .w = 2,
           .o = 4,
           .kh = 2,
           .kw = 2,
           .sh = 5,
           .sw = 5,
           .ph = 1,
           .pw = 1},
          "direct", kExact);
  });
}

TEST_CASE("1x1 convolution is a matrix product over the pixels", "[threads]") {
  at_every_level([] { check({.n = 5, .c = 20, .h = 9, .w = 7, .o = 33}, "matmul", kExact); });
}

TEST_CASE("depthwise convolution equals plain loops in f64 at every CPU level", "[threads]") {
  at_every_level([] {
    for (int64_t c : {3, 16, 37})
      for (int64_t stride : {1, 2}) {
        check({.n = 3,
               .c = c,
               .h = 11,
               .w = 13,
               .o = c,
               .kh = 3,
               .kw = 3,
               .sh = stride,
               .sw = stride,
               .ph = 1,
               .pw = 1,
               .groups = c},
              "depthwise", kExact);
        check({.n = 2,
               .c = c,
               .h = 14,
               .w = 9,
               .o = c,
               .kh = 4,
               .kw = 2,
               .sh = stride,
               .ph = 2,
               .dh = 2,
               .dw = 3,
               .groups = c},
              "depthwise", kExact);
        // Runs of 5 and 7 taps, more padding than kernel, a stride that leaves pixels without taps,
        // taps that all lie outside.
        for (int64_t k : {5, 7})
          check({.n = 2,
                 .c = c,
                 .h = 9,
                 .w = 17,
                 .o = c,
                 .kh = k,
                 .kw = k,
                 .sh = stride,
                 .sw = stride,
                 .ph = k / 2,
                 .pw = k / 2,
                 .groups = c},
                "depthwise", kExact);
        check({.n = 2,
               .c = c,
               .h = 6,
               .w = 10,
               .o = c,
               .kh = 3,
               .kw = 4,
               .sh = 3,
               .sw = 2,
               .ph = 4,
               .pw = 5,
               .groups = c},
              "depthwise", kExact);
        check({.n = 2,
               .c = c,
               .h = 7,
               .w = 8,
               .o = c,
               .kh = 1,
               .kw = 1,
               .sh = 2 * stride,
               .sw = 3,
               .groups = c},
              "depthwise", kExact);
        check({.n = 2,
               .c = c,
               .h = 1,
               .w = 1,
               .o = c,
               .kh = 3,
               .kw = 3,
               .ph = 1,
               .pw = 2,
               .groups = c},
              "depthwise", kExact);
      }
    // Bands of one large image.
    check({.n = 1,
           .c = 32,
           .h = 90,
           .w = 60,
           .o = 32,
           .kh = 3,
           .kw = 3,
           .ph = 1,
           .pw = 1,
           .groups = 32},
          "depthwise", kExact);
  });
}

namespace {

// Switches Winograd on or off for a scope.
struct WinogradSwitch {
  bool before = kernels::winograd_enabled();
  explicit WinogradSwitch(bool on) { kernels::set_winograd_enabled(on); }
  ~WinogradSwitch() { kernels::set_winograd_enabled(before); }
};

// Both sizes of tile against plain loops in f64, whatever conv_forward would choose.
void check_winograd(const ConvShape& s) {
  CAPTURE(s.n, s.c, s.h, s.w, s.o, s.ph, s.pw);
  const int64_t in = s.n * s.h * s.w * s.c, out = s.n * s.oh() * s.ow() * s.o,
                weights = s.o * s.c * 9;
  const auto x = numbers<float>(in, 1), w = numbers<float>(weights, 2),
             bias = numbers<float>(s.o, 3), dy = numbers<float>(out, 4);
  std::vector<double> y64(static_cast<size_t>(out)), dx64(x.size()), dw64(w.size());
  const Widened wide{widened(x), widened(w), widened(bias), widened(dy)};
  kernels::conv_forward_plain<double>(
      {s, wide.x.data(), wide.w.data(), wide.bias.data(), y64.data()});
  kernels::conv_input_gradient_plain<double>({s, wide.dy.data(), wide.w.data(), dx64.data()});
  kernels::conv_weight_gradient_plain<double>({s, wide.x.data(), wide.dy.data(), dw64.data()});
  at_every_level([&] {
    for (int64_t tile : {2, 4}) {
      CAPTURE(tile);
      const Bounds bounds = tile == 2 ? Bounds{1e-6, 1e-6, 1e-6} : Bounds{4e-6, 4e-6, 2e-6};
      const auto y = same_bits(out, [&](float* p) {
        kernels::winograd_forward(tile, {s, x.data(), w.data(), bias.data(), p});
      });
      REQUIRE(error_of(y, y64) <= bounds.forward);
      const auto dx = same_bits(in, [&](float* p) {
        kernels::winograd_input_gradient(tile, {s, dy.data(), w.data(), p});
      });
      REQUIRE(error_of(dx, dx64) <= bounds.input);
      const auto dw = same_bits(weights, [&](float* p) {
        kernels::winograd_weight_gradient(tile, {s, x.data(), dy.data(), p});
      });
      REQUIRE(error_of(dw, dw64) <= bounds.weight);
    }
  });
}

}  // namespace

TEST_CASE("Winograd with either tile equals plain loops in f64 at every CPU level", "[threads]") {
  check_winograd({.n = 9, .c = 16, .h = 8, .w = 8, .o = 32, .kh = 3, .kw = 3, .ph = 1, .pw = 1});
  check_winograd({.n = 3, .c = 48, .h = 14, .w = 14, .o = 16, .kh = 3, .kw = 3, .ph = 1, .pw = 1});
  check_winograd({.n = 2, .c = 16, .h = 7, .w = 9, .o = 80, .kh = 3, .kw = 3, .ph = 0, .pw = 2});
  check_winograd({.n = 1, .c = 32, .h = 3, .w = 4, .o = 16, .kh = 3, .kw = 3});
  check_winograd({.n = 2, .c = 16, .h = 1, .w = 1, .o = 16, .kh = 3, .kw = 3, .ph = 2, .pw = 1});
  check_winograd({.n = 5, .c = 64, .h = 16, .w = 17, .o = 64, .kh = 3, .kw = 3, .ph = 1, .pw = 1});
}

TEST_CASE("which convolution runs: Winograd where it applies, unless it is switched off",
          "[threads]") {
  const ConvShape s{.n = 4, .c = 32, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3, .ph = 1, .pw = 1};
  {
    WinogradSwitch on(true);
    check(s, "winograd4", {4e-6, 4e-6, 2e-6});
    check({.n = 9, .c = 32, .h = 6, .w = 6, .o = 32, .kh = 3, .kw = 3, .ph = 1, .pw = 1},
          "winograd2", {1e-6, 1e-6, 1e-6});
    check({.n = 1, .c = 32, .h = 8, .w = 8, .o = 32, .kh = 3, .kw = 3, .ph = 1, .pw = 1}, "direct",
          kExact);  // few tiles
    for (const ConvShape& other :
         {ConvShape{.n = 4, .c = 24, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3},
          ConvShape{.n = 4, .c = 32, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3, .sh = 2, .sw = 2},
          ConvShape{.n = 4, .c = 32, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3, .dh = 2, .dw = 2},
          ConvShape{.n = 4, .c = 32, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3, .groups = 2},
          ConvShape{.n = 4, .c = 32, .h = 12, .w = 12, .o = 32, .kh = 5, .kw = 5}})
      check(other, "direct", kExact);
  }
  WinogradSwitch off(false);
  check(s, "direct", kExact);
}

namespace {

// A call of each kind whose operands hold ones, but for one number of the given size.
struct Ones {
  ConvShape s;
  std::vector<float> x, w, dy, y, dx, dw;

  explicit Ones(const ConvShape& shape)
      : s(shape),
        x(sized(s.input_size())),
        w(sized(s.weight_size())),
        dy(sized(s.output_size())),
        y(dy),
        dx(x),
        dw(w) {}
  static std::vector<float> sized(int64_t n) {
    return std::vector<float>(static_cast<size_t>(n), 1);
  }

  std::string forward() {
    kernels::conv_forward<float>({s, x.data(), w.data(), nullptr, y.data()});
    return note(met.forward);
  }
  std::string input_gradient() {
    kernels::conv_input_gradient<float>({s, dy.data(), w.data(), dx.data()});
    return note(met.input);
  }
  std::string weight_gradient() {
    kernels::conv_weight_gradient<float>({s, x.data(), dy.data(), dw.data()});
    return note(met.weight);
  }
  static std::string note(std::set<std::string>& names) {
    names.insert(last_kernel());
    return last_kernel();
  }
};

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

// A corner's output does not meet the weight of the kernel's first row and column, if it is
// padding that the weight lies on.
TEST_CASE("convolution: the plain loops take weights of which some are infinite", "[threads]") {
  if (plain_kernels()) return;
  for (const ConvShape& s :
       {ConvShape{.n = 2, .c = 3, .h = 6, .w = 6, .o = 4, .kh = 3, .kw = 3, .ph = 1, .pw = 1},
        ConvShape{.n = 4, .c = 32, .h = 12, .w = 12, .o = 32, .kh = 3, .kw = 3, .ph = 1, .pw = 1},
        ConvShape{.n = 2,
        .c = 4,
        .h = 6,
        .w = 6,
        .o = 4,
        .kh = 3,
        .kw = 3,
        .ph = 1,
        .pw = 1,
        .groups = 4}}) {
    CAPTURE(s.c, s.groups);
    Ones infinite(s);
    infinite.w[0] = kInfinity;
    CHECK(infinite.forward() == "plain_not_finite");
    CHECK(infinite.y[0] == static_cast<float>(4 * (s.c / s.groups)));
    CHECK(infinite.y[static_cast<size_t>((s.ow() + 1) * s.o)] == kInfinity);
    CHECK(infinite.input_gradient() == "plain_not_finite");
    for (const float v : infinite.dx) REQUIRE(!std::isnan(v));
    Ones pixel(s);  // at the corner, which the kernel's last row and column never meets
    pixel.dy[0] = kInfinity;
    CHECK(pixel.weight_gradient() == "plain_not_finite");
    for (const float v : pixel.dw) REQUIRE(!std::isnan(v));
  }
}

TEST_CASE("convolution: where all weights are infinite nothing is lost, and the fast way runs",
          "[threads]") {
  if (plain_kernels()) return;
  Ones all({.n = 2, .c = 3, .h = 6, .w = 6, .o = 4, .kh = 3, .kw = 3, .ph = 1, .pw = 1});
  for (float& w : all.w) w = kInfinity;
  CHECK(all.forward() == "direct");
  CHECK(all.input_gradient() == "direct");
}

TEST_CASE("convolutions of nothing", "[threads]") {
  std::vector<float> none, bias{1, 2}, y(2 * 3 * 3 * 2, 9.0f);
  ConvShape s{.n = 2, .c = 0, .h = 5, .w = 5, .o = 2, .kh = 3, .kw = 3};
  kernels::conv_forward<float>({s, none.data(), none.data(), bias.data(), y.data()});
  for (size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == bias[i % 2]);
  s = {.n = 0, .c = 2, .h = 5, .w = 5, .o = 1, .kh = 3, .kw = 3};
  std::vector<float> dw(18, 9.0f);
  kernels::conv_weight_gradient<float>({s, none.data(), none.data(), dw.data()});
  for (float v : dw) REQUIRE(v == 0);
  kernels::conv_forward<float>({s, none.data(), dw.data(), nullptr, none.data()});
  kernels::conv_input_gradient<float>({s, none.data(), dw.data(), none.data()});
  s = {.n = 2, .c = 2, .h = 5, .w = 5, .o = 0, .kh = 3, .kw = 3};
  std::vector<float> dx(100, 9.0f);
  kernels::conv_input_gradient<float>({s, none.data(), none.data(), dx.data()});
  for (float v : dx) REQUIRE(v == 0);
}

namespace {

template <class Paths> void all_met(const Paths& paths, const std::set<std::string>& names) {
  for (const auto& path : paths) {
    INFO("no case meets " << path.name);
    CHECK(names.count(path.name) == 1);
  }
}

}  // namespace

// Each row of the tables runs here, and does what its name says.
TEST_CASE("every way of a convolution runs where its row of the table says, and is right",
          "[threads]") {
  const WinogradSwitch on(true);
  met = {};
  at_every_level([] {
    check({.n = 4, .c = 16, .h = 12, .w = 12, .o = 16, .kh = 3, .kw = 3, .ph = 1, .pw = 1},
          "winograd4", {4e-6, 4e-6, 2e-6});
    check({.n = 9, .c = 16, .h = 6, .w = 6, .o = 16, .kh = 3, .kw = 3, .ph = 1, .pw = 1},
          "winograd2", {1e-6, 1e-6, 1e-6});
    check({.n = 2, .c = 4, .h = 5, .w = 5, .o = 6}, "matmul", kExact);
    check({.n = 2, .c = 4, .h = 5, .w = 5, .o = 4, .kh = 3, .kw = 3, .groups = 4}, "depthwise",
          kExact);
    check({.n = 2, .c = 4, .h = 5, .w = 5, .o = 6, .kh = 3, .kw = 3}, "direct", kExact);
    Ones no_inputs({.n = 2, .c = 0, .h = 5, .w = 5, .o = 2, .kh = 3, .kw = 3});
    CHECK(no_inputs.forward() == "no_terms");
    Ones no_outputs({.n = 2, .c = 2, .h = 5, .w = 5, .o = 0, .kh = 3, .kw = 3});
    CHECK(no_outputs.input_gradient() == "no_terms");
    Ones no_images({.n = 0, .c = 2, .h = 5, .w = 5, .o = 2, .kh = 3, .kw = 3});
    CHECK(no_images.weight_gradient() == "no_terms");
    if (plain_kernels()) return;
    Ones infinite({.n = 2, .c = 3, .h = 6, .w = 6, .o = 4, .kh = 3, .kw = 3, .ph = 1, .pw = 1});
    infinite.w[0] = kInfinity;
    infinite.dy[0] = kInfinity;
    CHECK(infinite.forward() == "plain_not_finite");
    CHECK(infinite.input_gradient() == "plain_not_finite");
    CHECK(infinite.weight_gradient() == "plain_not_finite");
  });
  all_met(kernels::conv_forward_paths<float>(), met.forward);
  all_met(kernels::conv_input_gradient_paths<float>(), met.input);
  all_met(kernels::conv_weight_gradient_paths<float>(), met.weight);
}
