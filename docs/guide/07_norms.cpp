// Chapter 7: BatchNorm and LayerNorm by numbers, forward and backward.
#include <loupe/loupe.h>

#include <cmath>
#include <cstdio>

using namespace loupe;

const Tensor none;  // stands for "no weight" and "no bias"

// A matrix as a table of rows.
void print(const char* title, const Tensor& t, const char* format = " %7.3f") {
  std::printf("%s\n", title);
  const std::vector<double> values = t.to_vector<double>();
  for (int64_t i = 0; i < t.size(0); ++i) {
    for (int64_t j = 0; j < t.size(1); ++j)
      std::printf(format, values[static_cast<size_t>(i * t.size(1) + j)]);
    std::printf("\n");
  }
}

double largest(const Tensor& t) { return max(abs(t)).item(); }

// [normalize]
// The common part: zero mean and unit variance along `axis`, 0 for BatchNorm, 1 for LayerNorm.
Tensor normalize(const Tensor& x, int64_t axis, double eps = 1e-5) {
  const Tensor mean = x.mean({axis}, true);
  const Tensor centred = x - mean;
  const Tensor variance = square(centred).mean({axis}, true);
  return centred * rsqrt(variance + eps);
}
// [/normalize]

// [by_hand]
// The gradient of normalize() from g, the gradient of its output: the formula of this chapter.
Tensor normalize_backward(const Tensor& x, const Tensor& g, int64_t axis, double eps = 1e-5) {
  const Tensor centred = x - x.mean({axis}, true);
  const Tensor r = rsqrt(square(centred).mean({axis}, true) + eps);
  const Tensor xhat = centred * r;
  return r * (g - g.mean({axis}, true) - xhat * (g * xhat).mean({axis}, true));
}
// [/by_hand]

void forward() {
  std::printf("== forward\n");
  // [forward]
  // Four samples (rows) with three features (columns).
  const Tensor x =
      tensor({1, 20, 0.3, 2, 10, 0.1, 3, 30, 0.2, 6, 20, 0.2}, Shape{4, 3}, DType::f64);
  const Tensor batch = batch_norm(x, none, none, {});
  const Tensor layer = layer_norm(x, {3}, none, none);
  // [/forward]
  print("x", x);
  print("BatchNorm: every column has mean 0 and variance 1", batch);
  print("LayerNorm: every row has mean 0 and variance 1", layer);
  std::printf("== same\n");
  std::printf("normalize(x, 0) differs from batch_norm by %.0e\n",
              largest(normalize(x, 0) - batch));
  std::printf("normalize(x, 1) differs from layer_norm by %.0e\n",
              largest(normalize(x, 1) - layer));
}

void neighbours() {
  std::printf("== neighbours\n");
  // [neighbours]
  // The gradient of sample 0's outputs, for all samples: who depends on whom?
  Rng rng(1);
  const Tensor x = randn(rng, {4, 3}, DType::f64).requires_grad_();
  const Tensor weights = randn(rng, {3}, DType::f64);
  const auto of_sample_0 = [&](const Tensor& y) { return grad({(y[0] * weights).sum()}, {x})[0]; };
  const Tensor batch = of_sample_0(batch_norm(x, none, none, {}));
  const Tensor layer = of_sample_0(layer_norm(x, {3}, none, none));
  // [/neighbours]
  print("BatchNorm: the output of sample 0 depends on every sample", batch);
  print("LayerNorm: it depends on sample 0 alone", layer);
}

void backward() {
  std::printf("== backward\n");
  // [backward]
  Rng rng(2);
  const Tensor x = randn(rng, {5, 4}, DType::f64).requires_grad_();
  const Tensor dy = randn(rng, {5, 4}, DType::f64);  // any upstream gradient
  const Tensor gamma = uniform(rng, {4}, 0.5, 2, DType::f64);
  const Tensor batch = grad({batch_norm(x, gamma, none, {})}, {x}, {}, {dy})[0];
  const Tensor layer = grad({layer_norm(x, {4}, gamma, none)}, {x}, {}, {dy})[0];
  const Tensor batch_by_hand = normalize_backward(x, dy * gamma, 0);
  const Tensor layer_by_hand = normalize_backward(x, dy * gamma, 1);
  // [/backward]
  print("BatchNorm's dx", batch);
  std::printf("differs from the formula by %.0e\n", largest(batch - batch_by_hand));
  print("LayerNorm's dx", layer);
  std::printf("differs from the formula by %.0e\n", largest(layer - layer_by_hand));

  std::printf("== orthogonal\n");
  // [orthogonal]
  const Tensor xhat = normalize(x, 1);
  std::printf("largest row sum of dx:        %.0e\n", largest(layer.sum({1})));
  std::printf("largest row sum of dx * xhat: %.0e\n", largest((layer * xhat).sum({1})));
  // [/orthogonal]

  std::printf("== gradcheck\n");
  // [gradcheck]
  const auto f = [](const Tensors& in) { return layer_norm(in[0], {4}, in[1], none); };
  const GradcheckResult checked = gradcheck(f, {x, gamma});
  std::printf("%lld slopes compared, largest relative error %.0e\n",
              static_cast<long long>(checked.comparisons), checked.worst);
  // [/gradcheck]
}

