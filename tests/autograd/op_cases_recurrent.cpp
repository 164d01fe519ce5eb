// Recurrences, by plain loops a sequence at a time.
#include "op_cases.h"

#include <algorithm>
#include <cmath>

namespace loupe::testing {
namespace {

struct Variant {
  const char* name;
  RecurrentCell cell;
  int64_t gates;
  bool reverse = false;
  std::vector<int64_t> lengths{};  // by sequence; all steps where empty
};

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// One step of one hidden unit: its gates' sums of the input and of the state, h and c before.
struct Unit {
  double h, c;
};
Unit step(RecurrentCell cell, const std::vector<double>& x, const std::vector<double>& u,
          const Unit& before) {
  if (cell == RecurrentCell::rnn_tanh) return {std::tanh(x[0] + u[0]), 0};
  if (cell == RecurrentCell::rnn_relu) return {std::max(x[0] + u[0], 0.0), 0};
  if (cell == RecurrentCell::lstm) {
    const double c =
        sigmoid_of(x[1] + u[1]) * before.c + sigmoid_of(x[0] + u[0]) * std::tanh(x[2] + u[2]);
    return {sigmoid_of(x[3] + u[3]) * std::tanh(c), c};
  }
  const double r = sigmoid_of(x[0] + u[0]), z = sigmoid_of(x[1] + u[1]);
  const double n = std::tanh(x[2] + r * u[2]);
  return {(1 - z) * n + z * before.h, 0};
}

Arrays plain(const Variant& v, const Arrays& in) {
  const Array &x = in[0], &h0 = in[1], &w = in[2], &b = in[3];
  const bool lstm = v.cell == RecurrentCell::lstm;
  const int64_t steps = x.size(0), batch = x.size(1), hidden = h0.size(1);
  Array states(Shape{steps, batch, hidden}), h = h0, c = lstm ? in[4] : Array(h0.shape);
  for (int64_t k = 0; k < steps; ++k) {
    const int64_t t = v.reverse ? steps - 1 - k : k;
    const Array before = h, cells = c;
    for (int64_t s = 0; s < batch; ++s)
      for (int64_t j = 0; j < hidden; ++j) {
        if (v.lengths.empty() || t < v.lengths[static_cast<size_t>(s)]) {
          std::vector<double> xs, us;
          for (int64_t g = 0; g < v.gates; ++g) {
            const int64_t row = g * hidden + j;
            double sum = b(row);
            for (int64_t i = 0; i < hidden; ++i) sum += w(row, i) * before(s, i);
            xs.push_back(x(t, s, row));
            us.push_back(sum);
          }
          const Unit next = step(v.cell, xs, us, {before(s, j), cells(s, j)});
          h(s, j) = next.h;
          c(s, j) = next.c;
        }
        states(t, s, j) = h(s, j);
      }
  }
  Arrays out{states, h};
  if (lstm) out.push_back(c);
  return out;
}

OpCase row(const Variant& v) {
  const auto sizes = [&](int64_t steps, int64_t batch, int64_t hidden) {
    const int64_t columns = v.gates * hidden;
    std::vector<Shape> shapes{
        {steps, batch, columns}, {batch, hidden}, {columns, hidden}, {columns}};
    if (v.cell == RecurrentCell::lstm) shapes.push_back({batch, hidden});
    return shapes;
  };
  OpCase c{.name = v.name,
           .shapes = {sizes(3, 2, 2)},
           .f = [v](const Tensors& x) -> Tensors {
             const RecurrenceArgs args{
                 .lengths = v.lengths.empty() ? Tensor() : from_data(v.lengths),
                 .reverse = v.reverse};
             const RecurrenceResult r =
                 recurrence(v.cell, x[0], x[1], x.size() > 4 ? x[4] : Tensor(), x[2], x[3], args);
             Tensors y{r.states, r.h};
             if (r.c.defined()) y.push_back(r.c);
             return y;
           },
           .naive = [v](const Arrays& x) { return plain(v, x); },
           // Small weights: with large ones the states are chaotic, and f32 is another orbit.
           .draw = {Draw{}, Draw{}, within(-0.3, 0.3)}};
  if (v.lengths.empty()) {
    c.shapes.push_back(sizes(1, 2, 3));
    c.shapes.push_back(sizes(2, 1, 2));
    c.shapes.push_back(sizes(0, 2, 2));
    c.shapes.push_back(sizes(2, 0, 2));
    c.large = sizes(4, 9, 40);
  }
  return c;
}

}  // namespace

std::vector<OpCase> recurrent_cases() {
  return {row({"recurrence(rnn_tanh)", RecurrentCell::rnn_tanh, 1}),
          row({"recurrence(rnn_relu)", RecurrentCell::rnn_relu, 1}),
          row({"recurrence(lstm)", RecurrentCell::lstm, 4}),
          row({"recurrence(lstm, reverse)", RecurrentCell::lstm, 4, true}),
          row({"recurrence(lstm, lengths)", RecurrentCell::lstm, 4, true, {1, 3}}),
          row({"recurrence(gru)", RecurrentCell::gru, 3}),
          row({"recurrence(gru, lengths)", RecurrentCell::gru, 3, false, {0, 1}})};
}

}  // namespace loupe::testing
