#include <loupe/autograd/grad_mode.h>
#include <loupe/autograd/ops.h>
#include <loupe/cli/bench_work.h>
#include <loupe/io/loader.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/models/bert.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>
#include <loupe/optim/optimizer.h>

#include <fmt/ranges.h>

#include <cmath>
#include <functional>
#include <map>

namespace loupe::cli {
namespace {

double norm_of(const Tensor& t) {
  double sum = 0;
  for (const double v : raw::row_major(raw::to(t, DType::f64)).to_vector<double>()) sum += v * v;
  return std::sqrt(sum);
}

// Images have channels-last memory inside a network, and so they have here.
Tensor laid_out(const Tensor& t, bool images) {
  return images && t.dim() == 4 ? raw::channels_last(t) : t;
}

// --- Forward and backward of one function with a fixed upstream gradient ---
class OpWork : public Work {
 public:
  using F = std::function<Tensor(const Tensors&)>;
  OpWork(std::vector<std::string> names, std::vector<Shape> shapes, bool images, double flops, F f)
      : names_(std::move(names)), f_(std::move(f)) {
    flop = flops;
    Rng rng(1);
    for (const Shape& s : shapes)
      inputs_.push_back(laid_out(randn(rng, s), images).requires_grad_());
    dy_ = laid_out(randn(rng, no_grad([&] { return f_(inputs_); }).shape()), images);
  }
  void step() override { run(); }
  void load(const TensorMap& from) override {
    for (size_t i = 0; i < names_.size(); ++i) raw::copy(from.at(names_[i]), inputs_[i]);
    raw::copy(from.at("dy"), dy_);
  }
  std::vector<double> check() override {
    std::vector<double> v{norm_of(run())};
    for (const Tensor& x : inputs_) v.push_back(norm_of(x.grad()));
    return v;
  }

