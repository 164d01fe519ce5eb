#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/autograd/ops/recurrent.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/elementwise/recurrent.h>
#include <loupe/core/kernels/matmul/gemm.h>

namespace loupe {
namespace {

const char* const kOp = "recurrence";

kernels::Cell kernel_cell(RecurrentCell cell) {
  switch (cell) {
    case RecurrentCell::rnn_tanh: return kernels::Cell::rnn_tanh;
    case RecurrentCell::rnn_relu: return kernels::Cell::rnn_relu;
    case RecurrentCell::lstm: return kernels::Cell::lstm;
    default: return kernels::Cell::gru;
  }
}

template <class T> T* data_or_null(const Tensor& t) { return t.defined() ? t.ptr<T>() : nullptr; }
Tensor rows_or_none(const Tensor& t) { return t.defined() ? raw::row_major(t) : t; }

// The inputs, in the order of the Node's edges.
struct Inputs {
  Tensor x_gates, h0, c0, weight, bias;
};

// State and gates of one step; c undefined but for an lstm.
struct State {
  Tensor h, c;
};
// The gradients of one step: of its sums, and of the state before it without the part through
// h_gates.
struct StepGradients {
  Tensor x_gates, h_gates, h, c;
};

// --- A step made of ops: second derivatives, and the f64 twin of shadow mode ---

struct Gates {
  std::vector<Tensor> x, h;
};
Gates parts(const Tensor& x_gates, const Tensor& h_gates, int64_t count) {
  return {chunk(x_gates, count, 1), chunk(h_gates, count, 1)};
}

State step_of_ops(RecurrentCell cell, const Tensor& x_gates, const Tensor& h_gates,
                  const State& before) {
  if (cell == RecurrentCell::rnn_tanh) return {tanh(x_gates + h_gates), {}};
  if (cell == RecurrentCell::rnn_relu) return {relu(x_gates + h_gates), {}};
  if (cell == RecurrentCell::lstm) {
    const Gates gates = parts(x_gates, h_gates, 4);
    const Tensor i = sigmoid(gates.x[0] + gates.h[0]), f = sigmoid(gates.x[1] + gates.h[1]);
    const Tensor g = tanh(gates.x[2] + gates.h[2]), o = sigmoid(gates.x[3] + gates.h[3]);
    const Tensor c = f * before.c + i * g;
    return {o * tanh(c), c};
  }
  const Gates gates = parts(x_gates, h_gates, 3);
  const Tensor r = sigmoid(gates.x[0] + gates.h[0]), z = sigmoid(gates.x[1] + gates.h[1]);
  const Tensor n = tanh(gates.x[2] + r * gates.h[2]);
  return {n + z * (before.h - n), {}};
}

StepGradients gradients_of_ops(RecurrentCell cell, const Tensor& x_gates, const Tensor& h_gates,
                               const State& before, const Tensor& dh, const Tensor& dc) {
  const auto sigmoid_slope = [](const Tensor& s) { return s * (1.0 - s); };
  const auto tanh_slope = [](const Tensor& t) { return 1.0 - square(t); };
  if (cell == RecurrentCell::rnn_tanh || cell == RecurrentCell::rnn_relu) {
    const Tensor sum = x_gates + h_gates;
    const Tensor slope =
        cell == RecurrentCell::rnn_tanh ? tanh_slope(tanh(sum)) : gt(sum, 0.0).to(sum.dtype());
    const Tensor d = dh * slope;
    return {d, d, zeros_like(dh), {}};
  }
  if (cell == RecurrentCell::lstm) {
    const Gates gates = parts(x_gates, h_gates, 4);
    const Tensor i = sigmoid(gates.x[0] + gates.h[0]), f = sigmoid(gates.x[1] + gates.h[1]);
    const Tensor g = tanh(gates.x[2] + gates.h[2]), o = sigmoid(gates.x[3] + gates.h[3]);
    const Tensor t = tanh(f * before.c + i * g);
    const Tensor d_cell = dc + dh * o * tanh_slope(t);
    const Tensor d = cat({d_cell * g * sigmoid_slope(i), d_cell * before.c * sigmoid_slope(f),
                          d_cell * i * tanh_slope(g), dh * t * sigmoid_slope(o)},
                         1);
    return {d, d, zeros_like(dh), d_cell * f};
  }
  const Gates gates = parts(x_gates, h_gates, 3);
  const Tensor r = sigmoid(gates.x[0] + gates.h[0]), z = sigmoid(gates.x[1] + gates.h[1]);
  const Tensor n = tanh(gates.x[2] + r * gates.h[2]);
  const Tensor d_n = dh * (1.0 - z) * tanh_slope(n);
  const Tensor d_r = d_n * gates.h[2] * sigmoid_slope(r);
  const Tensor d_z = dh * (before.h - n) * sigmoid_slope(z);
  return {cat({d_r, d_z, d_n}, 1), cat({d_r, d_z, d_n * r}, 1), dh * z, {}};
}

// The steps in the order they are taken, and which sequences a step belongs to.
class Walk {
 public:
  Walk(int64_t steps, const RecurrenceArgs& args) : steps_(steps), reverse_(args.reverse) {
    if (!args.lengths.defined()) return;
    const Tensor time = raw::unsqueeze(arange(steps), 1);
    active_ = raw::compare(raw::Compare::lt, time, raw::unsqueeze(args.lengths, 0));
  }
  int64_t steps() const { return steps_; }
  /// The time of the k-th step.
  int64_t time(int64_t k) const { return reverse_ ? steps_ - 1 - k : k; }
  /// (B, 1), bool: undefined where all sequences have all steps.
  Tensor active(int64_t t) const {
    return active_.defined() ? raw::unsqueeze(raw::select(active_, 0, t), 1) : Tensor();
  }
  const uint8_t* active_bytes(int64_t t) const {
    if (!active_.defined()) return nullptr;
    return reinterpret_cast<const uint8_t*>(active_.ptr<bool>()) + t * active_.size(1);
  }

