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
constexpr int64_t gates_of(Cell cell) { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }
/// What a step keeps for its backward, in multiples of n: rnn nothing (its state is enough), lstm
/// i | f | g | o, gru r | z | n | the recurrent part of n.
constexpr int64_t kept_of(Cell cell) { return cell == Cell::lstm || cell == Cell::gru ? 4 : 0; }

/// rnn: h' = tanh or relu of x + h.
/// lstm (gates i, f, g, o): c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
/// gru (gates r, z, n): n = tanh(x_n + sigmoid(r) h_n), h' = (1 - sigmoid(z)) n + sigmoid(z) h.
template <class T> struct RecurrentStep {
  int64_t rows = 0, n = 0;
  const uint8_t* active = nullptr;  // nullptr: all
  const T* x_gates = nullptr;
  const T* h_gates = nullptr;
  const T* h = nullptr;
  const T* c = nullptr;  // lstm only, here and below
  T* h_next = nullptr;
  T* c_next = nullptr;
  T* kept = nullptr;
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

}  // namespace loupe::kernels
