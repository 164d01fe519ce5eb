// Chapter 10: rounding, overflow, differences, and the same bits.
#include <loupe/loupe.h>

#include <cmath>
#include <cstdio>
#include <iostream>

using namespace loupe;

void spacing() {
  std::printf("== spacing\n");
  // [spacing]
  for (float x : {1.0f, 100.0f, 50000.0f, 1e6f, 16777216.0f, 1e8f}) {
    const float next = std::nextafter(x, 2 * x);
    std::printf("after %11.1f comes %14.4f, a step of %g\n", static_cast<double>(x),
                static_cast<double>(next), static_cast<double>(next - x));
  }
  const float count = 16777216;  // 2^24
  std::printf("16777216 + 1 == 16777216: %s\n", count + 1 == count ? "true" : "false");
  // [/spacing]
}

void sums() {
  std::printf("== sums\n");
  // [sums]
  // A million times 0.1.
  const Tensor x = full({1000000}, 0.1);
  float in_order = 0;
  for (float value : x.data<float>()) in_order += value;
  std::printf("f32, one after the other: %.2f\n", static_cast<double>(in_order));
  std::printf("sum(), which adds in f64: %.2f\n", x.sum().item());
  // [/sums]

  std::printf("== order\n");
  // [order]
  const float a = 1e8f, b = -1e8f, c = 1;
  std::printf("(a + b) + c = %g\n", static_cast<double>((a + b) + c));
  std::printf("a + (b + c) = %g\n", static_cast<double>(a + (b + c)));
  // [/order]
}

void log_sum_exp() {
  std::printf("== overflow\n");
  // [overflow]
  const Tensor x = tensor({1000, 1001, 1002});
  std::cout << "naive softmax:  " << exp(x) / exp(x).sum() << "\n";
  const Tensor shifted = x - max(x);
  std::cout << "stable softmax: " << exp(shifted) / exp(shifted).sum() << "\n";
  // [/overflow]

  std::printf("== loss\n");
  // [loss]
  // Three equal logits: the loss is log 3 = 1.0986, whatever they are.
  for (double offset : {0.0, 1e4, 1e6, 1e8}) {
    const Tensor logits = full({1, 3}, offset);
    const float largest = static_cast<float>(offset);
    const float log_sum = largest + std::log(3.0f);  // one number for max + log(sum)
    const double one_number = static_cast<double>(log_sum - largest);
    const Tensor label = zeros({1}, DType::i64);
    std::printf("logits %9.0f: as one number %.4f, cross_entropy %.4f\n", offset, one_number,
                cross_entropy(logits, label).item());
  }
  // [/loss]
}

// [difference]
// The slope of exp at 1 by a difference, and how far it is from e.
double slope_error(double h, DType dtype) {
  const Tensor up = exp(scalar(1 + h, dtype)), down = exp(scalar(1 - h, dtype));
  const Tensor slope = (up - down) / (2 * h);
  return std::abs(slope.item() / 2.718281828459045 - 1);
}
// [/difference]

void differences() {
  std::printf("== differences\n");
  // [differences]
  std::printf("    h     error in f32   error in f64\n");
  for (int k = 1; k <= 8; ++k) {
    const double h = std::pow(10.0, -k);
    std::printf("1e-%d      %8.0e       %8.0e\n", k, slope_error(h, DType::f32),
                slope_error(h, DType::f64));
  }
  // [/differences]
}

// [wrong_op]
// x^2 with a mistake in its backward pass: the slope is 2 % too large.
struct WrongSquare final : Node {
  SavedTensor x{this};
  const char* name() const override { return "wrong_square"; }
  Tensors backward(const Tensors& dy) override { return {dy[0] * x.get() * 2.04}; }
};
Tensor wrong_square(In x) {
  Tensor y = no_grad([&] { return x.t * x.t; });
  if (auto node = record<WrongSquare>({x}, y)) node->x.input(x);
  return y;
}
// [/wrong_op]

void gradcheck_tolerance() {
  std::printf("== tolerance\n");
  // [tolerance]
  const Tensor x = tensor({0.5, 1, 2}, {}, DType::f64);
  const auto f = [](const Tensors& in) { return wrong_square(in[0]); };
  for (double tolerance : {0.05, 1e-6}) try {
      gradcheck(f, {x}, {.tolerance = tolerance});
      std::printf("tolerance %g: passed\n", tolerance);
    } catch (const GradError& error) { std::printf("tolerance %g: %s\n", tolerance, error.what()); }
  // [/tolerance]
}

void shadow() {
  std::printf("== shadow\n");
  // [shadow]
  Rng rng(0);
  Linear layer(rng, 512, 64);
  const Tensor x = randn(rng, {32, 512});
  ShadowGuard guard;  // every op below is computed once more in f64
  cross_entropy(layer(x), zeros({32}, DType::i64)).backward();
  for (const ShadowRow& row : guard.rows())
    std::printf("%-14s forward %.0e  backward %.0e\n", row.op.c_str(), row.forward, row.backward);
  // [/shadow]
}

void same_bits() {
  std::printf("== threads\n");
  // [threads]
  Rng rng(1);
  const Tensor a = randn(rng, {300, 400}), b = randn(rng, {400, 200});
  const auto with_threads = [&](int n) {
    ThreadLimit limit(n);
    return matmul(a, b);
  };
  const Tensor one = with_threads(1);
  std::printf("matmul with 2 threads: %s\n", equal(one, with_threads(2)) ? "same bits" : "other");
  std::printf("matmul with 4 threads: %s\n", equal(one, with_threads(4)) ? "same bits" : "other");
  // [/threads]
}

int main() {
  spacing();
  sums();
  log_sum_exp();
  differences();
  gradcheck_tolerance();
  shadow();
  same_bits();
}
