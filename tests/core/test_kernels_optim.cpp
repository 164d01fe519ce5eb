#include "kernel_tests.h"

#include <loupe/core/kernels/elementwise/optim.h>
#include <loupe/core/memory.h>
#include <loupe/core/random.h>
#include <loupe/core/threads.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

using namespace loupe;
using namespace loupe::kernels;

namespace {

template <class T> struct Param {
  std::vector<T> p, g, s0, s1, s2;
  explicit Param(size_t n) : p(n), g(n), s0(n), s1(n), s2(n) {}
  ParamSlot<T> slot(int states) {
    auto state = [&](int i, std::vector<T>& s) { return states & (1 << i) ? s.data() : nullptr; };
    return {p.data(),     g.data(),     state(0, s0),
            state(1, s1), state(2, s2), static_cast<int64_t>(p.size())};
  }
};

/// A step with a number (from 1), and which state arrays it takes (a bit each).
template <class T> struct Form {
  const char* name;
  int states;
  std::function<void(std::span<const ParamSlot<T>>, int64_t)> step;
  std::vector<double> torch;  // p after three steps of the gradients below, PyTorch 2.13, f64
};

template <class T> std::vector<Form<T>> forms() {
  using Slots = std::span<const ParamSlot<T>>;
  auto sgd = [](SgdStep o) {
    return [=](Slots s, int64_t t) mutable {
      o.first = t == 1;
      sgd_step(s, o);
    };
  };
  auto adam = [](AdamStep o) {
    return [=](Slots s, int64_t t) mutable {
      o.step = t;
      adam_step(s, o);
    };
  };
  auto rms = [](RmspropStep o) { return [=](Slots s, int64_t) { rmsprop_step(s, o); }; };
  return {
      {"sgd",
       0,
       sgd({.lr = 0.1, .weight_decay = 0.01}),
       {1.017062989, -2.1039959779999999, 0.52350146949999998}},
      {"sgd momentum maximize",
       1,
       sgd({.lr = 0.1, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.01, .maximize = true}),
       {1.0265169544099999, -1.9221976088199997, 0.50258118945499997}},
      {"sgd nesterov",
       1,
       sgd({.lr = 0.1, .momentum = 0.9, .nesterov = true}),
       {0.99020999999999992, -2.2187199999999998, 0.54992999999999992}},
      {"adam",
       3,
       adam({.lr = 0.1, .weight_decay = 0.02}),
       {0.8265801756490152, -2.00324388634164, 0.45610683104276911}},
      {"adam amsgrad",
       7,
       adam({.lr = 0.1, .beta1 = 0.5, .beta2 = 0.6}),
       {0.85635051370620785, -2.053637453615957, 0.48073522968804916}},
      {"adamw",
       3,
       adam({.lr = 0.1, .eps = 1e-6, .weight_decay = 0.02, .decoupled = true}),
       {0.82652067332761414, -2.0046408789793833, 0.45741335344920575}},
      {"rmsprop",
       1,
       rms({.lr = 0.1, .weight_decay = 0.02}),
       {-0.092267366414389373, -2.7145719214457689, 0.30765238998362354}},
      {"rmsprop centered",
       7,
       rms({.lr = 0.1, .alpha = 0.9, .momentum = 0.5, .centered = true}),
       {0.19607767573532561, -2.154935120848656, 0.32541767704985652}},
  };
}

}  // namespace

TEST_CASE("optimizer steps give PyTorch's numbers in f64") {
  const double grads[3][3] = {{0.1, -0.2, 0.3}, {0.4, 0.5, -0.6}, {-0.7, 0.8, 0.05}};
  for (const auto& form : forms<double>()) {
    INFO(form.name);
    Param<double> param(3);
    param.p = {1.0, -2.0, 0.5};
    // SGD's first step must not look at what the buffer holds.
    if (form.states == 1 && form.name[0] == 's')
      param.s0.assign(3, std::numeric_limits<double>::quiet_NaN());
    for (int64_t t = 1; t <= 3; ++t) {
      param.g.assign(grads[t - 1], grads[t - 1] + 3);
      const auto slot = param.slot(form.states);
      form.step({&slot, 1}, t);
    }
    for (size_t i = 0; i < 3; ++i) CHECK(param.p[i] == Approx(form.torch[i]).epsilon(1e-13));
  }
}

TEST_CASE(
    "optimizer steps over many parameters: f32 near f64, the same bits at any thread count and "
    "list",
    "[heavy]") {
  const std::vector<size_t> sizes = {1, 40000, 0, 17, 16384, 16385, 3};
  const auto f64 = forms<double>();
  const auto f32 = forms<float>();
  for (size_t k = 0; k < f32.size(); ++k) {
    INFO(f32[k].name);
    at_every_level([&] {
      std::vector<std::vector<float>> first;
      for (int threads : {1, 2, 3, 8}) {
        ThreadLimit limit(threads);
        Rng rng(3);
        std::vector<Param<float>> a;
        std::vector<Param<double>> b;
        for (size_t n : sizes) {
          a.emplace_back(n), b.emplace_back(n);
          for (size_t i = 0; i < n; ++i)
            b.back().p[i] = a.back().p[i] = static_cast<float>(rng.normal());
        }
        for (int64_t t = 1; t <= 3; ++t) {
          std::vector<ParamSlot<float>> sa;
          std::vector<ParamSlot<double>> sb;
          for (size_t i = 0; i < sizes.size(); ++i) {
            for (size_t j = 0; j < sizes[i]; ++j)
              b[i].g[j] = a[i].g[j] = static_cast<float>(rng.normal());
            sa.push_back(a[i].slot(f32[k].states)), sb.push_back(b[i].slot(f64[k].states));
          }
          f32[k].step(sa, t);
          if (threads == 1) f64[k].step(sb, t);
        }
        for (size_t i = 0; i < sizes.size(); ++i) {
          if (threads == 1) {
            first.push_back(a[i].p);
            for (size_t j = 0; j < sizes[i]; ++j)
              REQUIRE(std::abs(a[i].p[j] - b[i].p[j]) < 2e-5 * (1 + std::abs(b[i].p[j])));
          } else {
            REQUIRE(a[i].p == first[i]);
          }
        }
      }
    });
  }
}

TEST_CASE("sum of squares for clipping: right, and the same bits at any thread count",
          "[threads]") {
  Rng rng(8);
  std::vector<std::vector<float>> data;
  double plain = 0;
  for (const size_t n : {5u, 0u, 40000u, 1u, 16384u}) {
    data.emplace_back(n);
    for (float& v : data.back())
      v = static_cast<float>(rng.normal()), plain += double(v) * double(v);
  }
  std::vector<ArraySlot<float>> slots;
  for (auto& d : data) slots.push_back({d.data(), static_cast<int64_t>(d.size())});
  const std::span<const ArraySlot<float>> span(slots);
  Scratch<double> scratch(sum_squares_scratch(span));
  double first = 0;
  for (int threads : {1, 2, 3, 8}) {
    ThreadLimit limit(threads);
    const double sum = sum_squares(span, scratch.data());
    if (threads == 1) first = sum;
    CHECK(sum == first);
  }
  CHECK(first == Approx(plain).epsilon(1e-12));
  scale_all(span, 0.5);
  CHECK(sum_squares(span, scratch.data()) == Approx(plain / 4).epsilon(1e-12));
}
