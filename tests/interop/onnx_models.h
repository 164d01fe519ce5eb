#pragma once
// Models whose files are held against other readers of ONNX: random small Sequentials of the
// library's layers, and models of several inputs. For onnx_peer.cpp (onnxruntime) and tests/judges.
#include <loupe/autograd/ops.h>
#include <loupe/io/onnx.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/interpolate.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/recurrent.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/transformer.h>

#include <functional>
#include <limits>

namespace onnx_models {
using namespace loupe;

/// Running statistics and norms' parameters away from 0 and 1.
inline void stir(Module& m, Rng& rng) {
  NoGrad guard;
  for (const auto& [name, t] : state_dict(m)) {
    const bool statistic = name.find("norm") != std::string::npos || t.dim() == 1;
    if (is_floating(t.dtype()) && statistic) t.add_(uniform(rng, t.shape(), -0.3, 0.3));
  }
}

/// A recurrent layer in a Sequential: its output alone.
template <class Net> struct Outputs : Layer<Outputs<Net>> {
  Net net;
  explicit Outputs(Net n) : net(std::move(n)) {}
  Tensor forward(In x) { return net(x).output; }
  void visit(Visitor& v) override { v.child("net", net); }
  std::string type_name() const override { return "Outputs"; }
};

/// A random Sequential and the shape of its samples. It holds at least one layer of one kind
/// (image, line, sequence or vector) and ends in a Linear or what the last layer gives.
class RandomModel {
 public:
  explicit RandomModel(uint64_t seed) : rng_(seed) {
    switch (pick(5)) {
      case 0:
      case 1: images(); break;
      case 2: lines(); break;
      case 3: sequences(); break;
      default: vectors();
    }
    stir(net, rng_);
  }
  Tensor samples(int64_t n) {
    Shape shape = sample;
    shape.insert(0, n);
    return words > 0 ? randint(rng_, 0, words, shape) : randn(rng_, shape);
  }

  Sequential net;
  Shape sample;
  int64_t words = 0;  // token ids below this; 0: numbers

 private:
  int64_t pick(int64_t n) { return randint(rng_, 0, n, {1}).item<int64_t>(); }
  bool coin() { return pick(2) == 1; }
  int64_t size(int axis) const { return now_.size(axis); }

  // A layer at the end, and what it gives: the next one must fit.
  template <class M> void push(M layer) {
    layer.set_training(false);
    now_ = no_grad([&] { return layer.call(now_); });
    layer.set_training(true);
    net.push_back(std::move(layer));
  }
  void start(const Shape& shape) {
    sample = shape;
    now_ = samples(2);
  }

  // Of an axis that may be halved.
  void activation(int64_t axis) {
    switch (pick(20)) {
      case 0: return push(LeakyReLU({.negative_slope = 0.1}));
      case 1: return push(GELU());
      case 2: return push(GELU({Approximate::tanh}));
      case 3: return push(SiLU());
      case 4: return push(Sigmoid());
      case 5: return push(Tanh());
      case 6: return push(Softplus({.beta = 2, .threshold = 1}));
      case 7: return push(ELU({.alpha = 0.7}));
      case 8: return push(CELU({.alpha = 1.3}));
      case 9: return push(SELU());
      case 10: return push(Mish());
      case 11: return push(Hardswish());
      case 12: return push(Hardsigmoid());
      case 13: return push(Hardtanh({.min_val = -0.5, .max_val = 0.8}));
      case 14: return push(ReLU6());
      case 15: return push(LogSigmoid());
      case 16:
        if (now_.size(axis) % 2 == 0) return push(GLU({.dim = axis}));
        return push(ReLU());
      case 17:
        if (now_.size(axis) % 2 == 0) return push(SwiGLU({.dim = axis}));
        return push(ReLU());
      default: return push(ReLU());
    }
  }

  // --- Images (N, C, H, W) ---

