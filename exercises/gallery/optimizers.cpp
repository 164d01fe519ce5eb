// The gallery's optimizers and losses.
#include <loupe/exercises/gallery/parts.h>

#include <fmt/format.h>

#include <cmath>

namespace loupe::gallery {

namespace {

struct Net {
  Linear first, second;

  explicit Net(Rng& rng) : first(rng, 8, 32), second(rng, 32, 1) {}
  Tensor operator()(const Tensor& x) { return second(tanh(first(x))); }
  std::vector<Tensor> parameters() const {
    return {first.weight, first.bias, second.weight, second.bias};
  }
};

// One step of an optimizer for the weights w, whose gradient is there; `memory` is its own, per
// weight.
using Step = std::function<void(const Tensor& w, Tensors& memory, int64_t step)>;

std::vector<double> descend(const Step& step, int64_t steps) {
  Rng rng(2);
  Net net(rng);
  const Regression data;
  std::vector<Tensors> memory(4);
  std::vector<double> losses;
  for (int64_t t = 1; t <= steps; ++t) {
    const Tensor loss = mse_loss(net(data.x), data.y);
    losses.push_back(loss.item());
    for (const Tensor& p : net.parameters()) p.zero_grad();
    loss.backward();
    NoGrad off;
    const std::vector<Tensor> all = net.parameters();
    for (size_t i = 0; i < all.size(); ++i) step(all[i], memory[i], t);
  }
  return losses;
}

void start_memory(Tensors& memory, const Tensor& w) {
  if (memory.empty()) memory = {zeros_like(w), zeros_like(w)};
}

// --- 1 ---
// [no_bias_correction]
void bert_adam(const Tensor& w, Tensors& memory, int64_t t, double lr, bool wrong) {
  start_memory(memory, w);
  Tensor &m = memory[0], &v = memory[1];
  m = 0.9 * m + 0.1 * w.grad();
  v = 0.999 * v + 0.001 * square(w.grad());
  const double step = static_cast<double>(t);
  const double c1 =
      wrong ? 1 : 1 - std::pow(0.9, step);  // the bug: m and v start at 0, uncorrected
  const double c2 = wrong ? 1 : 1 - std::pow(0.999, step);
  w.add_(m / c1 / (sqrt(v / c2) + 1e-8), -lr);
}
// [/no_bias_correction]

std::vector<double> correction_curve(bool wrong) {
  return descend(
      [=](const Tensor& w, Tensors& memory, int64_t t) { bert_adam(w, memory, t, 0.3, wrong); },
      100);
}
std::string correction_check(bool wrong) {
  NoGrad off;
  const Tensor w = zeros({2}, DType::f64).requires_grad_();
  w.set_grad(tensor({1e-3, -5}, {}, DType::f64));
  Tensors memory;
  bert_adam(w, memory, 1, 0.1, wrong);
  return compared("the first step with lr 0.1", w, tensor({-0.1, 0.1}, {}, DType::f64), 1e-5);
}

// --- 2 ---
// [decay_in_the_gradient]
void adamw(const Tensor& w, Tensors& memory, int64_t t, double decay, bool wrong) {
  start_memory(memory, w);
  Tensor &m = memory[0], &v = memory[1];
  const double lr = 0.01, step = static_cast<double>(t);
  Tensor g = w.grad();
  if (wrong) g = g + decay * w;  // the bug: the pull is divided by the size of the gradient
  else w.mul_(1 - lr * decay);
  m = 0.9 * m + 0.1 * g;
  v = 0.999 * v + 0.001 * square(g);
  const Tensor m_hat = m / (1 - std::pow(0.9, step)), v_hat = v / (1 - std::pow(0.999, step));
  w.add_(m_hat / (sqrt(v_hat) + 1e-8), -lr);
}
// [/decay_in_the_gradient]

// A weight whose gradients are +-10, 0 on average: only the decay should move it.
std::vector<double> decayed(bool wrong, double decay, int64_t steps) {
  NoGrad off;
  const Tensor w = ones({1}, DType::f64).requires_grad_();
  Tensors memory;
  std::vector<double> sizes;
  for (int64_t t = 1; t <= steps; ++t) {
    sizes.push_back(w.item());
    w.set_grad(full({1}, t % 2 ? 10 : -10, DType::f64));
    adamw(w, memory, t, decay, wrong);
  }
  return sizes;
}
std::vector<double> decay_curve(bool wrong) { return decayed(wrong, 0.5, 400); }
std::string decay_check(bool wrong) {
  const double with = decayed(wrong, 0.5, 2)[1], without = decayed(wrong, 0, 2)[1];
  return compared("what a decay of 0.5 adds to the first step, with lr 0.01",
                  scalar(with - without, DType::f64), scalar(-0.005, DType::f64));
}

// --- 3 ---
// [eps_under_the_root]
void rmsprop(const Tensor& w, Tensors& memory, double eps, bool wrong) {
  start_memory(memory, w);
  Tensor& v = memory[0];
  v = 0.99 * v + 0.01 * square(w.grad());
  const Tensor below = wrong ? sqrt(v + eps) : sqrt(v) + eps;  // two frameworks, two formulas
  w.add_(w.grad() / below, -0.01);
}
// [/eps_under_the_root]

std::vector<double> eps_curve(bool wrong) {
  return descend(
      [=](const Tensor& w, Tensors& memory, int64_t) { rmsprop(w, memory, 0.01, wrong); }, 150);
}
std::string eps_check(bool wrong) {
  const Tensor ours = ones({1}, DType::f64).requires_grad_();
  const Tensor theirs = ones({1}, DType::f64).requires_grad_();
  RMSprop reference({{.params = {{"w", theirs}}}}, {.eps = 0.01});
  ours.set_grad(full({1}, 0.3, DType::f64));
  theirs.set_grad(full({1}, 0.3, DType::f64));
  reference.step();
  NoGrad off;
  Tensors memory;
  rmsprop(ours, memory, 0.01, wrong);
  return compared("a weight after one step", ours, theirs.detach());
}

// --- 4 ---
// A batch in two parts: a short text and a long one.
struct Texts {
  Tensor x_short, y_short, x_long, y_long;
  explicit Texts(const Regression& d)
      : x_short(d.x.slice(0, 0, 4).contiguous()),
        y_short(d.y.slice(0, 0, 4).contiguous()),
        x_long(d.x.slice(0, 4).contiguous()),
        y_long(d.y.slice(0, 4).contiguous()) {}
};

// [mean_of_means]
void accumulated(Net& net, const Texts& t, bool wrong) {
  const double all = static_cast<double>(t.y_short.numel() + t.y_long.numel());
  for (const auto& [x, y] : {std::pair{t.x_short, t.y_short}, {t.x_long, t.y_long}}) {
    const double share = static_cast<double>(y.numel()) / all;
    const Tensor loss = mse_loss(net(x), y);    // a mean over this part
    (loss * (wrong ? 0.5 : share)).backward();  // the bug: each part counts alike
  }
}
// [/mean_of_means]

std::vector<double> means_curve(bool wrong) {
  Rng rng(2);
  Net net(rng);
  const Regression data;
  const Texts texts(data);
  SGD optimizer({{.params = {{"a", net.first.weight},
                             {"b", net.first.bias},
                             {"c", net.second.weight},
                             {"d", net.second.bias}}}},
                {.lr = 0.1, .momentum = 0.9});
  std::vector<double> losses;
  for (int step = 0; step < 200; ++step) {
    losses.push_back(no_grad([&] { return mse_loss(net(data.x), data.y).item(); }));
    optimizer.zero_grad();
    accumulated(net, texts, wrong);
    optimizer.step();
  }
  return losses;
}
std::string means_check(bool wrong) {
  Rng rng(2);
  Net net(rng);
  const Regression data;
  accumulated(net, Texts(data), wrong);
  const Tensor in_parts = net.second.bias.grad().clone();
  for (const Tensor& p : net.parameters()) p.zero_grad();
  mse_loss(net(data.x), data.y).backward();
  return compared("the gradient of the last bias, in two parts and at once", in_parts,
                  net.second.bias.grad(), 1e-5);
}

// --- 5 ---
// [smoothing_of_ignored]
Tensor smoothed(const Tensor& logits, const Tensor& target, bool wrong) {
  const double smoothing = 0.2;
  const Tensor real = ge(target, 0).to(DType::f32);  // -1: ignored
  const Tensor log_p = log_softmax(logits);
  const Tensor label = maximum(target, 0).unsqueeze(1);
  const Tensor hard = -gather(log_p, 1, label).squeeze(1) * real;
  Tensor uniform = -log_p.mean({1});
  if (!wrong) uniform = uniform * real;  // the bug: ignored samples count in this part
  return ((1 - smoothing) * hard + smoothing * uniform).sum() / real.sum();
}
// [/smoothing_of_ignored]

struct Samples {
  Tensor x, target;  // half of the samples are ignored; they are far from the others
  Samples() {
    NoGrad off;
    Rng rng(4);
    x = randn(rng, {64, 8});
    x.slice(0, 32).mul_(4);
    target = argmax(x.slice(1, 0, 4), 1);
    target.slice(0, 32).fill_(-1);
  }
};

// The loss of the real samples alone.
std::vector<double> smoothing_curve(bool wrong) {
  Rng rng(2);
  Linear first(rng, 8, 32), second(rng, 32, 4);
  const Samples data;
  Adam optimizer(
      {{.params =
            {{"a", first.weight}, {"b", first.bias}, {"c", second.weight}, {"d", second.bias}}}},
      {.lr = 0.01});
  std::vector<double> losses;
  for (int step = 0; step < 150; ++step) {
    const Tensor logits = second(tanh(first(data.x)));
    losses.push_back(no_grad(
        [&] { return cross_entropy(logits.slice(0, 0, 32), data.target.slice(0, 0, 32)).item(); }));
    optimizer.zero_grad();
    smoothed(logits, data.target, wrong).backward();
    optimizer.step();
  }
  return losses;
}
std::string smoothing_check(bool wrong) {
  Rng rng(0);
  const Tensor logits = randn(rng, {3, 4}), changed = logits.clone();
  changed[2].mul_(3);
  const Tensor target = tensor({1, 0, -1}, {}, DType::i64);
  return compared("the loss after a change of an ignored sample's logits",
                  smoothed(changed, target, wrong), smoothed(logits, target, wrong));
}

}  // namespace

const std::vector<Bug>& optimizer_bugs() {
  static const std::vector<Bug> all{
      {"no_bias_correction", "Adam without its bias correction", "bert#153",
       "https://github.com/google-research/bert/issues/153",
       "m and v start at 0, and nothing corrects it. The author: \"mostly an oversight\". MLX "
       "added the "
       "correction in 2024 ([mlx#1640](https://github.com/ml-explore/mlx/pull/1640)).",
       "The first steps are about three times too long. With warm-up nobody sees it; without it "
       "the "
       "training starts with a jump.",
       "Divide m by 1 - beta1^t and v by 1 - beta2^t.", "step", "training loss", correction_curve,
       "property: the first step of Adam has the length lr", correction_check},
      {"decay_in_the_gradient", "Weight decay inside of Adam's gradient", "nntrainer#3565",
       "https://github.com/nntrainer/nntrainer/pull/3565",
       "An AdamW that adds the decay to the gradient is Adam with L2. The pull is divided by the "
       "size of "
       "the gradient.",
       "Weights with large gradients hardly decay. The option seems to do nothing.",
       "Multiply the weight by 1 - lr * decay, beside the step.", "step",
       "a weight with gradients of +-10", decay_curve,
       "property: the decay does not depend on the gradient", decay_check},
      {"eps_under_the_root", "eps under the root of RMSprop", "pytorch#23796",
       "https://github.com/pytorch/pytorch/issues/23796",
       "TensorFlow computes sqrt(v + eps), PyTorch sqrt(v) + eps. Neither is wrong. With the eps "
       "of one "
       "in the formula of the other (EfficientNet's is 0.001, Inception's 1) a training does not "
       "reproduce.",
       "Another speed from the first step on, with the same numbers in the configuration.",
       "Know the formula of both sides; compare one step.", "step", "training loss (eps 0.01)",
       eps_curve, "comparison with a reference", eps_check},
      {"mean_of_means", "A mean of means", "transformers#24725",
       "https://github.com/huggingface/transformers/issues/24725",
       "A batch is processed in parts, and the loss of each part is a mean over its tokens. The "
       "mean of "
       "these means counts a token of a short text many times.",
       "The loss differs from that of the same batch at once, and short texts pull too hard.",
       "Sum over the tokens, and divide by the number of all tokens of the batch.", "step",
       "loss over all samples", means_curve, "property: in parts or at once, the same gradient",
       means_check},
      {"smoothing_of_ignored", "Label smoothing of ignored samples", "pytorch#73205",
       "https://github.com/pytorch/pytorch/issues/73205",
       "Samples with the label ignore_index take no part in the hard half of the loss. In the "
       "uniform "
       "half they counted.",
       "The more padding, the more the model is pulled to uniform outputs.", "Mask both halves.",
       "step", "loss of the real samples", smoothing_curve,
       "property: an ignored sample changes nothing", smoothing_check}};
  return all;
}

}  // namespace loupe::gallery
