// The writer of recurrences: LSTM, GRU and RNN nodes.
#include <loupe/core/raw.h>
#include <loupe/io/onnx_writers.h>

namespace loupe::onnx {
namespace {

// Blocks of rows, one a gate, in ONNX's order, with the axis of directions in front.
struct Gates {
  const char* op;              // ONNX's
  std::vector<size_t> order;   // which of our gates stands where
  std::vector<int64_t> sizes;  // of the blocks
};
std::string ordered(Step& s, const Gates& g, const std::string& x) {
  if (g.order.size() == 1) return x;
  const Names parts =
      s.out.add("Split", {x, s.out.ints(g.sizes)}, {{"axis", int64_t{0}}}, g.sizes.size());
  Names in_order;
  for (const size_t i : g.order) in_order.push_back(parts[i]);
  return s.out.add("Concat", in_order, {{"axis", int64_t{0}}});
}
std::string one_direction(Step& s, const std::string& x) {
  return s.out.add("Unsqueeze", {x, s.out.ints({0})});
}

// The biases of the input and of the state behind each other; empty if there is neither.
std::string both_biases(Step& s, const Gates& g, const std::string& of_input) {
  const std::string of_state = s.has(4) ? s.in(4) : "";
  if (of_input.empty() && of_state.empty()) return "";
  const auto one = [&](const std::string& bias) {
    if (!bias.empty()) return ordered(s, g, bias);
    const int64_t rows = s.x(3).size(0);
    return s.out.tensor(zeros({rows}, s.dtype()), fmt::format("zeros_{}", rows));
  };
  const std::string joined =
      s.out.add("Concat", {one(of_input), one(of_state)}, {{"axis", int64_t{0}}});
  return one_direction(s, joined);
}

// ONNX gives 0 after each step beyond a sequence's length, where the state stays as it is: at its
// end, or in reverse at its start.
std::string held(Step& s, const std::string& states, const std::string& state) {
  const int64_t steps = s.fixed(0, 0);
  const std::string time =
      s.out.tensor(raw::reshape(arange(steps), {steps, 1, 1}), fmt::format("steps_{}", steps));
  const std::string lengths = s.out.add("Unsqueeze", {s.value("lengths").name, s.out.ints({0, 2})});
  return s.out.add("Where", {s.out.add("Less", {time, lengths}), states, one_direction(s, state)});
}

// One layer and direction: x_gates, h0, c0, weight, bias of the state. Where x_gates is a linear
// layer's result, ONNX's node makes that product itself; else its weight is the identity.
void recurrence(Step& s) {
  const std::string cell = s.get<std::string>("cell");
  const bool lstm = cell == "lstm", gru = cell == "gru", reverse = s.get<bool>("reverse");
  const int64_t hidden = s.x(1).size(1);
  Gates g{lstm ? "LSTM" : gru ? "GRU" : "RNN", {0}, {}};
  if (lstm) g.order = {0, 3, 1, 2};  // i o f c
  if (gru) g.order = {1, 0, 2};      // z r h
  g.sizes.assign(g.order.size(), hidden);
  const auto found = s.out.products.find(s.in(0));
  Product p{s.in(0), "", ""};
  if (found != s.out.products.end()) p = found->second;
  else p.weight = s.out.tensor(eye(s.x(0).size(2), s.dtype()), s.out.scope + "identity");

  Values options{{"hidden_size", hidden}, {"direction", reverse ? "reverse" : "forward"}};
  if (gru) options.push_back({"linear_before_reset", int64_t{1}});
  if (cell == "rnn_relu") options.push_back({"activations", Names{"Relu"}});
  const Read lengths = s.value("lengths");
  Names inputs{p.x, one_direction(s, ordered(s, g, p.weight)),
               one_direction(s, ordered(s, g, s.in(3))), both_biases(s, g, p.bias)};
  inputs.push_back(lengths.name.empty() ? ""
                                        : s.out.add("Cast", {lengths.name}, {{"to", kOnnxInt32}}));
  inputs.push_back(one_direction(s, s.in(1)));
  if (lstm) inputs.push_back(one_direction(s, s.in(2)));
  const Names y = s.out.add(g.op, inputs, options, lstm ? 3 : 2);

  const auto without = [&](const std::string& x, int64_t axis) {
    return s.out.add("Squeeze", {x, s.out.ints({axis})});
  };
  const std::string h = without(y[1], 0);
  std::string states = without(y[0], 1);
  if (!lengths.name.empty()) states = held(s, states, reverse ? s.in(1) : h);
  s.give(states);
  s.give(h);
  if (lstm) s.give(without(y[2], 0));
}

}  // namespace

const Writers& recurrent_writers() {
  static const Writers table{
      {"recurrence", recurrence},
  };
  return table;
}

}  // namespace loupe::onnx