 private:
  int64_t steps_;
  bool reverse_;
  Tensor active_;  // (T, B)
};

// What a step made of ops saw, kept for its gradient.
struct Seen {
  Tensor x_gates, h_gates;
  State before;
};

State state_of_ops(RecurrentCell cell, const Inputs& in, const Walk& walk, std::vector<Seen>& seen,
                   Tensors& states) {
  State state{in.h0, in.c0};
  states.resize(static_cast<size_t>(walk.steps()));
  for (int64_t k = 0; k < walk.steps(); ++k) {
    const int64_t t = walk.time(k);
    seen.push_back({in.x_gates.select(0, t), linear(state.h, in.weight, in.bias), state});
    State next = step_of_ops(cell, seen.back().x_gates, seen.back().h_gates, state);
    if (const Tensor active = walk.active(t); active.defined()) {
      next.h = where(active, next.h, state.h);
      if (next.c.defined()) next.c = where(active, next.c, state.c);
    }
    states[static_cast<size_t>(t)] = next.h;
    state = next;
  }
  return state;
}

// --- The Node ---

struct RecurrenceNode final : Node {
  SavedTensor x_gates{this, "x_gates"}, h0{this, "h0"}, c0{this, "c0"}, weight{this, "weight"},
      bias{this, "bias"};
  SavedTensor states{this, "states"}, cells{this, "cells"},
      kept{this, "kept"};  // (T, B, H), (T, B, H), (T, B, K H)
  RecurrentCell cell = RecurrentCell::lstm;
  RecurrenceArgs args;
  Tensor given_lengths;  // args.lengths is a copy of them
  const char* name() const override { return kOp; }
  Attributes attributes() const override {
    const char* const names[] = {"rnn_tanh", "rnn_relu", "lstm", "gru"};
    return {{"cell", std::string(names[static_cast<int>(cell)])},
            {"reverse", args.reverse},
            {"lengths", given_lengths}};
  }

  Inputs inputs() const { return {x_gates.get(), h0.get(), c0.get(), weight.get(), bias.get()}; }

  Tensors replay(const Tensors& x) const override {
    std::vector<Seen> seen;
    Tensors all;
    const Inputs in{x[0], x[1], x[2], x[3], x[4]};
    const State last = state_of_ops(cell, in, Walk(in.x_gates.size(0), args), seen, all);
    Tensors out{all.empty() ? zeros(output_shape(0), in.h0.dtype()) : stack(all), last.h};
    if (last.c.defined()) out.push_back(last.c);
    return out;
  }

