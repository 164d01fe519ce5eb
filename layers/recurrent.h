#pragma once
// Recurrent layers with PyTorch's names, defaults and initialisation: RNN, LSTM and GRU, each as a
// layer over a sequence (several layers, both directions) and as a cell that takes one step. The
// formulas stand in autograd/ops/recurrent.h. Sequences of different lengths are given with their
// lengths instead of being packed.
#include <loupe/autograd/ops/recurrent.h>
#include <loupe/layers/module.h>

namespace loupe {

struct RecurrentOptions {
  int64_t num_layers = 1;
  bool bias = true;
  bool batch_first = false;  // (B, T, ...) in and out; the states stay (layers, B, H)
  double dropout = 0;        // of the states handed to the next layer, in training
  bool bidirectional = false;
};

/// What a sequence comes with. All may be left out.
struct SequenceArgs {
  /// (D num_layers, B, H), D = 2 if bidirectional; zeros by default.
  Tensor h0{};
  /// The same, LSTM only.
  Tensor c0{};
  /// (B), i64: how many steps of each sequence count, in any order; all by default.
  Tensor lengths{};
};

/// output: h of the last layer after each step, both directions side by side, 0 beyond a sequence's
/// length. h (and c): after each sequence's last step, forward before reverse, layer by layer.
struct RecurrentResult {
  Tensor output;  // (T, B, D H), or (B, T, D H) if batch_first
  Tensor h;       // (D num_layers, B, H)
  Tensor c;       // LSTM only
};

/// What the three layers share: weight_ih_l0 (G H, in), weight_hh_l0 (G H, H), bias_ih_l0,
/// bias_hh_l0 (G H), ..., with "_reverse" for the second direction; all from U(-1/sqrt(H),
/// 1/sqrt(H)). G is 1 (RNN), 4 (LSTM), 3 (GRU).
class Recurrent : public Layer<Recurrent> {
 public:
  /// x (T, B, in), or (B, T, in) if batch_first, or (T, in) for one sequence, whose states have no
  /// batch dimension either. With lengths, results equal those of PyTorch's packed sequences.
  /// ShapeError, DtypeError; IndexError for a length outside [0, T]; ValueError for a c0 if this is
  /// no LSTM.
  RecurrentResult forward(In x, const SequenceArgs& args = {});
  void visit(Visitor& v) override;
  std::string type_name() const override { return name_; }
  std::string describe() const override;

  /// The parameters of one layer and direction.
  struct Weights {
    Tensor weight_ih, weight_hh, bias_ih, bias_hh;
  };
  Weights& weights(int64_t layer, bool reverse = false);

 protected:
  Recurrent(const char* name, RecurrentCell cell, Rng& rng, int64_t input_size, int64_t hidden_size,
            RecurrentOptions options);

 private:
  struct Direction {
    std::string suffix;  // "_l0_reverse"
    Weights weights;
  };
  RecurrentResult run(const Tensor& x, const SequenceArgs& args);
  void check(const Tensor& x, const SequenceArgs& args, int64_t batch) const;
  int64_t directions() const { return options_.bidirectional ? 2 : 1; }

  const char* name_;
  RecurrentCell cell_;
  int64_t input_, hidden_;
  RecurrentOptions options_;
  std::vector<Direction> parts_;  // layer by layer, forward before reverse
  Rng stream_;
};

/// Long short-term memory. Hochreiter and Schmidhuber, 1997.
class LSTM : public Recurrent {
 public:
  using Options = RecurrentOptions;
  LSTM(Rng& rng, int64_t input_size, int64_t hidden_size, Options options = {})
      : Recurrent("LSTM", RecurrentCell::lstm, rng, input_size, hidden_size, options) {}
};

/// Gated recurrent unit. Cho et al., "Learning phrase representations", 2014.
class GRU : public Recurrent {
 public:
  using Options = RecurrentOptions;
  GRU(Rng& rng, int64_t input_size, int64_t hidden_size, Options options = {})
      : Recurrent("GRU", RecurrentCell::gru, rng, input_size, hidden_size, options) {}
};

enum class Nonlinearity { tanh, relu };

/// The plain recurrence h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. Elman, 1990.
class RNN : public Recurrent {
 public:
  struct Options {
    int64_t num_layers = 1;
    Nonlinearity nonlinearity = Nonlinearity::tanh;
    bool bias = true, batch_first = false;
    double dropout = 0;
    bool bidirectional = false;
  };
  RNN(Rng& rng, int64_t input_size, int64_t hidden_size, Options o)
      : Recurrent("RNN",
                  o.nonlinearity == Nonlinearity::relu ? RecurrentCell::rnn_relu
                                                       : RecurrentCell::rnn_tanh,
                  rng, input_size, hidden_size,
                  {o.num_layers, o.bias, o.batch_first, o.dropout, o.bidirectional}) {}
  RNN(Rng& rng, int64_t input_size, int64_t hidden_size)
      : RNN(rng, input_size, hidden_size, Options{}) {}
};

struct CellOptions {
  bool bias = true;
};

/// What the three cells share: weight_ih (G H, in), weight_hh (G H, H), bias_ih, bias_hh (G H),
/// drawn as the layers' are.
class CellParts {
 public:
  Tensor weight_ih, weight_hh;  // (G H, in), (G H, H)
  Tensor bias_ih, bias_hh;      // (G H), undefined without bias

 protected:
  CellParts(const char* name, RecurrentCell cell, Rng& rng, int64_t input_size, int64_t hidden_size,
            CellOptions options);
  void visit_parts(Visitor& v);
  std::string sizes() const { return fmt::format("{} -> {}", input_, hidden_); }
  /// One step of (B, in), or (in), from h and c (zeros where undefined).
  RecurrenceResult step(const Tensor& x, const Tensor& h, const Tensor& c) const;

 private:
  const char* name_;
  RecurrentCell cell_;
  int64_t input_, hidden_;
};

/// One step: x (B, in) or (in), h of (B, H) or (H), zeros by default -> h'.
class RNNCell : public Layer<RNNCell>, public CellParts {
 public:
  RNNCell(Rng& rng, int64_t input_size, int64_t hidden_size, CellOptions options = {},
          Nonlinearity nonlinearity = Nonlinearity::tanh);
  Tensor forward(In x, const Tensor& h = Tensor()) const { return step(x, h, Tensor()).h; }
  void visit(Visitor& v) override { visit_parts(v); }
  std::string type_name() const override { return "RNNCell"; }
  std::string describe() const override { return sizes(); }
};

/// One step: x (B, in) or (in), h as above -> h'.
class GRUCell : public Layer<GRUCell>, public CellParts {
 public:
  GRUCell(Rng& rng, int64_t input_size, int64_t hidden_size, CellOptions options = {});
  Tensor forward(In x, const Tensor& h = Tensor()) const { return step(x, h, Tensor()).h; }
  void visit(Visitor& v) override { visit_parts(v); }
  std::string type_name() const override { return "GRUCell"; }
  std::string describe() const override { return sizes(); }
};

struct LstmState {
  Tensor h{}, c{};
};
/// One step: x (B, in) or (in), h and c of (B, H) or (H), zeros by default -> h', c'.
class LSTMCell : public Layer<LSTMCell>, public CellParts {
 public:
  LSTMCell(Rng& rng, int64_t input_size, int64_t hidden_size, CellOptions options = {});
  LstmState forward(In x, const LstmState& state = {}) const;
  void visit(Visitor& v) override { visit_parts(v); }
  std::string type_name() const override { return "LSTMCell"; }
  std::string describe() const override { return sizes(); }
};

}  // namespace loupe
