#pragma once
// Recurrences over time: the steps of a plain RNN, an LSTM or a GRU, for one layer and direction.
// The layers with PyTorch's names are in layers/recurrent.h; they make the products with the input
// for all steps at once and hand the sums in.
#include <loupe/core/tensor.h>

namespace loupe {

/// h' = tanh(x + h W^T + b), or relu of it. Elman, "Finding structure in time", 1990.
/// lstm, gates i, f, g, o: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').
/// Hochreiter and Schmidhuber, "Long short-term memory", 1997; with a forget gate: Gers et al.,
/// 1999. gru, gates r, z, n: n' = tanh(x_n + sigmoid(r) h_n), h' = (1 - sigmoid(z)) n' + sigmoid(z)
/// h, where h_n includes its bias. Cho et al., 2014, in the form of PyTorch and cuDNN.
enum class RecurrentCell { rnn_tanh, rnn_relu, lstm, gru };

struct RecurrenceArgs {
  /// (B), i64: how many steps of each sequence count. After its last one a sequence keeps its
  /// state. Undefined: all T.
  Tensor lengths{};
  /// From the last step to the first; a shorter sequence begins at its own last step.
  bool reverse = false;
};
struct RecurrenceResult {
  Tensor states;  // (T, B, H): h after each step
  Tensor h;       // (B, H): after the last step that was taken
  Tensor c;       // (B, H), lstm only
};

/// All steps of one layer: x_gates (T, B, G H), the products with the input and their bias; h0 (B,
/// H); c0 (B, H) for an lstm, undefined else; weight (G H, H) and bias (G H, or undefined) of the
/// state. G is 1 (rnn), 4 (lstm), 3 (gru). One Node: its backward makes weight's gradient as one
/// product over all steps. Differentiable any number of times. ShapeError, DtypeError; IndexError
/// for a length outside [0, T].
RecurrenceResult recurrence(RecurrentCell cell, In x_gates, In h0, In c0, In weight,
                            In bias = Tensor(), const RecurrenceArgs& args = {});

}  // namespace loupe
