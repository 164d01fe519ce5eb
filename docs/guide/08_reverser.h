#pragma once
// A small model with one attention layer, which learns to write a sequence backwards.
#include <loupe/loupe.h>

#include <cmath>

namespace guide {

// [model]
struct Reverser : loupe::Layer<Reverser> {
  static constexpr int64_t kDigits = 10, kLength = 8, kWidth = 32;
  loupe::Embedding digit, position;
  loupe::Linear query, key, value, out;

  explicit Reverser(loupe::Rng& rng)
      : digit(rng, kDigits, kWidth),
        position(rng, kLength, kWidth),
        query(rng, kWidth, kWidth),
        key(rng, kWidth, kWidth),
        value(rng, kWidth, kWidth),
        out(rng, kWidth, kDigits) {}

  // x (B, T) digits -> the logits of the output digits (B, T, 10), and the attention weights (B, T, T).
  loupe::AttentionResult attend(const loupe::Tensor& x) {
    const loupe::Tensor h = digit(x) + position(loupe::arange(kLength));
    return loupe::attention_with_weights(query(h), key(h), value(h));
  }
  loupe::Tensor forward(loupe::In x) { return out(attend(x).output); }

  void visit(loupe::Visitor& v) override {
    v("digit", digit, "position", position, "query", query, "key", key, "value", value, "out", out);
  }
  std::string type_name() const override { return "Reverser"; }
};
// [/model]

// The columns of x in reverse order.
inline loupe::Tensor reversed(const loupe::Tensor& x) {
  return loupe::index_select(x, 1, loupe::arange(x.size(1) - 1, -1, -1));
}

// [training]
// Trains on random sequences. Gives the loss of every step.
inline std::vector<double> train_reverser(Reverser& model, loupe::Rng& rng, int64_t steps) {
  loupe::AdamW optimizer(model, {.lr = 5e-3});
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    const loupe::Tensor x = loupe::randint(rng, 0, Reverser::kDigits, {32, Reverser::kLength});
    const loupe::Tensor logits = model(x).reshape({-1, Reverser::kDigits});
    const loupe::Tensor loss = loupe::cross_entropy(logits, reversed(x).reshape({-1}));
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    losses.push_back(loss.item());
  }
  return losses;
}
// [/training]

}  // namespace guide