  Tensors backward(const Tensors& dy) override {
    const Tensor dc = dy.size() > 2 ? dy[2] : Tensor();
    return grad_enabled() ? again(dy[0], dy[1], dc) : fast(dy[0], dy[1], dc);
  }

  Tensor zero_state() const { return zeros(h0.get().shape(), h0.get().dtype()); }

  // Made of ops, to be differentiated again.
  Tensors again(const Tensor& dstates, const Tensor& dlast, const Tensor& dlast_c) const {
    const Inputs in = inputs();
    const Walk walk(in.x_gates.size(0), args);
    std::vector<Seen> seen;
    Tensors unused;
    state_of_ops(cell, in, walk, seen, unused);
    Tensor dh = dlast.defined() ? dlast : zero_state();
    Tensor dc = dlast_c.defined() ? dlast_c : zero_state();
    Tensor dweight = zeros_like(in.weight);
    Tensor dbias = in.bias.defined() ? zeros_like(in.bias) : Tensor();
    Tensors dx(static_cast<size_t>(walk.steps()));
    for (int64_t k = walk.steps() - 1; k >= 0; --k) {
      const int64_t t = walk.time(k);
      const Seen& s = seen[static_cast<size_t>(k)];
      if (dstates.defined()) dh = dh + dstates.select(0, t);
      StepGradients d = gradients_of_ops(cell, s.x_gates, s.h_gates, s.before, dh, dc);
      if (const Tensor active = walk.active(t); active.defined()) {
        const Tensor zero = zeros({}, dh.dtype());
        d.x_gates = where(active, d.x_gates, zero);
        d.h_gates = where(active, d.h_gates, zero);
        d.h = where(active, d.h, dh);
        if (d.c.defined()) d.c = where(active, d.c, dc);
      }
      dx[static_cast<size_t>(t)] = d.x_gates;
      dweight = dweight + matmul(d.h_gates.t(), s.before.h);
      if (dbias.defined()) dbias = dbias + d.h_gates.sum({0});
      dh = d.h + matmul(d.h_gates, in.weight);
      if (d.c.defined()) dc = d.c;
    }
    return {walk.steps() ? stack(dx) : zeros_like(in.x_gates), dh, in.c0.defined() ? dc : Tensor(),
            dweight, dbias};
  }

  Tensors fast(const Tensor& dstates, const Tensor& dlast, const Tensor& dlast_c) const {
    const Inputs in = inputs();
    const Walk walk(in.x_gates.size(0), args);
    const DType dtype = in.h0.dtype();
    const bool lstm = cell == RecurrentCell::lstm, gru = cell == RecurrentCell::gru;
    const Tensor h_all = states.get(), c_all = cells.get(), all_kept = kept.get();
    const Tensor first_h = raw::row_major(in.h0), first_c = rows_or_none(in.c0);
    const Tensor w = raw::row_major(in.weight);
    const Tensor dx = raw::empty(in.x_gates.shape(), dtype);
    const Tensor du = gru ? raw::empty(dx.shape(), dtype) : dx;  // of h_gates
    Tensor dh = raw::clone(raw::row_major(dlast.defined() ? dlast : zero_state()));
    Tensor dc =
        lstm ? raw::clone(raw::row_major(dlast_c.defined() ? dlast_c : zero_state())) : Tensor();
    const auto at = [](const Tensor& all, int64_t t) {
      return all.defined() ? raw::select(all, 0, t) : Tensor();
    };
    const auto before = [&](const Tensor& all, const Tensor& first, int64_t k) {
      return k == 0 || !all.defined() ? first : raw::select(all, 0, walk.time(k - 1));
    };
    dispatch_floating(dtype, kOp, [&]<class T>(Type<T>) {
      const int64_t sums = w.size(0), hidden = w.size(1);
      const kernels::SharedRight<T> shared(sums, hidden, {w.ptr<T>(), hidden}, walk.steps());
      for (int64_t k = walk.steps() - 1; k >= 0; --k) {
        const int64_t t = walk.time(k);
        if (dstates.defined()) raw::add_into(dh, raw::select(dstates, 0, t));
        const Tensor dh_before = raw::empty(dh.shape(), dtype);
        const Tensor dc_before = lstm ? raw::empty(dh.shape(), dtype) : Tensor();
        kernels::recurrent_step_backward<T>(kernel_cell(cell),
                                            {.rows = dh.size(0),
                                             .n = dh.size(1),
                                             .active = walk.active_bytes(t),
                                             .h = before(h_all, first_h, k).ptr<T>(),
                                             .c = data_or_null<T>(before(c_all, first_c, k)),
                                             .h_next = at(h_all, t).ptr<T>(),
                                             .c_next = data_or_null<T>(at(c_all, t)),
                                             .kept = data_or_null<T>(at(all_kept, t)),
                                             .dh = dh.ptr<T>(),
                                             .dc = data_or_null<T>(dc),
                                             .d_x_gates = at(dx, t).ptr<T>(),
                                             .d_h_gates = at(du, t).ptr<T>(),
                                             .dh_before = dh_before.ptr<T>(),
                                             .dc_before = data_or_null<T>(dc_before)});
        shared.multiply({.m = dh.size(0),
                         .a = {at(du, t).ptr<T>(), sums},
                         .c = dh_before.ptr<T>(),
                         .c_stride = hidden,
                         .accumulate = true});
        dh = dh_before;
        dc = dc_before;
      }
    });
    Tensors out(5);
    out[0] = dx;
    out[1] = dh;
    if (lstm) out[2] = dc;
    if (needs(3)) out[3] = weight_gradient(du, h_all, first_h, walk);
    if (in.bias.defined() && needs(4)) out[4] = raw::sum(du, {0, 1}, false);
    return out;
  }

