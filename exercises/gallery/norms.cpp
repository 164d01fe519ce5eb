// The gallery's norms.
#include <loupe/exercises/gallery/parts.h>
#include <loupe/layers/check.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/state.h>

#include <fmt/format.h>

namespace loupe::gallery {

namespace {

const Tensor kNone;
constexpr int64_t kWidth = 32;
constexpr double kEps = 1e-5;

Tensor mean_of(const Tensor& t) { return t.mean({-1}, true); }

Tensor layer_norm_formula(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor centred = x - mean_of(x);
  return centred * rsqrt(mean_of(square(centred)) + kEps) * weight + bias;
}

// A network with a norm in the middle: 8 -> 32, norm, ReLU, 32 -> 1.
struct Net {
  Linear first, second;
  Tensor weight = ones({kWidth}), bias = zeros({kWidth});

  explicit Net(Rng& rng) : first(rng, 8, kWidth), second(rng, kWidth, 1) {
    weight.requires_grad_();
    bias.requires_grad_();
  }
  std::vector<Named> parameters() const {
    return {{"first.weight", first.weight},
            {"first.bias", first.bias},
            {"weight", weight},
            {"bias", bias},
            {"second.weight", second.weight},
            {"second.bias", second.bias}};
  }
};

using Norm = std::function<Tensor(const Tensor& x, const Tensor& weight, const Tensor& bias)>;

std::vector<double> train_with(const Norm& norm) {
  Rng rng(2);
  Net net(rng);
  return train(
      [&](const Tensor& x) { return net.second(relu(norm(net.first(x), net.weight, net.bias))); },
      net.parameters());
}

// --- 1 ---
// [layer_norm_without_backward]
struct FusedLayerNorm final : Node {
  SavedTensor x{this}, weight{this}, bias{this};
  const char* name() const override { return "fused_layer_norm"; }
  Tensors backward(const Tensors& dy) override {
    const Tensor centred = x.get() - mean_of(x.get());
    const Tensor r = rsqrt(mean_of(square(centred)) + kEps), xhat = centred * r;
    const Tensor g = dy[0] * weight.get();
    return {r * (g - mean_of(g) - xhat * mean_of(g * xhat)), dy[0] * xhat, dy[0]};
  }
};

Tensor fused_layer_norm(In x, In weight, In bias, bool wrong) {
  Tensor y = no_grad([&] { return layer_norm_formula(x, weight, bias); });  // the fast kernel
  if (wrong) return y;  // the bug: nothing is recorded, and y looks like a constant
  if (auto node = record<FusedLayerNorm>({x, weight, bias}, y)) {
    node->x.input(x);
    node->weight.input(weight);
    node->bias.input(bias);
  }
  return y;
}
// [/layer_norm_without_backward]

std::string check_gradients(const Norm& norm, const Shape& shape) {
  return words_of([&] {
    Rng rng(0);
    gradcheck([&](const Tensors& in) { return norm(in[0], in[1], in[2]); },
              {randn(rng, shape, DType::f64), randn(rng, {shape[shape.rank() - 1]}, DType::f64),
               randn(rng, {shape[shape.rank() - 1]}, DType::f64)});
  });
}

std::vector<double> without_backward_curve(bool wrong) {
  return train_with([=](const Tensor& x, const Tensor& w, const Tensor& b) {
    return fused_layer_norm(x, w, b, wrong);
  });
}
std::string without_backward_check(bool wrong) {
  return check_gradients([=](const Tensor& x, const Tensor& w,
                             const Tensor& b) { return fused_layer_norm(x, w, b, wrong); },
                         {3, 4});
}

// --- 2 ---
// [short_variance]
Tensor short_layer_norm(const Tensor& x, bool wrong) {
  const Tensor mean = mean_of(x);
  const Tensor variance = wrong ? mean_of(square(x)) - square(mean)  // the bug
                                : mean_of(square(x - mean));
  return (x - mean) * rsqrt(variance + kEps);
}
// [/short_variance]

std::vector<double> short_variance_curve(bool wrong) {
  return train_with([=](const Tensor& x, const Tensor& w, const Tensor& b) {
    return short_layer_norm(x + 1200, wrong) * w + b;  // activations far from 0
  });
}
std::string short_variance_check(bool wrong) {
  Rng rng(0);
  const Tensor x = randn(rng, {4, 64});
  return compared("a constant of 1000 was added to the row", short_layer_norm(x + 1000, wrong),
                  short_layer_norm(x, wrong), 1e-2);
}

// --- 3 ---
struct Running {
  Tensor mean, variance;
  double momentum = 0.1;
};

// [biased_running_variance]
Tensor batch_norm_step(const Tensor& x, Running& running, bool wrong) {
  const double n = static_cast<double>(x.size(0));
  const Tensor mean = x.mean({0}), variance = square(x - mean).mean({0});
  const Tensor kept = wrong ? variance : variance * (n / (n - 1));  // the bug: by n
  running.mean = (1 - running.momentum) * running.mean + running.momentum * mean.detach();
  running.variance = (1 - running.momentum) * running.variance + running.momentum * kept.detach();
  return (x - mean) * rsqrt(variance + kEps);
}
// [/biased_running_variance]

// The loss in eval mode along a training in batches of two.
std::vector<double> biased_curve(bool wrong) {
  Rng rng(2);
  Net net(rng);
  const Regression data;
  Running running{zeros({kWidth}), ones({kWidth})};
  Adam optimizer({{.params = net.parameters()}}, {.lr = 0.003});
  const auto rest = [&](const Tensor& h) { return net.second(relu(h * net.weight + net.bias)); };
  std::vector<double> losses;
  for (int64_t step = 0; step < 600; ++step) {
    const int64_t at = 2 * (step % 32);
    const Tensor x = data.x.slice(0, at, at + 2), y = data.y.slice(0, at, at + 2);
    optimizer.zero_grad();
    mse_loss(rest(batch_norm_step(net.first(x), running, wrong)), y).backward();
    optimizer.step();
    if (step % 4 != 3) continue;
    NoGrad off;
    const Tensor h = net.first(data.x);
    losses.push_back(
        mse_loss(rest((h - running.mean) * rsqrt(running.variance + kEps)), data.y).item());
  }
  return losses;
}
std::string biased_check(bool wrong) {
  Rng rng(0);
  const Tensor x = randn(rng, {4, 3}, DType::f64);
  Running running{zeros({3}, DType::f64), ones({3}, DType::f64), 1};
  batch_norm_step(x, running, wrong);
  return compared("running_var after one batch with momentum 1", running.variance, var(x, {0}, 1));
}

// --- 4 ---
// [two_dimensions_only]
struct TokenNorm final : Node {
  SavedTensor x{this}, weight{this};
  bool wrong = false;
  const char* name() const override { return "token_norm"; }
  Tensors backward(const Tensors& dy) override {
    const Tensor centred = x.get() - mean_of(x.get());
    const Tensor r = rsqrt(mean_of(square(centred)) + kEps), xhat = centred * r;
    const Tensor g = dy[0] * weight.get();
    const int64_t features = xhat.size(-1);
    Tensor rows = (dy[0] * xhat).reshape({-1, features}), shift = dy[0].reshape({-1, features});
    if (wrong) {  // the bug: the first dimension is taken for the number of rows
      rows = rows.slice(0, 0, xhat.size(0));
      shift = shift.slice(0, 0, xhat.size(0));
    }
    return {r * (g - mean_of(g) - xhat * mean_of(g * xhat)), rows.sum({0}), shift.sum({0})};
  }
};
// [/two_dimensions_only]

Tensor token_norm(In x, In weight, In bias, bool wrong) {
  Tensor y = no_grad([&] { return layer_norm_formula(x, weight, bias); });
  if (auto node = record<TokenNorm>({x, weight, bias}, y)) {
    node->x.input(x);
    node->weight.input(weight);
    node->wrong = wrong;
  }
  return y;
}

std::vector<double> two_dimensions_curve(bool wrong) {
  return train_with([=](const Tensor& x, const Tensor& w, const Tensor& b) {
    return token_norm(x.reshape({4, 16, kWidth}), w, b, wrong).reshape({64, kWidth});
  });
}
std::string two_dimensions_check(bool wrong) {
  return check_gradients(
      [=](const Tensor& x, const Tensor& w, const Tensor& b) { return token_norm(x, w, b, wrong); },
      {2, 3, 4});
}

// --- 5 ---
// [parameters_not_listed]
struct OwnNorm : Layer<OwnNorm> {
  Tensor gamma = ones({kWidth}).requires_grad_(), beta = zeros({kWidth}).requires_grad_();
  bool wrong;

