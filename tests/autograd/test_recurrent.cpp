// The recurrence: gradients of every order, lengths, directions, shadow mode.
#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/gradcheck.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>

using namespace loupe;

namespace {

struct Kind {
  const char* name;
  RecurrentCell cell;
  int64_t gates;
};
const Kind kKinds[] = {{"rnn_tanh", RecurrentCell::rnn_tanh, 1},
                       {"rnn_relu", RecurrentCell::rnn_relu, 1},
                       {"lstm", RecurrentCell::lstm, 4},
                       {"gru", RecurrentCell::gru, 3}};

// x_gates, h0, weight, bias, and c0 of an lstm.
Tensors inputs(const Kind& kind, int64_t steps, int64_t batch, int64_t hidden, uint64_t seed) {
  Rng rng(seed);
  Tensors x{randn(rng, {steps, batch, kind.gates * hidden}, DType::f64),
            randn(rng, {batch, hidden}, DType::f64),
            randn(rng, {kind.gates * hidden, hidden}, DType::f64) * 0.5,
            randn(rng, {kind.gates * hidden}, DType::f64)};
  if (kind.cell == RecurrentCell::lstm) x.push_back(randn(rng, {batch, hidden}, DType::f64));
  return x;
}

GradFunction run(const Kind& kind, const RecurrenceArgs& args) {
  return [kind, args](const Tensors& x) {
    const RecurrenceResult r =
        recurrence(kind.cell, x[0], x[1], x.size() > 4 ? x[4] : Tensor(), x[2], x[3], args);
    Tensors y{r.states, r.h};
    if (r.c.defined()) y.push_back(r.c);
    return y;
  };
}

std::vector<RecurrenceArgs> variants() {
  const Tensor lengths = from_data(std::vector<int64_t>{2, 4, 0});
  return {{}, {.reverse = true}, {.lengths = lengths}, {.lengths = lengths, .reverse = true}};
}

}  // namespace

TEST_CASE("recurrence: first and second derivatives equal difference quotients") {
  for (const Kind& kind : kKinds)
    for (const RecurrenceArgs& args : variants()) {
      INFO(kind.name << (args.reverse ? " reverse" : "")
                     << (args.lengths.defined() ? " lengths" : ""));
      const Tensors x = inputs(kind, 4, 3, 2, 7);
      REQUIRE_NOTHROW(gradcheck(run(kind, args), x, {.label = kind.name, .tolerance = 1e-7}));
      REQUIRE_NOTHROW(gradgradcheck(run(kind, args), x, {.label = kind.name, .tolerance = 1e-7}));
    }
}

TEST_CASE("recurrence: in shadow mode the kernels stay close to their f64 twin") {
  for (const Kind& kind : kKinds)
    for (const RecurrenceArgs& args : variants()) {
      INFO(kind.name);
      Tensors x;
      for (const Tensor& t : inputs(kind, 4, 3, 17, 8))
        x.push_back(t.to(DType::f32).detach().requires_grad_());
      ShadowGuard shadow(1e-5);
      const Tensors y = run(kind, args)(x);
      REQUIRE_NOTHROW((sum(y[0] * y[0]) + sum(y[1])).backward());
      for (const ShadowRow& row : shadow.rows()) REQUIRE(row.checks > 0);
    }
}

TEST_CASE(
    "recurrence: one run over a sequence equals its steps, and its parts one after the other") {
  for (const Kind& kind : kKinds) {
    INFO(kind.name);
    const Tensors x = inputs(kind, 5, 3, 4, 9);
    const Tensors whole = run(kind, {})(x);
    Tensors state = x;
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 2}, {2, 3}, {3, 5}}) {
      state[0] = x[0].slice(0, begin, end);
      const Tensors part = run(kind, {})(state);
      REQUIRE(allclose(part[0], whole[0].slice(0, begin, end), 1e-13, 1e-14));
      state[1] = part[1];
      if (part.size() > 2) state[4] = part[2];
    }
    REQUIRE(allclose(state[1], whole[1], 1e-13, 1e-14));
  }
}

TEST_CASE("recurrence: what lies beyond a sequence's length changes nothing") {
  for (const Kind& kind : kKinds)
    for (const bool reverse : {false, true}) {
      INFO(kind.name << reverse);
      const RecurrenceArgs args{.lengths = from_data(std::vector<int64_t>{2, 4, 1}),
                                .reverse = reverse};
      const auto results = [&](double beyond) {
        Tensors x = inputs(kind, 4, 3, 2, 10);
        const Tensor gates = x[0];
        gates.select(1, 0).slice(0, 2).fill_(beyond);
        gates.select(1, 2).slice(0, 1).fill_(beyond);
        for (Tensor& t : x) t = t.detach().requires_grad_();
        Tensors y = run(kind, args)(x);
        const Tensors g = grad({y[1]}, {x[1], x[2], x[3]}, {}, {ones_like(y[1])});
        y.insert(y.end(), g.begin(), g.end());
        return y;
      };
      const Tensors a = results(0), b = results(std::numeric_limits<double>::quiet_NaN());
      for (size_t i = 1; i < a.size(); ++i) REQUIRE(equal(a[i], b[i]));
    }
}

TEST_CASE("recurrence: no step at all gives the first state back") {
  for (const Kind& kind : kKinds) {
    INFO(kind.name);
    Tensors x = inputs(kind, 0, 3, 2, 11);
    for (Tensor& t : x) t.requires_grad_();
    const Tensors y = run(kind, {})(x);
    REQUIRE(y[0].numel() == 0);
    REQUIRE(equal(y[1], x[1]));
    const Tensors g = grad({y[1]}, {x[1], x[2]}, {}, {ones_like(y[1])});
    REQUIRE(equal(g[0], ones_like(x[1])));
    REQUIRE(equal(g[1], zeros_like(x[2])));
  }
}
