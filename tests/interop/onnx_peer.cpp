// Loupe's side of tests/interop/onnx_check.py: writes models as ONNX files, and beside each an .npz
// of inputs and of the outputs that Loupe gives.
//   onnx_peer FOLDER SEED COUNT: the four models, and COUNT random Sequential models from SEED on
#include <loupe/autograd/ops.h>
#include <loupe/io/npy.h>
#include <loupe/io/onnx.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/transformer.h>
#include <loupe/models/bert.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>

#include <fmt/core.h>

#include <map>

using namespace loupe;

namespace {

constexpr int64_t kSamples = 256;

// Running statistics and norms' parameters away from 0 and 1.
void stir(Module& m, Rng& rng) {
  NoGrad guard;
  for (const auto& [name, t] : state_dict(m)) {
    const bool statistic = name.find("norm") != std::string::npos || t.dim() == 1;
    if (is_floating(t.dtype()) && statistic) t.add_(uniform(rng, t.shape(), -0.3, 0.3));
  }
}

// NAME.onnx, NAME.npz: x0, x1, ... and y0, y1, ...
void write(const std::string& base, Module& m, const StateDict& inputs, const OnnxForward& forward,
           OnnxOptions options = {}) {
  StateDict examples;
  std::map<std::string, Tensor> arrays;
  Tensors x;
  for (size_t i = 0; i < inputs.size(); ++i) {
    x.push_back(inputs[i].tensor);
    examples.push_back({inputs[i].name, inputs[i].tensor.slice(0, 0, 2)});
    arrays["x_" + inputs[i].name] = inputs[i].tensor;
  }
  eval(m);
  const Tensors y = no_grad([&] { return forward(x); });
  for (size_t k = 0; k < y.size(); ++k) arrays["y_" + options.outputs[k]] = y[k];
  save_onnx(m, examples, forward, base + ".onnx", options);
  save_npz(base + ".npz", arrays);
}

void write(const std::string& base, Module& m, const Tensor& x, OnnxOptions options = {}) {
  write(
      base, m, {{"input", x}}, [&](const Tensors& in) { return Tensors{m.call(in[0])}; }, options);
}

void four_models(const std::string& folder) {
  Rng rng(1);
  for (const char* norm : {"batch", "layer", "group", "none"}) {
    SmallCnn cnn(rng, {.norm = norm_kind(norm)});
    stir(cnn, rng);
    const Tensor x = randn(rng, {kSamples, 1, 28, 28});
    write(fmt::format("{}/small_cnn_{}", folder, norm), cnn, x);
    if (norm == std::string("batch"))
      write(folder + "/small_cnn_folded", cnn, x, {.fold_batch_norm = true});
  }
  ResNetCifar resnet(rng);
  stir(resnet, rng);
  const Tensor images = randn(rng, {kSamples, 3, 32, 32});
  write(folder + "/resnet20", resnet, images);
  write(folder + "/resnet20_folded", resnet, images, {.fold_batch_norm = true});
  for (const char* norm : {"layer", "rms", "batch"}) {
    Gpt gpt(rng, {.norm = norm_kind(norm)});
    stir(gpt, rng);
    write(fmt::format("{}/gpt_{}", folder, norm), gpt, randint(rng, 0, 65, {kSamples, 64}));
  }
  BertEncoder bert(
      rng, {.vocab = 500, .width = 64, .layers = 3, .heads = 4, .inner = 128, .context = 64});
  stir(bert, rng);
  const Tensor ids = randint(rng, 0, 500, {kSamples, 24});
  Tensor mask = randint(rng, 0, 4, {kSamples, 24});
  mask.select(0, 3).fill_(0);  // a text without a token
  write(folder + "/bert", bert, {{"ids", ids}, {"mask", mask}},
        [&](const Tensors& x) {
          const Tensor hidden = bert(x[0], Tensor(), x[1]);
          return Tensors{hidden, bert.pooled(hidden), sentence_embedding(hidden, x[1])};
        },
        {.outputs = {"hidden", "pooled", "sentence"}});
  write(folder + "/bert_ids_only", bert, ids);
}

// Norms are taken over 4 values or more: what is left of two nearly equal ones is rounding.
// A random Sequential and the shape of its samples: images, then perhaps vectors, or sequences.
class RandomModel {
 public:
  explicit RandomModel(uint64_t seed) : rng_(seed) {
    switch (pick(3)) {
      case 0: images(); break;
      case 1: sequences(); break;
      default: vectors(pick(12) + 2);
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

  void activation() {
    switch (pick(10)) {
      case 0: net.push_back(LeakyReLU({.negative_slope = 0.1})); break;
      case 1: net.push_back(GELU()); break;
      case 2: net.push_back(GELU({Approximate::tanh})); break;
      case 3: net.push_back(SiLU()); break;
      case 4: net.push_back(Sigmoid()); break;
      case 5: net.push_back(Tanh()); break;
      case 6: net.push_back(Softplus()); break;
      case 7: net.push_back(ELU()); break;
      default: net.push_back(ReLU());
    }
  }

  void image_layer(int64_t& c, int64_t& h, int64_t& w) {
    switch (pick(6)) {
      case 0: {
        const int64_t to = 2 * (pick(4) + 1), kernel = 1 + 2 * pick(2), stride = 1 + pick(2);
        const int64_t groups = c % 2 == 0 && coin() ? 2 : 1;
        net.push_back(Conv2d(rng_, c, to,
                             {.kernel_size = kernel,
                              .stride = stride,
                              .padding = kernel / 2,
                              .groups = groups,
                              .bias = coin()}));
        c = to;
        h = (h - 1) / stride + 1;
        w = (w - 1) / stride + 1;
        break;
      }
      case 1: net.push_back(BatchNorm2d(c, {.affine = coin()})); break;
      case 2: net.push_back(GroupNorm(c % 2 == 0 ? 2 : 1, c)); break;
      case 3:
        if (h * w >= 4) net.push_back(InstanceNorm2d(c, {.affine = coin()}));
        break;
      case 4:
        if (h < 4 || w < 4) break;
        if (coin()) net.push_back(MaxPool2d({.kernel_size = 2}));
        else net.push_back(AvgPool2d({.kernel_size = 2}));
        h /= 2;
        w /= 2;
        break;
      default: activation();
    }
  }

  void images() {
    int64_t c = pick(3) + 1, h = 6 + pick(7), w = 6 + pick(7);
    sample = {c, h, w};
    net.push_back(Conv2d(rng_, c, 4, {.kernel_size = 3, .padding = 1}));
    c = 4;
    for (int64_t i = 0, n = 2 + pick(6); i < n; ++i) image_layer(c, h, w);
    if (coin()) {
      const int64_t to_h = pick(3) + 1, to_w = pick(3) + 1;
      net.push_back(AdaptiveAvgPool2d({to_h, to_w}));
      h = to_h;
      w = to_w;
    }
    net.push_back(Flatten());
    rest(c * h * w);
  }

  void sequences() {
    const int64_t time = 3 + pick(6), width = 2 * (pick(4) + 2);
    if (coin()) {
      words = 20;
      sample = {time};
      net.push_back(Embedding(rng_, words, width));
    } else {
      sample = {time, width};
    }
    for (int64_t i = 0, n = 1 + pick(4); i < n; ++i) {
      switch (pick(7)) {
        case 0: net.push_back(LayerNorm(width)); break;
        case 1: net.push_back(RMSNorm(width)); break;
        case 2: net.push_back(Linear(rng_, width, width)); break;
        case 3: net.push_back(MultiheadAttention(rng_, width, 2)); break;
        case 4:
          net.push_back(TransformerEncoderLayer(rng_, width, 2,
                                                {.dim_feedforward = 12, .norm_first = coin()}));
          break;
        case 5: net.push_back(Conv1d(rng_, time, time, {.kernel_size = 3, .padding = 1})); break;
        default: activation();
      }
    }
    if (coin()) net.push_back(Softmax());
  }

  // Linear layers on vectors, which the net gives by now.
  void rest(int64_t features) {
    for (int64_t i = 0, n = 1 + pick(3); i < n; ++i) {
      const int64_t to = pick(10) + 4;
      net.push_back(Linear(rng_, features, to, {.bias = coin()}));
      features = to;
      if (coin()) net.push_back(BatchNorm1d(features));
      else if (coin()) net.push_back(LayerNorm(features));
      activation();
      if (coin()) net.push_back(Dropout(rng_, 0.3));
    }
    if (coin()) net.push_back(LogSoftmax());
  }
  void vectors(int64_t features) {
    sample = {features};
    rest(features);
  }

  Rng rng_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "onnx_peer FOLDER SEED COUNT\n");
    return 2;
  }
  try {
    const std::string folder = argv[1];
    four_models(folder);
    const uint64_t seed = std::stoull(argv[2]);
    for (uint64_t i = 0; i < std::stoull(argv[3]); ++i) {
      RandomModel m(seed + i);
      write(fmt::format("{}/random_{}", folder, seed + i), m.net, m.samples(kSamples));
    }
  } catch (const Error& e) {
    fmt::print(stderr, "onnx_peer: {}\n", e.what());
    return 1;
  }
  return 0;
}