  // The sum over all steps of d_h_gates^T h: one product for the first step, one for the others.
  Tensor weight_gradient(const Tensor& du, const Tensor& h_all, const Tensor& first_h,
                         const Walk& walk) const {
    const int64_t steps = walk.steps();
    if (steps == 0) return zeros_like(weight.get());
    const auto flat = [](const Tensor& t) { return raw::reshape(t, {-1, t.size(-1)}); };
    const auto product = [&](const Tensor& d, const Tensor& h) {
      return matmul(raw::transpose(flat(d), 0, 1), flat(h));
    };
    const Tensor sum = product(raw::select(du, 0, walk.time(0)), first_h);
    if (steps == 1) return sum;
    const auto range = [&](const Tensor& t, int64_t begin) {
      return raw::slice(t, 0, begin, begin + steps - 1, 1);
    };
    const bool reverse = args.reverse;
    raw::add_into(sum, product(range(du, reverse ? 0 : 1), range(h_all, reverse ? 1 : 0)));
    return sum;
  }
};

void check(RecurrentCell cell, const Inputs& in, const RecurrenceArgs& args) {
  const Shape& x = in.x_gates.shape();
  const int64_t gates = kernels::gates_of(kernel_cell(cell));
  if (x.rank() != 3 || x[2] % gates != 0)
    fail<ShapeError>("{}: x_gates must be (T, B, {} H), got {}", kOp, gates, x);
  const int64_t hidden = x[2] / gates;
  const Shape state{x[1], hidden};
  const auto expect = [&](const char* what, const Tensor& t, const Shape& shape) {
    if (t.shape() != shape)
      fail<ShapeError>("{}: {} must be {} for x_gates {}, got {}", kOp, what, shape, x, t.shape());
    if (t.dtype() != in.x_gates.dtype())
      fail<DtypeError>("{}: {} is {}, x_gates is {}; convert one with to(...)", kOp, what,
                       t.dtype(), in.x_gates.dtype());
  };
  if (!is_floating(in.x_gates.dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}", kOp, in.x_gates.dtype());
  expect("h0", in.h0, state);
  expect("weight", in.weight, {x[2], hidden});
  if (in.bias.defined()) expect("bias", in.bias, {x[2]});
  if (in.c0.defined() != (cell == RecurrentCell::lstm))
    fail<ValueError>("{}: c0 is given for an lstm, and for no other cell", kOp);
  if (in.c0.defined()) expect("c0", in.c0, state);
  if (!args.lengths.defined()) return;
  if (args.lengths.dtype() != DType::i64)
    fail<DtypeError>("{}: lengths must be i64, got {}", kOp, args.lengths.dtype());
  if (args.lengths.shape() != Shape{x[1]})
    fail<ShapeError>("{}: lengths must be {}, got {}", kOp, Shape{x[1]}, args.lengths.shape());
  const Tensor lengths = raw::row_major(args.lengths);
  for (const int64_t n : lengths.data<int64_t>())
    if (n < 0 || n > x[0]) fail<IndexError>("{}: the length {} is outside [0, {}]", kOp, n, x[0]);
}

}  // namespace

RecurrenceResult recurrence(RecurrentCell cell, In x_gates, In h0, In c0, In weight, In bias,
                            const RecurrenceArgs& options) {
  const Inputs in{x_gates, h0, c0, weight, bias};
  check(cell, in, options);
  RecurrenceArgs args = options;
  if (args.lengths.defined()) args.lengths = raw::clone(args.lengths);  // the caller may reuse it
  const Tensor* const list[] = {&x_gates.t, &h0.t, &c0.t, &weight.t, &bias.t};
  const bool recording = should_record(list);
  const kernels::Cell kind = kernel_cell(cell);
  const bool lstm = cell == RecurrentCell::lstm;
  const DType dtype = x_gates->dtype();
  const int64_t steps = x_gates->size(0), batch = x_gates->size(1), hidden = h0->size(1);
  const Tensor x = raw::row_major(x_gates), w = raw::row_major(weight), b = rows_or_none(bias);
  const Tensor states = raw::empty({steps, batch, hidden}, dtype);
  const Tensor cells = lstm ? raw::empty({steps, batch, hidden}, dtype) : Tensor();
  const int64_t kept_size = kernels::kept_of(kind);
  const Tensor kept =
      kept_size
          ? raw::empty({recording ? steps : std::min<int64_t>(steps, 1), batch, kept_size * hidden},
                       dtype)
          : Tensor();
  const Walk walk(steps, args);
  State state{raw::row_major(h0), rows_or_none(c0)};
  dispatch_floating(dtype, kOp, [&]<class T>(Type<T>) {
    const int64_t sums = w.size(0);
    const kernels::SharedRight<T> shared(hidden, sums, {w.ptr<T>(), hidden, true}, steps);
    const Tensor h_gates = raw::empty({batch, sums}, dtype);
    for (int64_t k = 0; k < steps; ++k) {
      const int64_t t = walk.time(k);
      shared.multiply({.m = batch,
                       .a = {state.h.ptr<T>(), hidden},
                       .c = h_gates.ptr<T>(),
                       .c_stride = sums,
                       .bias = data_or_null<T>(b)});
      const State next{raw::select(states, 0, t), lstm ? raw::select(cells, 0, t) : Tensor()};
      const Tensor keep = kept_size ? raw::select(kept, 0, recording ? t : 0) : Tensor();
      kernels::recurrent_step<T>(kind, {.rows = batch,
                                        .n = hidden,
                                        .active = walk.active_bytes(t),
                                        .x_gates = raw::select(x, 0, t).ptr<T>(),
                                        .h_gates = h_gates.ptr<T>(),
                                        .h = state.h.ptr<T>(),
                                        .c = data_or_null<T>(state.c),
                                        .h_next = next.h.ptr<T>(),
                                        .c_next = data_or_null<T>(next.c),
                                        .kept = data_or_null<T>(keep)});
      state = next;
    }
  });
  Tensors out{states.detach(), raw::clone(state.h)};
  if (lstm) out.push_back(raw::clone(state.c));
  if (auto n = record<RecurrenceNode>(x_gates.here, list, std::span<Tensor>(out))) {
    n->x_gates.input(x_gates);
    n->h0.input(h0);
    n->c0.input(c0);
    n->weight.input(weight);
    n->bias.input(bias);
    n->states.input(states);
    n->cells.input(cells);
    n->kept.input(kept);
    n->cell = cell;
    n->args = args;
    n->given_lengths = options.lengths;
  }
  return {out[0], out[1], lstm ? out[2] : Tensor()};
}

}  // namespace loupe
