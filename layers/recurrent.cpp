#include <loupe/autograd/ops/dropout.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/matmul.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/layers/recurrent.h>

#include <cmath>

namespace loupe {
namespace {

int64_t gates(RecurrentCell cell) {
  if (cell == RecurrentCell::lstm) return 4;
  if (cell == RecurrentCell::gru) return 3;
  return 1;
}

// The parameters of one layer and direction, all drawn from U(-1/sqrt(H), 1/sqrt(H)).
Recurrent::Weights draw(Rng& rng, RecurrentCell cell, int64_t input, int64_t hidden, bool bias) {
  const double bound = 1 / std::sqrt(static_cast<double>(hidden));
  const auto one = [&](const Shape& shape) {
    return uniform(rng, shape, -bound, bound).requires_grad_();
  };
  const int64_t rows = gates(cell) * hidden;
  Recurrent::Weights w;
  w.weight_ih = one({rows, input});
  w.weight_hh = one({rows, hidden});
  if (!bias) return w;
  w.bias_ih = one({rows});
  w.bias_hh = one({rows});
  return w;
}

void check_sizes(const char* name, int64_t input, int64_t hidden) {
  if (input < 1 || hidden < 1)
    fail<ValueError>("{}: input_size {} and hidden_size {} must be at least 1", name, input,
                     hidden);
}

}  // namespace

Recurrent::Recurrent(const char* name, RecurrentCell cell, Rng& rng, int64_t input_size,
                     int64_t hidden_size, RecurrentOptions options)
    : name_(name), cell_(cell), input_(input_size), hidden_(hidden_size), options_(options) {
  check_sizes(name, input_size, hidden_size);
  if (options.num_layers < 1)
    fail<ValueError>("{}: num_layers {} must be at least 1", name, options.num_layers);
  if (!(options.dropout >= 0 && options.dropout <= 1))
    fail<ValueError>("{}: dropout must lie in [0, 1], got {}", name, options.dropout);
  for (int64_t layer = 0; layer < options.num_layers; ++layer)
    for (int64_t d = 0; d < directions(); ++d) {
      const int64_t width = layer == 0 ? input_size : directions() * hidden_size;
      parts_.push_back({fmt::format("_l{}{}", layer, d ? "_reverse" : ""),
                        draw(rng, cell, width, hidden_size, options.bias)});
    }
  stream_ = rng.split();
}

void Recurrent::visit(Visitor& v) {
  for (Direction& part : parts_) {
    const auto one = [&](const char* name, Tensor& t) { v((name + part.suffix).c_str(), t); };
    one("weight_ih", part.weights.weight_ih);
    one("weight_hh", part.weights.weight_hh);
    one("bias_ih", part.weights.bias_ih);
    one("bias_hh", part.weights.bias_hh);
  }
  v.stream("stream", stream_);
}

std::string Recurrent::describe() const {
  return fmt::format("{} -> {}{}{}", input_, hidden_,
                     options_.num_layers > 1 ? fmt::format(", {} layers", options_.num_layers) : "",
                     options_.bidirectional ? ", both directions" : "");
}

Recurrent::Weights& Recurrent::weights(int64_t layer, bool reverse) {
  if (layer < 0 || layer >= options_.num_layers || (reverse && !options_.bidirectional))
    fail<IndexError>("{}: layer {}{} of {} layers in {} direction{}", name_, layer,
                     reverse ? ", reverse," : "", options_.num_layers, directions(),
                     directions() > 1 ? "s" : "");
  return parts_[static_cast<size_t>(layer * directions() + (reverse ? 1 : 0))].weights;
}

void Recurrent::check(const Tensor& x, const SequenceArgs& args, int64_t batch) const {
  if (x.size(-1) != input_)
    fail<ShapeError>("{}: the last dimension of the input must be input_size {}, got {}", name_,
                     input_, x.shape());
  const Shape states{directions() * options_.num_layers, batch, hidden_};
  for (const auto& [what, t] :
       {std::pair<const char*, const Tensor*>{"h0", &args.h0}, {"c0", &args.c0}})
    if (t->defined() && t->shape() != states)
      fail<ShapeError>("{}: {} must be (directions * layers, batch, hidden) = {}, got {}", name_,
                       what, states, t->shape());
  if (args.c0.defined() && cell_ != RecurrentCell::lstm)
    fail<ValueError>("{}: only an LSTM has a c0", name_);
  if (args.lengths.defined() && args.lengths.shape() != Shape{batch})
    fail<ShapeError>("{}: lengths must be (batch) = {}, got {}", name_, Shape{batch},
                     args.lengths.shape());
}

RecurrentResult Recurrent::forward(In x, const SequenceArgs& args) {
  if (x->dim() != 2 && x->dim() != 3)
    fail<ShapeError>("{}: the input must be {} or (time, {}), got {}", name_,
                     options_.batch_first ? fmt::format("(batch, time, {})", input_)
                                          : fmt::format("(time, batch, {})", input_),
                     input_, x->shape());
  if (x->dim() == 3) return run(x, args);
  const auto with_batch = [](const Tensor& t) { return t.defined() ? t.unsqueeze(1) : t; };
  const auto without = [](const Tensor& t) { return t.defined() ? t.squeeze(1) : t; };
  const int64_t axis = options_.batch_first ? 0 : 1;
  const Tensor lengths = args.lengths.defined() ? args.lengths.reshape({1}) : Tensor();
  const RecurrentResult r =
      run(x->unsqueeze(axis), {with_batch(args.h0), with_batch(args.c0), lengths});
  return {r.output.squeeze(axis), without(r.h), without(r.c)};
}

RecurrentResult Recurrent::run(const Tensor& input, const SequenceArgs& args) {
  Tensor x = options_.batch_first ? input.transpose(0, 1) : input;
  const int64_t steps = x.size(0), batch = x.size(1);
  check(input, args, batch);
  const Tensor zero = zeros({batch, hidden_}, x.dtype());
  const bool lstm = cell_ == RecurrentCell::lstm;
  Tensor outside;  // (T, B, 1): beyond a sequence's length
  if (args.lengths.defined())
    outside = ge(arange(steps).unsqueeze(1), args.lengths.unsqueeze(0)).unsqueeze(2);
  std::vector<Tensor> h, c;
  for (int64_t layer = 0; layer < options_.num_layers; ++layer) {
    std::vector<Tensor> sides;
    for (int64_t d = 0; d < directions(); ++d) {
      const int64_t index = layer * directions() + d;
      const Weights& w = parts_[static_cast<size_t>(index)].weights;
      const Tensor h0 = args.h0.defined() ? args.h0.select(0, index) : zero;
      Tensor c0;
      if (lstm) c0 = args.c0.defined() ? args.c0.select(0, index) : zero;
      const RecurrenceResult r =
          recurrence(cell_, linear(x, w.weight_ih, w.bias_ih), h0, c0, w.weight_hh, w.bias_hh,
                     {.lengths = args.lengths, .reverse = d == 1});
      sides.push_back(outside.defined() ? masked_fill(r.states, outside, 0) : r.states);
      h.push_back(r.h);
      if (lstm) c.push_back(r.c);
    }
    x = sides.size() == 1 ? sides[0] : cat(sides, 2);
    const bool last = layer + 1 == options_.num_layers;
    if (!last && is_training() && options_.dropout > 0) x = dropout(x, stream_, options_.dropout);
  }
  return {options_.batch_first ? x.transpose(0, 1) : x, stack(h), lstm ? stack(c) : Tensor()};
}

CellParts::CellParts(const char* name, RecurrentCell cell, Rng& rng, int64_t input_size,
                     int64_t hidden_size, CellOptions options)
    : name_(name), cell_(cell), input_(input_size), hidden_(hidden_size) {
  check_sizes(name, input_size, hidden_size);
  Recurrent::Weights w = draw(rng, cell, input_size, hidden_size, options.bias);
  weight_ih = w.weight_ih;
  weight_hh = w.weight_hh;
  bias_ih = w.bias_ih;
  bias_hh = w.bias_hh;
}

void CellParts::visit_parts(Visitor& v) {
  v("weight_ih", weight_ih, "weight_hh", weight_hh, "bias_ih", bias_ih, "bias_hh", bias_hh);
}

RecurrenceResult CellParts::step(const Tensor& x, const Tensor& h, const Tensor& c) const {
  if ((x.dim() != 1 && x.dim() != 2) || x.size(-1) != input_)
    fail<ShapeError>("{}: the input must be (batch, {}) or ({}), got {}", name_, input_, input_,
                     x.shape());
  Shape shape = x.shape();
  shape[shape.rank() - 1] = hidden_;
  for (const auto& [what, t] : {std::pair<const char*, const Tensor*>{"h", &h}, {"c", &c}})
    if (t->defined() && t->shape() != shape)
      fail<ShapeError>("{}: {} must be {} for an input {}, got {}", name_, what, shape, x.shape(),
                       t->shape());
  const int64_t batch = x.dim() == 2 ? x.size(0) : 1;
  const auto state = [&](const Tensor& t) {
    return t.defined() ? t.reshape({batch, hidden_}) : zeros({batch, hidden_}, x.dtype());
  };
  const Tensor sums = linear(x, weight_ih, bias_ih).reshape({1, batch, weight_ih.size(0)});
  RecurrenceResult r =
      recurrence(cell_, sums, state(h), cell_ == RecurrentCell::lstm ? state(c) : Tensor(),
                 weight_hh, bias_hh);
  r.h = r.h.reshape(shape);
  if (r.c.defined()) r.c = r.c.reshape(shape);
  return r;
}

RNNCell::RNNCell(Rng& rng, int64_t input_size, int64_t hidden_size, CellOptions options,
                 Nonlinearity nonlinearity)
    : CellParts(
          "RNNCell",
          nonlinearity == Nonlinearity::relu ? RecurrentCell::rnn_relu : RecurrentCell::rnn_tanh,
          rng, input_size, hidden_size, options) {}
GRUCell::GRUCell(Rng& rng, int64_t input_size, int64_t hidden_size, CellOptions options)
    : CellParts("GRUCell", RecurrentCell::gru, rng, input_size, hidden_size, options) {}
LSTMCell::LSTMCell(Rng& rng, int64_t input_size, int64_t hidden_size, CellOptions options)
    : CellParts("LSTMCell", RecurrentCell::lstm, rng, input_size, hidden_size, options) {}
LstmState LSTMCell::forward(In x, const LstmState& state) const {
  const RecurrenceResult r = step(x, state.h, state.c);
  return {r.h, r.c};
}

}  // namespace loupe
