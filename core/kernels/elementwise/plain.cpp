// The elementwise kernels as plain loops.
#include <loupe/core/kernels/elementwise/dropout_words.h>
#include <loupe/core/kernels/elementwise/recurrent.h>
#include <loupe/core/kernels/vmath.h>
#include <loupe/core/random.h>

namespace loupe::kernels::plain {

template <class T> void dropout(int64_t n, const DropoutStream& stream, const T* x, T* y) {
  const uint32_t below = drop_below(stream.p);
  const T factor = kept_factor<T>(stream.p);
  for (int64_t i = 0; i < n; ++i) {
    const auto counter = static_cast<uint64_t>(i / kWordsOfCounter);
    const auto place = static_cast<size_t>(i % kWordsOfCounter);
    const uint32_t word = philox(stream.key, stream.first + counter)[place];
    y[i] = stream.p >= 1 || word < below ? T(0) : x[i] * factor;
  }
}

namespace {

double sigmoid(double x) { return vsigmoid(x); }

/// One number of a step: element j of a row, and its gates.
template <class T> struct StepNumber {
  const RecurrentStep<T>& s;
  Cell cell;
  int64_t row, j;

  int64_t at() const { return row * s.n + j; }
  int64_t gate(int64_t which) const { return (row * gates_of(cell) + which) * s.n + j; }
  double x(int64_t which) const { return double(s.x_gates[gate(which)]); }
  double u(int64_t which) const { return double(s.h_gates[gate(which)]); }
  void keep(int64_t which, double value) const {
    s.kept[(row * kept_of(cell) + which) * s.n + j] = static_cast<T>(value);
  }
};

template <class T> void lstm(const StepNumber<T>& z) {
  const double i = sigmoid(z.x(0) + z.u(0)), f = sigmoid(z.x(1) + z.u(1));
  const double g = vtanh(z.x(2) + z.u(2)), o = sigmoid(z.x(3) + z.u(3));
  const double c = f * double(z.s.c[z.at()]) + i * g;
  z.keep(0, i);
  z.keep(1, f);
  z.keep(2, g);
  z.keep(3, o);
  z.s.c_next[z.at()] = static_cast<T>(c);
  z.s.h_next[z.at()] = static_cast<T>(o * vtanh(c));
}

template <class T> void gru(const StepNumber<T>& v) {
  const double r = sigmoid(v.x(0) + v.u(0)), z = sigmoid(v.x(1) + v.u(1));
  const double fresh = vtanh(v.x(2) + r * v.u(2));
  v.keep(0, r);
  v.keep(1, z);
  v.keep(2, fresh);
  v.keep(3, v.u(2));
  v.s.h_next[v.at()] = static_cast<T>((1 - z) * fresh + z * double(v.s.h[v.at()]));
}

template <class T> void rnn(const StepNumber<T>& z) {
  const double sum = z.x(0) + z.u(0), clipped = sum < 0 ? 0 : sum;
  z.s.h_next[z.at()] = static_cast<T>(z.cell == Cell::rnn_relu ? clipped : vtanh(sum));
}

/// The same of a backward step. `give`: the gradients of a gate's two summands, which are equal but
/// for a gru's last gate.
template <class T> struct BackwardNumber {
  const RecurrentStepBackward<T>& s;
  Cell cell;
  int64_t row, j;

  int64_t at() const { return row * s.n + j; }
  double kept(int64_t which) const {
    return double(s.kept[(row * kept_of(cell) + which) * s.n + j]);
  }
  void give(int64_t which, double dx, double du) const {
    const int64_t gate = (row * gates_of(cell) + which) * s.n + j;
    s.d_x_gates[gate] = static_cast<T>(dx);
    s.d_h_gates[gate] = static_cast<T>(du);
  }
};

template <class T> void lstm_backward(const BackwardNumber<T>& z) {
  const double i = z.kept(0), f = z.kept(1), g = z.kept(2), o = z.kept(3);
  const double dh = double(z.s.dh[z.at()]), t = vtanh(double(z.s.c_next[z.at()]));
  const double dc = double(z.s.dc[z.at()]) + dh * o * (1 - t * t);
  const double d_i = dc * g * i * (1 - i), d_f = dc * double(z.s.c[z.at()]) * f * (1 - f);
  const double d_g = dc * i * (1 - g * g), d_o = dh * t * o * (1 - o);
  z.give(0, d_i, d_i);
  z.give(1, d_f, d_f);
  z.give(2, d_g, d_g);
  z.give(3, d_o, d_o);
  z.s.dc_before[z.at()] = static_cast<T>(dc * f);
  z.s.dh_before[z.at()] = 0;
}

template <class T> void gru_backward(const BackwardNumber<T>& v) {
  const double r = v.kept(0), z = v.kept(1), fresh = v.kept(2), recurrent = v.kept(3);
  const double dh = double(v.s.dh[v.at()]);
  const double d_fresh = dh * (1 - z) * (1 - fresh * fresh);
  const double d_r = d_fresh * recurrent * r * (1 - r);
  const double d_z = dh * (double(v.s.h[v.at()]) - fresh) * z * (1 - z);
  v.give(0, d_r, d_r);
  v.give(1, d_z, d_z);
  v.give(2, d_fresh, d_fresh * r);
  v.s.dh_before[v.at()] = static_cast<T>(dh * z);
}

template <class T> void rnn_backward(const BackwardNumber<T>& z) {
  const double y = double(z.s.h_next[z.at()]), live = y > 0 ? 1 : 0;
  const double d = double(z.s.dh[z.at()]) * (z.cell == Cell::rnn_relu ? live : 1 - y * y);
  z.give(0, d, d);
  z.s.dh_before[z.at()] = 0;
}

/// A row that has ended: the state stays, its gradients pass through.
template <class T> void ended(const StepNumber<T>& z) {
  z.s.h_next[z.at()] = z.s.h[z.at()];
  if (z.s.c_next) z.s.c_next[z.at()] = z.s.c[z.at()];
}
template <class T> void ended_backward(const BackwardNumber<T>& z) {
  for (int64_t g = 0; g < gates_of(z.cell); ++g) z.give(g, 0, 0);
  z.s.dh_before[z.at()] = z.s.dh[z.at()];
  if (z.s.dc_before) z.s.dc_before[z.at()] = z.s.dc[z.at()];
}

}  // namespace

template <class T> void recurrent_step(Cell cell, const RecurrentStep<T>& s) {
  for (int64_t row = 0; row < s.rows; ++row)
    for (int64_t j = 0; j < s.n; ++j) {
      const StepNumber<T> number{s, cell, row, j};
      if (s.active && !s.active[row]) ended(number);
      else if (cell == Cell::lstm) lstm(number);
      else if (cell == Cell::gru) gru(number);
      else rnn(number);
    }
}

template <class T> void recurrent_step_backward(Cell cell, const RecurrentStepBackward<T>& s) {
  for (int64_t row = 0; row < s.rows; ++row)
    for (int64_t j = 0; j < s.n; ++j) {
      const BackwardNumber<T> number{s, cell, row, j};
      if (s.active && !s.active[row]) ended_backward(number);
      else if (cell == Cell::lstm) lstm_backward(number);
      else if (cell == Cell::gru) gru_backward(number);
      else rnn_backward(number);
    }
}

#define LOUPE_INSTANTIATE(T)                                             \
  template void dropout<T>(int64_t, const DropoutStream&, const T*, T*); \
  template void recurrent_step<T>(Cell, const RecurrentStep<T>&);        \
  template void recurrent_step_backward<T>(Cell, const RecurrentStepBackward<T>&);
LOUPE_INSTANTIATE(float)
LOUPE_INSTANTIATE(double)
#undef LOUPE_INSTANTIATE

}  // namespace loupe::kernels::plain