 private:
  Tensor run() {
    for (const Tensor& x : inputs_) x.zero_grad();
    const Tensor y = f_(inputs_);
    y.backward(dy_);
    return y;
  }
  std::vector<std::string> names_;
  Tensors inputs_;
  Tensor dy_;
  F f_;
};

std::unique_ptr<Work> conv(int64_t in, int64_t out, int64_t size, int64_t kernel = 3,
                           int64_t stride = 1, int64_t groups = 1) {
  const Conv2dArgs args{.stride = stride, .padding = kernel / 2, .groups = groups};
  const int64_t outputs = 64 * out * (size / stride) * (size / stride),
                terms = in / groups * kernel * kernel;
  // Forward, input gradient and weight gradient are a multiplication and an addition for each term
  // of each output.
  return std::make_unique<OpWork>(
      std::vector<std::string>{"x", "weight"},
      std::vector<Shape>{{64, in, size, size}, {out, in / groups, kernel, kernel}}, true,
      6.0 * static_cast<double>(outputs * terms),
      [args](const Tensors& t) { return conv2d(t[0], t[1], Tensor(), args); });
}

// Causal: half of the pairs count. Two products forward, four backward.
std::unique_ptr<Work> attention(int64_t batch, int64_t heads, int64_t length, int64_t depth) {
  const Shape s{batch, heads, length, depth};
  return std::make_unique<OpWork>(
      std::vector<std::string>{"q", "k", "v"}, std::vector<Shape>{s, s, s}, false,
      6.0 * static_cast<double>(batch * heads * length * (length + 1) * depth),
      [](const Tensors& t) {
        return scaled_dot_product_attention(t[0], t[1], t[2], {.is_causal = true});
      });
}

// One layer over a sequence: the products with the input, then the recurrence. Each weight is used
// once forward and twice backward at every step.
std::unique_ptr<Work> recurrent(RecurrentCell cell, int64_t steps, int64_t batch, int64_t width) {
  const int64_t rows = (cell == RecurrentCell::lstm ? 4 : 3) * width;
  return std::make_unique<OpWork>(
      std::vector<std::string>{"x", "weight_ih", "weight_hh", "bias_ih", "bias_hh"},
      std::vector<Shape>{{steps, batch, width}, {rows, width}, {rows, width}, {rows}, {rows}},
      false, 6.0 * static_cast<double>(steps * batch * rows * 2 * width), [=](const Tensors& t) {
        const Tensor h0 = zeros({batch, width});
        const Tensor c0 = cell == RecurrentCell::lstm ? h0 : Tensor();
        return recurrence(cell, linear(t[0], t[1], t[3]), h0, c0, t[2], t[4]).states;
      });
}

enum class Kind { batch, group, instance, layer, rms };

// Counted in bytes by nature: no FLOPs are stated.
std::unique_ptr<Work> norm(Kind kind, Shape x) {
  const int64_t c = kind == Kind::layer || kind == Kind::rms ? x.back() : x[1];
  const auto f = [kind, c](const Tensors& t) {
    switch (kind) {
      case Kind::batch: return batch_norm(t[0], t[1], t[2], {});
      case Kind::group: return group_norm(t[0], 8, t[1], t[2]);
      case Kind::instance: return instance_norm(t[0], t[1], t[2], {});
      case Kind::layer: return layer_norm(t[0], {c}, t[1], t[2]);
      case Kind::rms: break;
    }
    return rms_norm(t[0], {c}, t[1], 1e-5);
  };
  std::vector<std::string> names{"x", "weight", "bias"};
  std::vector<Shape> shapes{x, {c}, {c}};
  if (kind == Kind::rms) names.pop_back(), shapes.pop_back();
  return std::make_unique<OpWork>(names, shapes, true, 0, f);
}

// The model's part of PyTorch's tensors. A tied head is not among them.
template <class M> void load_model(M& model, const TensorMap& from) {
  StateDict state;
  for (const auto& [name, t] : from)
    if (name.starts_with("model/")) state.push_back({name.substr(6), t});
  for (const auto& [name, t] : state_dict(model))
    if (name == "lm_head.weight") state.push_back({name, from.at("model/transformer.wte.weight")});
  load_state_dict(model, state);
}

// --- Training steps of a model over a few fixed batches in turn ---
template <class M> class Training : public Work {
 public:
  template <class Optimize>
  Training(M model, const Optimize& optimize, Tensor x, Tensor t, double flops)
      : model_(std::move(model)), optimizer_(optimize(model_)), x_(std::move(x)), t_(std::move(t)) {
    flop = flops;
  }
  void step() override { run(); }
  void load(const TensorMap& from) override {
    load_model(model_, from);
    raw::copy(from.at("x"), x_);
    raw::copy(from.at("t"), t_);
  }
  std::vector<double> check() override {
    std::vector<double> losses;
    for (int i = 0; i < 5; ++i) losses.push_back(run().item());
    return losses;
  }

 private:
  Tensor run() {
    const int64_t batch = at_++ % x_.size(0);
    optimizer_->zero_grad();
    const Tensor z = model_(x_.select(0, batch)), t = t_.select(0, batch);
    const Tensor loss =
        z.dim() == 3 ? cross_entropy(z.flatten(0, 1), t.flatten()) : cross_entropy(z, t);
    loss.backward();
    optimizer_->step();
    return loss;
  }
  M model_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor x_, t_;  // (batches, ...)
  int64_t at_ = 0;
};

template <class O> auto with(typename O::Options options) {
  return [options](Module& m) -> std::unique_ptr<Optimizer> {
    return std::make_unique<O>(m, options);
  };
}

// A training step is three times the forward pass, less the gradient of the input, which nobody
// asks for.
double step_flops(double forward, double first_layer) { return 3 * forward - first_layer; }
double conv_flops(int64_t in, int64_t out, int64_t size, int64_t kernel = 3) {
  return 2.0 * 64 * static_cast<double>(in * out * size * size * kernel * kernel);
}

template <class M, class Optimize>
std::unique_ptr<Work> images(M model, const Optimize& optimize, int64_t channels, int64_t size,
                             double flops) {
  Rng rng(2);
  return std::make_unique<Training<M>>(std::move(model), optimize,
                                       randn(rng, {5, 64, channels, size, size}),
                                       randint(rng, 0, 10, {5, 64}), flops);
}

std::unique_ptr<Work> cnn() {
  Rng rng(1);
  Sequential model(Conv2d(rng, 1, 32, {.kernel_size = 3, .padding = 1, .bias = false}),
                   BatchNorm2d(32), ReLU(), MaxPool2d({.kernel_size = 2}),
                   Conv2d(rng, 32, 64, {.kernel_size = 3, .padding = 1, .bias = false}),
                   BatchNorm2d(64), ReLU(), MaxPool2d({.kernel_size = 2}), Flatten(),
                   Linear(rng, 3136, 128), ReLU(), Linear(rng, 128, 10));
  const double first = conv_flops(1, 32, 28);
  return images(std::move(model), with<Adam>({.lr = 1e-3}), 1, 28,
                step_flops(first + conv_flops(32, 64, 14) + 128.0 * (3136 * 128 + 1280), first));
}

std::unique_ptr<Work> resnet20() {
  Rng rng(1);
  const double first = conv_flops(3, 16, 32);
  const double forward = first + 6 * conv_flops(16, 16, 32) + conv_flops(16, 32, 16) +
                         5 * conv_flops(32, 32, 16) + conv_flops(16, 32, 16, 1) +
                         conv_flops(32, 64, 8) + 5 * conv_flops(64, 64, 8) +
                         conv_flops(32, 64, 8, 1) + 128.0 * 640;
  return images(ResNetCifar(rng), with<SGD>({.lr = 0.005, .momentum = 0.9, .weight_decay = 5e-4}),
                3, 32, step_flops(forward, first));
}

// Per token: 12 width^2 weights a block, causal attention over half the context on average, the
// head.
double gpt_flops(const GptConfig& c, double tokens, double mean_context) {
  const double w = static_cast<double>(c.width);
  return tokens * (static_cast<double>(c.layers) * (24 * w * w + 4 * w * mean_context) +
                   2 * w * static_cast<double>(c.vocab));
}

std::unique_ptr<Work> gpt(GptConfig config, int64_t batch) {
  Rng rng(1);
  Gpt model(rng, config);
  const double context = static_cast<double>(config.context);
  const double forward = gpt_flops(config, static_cast<double>(batch) * context, (context + 1) / 2);
  return std::make_unique<Training<Gpt>>(
      std::move(model), with<AdamW>({.lr = 1e-3}), randint(rng, 0, 65, {5, batch, config.context}),
      randint(rng, 0, 65, {5, batch, config.context}), 3 * forward);
}

std::unique_ptr<Work> mlp(int64_t batch, const std::vector<int64_t>& sizes) {
  Rng rng(1);
  Sequential model;
  double forward = 0;
  for (size_t i = 0; i + 1 < sizes.size(); ++i) {
    if (i > 0) model.push_back(ReLU());
    model.push_back(Linear(rng, sizes[i], sizes[i + 1]));
    forward += 2.0 * static_cast<double>(batch * sizes[i] * sizes[i + 1]);
  }
  return std::make_unique<Training<Sequential>>(
      std::move(model), with<Adam>({.lr = 1e-3}), randn(rng, {5, batch, sizes.front()}),
      randint(rng, 0, sizes.back(), {5, batch}),
      step_flops(forward, 2.0 * static_cast<double>(batch * sizes[0] * sizes[1])));
}

class Encoder : public Work {
 public:
  explicit Encoder(int64_t batch)
      : rng_(1),
        model_(rng_, {.width = 384, .layers = 6, .inner = 1536, .pooler = false}),
        ids_(randint(rng_, 1000, 30000, {batch, 128})) {
    eval(model_);
    flop = static_cast<double>(batch) * 128 * 6 *
           (8.0 * 384 * 384 + 4.0 * 384 * 1536 + 4.0 * 128 * 384);
  }
  void step() override { run(); }
  void load(const TensorMap& from) override {
    load_model(model_, from);
    raw::copy(from.at("ids"), ids_);
  }
  std::vector<double> check() override {
    const Tensor y = run();
    const auto sum = [](const Tensor& row) {
      double s = 0;
      for (const double v : row.to_vector<double>()) s += std::abs(v);
      return s;
    };
    return {norm_of(y), sum(y[0][0]), sum(y[y.size(0) - 1][127])};
  }

