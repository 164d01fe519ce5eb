#pragma once
// The element-by-element half of a recurrent step, forward and backward. The products (of the
// input, of the state) are made before and come in as x_gates and h_gates; a step adds them,
// applies the gates and gives the next state.
//
// All arrays are row-major; a row is one sequence of the batch, n the hidden size. A row whose
// `active` is 0 has ended: it keeps its state, and its gradients pass through unchanged.
#include <cstdint>

namespace loupe::kernels {

enum class Cell { rnn_tanh, rnn_relu, lstm, gru };

/// Gates of a cell: columns of x_gates and h_gates are this times n.
constexpr int64_t gates_of(Cell cell) {
  if (cell == Cell::lstm) return 4;
  if (cell == Cell::gru) return 3;
  return 1;
}
/// What a step keeps for its backward, in multiples of n: rnn nothing (its state is enough), lstm
/// i | f | g | o, gru r | z | n | the recurrent part of n.
constexpr int64_t kept_of(Cell cell) { return cell == Cell::lstm || cell == Cell::gru ? 4 : 0; }

/// rnn: h' = tanh or relu of x + u, where x and u are a row's x_gates and h_gates.
/// lstm (i | f | g | o = x + u): c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
/// gru (r | z = x + u): n = tanh(x_n + sigmoid(r) u_n), h' = (1 - sigmoid(z)) n + sigmoid(z) h.
template <class T> struct RecurrentStep {
  int64_t rows = 0, n = 0;
  const uint8_t* active = nullptr;  // (rows); nullptr: all
  const T* x_gates = nullptr;       // (rows, gates n)
  const T* h_gates = nullptr;       // the same
  const T* h = nullptr;             // (rows, n)
  const T* c = nullptr;             // (rows, n); lstm only, here and below
  T* h_next = nullptr;              // (rows, n)
  T* c_next = nullptr;              // (rows, n)
  T* kept = nullptr;                // (rows, kept_of n)
};
template <class T> void recurrent_step(Cell cell, const RecurrentStep<T>& step);

/// From dh, the gradient of h' (and dc of c'), to those of the sums and of the state before.
/// dh_before has only what does not go through h_gates; the caller adds the product. d_h_gates may
/// be the same array as d_x_gates where they are equal: everywhere but in a gru.
template <class T> struct RecurrentStepBackward {
  int64_t rows = 0, n = 0;
  const uint8_t* active = nullptr;
  const T* h = nullptr;  // before the step
  const T* c = nullptr;
  const T* h_next = nullptr;
  const T* c_next = nullptr;
  const T* kept = nullptr;
  const T* dh = nullptr;
  const T* dc = nullptr;
  T* d_x_gates = nullptr;
  T* d_h_gates = nullptr;
  T* dh_before = nullptr;
  T* dc_before = nullptr;
};
template <class T> void recurrent_step_backward(Cell cell, const RecurrentStepBackward<T>& step);

/// The same, number after number with the gates written out in double: the tests' truth. One loop
/// serves every CPU level, the reference too: each number is computed by itself there as well.
namespace plain {

template <class T> void recurrent_step(Cell cell, const RecurrentStep<T>& step);
template <class T> void recurrent_step_backward(Cell cell, const RecurrentStepBackward<T>& step);

}  // namespace plain
}  // namespace loupe::kernels