void zero_gradient() {
  std::printf("== zero\n");
  // [zero]
  Rng rng(3);
  const Tensor x = randn(rng, {2, 4}, DType::f64).requires_grad_();
  layer_norm(x, {4}, none, none).sum().backward();
  std::printf("largest gradient of the sum: %.0e\n", largest(x.grad()));
  // [/zero]
}

void train_and_eval() {
  std::printf("== train\n");
  // [train]
  Rng rng(4);
  BatchNorm1d bn(1);
  for (int step = 1; step <= 50; ++step) {
    const Tensor batch = randn(rng, {8, 1}) * 2 + 5;  // mean 5, variance 4
    bn(batch);
    if (step == 1 || step == 10 || step == 50)
      std::printf("after %2d batches: running_mean %.3f, running_var %.3f\n", step,
                  bn.running_mean.item(), bn.running_var.item());
  }
  // [/train]

  std::printf("== eval\n");
  // [eval]
  const Tensor x = tensor({5, 7, 9}, Shape{3, 1});
  const Tensor in_training = bn(x);
  eval(bn);
  const Tensor in_eval = bn(x);
  const Tensor alone = bn(x.slice(0, 2, 3));  // the last sample, without company
  // [/eval]
  print("training: (x - mean of these three) / their deviation", in_training.t());
  print("eval: (x - running_mean) / running deviation", in_eval.t());
  print("eval, the last sample alone", alone);

  std::printf("== eval_backward\n");
  // [eval_backward]
  const Tensor leaf = x.clone().requires_grad_();
  const Tensor upstream = tensor({1, 2, 4}, Shape{3, 1});
  const Tensor constant = grad({bn(leaf)}, {leaf}, {}, {upstream})[0];
  train(bn);
  const Tensor through_statistics = grad({bn(leaf)}, {leaf}, {}, {upstream})[0];
  // [/eval_backward]
  print("eval: dy times a constant", constant.t());
  print("training: through the statistics", through_statistics.t());
}

void unbiased() {
  std::printf("== unbiased\n");
  // [unbiased]
  const Tensor x = tensor({1, 2, 3, 4}, Shape{4, 1}, DType::f64);
  std::printf("biased, by n:       %.4f\n", var(x, {0}, 0).item());
  std::printf("unbiased, by n - 1: %.4f\n", var(x, {0}, 1).item());
  const Tensor running_mean = zeros({1}, DType::f64);
  const Tensor running_var = ones({1}, DType::f64);
  const Tensor y =
      batch_norm(x, none, none, {.running_mean = running_mean, .running_var = running_var});
  std::printf("the output used:    %.4f\n", square(1.5 / y[3]).item());
  std::printf("running_var became: %.4f = 0.9 * 1 + 0.1 * %.4f\n", running_var.item(),
              (running_var.item() - 0.9) / 0.1);
  // [/unbiased]

  std::printf("== one\n");
  // [one]
  BatchNorm1d bn(3);
  try {
    bn(zeros({1, 3}));  // one sample: its variance over the batch would be 0
  } catch (const ValueError& error) { std::printf("%s\n", error.what()); }
  // [/one]
}

void fast_variance() {
  std::printf("== variance\n");
  // [variance]
  // A row of 1000 numbers with deviation 1 around an offset, in f32: two ways to its variance.
  for (double offset : {0.0, 100.0, 1000.0, 10000.0}) {
    Rng rng(5);
    const Tensor x = randn(rng, {1000}) + offset;
    float sum = 0, squares = 0;
    for (float value : x.data<float>()) {
      sum += value;
      squares += value * value;
    }
    const float mean = sum / 1000;
    const double right = var(x.to(DType::f64), {}, 0).item();
    std::printf("offset %5.0f: E[x^2] - E[x]^2 = %8.3f, two passes %.3f, right %.3f\n", offset,
                static_cast<double>(squares / 1000 - mean * mean), var(x, {}, 0).item(), right);
  }
  // [/variance]
}

int main() {
  forward();
  neighbours();
  backward();
  zero_gradient();
  train_and_eval();
  unbiased();
  fast_variance();
}