  explicit OwnNorm(bool w) : wrong(w) {}
  Tensor forward(In x) { return layer_norm_formula(x, gamma, beta); }
  void visit(Visitor& v) override {
    if (!wrong) v("gamma", gamma, "beta", beta);  // the bug: no parameter is listed
  }
  std::string type_name() const override { return "OwnNorm"; }
};
// [/parameters_not_listed]

struct OwnNet : Layer<OwnNet> {
  Linear first, second;
  OwnNorm norm;

  OwnNet(Rng& rng, bool wrong) : first(rng, 8, kWidth), second(rng, kWidth, 1), norm(wrong) {}
  Tensor forward(In x) { return second(relu(norm(first(x)))); }
  void visit(Visitor& v) override { v("first", first, "norm", norm, "second", second); }
  std::string type_name() const override { return "OwnNet"; }
};

std::vector<double> not_listed_curve(bool wrong) {
  Rng rng(2);
  OwnNet net(rng, wrong);
  return train([&](const Tensor& x) { return net(x); }, named_parameters(net));
}
std::string not_listed_check(bool wrong) {
  Rng rng(2);
  OwnNet net(rng, wrong);
  for (const ModelCheck::Finding& f : check_model(net, Regression().x).findings)
    if (f.kind == ModelCheck::Kind::unlisted_parameter) return "unlisted parameter: " + f.detail;
  return "";
}

// --- 6 ---
// [annotated_layer_norm]
Tensor annotated_layer_norm(const Tensor& x, bool wrong) {
  const Tensor mean = mean_of(x);
  if (wrong)  // the bug, twice: torch.std divides by n - 1, and eps stands outside of the root
    return (x - mean) / (loupe::std(x, {-1}, 1, true) + 1e-6);
  return (x - mean) * rsqrt(var(x, {-1}, 0, true) + kEps);
}
// [/annotated_layer_norm]

std::vector<double> annotated_curve(bool wrong) {
  return train_with([=](const Tensor& x, const Tensor& w, const Tensor& b) {
    return annotated_layer_norm(x, wrong) * w + b;
  });
}
std::string annotated_check(bool wrong) {
  const Tensor x = tensor({1, 0, 0, 0}, Shape{1, 4}, DType::f64);
  return compared("LayerNorm of (1, 0, 0, 0)", annotated_layer_norm(x, wrong),
                  layer_norm(x, {4}, kNone, kNone));
}

// --- 7 ---
// [statistics_overwritten]
Tensor in_place_batch_norm(const Tensor& x, const Tensor& running_mean, bool wrong) {
  const Tensor mean = x.mean({0}).detach(), kept = wrong ? mean : mean.clone();
  kept.mul_(0.1);
  kept.add_(running_mean, 0.9);  // the bug: `kept` is the buffer of the batch's mean
  running_mean.copy_(kept);
  const Tensor centred = x - mean;
  return centred * rsqrt(square(centred).mean({0}) + kEps);
}
// [/statistics_overwritten]

std::vector<double> overwritten_curve(bool wrong) {
  const Tensor running = full({kWidth}, 3);
  return train_with([=](const Tensor& x, const Tensor& w, const Tensor& b) {
    return in_place_batch_norm(x, running, wrong) * w + b;
  });
}
std::string overwritten_check(bool wrong) {
  Rng rng(0);
  const Tensor x = randn(rng, {16, 3}, DType::f64) + 5;
  const Tensor y = in_place_batch_norm(x, zeros({3}, DType::f64), wrong);
  return compared("the mean of the output over the batch", y.mean({0}), zeros({3}, DType::f64));
}

// --- 8 ---
// [frozen_and_moving]
Tensor frozen_features(BatchNorm1d& bn, Linear& first, const Tensor& x, bool wrong) {
  requires_grad_(bn, false);
  requires_grad_(first, false);
  bn.set_training(wrong);  // the bug: frozen, but in training mode
  return relu(bn(first(x)));
}
// [/frozen_and_moving]

// A head is trained on new data, around another mean; the loss is that of the old task with the old
// head.
std::vector<double> frozen_curve(bool wrong) {
  const Regression old_data, new_data(2);
  Rng rng(2);
  Linear first(rng, 8, kWidth), old_head(rng, kWidth, 1), new_head(rng, kWidth, 1);
  BatchNorm1d bn(kWidth);
  std::vector<Named> all = named_parameters(first);
  for (Module* m : {static_cast<Module*>(&bn), static_cast<Module*>(&old_head)})
    for (const Named& p : named_parameters(*m)) all.push_back({m->type_name() + p.name, p.tensor});
  train([&](const Tensor& x) { return old_head(relu(bn(first(x)))); }, all, 300);
  Adam optimizer(new_head, {.lr = 0.01});
  std::vector<double> losses;
  for (int64_t step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    mse_loss(new_head(frozen_features(bn, first, new_data.x, wrong)), new_data.y).backward();
    optimizer.step();
    NoGrad off;
    eval(bn);
    losses.push_back(mse_loss(old_head(relu(bn(first(old_data.x)))), old_data.y).item());
  }
  return losses;
}
std::string frozen_check(bool wrong) {
  Rng rng(2);
  Linear first(rng, 8, kWidth);
  BatchNorm1d bn(kWidth);
  frozen_features(bn, first, Regression(2).x, wrong);
  return compared("running_mean of the frozen layer after a batch", bn.running_mean,
                  zeros({kWidth}));
}

}  // namespace

const std::vector<Bug>& norm_bugs() {
  static const std::vector<Bug> all{
      {"layer_norm_without_backward", "A fused LayerNorm that records nothing", "candle#2168",
       "https://github.com/huggingface/candle/issues/2168",
       "A fast kernel computes LayerNorm, and no backward pass is recorded. For the engine the "
       "result "
       "is a constant, so everything before it gets no gradient.",
       "The loss falls, because the layers behind the norm learn. It ends higher than it should. "
       "There "
       "is no error and no warning.",
       "Record a node, or throw where a gradient is wanted. In Loupe an op without a rule throws.",
       "step", "training loss", without_backward_curve, "gradcheck", without_backward_check},
      {"short_variance", "E[x^2] - E[x]^2", "burn#5607",
       "https://github.com/tracel-ai/burn/issues/5607",
       "The variance is computed in one pass as E[x^2] - E[x]^2. In f32, with numbers far from 0, "
       "two "
       "large and almost equal numbers are subtracted, and no digit is left.",
       "Inputs around 0 train well. Far from 0 the norm gives noise or NaN, and the training goes "
       "astray.",
       "Subtract the mean first: two passes, or Welford's formula.", "step",
       "training loss (activations around 1200)", short_variance_curve,
       "property: a constant added to a row changes nothing", short_variance_check},
      {"biased_running_variance", "The running variance by n", "mlx#3817",
       "https://github.com/ml-explore/mlx/pull/3817",
       "The output of BatchNorm uses the variance by n. The running variance takes the one by n - "
       "1, "
       "because it estimates the variance of all data. This one took n for both.",
       "With large batches, nothing. With batches of two, the running variance is half of what it "
       "should be: eval mode scales everything by 1.4, though the training loss is fine.",
       "Multiply by n / (n - 1) where the running variance is kept.", "batches of two, in fours",
       "loss in eval mode", biased_curve, "property: with momentum 1 it is the unbiased variance",
       biased_check},
      {"two_dimensions_only", "A LayerNorm for two dimensions", "FlagGems#5392",
       "https://github.com/flagos-ai/FlagGems/issues/5392",
       "The backward pass takes the first dimension for the number of rows. For (rows, features) "
       "that "
       "is right. For (batch, tokens, features) most rows are left out of the gradients of weight "
       "and "
       "bias.",
       "Every test with two dimensions passes. A Transformer trains a little worse.",
       "Reshape to (-1, features) first, and check with three dimensions, too.", "step",
       "training loss", two_dimensions_curve, "gradcheck with three dimensions",
       two_dimensions_check},
      {"parameters_not_listed", "gamma and beta were never trained", "cs249r_book#1504",
       "https://github.com/harvard-edge/cs249r_book/pull/1504",
       "The norm has gamma and beta, and uses them. But the list of the model's parameters does "
       "not "
       "name them, so the optimizer never sees them. The test did not notice.",
       "The loss falls almost as it should.",
       "List them; and ask each parameter for a gradient and a change after a step.", "step",
       "training loss", not_listed_curve, "check_model", not_listed_check},
      {"annotated_layer_norm", "The Annotated Transformer's LayerNorm", "annotated-transformer#119",
       "https://github.com/harvardnlp/annotated-transformer/pull/119",
       "torch.std divides by n - 1 where LayerNorm divides by n, and eps stands outside of the "
       "root "
       "([BERT-pytorch#30](https://github.com/codertimo/BERT-pytorch/issues/30)). The code was "
       "copied "
       "into many projects.",
       "Nothing: the two curves lie on each other, for the next weights learn the factor. But "
       "weights "
       "that move to another framework give other results.",
       "Write the paper's formula, and compare with a reference on a short row, where n and n - 1 "
       "differ.",
       "step", "training loss", annotated_curve, "comparison with a reference", annotated_check,
       true},
      {"statistics_overwritten", "The batch's mean was overwritten", "tt-metal#45578",
       "https://github.com/tenstorrent/tt-metal/issues/45578",
       "The running statistics are updated before the normalization, in a buffer that the batch's "
       "mean "
       "shares. The normalization then subtracts the running mean.",
       "Nothing that one would call a failure: in this picture the loss even falls faster. But the "
       "layer "
       "is another one than its name says, and its weights fit no other framework.",
       "Normalize first, or keep the two apart.", "step", "training loss", overwritten_curve,
       "property: in training the output's mean is 0", overwritten_check},
      {"frozen_and_moving", "A frozen BatchNorm that moves", "keras#7085",
       "https://github.com/keras-team/keras/issues/7085",
       "A model is frozen and a new head is trained. The parameters of BatchNorm stay, but the "
       "layer is "
       "in training mode, and its running statistics follow the new data.",
       "The old task gets worse with every batch of the new one, though no weight of it changes.",
       "Put frozen BatchNorm layers into eval mode.", "step of the new head",
       "loss of the old task", frozen_curve, "property: the state before and after", frozen_check}};
  return all;
}

}  // namespace loupe::gallery