  void convolution() {
    const int64_t c = size(1), to = 2 * (pick(4) + 1), kernel = 1 + pick(3);
    const int64_t groups = c % 2 == 0 && coin() ? 2 : 1;
    Conv2d::Options o{.kernel_size = kernel, .groups = groups, .bias = coin()};
    if (coin()) {
      o.padding = kSame;
      o.dilation = 1 + pick(2);
    } else {
      o.stride = 1 + pick(2);
      o.padding = kernel / 2;
    }
    push(Conv2d(rng_, c, to, o));
  }
  void transposed() {
    const int64_t stride = 1 + pick(2);
    push(ConvTranspose2d(rng_, size(1), 4,
                         {.kernel_size = {2, 3},
                          .stride = stride,
                          .padding = {pick(2), 1},
                          .output_padding = pick(stride),
                          .groups = size(1) % 2 == 0 && coin() ? 2 : 1,
                          .bias = coin(),
                          .dilation = coin() ? 1 : 2}));
  }
  void image_pool() {
    if (size(2) < 5 || size(3) < 5) return push(AdaptiveAvgPool2d({1 + pick(3), 1 + pick(3)}));
    Pool2dOptions o{.kernel_size = {2 + pick(2), 2}, .ceil_mode = coin()};
    if (coin()) o.stride = Size2(1 + pick(3), 2);
    if (coin()) o.padding = Size2(1, pick(2));
    if (coin()) {
      o.count_include_pad = coin();
      return push(AvgPool2d(o));
    }
    if (coin()) o.dilation = Size2(1, 2);
    push(MaxPool2d(o));
  }
  void image_upsample() {
    if (size(2) * size(3) > 300) return activation(1);
    const Interpolation modes[] = {Interpolation::nearest, Interpolation::nearest_exact,
                                   Interpolation::linear};
    InterpolateArgs a{.mode = modes[pick(3)]};
    if (coin()) a.size = Size2(1 + pick(14), 1 + pick(14));
    else a.scale_factor = 0.7 + 0.325 * static_cast<double>(pick(5));
    a.align_corners = a.mode == Interpolation::linear && coin();
    push(Upsample(a));
  }
  void image_norm() {
    const int64_t c = size(1);
    switch (pick(5)) {
      case 0: return push(BatchNorm2d(c, {.affine = coin()}));
      case 1:
        if (size(2) * size(3) >= 4) return push(GroupNorm(c % 2 == 0 ? 2 : 1, c));
        return;
      case 2:
        if (size(2) * size(3) >= 4) return push(InstanceNorm2d(c, {.affine = coin()}));
        return;
      case 3: return push(InstanceNorm2d(c, {.affine = true, .track_running_stats = true}));
      default:
        if (size(2) * size(3) >= 4) return push(LayerNorm({size(2), size(3)}));
    }
  }
  void image_layer() {
    switch (pick(8)) {
      case 0: return convolution();
      case 1: return transposed();
      case 2: return image_norm();
      case 3: return image_pool();
      case 4: return image_upsample();
      case 5: return push(Dropout2d(rng_, 0.3));
      default: return activation(1);
    }
  }
  void images() {
    start({1 + pick(3), 6 + pick(7), 6 + pick(7)});
    push(Conv2d(rng_, size(1), 4, {.kernel_size = 3, .padding = 1}));
    for (int64_t i = 0, n = 2 + pick(6); i < n; ++i) image_layer();
    if (coin()) push(AdaptiveAvgPool2d({1 + pick(3), 1 + pick(3)}));
    push(Flatten());
    rest();
  }

  // --- Lines (N, C, L) ---

  void line_layer() {
    const int64_t c = size(1), length = size(2);
    switch (pick(9)) {
      case 0: return push(Conv1d(rng_, c, 4, {.kernel_size = 2 + pick(2), .padding = kSame}));
      case 1:
        return push(ConvTranspose1d(
            rng_, c, 6, {.kernel_size = 3, .stride = 2, .padding = 1, .output_padding = pick(2)}));
      case 2: return push(BatchNorm1d(c));
      case 3:
        if (length < 4) return push(AdaptiveAvgPool1d(2));
        return push(MaxPool1d({.kernel_size = 2,
                               .stride = 3,
                               .padding = 1,
                               .ceil_mode = coin(),
                               .dilation = 1 + pick(2)}));
      case 4:
        if (length < 4) return push(AdaptiveAvgPool1d(2));
        return push(AvgPool1d({.kernel_size = 3,
                               .stride = 2,
                               .padding = 1,
                               .count_include_pad = coin(),
                               .ceil_mode = coin()}));
      case 5:
        if (length > 40) return activation(1);
        return push(Upsample({.scale_factor = 1 + 0.5 * static_cast<double>(pick(3)),
                              .mode = coin() ? Interpolation::linear : Interpolation::nearest}));
      case 6: return push(Dropout1d(rng_, 0.2));
      case 7:
        if (length >= 4) return push(GroupNorm(c % 2 == 0 ? 2 : 1, c));
        return;
      default: return activation(1);
    }
  }
  void lines() {
    start({1 + pick(4), 5 + pick(8)});
    for (int64_t i = 0, n = 2 + pick(5); i < n; ++i) line_layer();
    push(Flatten());
    rest();
  }