 private:
  Tensor run() {
    return no_grad([&] { return model_(ids_); });
  }
  Rng rng_;
  BertEncoder model_;
  Tensor ids_;
};

// 128 tokens after a prompt of 8, greedy, with the key-value cache: the time is that of a token.
class Generation : public Work {
 public:
  Generation()
      : rng_(1),
        model_(rng_, {.vocab = 65, .context = 256, .layers = 6, .heads = 6, .width = 384}) {
    eval(model_);
    units = 128;
    flop = gpt_flops(model_.config, 8 + 127, 68);
  }
  void step() override { run(); }
  void load(const TensorMap& from) override {
    load_model(model_, from);
    prompt_ = from.at("ids").to_vector<int64_t>();
  }
  std::vector<double> check() override {
    const auto text = run();
    return {text.end() - 128, text.end()};
  }

 private:
  std::vector<int64_t> run() {
    return model_.generate(prompt_, rng_, {.length = 128, .temperature = 0});
  }
  Rng rng_;
  Gpt model_;
  std::vector<int64_t> prompt_{1, 2, 3, 4, 5, 6, 7, 8};
};

// An epoch of Fashion-MNIST with the loader and the default network of `train cnn`.
class Epoch : public Work {
 public:
  explicit Epoch(const std::string& data)
      : rng_(1),
        loader_(ImageDataset(load_images("fashion-mnist", data).train), rng_,
                {.batch_size = 128, .drop_last = true}),
        model_(rng_),
        optimizer_(model_, {.lr = 1e-3}) {
    whole = true;
    const double first = conv_flops(1, 32, 28) / 64;
    const double forward =
        first + (conv_flops(32, 64, 14) + conv_flops(64, 64, 14) + conv_flops(64, 128, 7)) / 64 +
        2.0 * (1152 * 128 + 1280);
    flop = static_cast<double>(loader_.batches() * 128) * step_flops(forward, first);
  }
  void step() override {
    for (const Batch& batch : loader_) {
      optimizer_.zero_grad();
      cross_entropy(model_(batch.x), batch.y).backward();
      optimizer_.step();
    }
  }
  void load(const TensorMap&) override { fail<ValueError>("bench: epoch has no check"); }
  std::vector<double> check() override { return {}; }

