// Chapter 8: attention by numbers, a model that needs nothing else, and a LayerNorm with three
// differences.
#include "08_reverser.h"

#include <cstdio>

using namespace loupe;
using guide::Reverser;

void print(const char* title, const Tensor& t, const char* format = " %7.4f") {
  std::printf("%s\n", title);
  const std::vector<double> values = t.to_vector<double>();
  const int64_t columns = t.size(-1);
  for (size_t i = 0; i < values.size(); ++i) {
    std::printf(format, values[i]);
    if ((static_cast<int64_t>(i) + 1) % columns == 0) std::printf("\n");
  }
}

double largest(const Tensor& t) { return max(abs(t)).item(); }

void by_hand() {
  std::printf("== by_hand\n");
  // [by_hand]
  // Three tokens of width 2: what each looks for, what each offers, what each says.
  const Tensor q = tensor({2, 0, 0, 2, 2, 2}, Shape{3, 2}, DType::f64).requires_grad_();
  const Tensor k = tensor({2, 0, 0, 2, -2, 0}, Shape{3, 2}, DType::f64).requires_grad_();
  const Tensor v = tensor({10, 1, 20, 2, 30, 3}, Shape{3, 2}, DType::f64).requires_grad_();
  const Tensor scores = matmul(q, k.t()) / std::sqrt(2.0);
  const Tensor weights = softmax(scores);
  const Tensor y = matmul(weights, v);
  // [/by_hand]
  print("weights: row i says where token i looks", weights);
  print("y", y);
  std::printf("scaled_dot_product_attention differs by %.0e\n",
              largest(y - scaled_dot_product_attention(q, k, v)));

  std::printf("== causal\n");
  // [causal]
  // With a causal mask token i sees tokens 0 to i only.
  const Tensor future = triu(ones({3, 3}), 1).to(DType::boolean);
  const Tensor causal = softmax(masked_fill(scores, future, -INFINITY));
  // [/causal]
  print("causal weights", causal);

  std::printf("== backward\n");
  // [backward]
  Rng rng(1);
  const Tensor dy = randn(rng, {3, 2}, DType::f64);
  // y = P v with P = softmax(S), S = q k^T / sqrt(d). By hand, from the end:
  const Tensor dv = matmul(weights.t(), dy);
  const Tensor dP = matmul(dy, v.t());
  const Tensor dS = weights * (dP - (dP * weights).sum({-1}, true));
  const Tensor dq = matmul(dS, k) / std::sqrt(2.0);
  const Tensor dk = matmul(dS.t(), q) / std::sqrt(2.0);

  const Tensor again = scaled_dot_product_attention(q, k, v);
  const Tensors g = grad({again}, {q, k, v}, {}, {dy});
  std::printf("dq differs by %.0e, dk by %.0e, dv by %.0e\n", largest(g[0] - dq),
              largest(g[1] - dk), largest(g[2] - dv));
  // [/backward]
}

void scale() {
  std::printf("== scale\n");
  // [scale]
  std::printf("width   deviation of q.k   largest weight   with / sqrt(width)\n");
  for (int64_t width : {4, 64, 1024}) {
    Rng rng(2);
    const Tensor q = randn(rng, {64, width}), k = randn(rng, {64, width});
    const Tensor scores = matmul(q, k.t());
    const auto sharpness = [](const Tensor& s) { return max(softmax(s), {-1}).mean().item(); };
    std::printf("%5lld   %16.1f   %14.2f   %18.2f\n", static_cast<long long>(width),
                loupe::std(scores).item(), sharpness(scores),
                sharpness(scores / std::sqrt(static_cast<double>(width))));
  }
  // [/scale]
}

void reverser() {
  std::printf("== reverser\n");
  // [reverser]
  Rng rng(3);
  Reverser model(rng);
  const std::vector<double> losses = guide::train_reverser(model, rng, 300);
  const Tensor x = tensor({3, 1, 4, 1, 5, 9, 2, 6}, Shape{1, 8}, DType::i64);
  const Tensor answer = argmax(model(x), -1);
  // [/reverser]
  std::printf("loss at step 1: %.4f, at step 300: %.4f\n", losses.front(), losses.back());
  print("in", x, " %g");
  print("out", answer, " %g");

  std::printf("== order\n");
  // [order]
  // The same model without positions: shuffle the input, and the output is shuffled in the same way.
  NoGrad off;
  model.position.weight.fill_(0);
  const Tensor order = tensor({4, 0, 7, 2, 6, 1, 3, 5}, {}, DType::i64);
  const Tensor y = model(x), shuffled = model(index_select(x, 1, order));
  std::printf("largest difference: %.0e\n", largest(index_select(y, 1, order) - shuffled));
  // [/order]
}

// [annotated]
// The LayerNorm of the Annotated Transformer (without its weight and bias).
Tensor annotated(const Tensor& x, double eps = 1e-6) {
  const Tensor mean = x.mean({-1}, true);
  const Tensor deviation = loupe::std(x, {-1}, 1, true);  // divides by n - 1, as torch.std does
  return (x - mean) / (deviation + eps);                  // eps outside of the root
}
// [/annotated]

void exhibits() {
  std::printf("== unbiased\n");
  // [unbiased]
  const Tensor x = tensor({1, 0, 0, 0}, Shape{1, 4}, DType::f64);
  const Tensor none;
  print("Annotated Transformer", annotated(x));
  print("LayerNorm", layer_norm(x, {4}, none, none));
  // [/unbiased]
  std::printf("== width\n");
  for (int64_t n : {4, 64, 512})
    std::printf("width %3lld: all outputs are smaller by the factor %.4f\n",
                static_cast<long long>(n),
                std::sqrt(static_cast<double>(n - 1) / static_cast<double>(n)));

  std::printf("== eps\n");
  // [eps]
  // A row whose numbers hardly differ, and its gradient, with the same eps in both places.
  const Tensor upstream = tensor({1, -2, 0.5, 1}, Shape{1, 4}, DType::f64);
  for (double size : {1.0, 1e-3, 1e-6}) {
    const Tensor row = (tensor({1, -1, 1, -1}, Shape{1, 4}, DType::f64) * size).requires_grad_();
    const Tensor outside = annotated(row), inside = layer_norm(row, {4}, none, none, 1e-6);
    std::printf("deviation %.0e: output %.3f outside, %.3f inside; largest slope %.0e and %.0e\n",
                size, largest(outside), largest(inside),
                largest(grad({outside}, {row}, {}, {upstream})[0]),
                largest(grad({inside}, {row}, {}, {upstream})[0]));
  }
  // [/eps]
}

void placement() {
  std::printf("== placement\n");
  // [placement]
  for (bool norm_first : {false, true}) {
    Rng rng(4);
    Tensor h = randn(rng, {2, 16, 32});
    std::printf(norm_first ? "norm first:" : "norm last: ");
    for (int64_t layer = 1; layer <= 12; ++layer) {
      TransformerEncoderLayer block(
          rng, 32, 4, {.dim_feedforward = 64, .dropout = 0, .norm_first = norm_first});
      h = no_grad([&] { return block(h); });
      if (layer % 4 == 0)
        std::printf("  layer %2lld: deviation %.2f", static_cast<long long>(layer),
                    loupe::std(h).item());
    }
    std::printf("\n");
  }
  // [/placement]
}

int main() {
  by_hand();
  scale();
  reverser();
  exhibits();
  placement();
}