  // --- Sequences (N, T, width) ---

  template <class Net> void recurrent() {
    using Options = typename Net::Options;
    Options o;
    o.num_layers = 1 + pick(2);
    o.bias = coin();
    o.batch_first = true;
    o.bidirectional = coin();
    push(Outputs<Net>(Net(rng_, size(2), 2 * (1 + pick(3)), o)));
  }
  void sequence_layer() {
    const int64_t width = size(2), time = size(1);
    switch (pick(10)) {
      case 0: return push(LayerNorm(width));
      case 1: return push(RMSNorm(width));
      case 2: return push(Linear(rng_, width, width));
      case 3:
        if (width % 2 == 0) push(MultiheadAttention(rng_, width, 2, {.bias = coin()}));
        return;
      case 4:
        if (width % 2 != 0) return;
        return push(TransformerEncoderLayer(
            rng_, width, 2,
            {.dim_feedforward = 12,
             .activation = coin() ? TransformerActivation::gelu : TransformerActivation::relu,
             .norm_first = coin(),
             .bias = coin()}));
      case 5: return push(Conv1d(rng_, time, time, {.kernel_size = 3, .padding = 1}));
      case 6: return recurrent<LSTM>();
      case 7: return recurrent<GRU>();
      case 8: return recurrent<RNN>();
      default: return activation(2);
    }
  }
  void sequences() {
    const int64_t time = 3 + pick(6), width = 2 * (pick(4) + 2);
    if (coin()) {
      words = 20;
      start({time});
      push(Embedding(rng_, words, width));
    } else {
      start({time, width});
    }
    for (int64_t i = 0, n = 1 + pick(4); i < n; ++i) sequence_layer();
    if (coin()) push(Softmax());
  }

  // --- Vectors (N, features), which the net gives by now ---

  void vector_norm() {
    switch (pick(4)) {
      case 0: return push(BatchNorm1d(size(1)));
      case 1:
        if (size(1) >= 4) push(LayerNorm(size(1)));
        return;
      case 2:
        if (size(1) >= 4) push(RMSNorm(size(1)));
        return;
      default: return;
    }
  }
  void rest() {
    for (int64_t i = 0, n = 1 + pick(3); i < n; ++i) {
      const int64_t from = size(1), to = 4 + pick(10);
      switch (pick(5)) {
        case 0: push(RNNCell(rng_, from, to, {.bias = coin()})); break;
        case 1: push(GRUCell(rng_, from, to, {.bias = coin()})); break;
        default: push(Linear(rng_, from, to, {.bias = coin()}));
      }
      vector_norm();
      activation(1);
      if (coin()) push(Dropout(rng_, 0.3));
    }
    if (coin()) push(LogSoftmax());
  }
  void vectors() {
    start({2 + pick(12)});
    rest();
  }

