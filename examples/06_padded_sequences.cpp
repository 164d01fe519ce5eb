// A Transformer and an LSTM on sequences of different lengths: which digit is the largest? Shorter
// sequences are filled with padding, which must not change any answer.
#include <loupe/loupe.h>

#include <fmt/core.h>

using namespace loupe;

namespace {

constexpr int64_t kDigits = 10, kPadding = 10, kLongest = 12, kWidth = 32;

struct Sequences {
  Tensor tokens;   // (B, T), padding after each sequence's end
  Tensor padding;  // (B, T), true where there is padding
  Tensor lengths;  // (B)
  Tensor answer;   // (B)
};
Sequences draw(Rng& rng, int64_t batch) {
  Sequences s{
      randint(rng, 0, kDigits, {batch, kLongest}), {}, randint(rng, 3, kLongest + 1, {batch}), {}};
  s.padding = ge(arange(kLongest).unsqueeze(0), s.lengths.unsqueeze(1));
  s.tokens = masked_fill(s.tokens, s.padding, kPadding);
  s.answer = max(masked_fill(s.tokens, s.padding, -1), {1});
  return s;
}

// The mean over the positions that count.
Tensor mean_of_real(const Tensor& h, const Sequences& s) {
  const Tensor real = logical_not(s.padding).to(DType::f32).unsqueeze(2);
  return (h * real).sum({1}) / real.sum({1});
}

struct TransformerReader : Layer<TransformerReader> {
  Embedding embed;
  TransformerEncoderLayer block;
  Linear head;

  explicit TransformerReader(Rng& rng)
      : embed(rng, kDigits + 1, kWidth),
        block(rng, kWidth, 4, {.dim_feedforward = 64, .dropout = 0}),
        head(rng, kWidth, kDigits) {}
  Tensor answer(const Sequences& s) {
    const Tensor h = block(embed(s.tokens), {.key_padding_mask = s.padding});
    return head(mean_of_real(h, s));
  }
  Tensor forward(In x) { return x; }  // it reads whole batches: answer()
  void visit(Visitor& v) override { v("embed", embed, "block", block, "head", head); }
  std::string type_name() const override { return "TransformerReader"; }
};

struct LstmReader : Layer<LstmReader> {
  Embedding embed;
  LSTM lstm;
  Linear head;

  explicit LstmReader(Rng& rng)
      : embed(rng, kDigits + 1, kWidth),
        lstm(rng, kWidth, kWidth, {.batch_first = true}),
        head(rng, kWidth, kDigits) {}
  Tensor answer(const Sequences& s) {
    const RecurrentResult r = lstm(embed(s.tokens), SequenceArgs{.lengths = s.lengths});
    return head(r.h[0]);  // after each sequence's own last step
  }
  Tensor forward(In x) { return x; }
  void visit(Visitor& v) override { v("embed", embed, "lstm", lstm, "head", head); }
  std::string type_name() const override { return "LstmReader"; }
};

// Trains, and gives the accuracy on new sequences. Padding is then replaced by other digits: the
// answers must not change.
template <class Model> bool learns(const char* name, uint64_t seed) {
  Rng rng(seed);
  Model model(rng);
  AdamW optimizer(model, {.lr = 3e-3});
  for (int step = 0; step < 400; ++step) {
    const Sequences s = draw(rng, 64);
    const Tensor loss = cross_entropy(model.answer(s), s.answer);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
  }
  eval(model);
  NoGrad off;
  Sequences test = draw(rng, 500);
  const Tensor logits = model.answer(test);
  const double accuracy = eq(argmax(logits, -1), test.answer).to(DType::f32).mean().item();
  test.tokens = masked_fill(test.tokens, test.padding, 9);
  const double change = max(abs(model.answer(test) - logits)).item();
  fmt::print(
      "{:<12} {:6} parameters, accuracy {:.3f}; other padding changes the logits by {:.0e}\n", name,
      parameter_count(model), accuracy, change);
  return accuracy > 0.9 && change < 1e-4;
}

}  // namespace

int main() {
  const bool transformer = learns<TransformerReader>("Transformer", 1);
  const bool lstm = learns<LstmReader>("LSTM", 1);
  return transformer && lstm ? 0 : 1;
}
