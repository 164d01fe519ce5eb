// ONNX's attention and recurrent networks.
#include <cmath>

#include "onnx_ops.h"

namespace judges {
namespace {

// --- Attention ---

// (B, T, heads E) as (B, heads, T, E).
Tensor heads_of(const Tensor& x, int64_t heads) {
  return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}
// Each head `times` times, side by side.
Tensor repeated(const Tensor& x, int64_t times) {
  if (times == 1) return x;
  const int64_t b = x.size(0), heads = x.size(1), t = x.size(2), width = x.size(3);
  return x.unsqueeze(2).expand({b, heads, times, t, width}).reshape({b, heads * times, t, width});
}

void check_attention(const OnnxCall& c) {
  if (c.real("softcap", 0) != 0) refuse("attention with softcap");
  if (c.given("softmax_precision")) refuse("attention with another precision inside");
  if (c.has(6)) refuse("attention with lengths of the keys");
  if (c.outputs > 3 && c.integer("qk_matmul_output_mode", 0) != 3)
    refuse("attention that gives its scores");
}

Tensors attention(const OnnxCall& c) {
  check_attention(c);
  const bool joined = c.x[0].dim() == 3;
  Tensor q = c.x[0], k = c.x[1], v = c.x[2];
  if (joined) {
    q = heads_of(q, c.integer("q_num_heads", 1));
    k = heads_of(k, c.integer("kv_num_heads", 1));
    v = heads_of(v, c.integer("kv_num_heads", 1));
  }
  const bool has_past = c.has(4) && c.has(5);
  if (has_past) {
    k = cat({c.x[4], k}, 2);
    v = cat({c.x[5], v}, 2);
  }
  const int64_t times = q.size(1) / k.size(1);
  AttentionOptions o;
  o.is_causal = c.integer("is_causal", 0) != 0;
  if (o.is_causal && has_past) refuse("causal attention that starts after past keys");
  if (c.given("scale")) o.scale = c.real("scale", 1);
  if (c.has(3)) {
    o.attn_mask = c.x[3];
    if (o.attn_mask.size(-1) != k.size(-2)) refuse("a mask for fewer keys");
  }
  const Tensor all_k = repeated(k, times), all_v = repeated(v, times);
  AttentionResult r;
  if (c.outputs > 3) r = attention_with_weights(q, all_k, all_v, o);
  else r.output = scaled_dot_product_attention(q, all_k, all_v, o);
  if (joined) r.output = r.output.transpose(1, 2).reshape({q.size(0), q.size(2), -1});
  return {r.output, k, v, r.weights};
}

// --- Recurrences ---

// Blocks of rows in another order.
Tensor reordered(const Tensor& w, const std::vector<size_t>& order) {
  const Tensors parts = chunk(w, static_cast<int64_t>(order.size()), 0);
  Tensors y;
  for (const size_t i : order) y.push_back(parts[i]);
  return cat(y, 0);
}

struct Cell {
  RecurrentCell cell;
  std::vector<size_t> order;  // ONNX's place of each of our gates
};

// What ONNX's node holds besides the weights.
struct Sequence {
  Tensor x, lengths;
  bool batch_first = false;
  int64_t directions = 1;
  bool backwards = false;
};
Sequence sequence(const OnnxCall& c) {
  Sequence s;
  s.batch_first = c.integer("layout", 0) != 0;
  s.x = s.batch_first ? c.x[0].transpose(0, 1) : c.x[0];
  const std::string direction = c.word("direction", "forward");
  s.directions = direction == "bidirectional" ? 2 : 1;
  s.backwards = direction == "reverse";
  if (c.has(4)) s.lengths = c.x[4];
  c.integer("hidden_size", 0);  // the weight's shape says it
  return s;
}

// Beyond a sequence's length ONNX gives 0.
Tensor cut_off(const Tensor& states, const Tensor& lengths) {
  if (!lengths.defined()) return states;
  const Tensor outside = ge(arange(states.size(0)).unsqueeze(1), lengths.unsqueeze(0));
  return masked_fill(states, outside.unsqueeze(2), 0);
}

Tensors run(const OnnxCall& c, const Cell& cell) {
  const Sequence s = sequence(c);
  const int64_t hidden = c.x[2].size(2), batch = s.x.size(1);
  const auto state = [&](size_t i, int64_t d) {
    if (!c.has(i)) return zeros({batch, hidden}, s.x.dtype());
    return s.batch_first ? c.x[i].select(1, d) : c.x[i].select(0, d);
  };
  Tensors states, h, cells;
  for (int64_t d = 0; d < s.directions; ++d) {
    const auto weight = [&](size_t i) { return reordered(c.x[i].select(0, d), cell.order); };
    Tensor b_ih, b_hh;
    if (c.has(3)) {
      const Tensors both = chunk(c.x[3].select(0, d), 2, 0);
      b_ih = reordered(both[0], cell.order);
      b_hh = reordered(both[1], cell.order);
    }
    const bool lstm = cell.cell == RecurrentCell::lstm;
    const RecurrenceResult r = recurrence(cell.cell, linear(s.x, weight(1), b_ih), state(5, d),
                                          lstm ? state(6, d) : Tensor(), weight(2), b_hh,
                                          {.lengths = s.lengths, .reverse = s.backwards || d == 1});
    states.push_back(cut_off(r.states, s.lengths));
    h.push_back(r.h);
    if (lstm) cells.push_back(r.c);
  }
  const int64_t at = s.batch_first ? 1 : 0;
  Tensor y = stack(states, 1);  // (T, directions, B, H)
  if (s.batch_first) y = y.permute({2, 0, 1, 3});
  return {y, stack(h, at), cells.empty() ? Tensor() : stack(cells, at)};
}

Tensors lstm(const OnnxCall& c) {
  if (c.has(7)) refuse("an lstm with peepholes");
  return run(c, {RecurrentCell::lstm, {0, 2, 3, 1}});
}
Tensors gru(const OnnxCall& c) {
  // h_n is made of r h where ours is r times the product, but where h is 0 both are the bias.
  const bool ours = c.integer("linear_before_reset", 0) != 0;
  const bool from_zero = c.x[0].size(c.integer("layout", 0) != 0 ? 1 : 0) == 1 && !c.has(5);
  const bool no_bias = !c.has(3) || all(eq(chunk(c.x[3], 2, 1)[1], 0.0)).item<bool>();
  if (!ours && !(from_zero && no_bias)) refuse("a gru that resets before the product");
  return run(c, {RecurrentCell::gru, {1, 0, 2}});
}
Tensors rnn(const OnnxCall& c) {
  const std::vector<std::string> activations = c.words("activations");
  const bool relu = !activations.empty() && activations[0] == "Relu";
  for (const std::string& a : activations)
    if (a != (relu ? "Relu" : "Tanh")) refuse("an rnn with activation " + a);
  return run(c, {relu ? RecurrentCell::rnn_relu : RecurrentCell::rnn_tanh, {0}});
}

}  // namespace

const Functions& sequences() {
  static const Functions table{
      {"Attention", attention},
      {"GRU", gru},
      {"LSTM", lstm},
      {"RNN", rnn},
  };
  return table;
}

}  // namespace judges