  Rng rng_;
  Tensor now_;
};

/// A module that computes f.
struct Function : Layer<Function> {
  std::function<Tensor(const Tensor&)> f;
  explicit Function(std::function<Tensor(const Tensor&)> function) : f(std::move(function)) {}
  Tensor forward(In x) { return f(x); }
  void visit(Visitor&) override {}
  std::string type_name() const override { return "Function"; }
};

/// Functions of a tensor (N, 3, 4) of positive numbers: between them every op that can be exported.
inline std::vector<std::function<Tensor(const Tensor&)>> functions() {
  Rng rng(11);
  const Tensor weights = randn(rng, {1, 3, 1});
  const Tensor places = from_data(std::vector<int64_t>{2, 0, 1, 1}).reshape({1, 1, 4});
  const Tensor kernel = randn(rng, {3, 2, 3}), image_kernel = randn(rng, {3, 2, 2, 3});
  const auto f32 = [](const Tensor& t) { return t.to(DType::f32); };
  const auto over = [places](const Tensor& t) { return places.expand({t.size(0), 1, 4}); };
  return {
      [](const Tensor& t) { return 2.0 - t * 3.0 + 1.0; },
      [](const Tensor& t) { return 2.0 / t + t / 4.0 - (-t); },
      [](const Tensor& t) { return pow(t, 1.5) + sqrt(t) * rsqrt(t + 1.0) + exp(-t) * log(t); },
      [](const Tensor& t) { return abs(t - 1.0) * sign(t - 1.0) + clamp(t, 0.5, 1); },
      [=](const Tensor& t) { return maximum(t, weights) * minimum(t, weights) + erf(t); },
      [=](const Tensor& t) {
        return where(gt(t, 1.0), t, weights) + masked_fill(t, le(t, 0.5), 7);
      },
      [](const Tensor& t) { return where(logical_not(ge(t, t.mean({1}, true))), t, t * 0.0); },
      [](const Tensor& t) { return tril(t) + triu(t, 1) * 2.0; },
      [](const Tensor& t) {
        return t.permute({0, 2, 1}).reshape({t.size(0), 12}).t().t();
      },
      [](const Tensor& t) { return t.slice(2, 1, 4, 2) + t.select(2, -1).unsqueeze(-1); },
      [](const Tensor& t) {
        return cat({t, t * 2.0}, 1).slice(0, 0);
      },
      [](const Tensor& t) {
        return split(t, {1, 3}, 2)[1] + chunk(t, 2, 2)[0].sum({2}, true);
      },
      [](const Tensor& t) {
        return pad(t, {1, 2, 0, 1}, 0.5);
      },
      [](const Tensor& t) { return max(t, {1}) + min(t, {1}, false) * t.mean({1}); },
      [](const Tensor& t) {
        return var(t, {1, 2}) + loupe::std(t, {1, 2}, 0);
      },
      [](const Tensor& t) { return matmul(t, t.transpose(1, 2)); },
      [](const Tensor& t) { return gather(t, 2, argmax(t, 2, true)); },
      [](const Tensor& t) {
        return index_select(t, 1, from_data(std::vector<int64_t>{2, 0, 2}));
      },
      [](const Tensor& t) {
        return t + zeros(t.shape()) + ones({t.size(0), 1, 4});
      },
      [](const Tensor& t) {
        return t.select(1, 0).unsqueeze(1).expand({t.size(0), 5, 4}) * 1.0;
      },
      [](const Tensor& t) { return scaled_dot_product_attention(t, t, t, {.is_causal = true}); },
      [](const Tensor& t) { return t.to(DType::f64).to(DType::i64).to(DType::f32) + t.detach(); },
      // Elements.
      [=](const Tensor& t) { return clamp(t, weights, weights + 0.4) + clamp(t, {}, 1); },
      [](const Tensor& t) { return clamp(t, 0.5, {}) * clamp(t, 1.2, 0.6); },
      [](const Tensor& t) { return expm1(t) - log1p(t) + sin(t * 3.0) * cos(t); },
      [](const Tensor& t) { return trunc(t * 4.0 - 4.0) + floor(t * 2.0) * ceil(-t) - round(t); },
      [=](const Tensor& t) { return remainder(t * 5.0 - 4.0, 1.5) + remainder(-t, weights); },
      [=](const Tensor& t) { return f32(remainder(to(t * 9.0, DType::i64) - 7, 4)); },
      [=](const Tensor& t) {
        const Tensor odd = where(gt(t, 1.5), t / 0.0, where(lt(t, 0.6), log(-t), t));
        return f32(isnan(odd)) + f32(isinf(odd)) * 2.0 + f32(isfinite(odd)) * 4.0;
      },
      [=](const Tensor& t) {
        const Tensor a = gt(t, 0.7), b = lt(t, 1.3);
        return f32(logical_and(a, b)) + f32(logical_or(a, b)) * 2.0 + f32(logical_xor(a, b)) * 4.0;
      },
      [](const Tensor& t) { return pow(2.0, t) + square(t) + reciprocal(t) + pow(t, t); },
      [](const Tensor& t) {
        return glu(t) * swiglu(t, 2) + softplus(t, {.beta = 3}).slice(2, 0, 2);
      },
      // Reductions.
      [](const Tensor& t) {
        return prod(t, {1, 2}) + logsumexp(t, {1, 2});
      },
      [](const Tensor& t) { return logsumexp(t * 1000.0, {2}, true) * 0.001 + t; },
      [](const Tensor& t) { return norm(t, 1, {1}) + norm(t, 2, {1}) + norm(t, 3, {1}); },
      [](const Tensor& t) {
        return norm(t, std::numeric_limits<double>::infinity(), {2}) -
               norm(t, -std::numeric_limits<double>::infinity(), {2});
      },
      [](const Tensor& t) {
        return norm(clamp(t - 1.0, 0, {}), 0, {1, 2});
      },
      [](const Tensor& t) {
        return loupe::std(t, {2}, 1, true) + var(t, {1, 2}, 2, true);
      },
      [=](const Tensor& t) { return f32(any(gt(t, 1.8), {1})) + f32(all(gt(t, 0.3), {1})); },
      [=](const Tensor& t) { return f32(argmin(t, 1)) + f32(argmax(t, 1)); },
      [](const Tensor& t) { return max(t, {2}, true) - min(t, {2}, true) + mean(t, {2}, true); },
      // Order.
      [](const Tensor& t) {
        return flip(t, {1, 2}) + cumsum(t, 2);
      },
      [=](const Tensor& t) {
        const Sorted s = sort(t, 2, true);
        return s.values + f32(s.indices) + f32(argsort(t, 1));
      },
      [=](const Tensor& t) {
        const TopK small = topk(t, 2, 2, false), large = topk(t, 2, 2);
        return small.values + f32(small.indices) * large.values + f32(large.indices);
      },
      [=](const Tensor& t) { return scatter(t, 1, over(t), t.slice(1, 0, 1) * 2.0); },
      [=](const Tensor& t) { return scatter(t, 1, over(t), 7.0); },
      [=](const Tensor& t) { return scatter_add(t, 1, over(t), t.slice(1, 1, 2)); },
      [=](const Tensor& t) { return scatter_add(t.slice(1, 0, 1), 1, over(t), t.shape()); },
      [=](const Tensor& t) { return one_hot(to(t * 2.0, DType::i64), 5).sum({1}); },
      // Shapes.
      [](const Tensor& t) {
        return roll(t, {1, -2}, {1, 2}) + roll(t, {5}, {2});
      },
      [](const Tensor& t) {
        return repeat(t, {1, 2, 1}) - tile(t, {2, 1});
      },
      [](const Tensor& t) {
        return diagonal(t, 1, 1, 2) + movedim(t, {2}, {1}).slice(1, 0, 3).select(2, 0);
      },
      [](const Tensor& t) {
        return stack({t, t * 2.0}, 1).flatten(1, 2);
      },
      [](const Tensor& t) {
        return t.index({Slice(), Slice(1, 3), -1}) + narrow(unbind(t, 2)[0], 1, 0, 2);
      },
      // Windows.
      [=](const Tensor& t) {
        return conv_transpose1d(t, kernel, Tensor(), {.stride = 2, .output_padding = 1});
      },
      [=](const Tensor& t) {
        return conv_transpose2d(t.unsqueeze(3), image_kernel, Tensor(),
                                {.stride = {2, 3}, .padding = {1, 0}, .output_padding = {1, 2}});
      },
      [](const Tensor& t) { return interpolate(t, {.scale_factor = 2}); },
      [](const Tensor& t) {
        return interpolate(t.unsqueeze(1), {.size = Size2(5, 7), .mode = Interpolation::linear});
      },
      [](const Tensor& t) {
        return interpolate(t, {.scale_factor = 1.7, .mode = Interpolation::linear});
      },
      // Products and attention.
      [](const Tensor& t) { return attention_with_weights(t, t, t).weights; },
      [=](const Tensor& t) { return addmm(weights.flatten(), t.select(2, 1), eye(3)); },
  };
}

/// A model of several inputs, the names of its outputs, and samples.
struct Named {
  std::string name;
  StateDict inputs;
  OnnxForward forward;
  std::vector<std::string> outputs;
};

/// A recurrent layer with lengths and states of its own, as ONNX gives everything.
template <class Net>
Named with_lengths(const std::string& name, Net& net, Rng& rng, int64_t n, int64_t steps,
                   int64_t width, const Shape& state) {
  const bool lstm = name.starts_with("lstm");
  Named m{name,
          {{"x", randn(rng, {n, steps, width})},
           {"lengths", randint(rng, 1, steps + 1, {n})},
           {"h0", randn(rng, {n, state[0], state[1]})}},
          {},
          {"output", "h"}};
  if (lstm) {
    m.inputs.push_back({"c0", randn(rng, {n, state[0], state[1]})});
    m.outputs.push_back("c");
  }
  // The states' first axis is the batch in the file.
  m.forward = [&net, lstm](const Tensors& x) {
    const auto first = [](const Tensor& t) { return t.transpose(0, 1); };
    const RecurrentResult r =
        net(x[0],
            SequenceArgs{.h0 = first(x[2]), .c0 = lstm ? first(x[3]) : Tensor(), .lengths = x[1]});
    Tensors y{r.output, first(r.h)};
    if (lstm) y.push_back(first(r.c));
    return y;
  };
  return m;
}

}  // namespace onnx_models