 private:
  Rng rng_;
  DataLoader loader_;
  SmallCnn model_;
  AdamW optimizer_;
};

struct Row {
  std::string name;
  std::function<std::unique_ptr<Work>(const std::string& data)> make;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"cnn", [](auto&) { return cnn(); }},
      {"gpt", [](auto&) { return gpt({}, 12); }},
      {"resnet20", [](auto&) { return resnet20(); }},
      {"gpt-6x384",
       [](auto&) { return gpt({.context = 256, .layers = 6, .heads = 6, .width = 384}, 4); }},
      {"mlp",
       [](auto&) {
         return mlp(64, {784, 256, 128, 10});
       }},
      {"tiny-mlp",
       [](auto&) {
         return mlp(16, {16, 32, 32, 2});
       }},
      {"norm-batch2d-32x28",
       [](auto&) {
         return norm(Kind::batch, {64, 32, 28, 28});
       }},
      {"norm-batch2d-64x14",
       [](auto&) {
         return norm(Kind::batch, {64, 64, 14, 14});
       }},
      {"norm-batch1d-128",
       [](auto&) {
         return norm(Kind::batch, {64, 128});
       }},
      {"norm-group-64x14",
       [](auto&) {
         return norm(Kind::group, {64, 64, 14, 14});
       }},
      {"norm-instance-64x14",
       [](auto&) {
         return norm(Kind::instance, {64, 64, 14, 14});
       }},
      {"norm-layer-768x128",
       [](auto&) {
         return norm(Kind::layer, {12, 64, 128});
       }},
      {"norm-layer-1024x384",
       [](auto&) {
         return norm(Kind::layer, {4, 256, 384});
       }},
      {"norm-rms-768x128",
       [](auto&) {
         return norm(Kind::rms, {12, 64, 128});
       }},
      {"norm-rms-1024x384",
       [](auto&) {
         return norm(Kind::rms, {4, 256, 384});
       }},
      {"conv-32-64-14", [](auto&) { return conv(32, 64, 14); }},
      {"conv-16-16-32", [](auto&) { return conv(16, 16, 32); }},
      {"conv-32-32-16", [](auto&) { return conv(32, 32, 16); }},
      {"conv-64-64-8", [](auto&) { return conv(64, 64, 8); }},
      {"conv-128-128-16", [](auto&) { return conv(128, 128, 16); }},
      {"conv-stride2-16-32-32", [](auto&) { return conv(16, 32, 32, 3, 2); }},
      {"conv-1x1-64-128-16", [](auto&) { return conv(64, 128, 16, 1); }},
      {"conv-depthwise-64-16", [](auto&) { return conv(64, 64, 16, 3, 1, 64); }},
      {"attention-64", [](auto&) { return attention(12, 4, 64, 32); }},
      {"attention-256", [](auto&) { return attention(4, 6, 256, 64); }},
      {"attention-1024", [](auto&) { return attention(1, 6, 1024, 64); }},
      {"lstm-64x32x128", [](auto&) { return recurrent(RecurrentCell::lstm, 64, 32, 128); }},
      {"lstm-32x16x64", [](auto&) { return recurrent(RecurrentCell::lstm, 32, 16, 64); }},
      {"gru-64x32x128", [](auto&) { return recurrent(RecurrentCell::gru, 64, 32, 128); }},
      {"bert-1", [](auto&) { return std::make_unique<Encoder>(1); }},
      {"bert-32", [](auto&) { return std::make_unique<Encoder>(32); }},
      {"generate", [](auto&) { return std::make_unique<Generation>(); }},
      {"epoch", [](auto& data) { return std::make_unique<Epoch>(data); }},
  };
  return all;
}

}  // namespace

const std::vector<std::string>& work_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> v;
    for (const Row& row : rows()) v.push_back(row.name);
    return v;
  }();
  return names;
}

std::unique_ptr<Work> make_work(const std::string& name, const std::string& data) {
  for (const Row& row : rows())
    if (row.name == name) return row.make(data);
  fail<ValueError>("bench: no work named {}; there are {}", name, fmt::join(work_names(), ", "));
}

}  // namespace loupe::cli
