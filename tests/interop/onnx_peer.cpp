// Loupe's side of tests/interop/onnx_check.py: writes models as ONNX files, and beside each an .npz
// of inputs and of the outputs that Loupe gives.
//   onnx_peer FOLDER SEED COUNT: the four models, recurrent ones, functions, and COUNT random Sequential models from SEED on
#include <loupe/io/npy.h>
#include <loupe/models/bert.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>

#include <fmt/core.h>

#include <map>

#include "onnx_models.h"

using namespace loupe;
using onnx_models::RandomModel;
using onnx_models::stir;

namespace {

constexpr int64_t kSamples = 256;

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

void recurrent_models(const std::string& folder) {
  Rng rng(2);
  const auto one = [&](const std::string& name, auto net, const Shape& state) {
    stir(net, rng);
    const onnx_models::Named m = onnx_models::with_lengths(name, net, rng, kSamples, 9, 5, state);
    write(folder + "/" + name, net, m.inputs, m.forward, {.outputs = m.outputs});
  };
  const RecurrentOptions one_layer{.batch_first = true};
  const RecurrentOptions both{.num_layers = 2, .batch_first = true, .bidirectional = true};
  one("lstm", LSTM(rng, 5, 6, one_layer), {1, 6});
  one("lstm_2_layers_both", LSTM(rng, 5, 6, both), {4, 6});
  one("gru", GRU(rng, 5, 6, one_layer), {1, 6});
  one("gru_2_layers_both", GRU(rng, 5, 6, both), {4, 6});
  one("rnn_both", RNN(rng, 5, 6, {.batch_first = true, .bidirectional = true}), {2, 6});
  one("rnn_relu",
      RNN(rng, 5, 6, {.nonlinearity = Nonlinearity::relu, .bias = false, .batch_first = true}),
      {1, 6});
  LSTMCell cell(rng, 5, 6);
  write(folder + "/lstm_cell", cell,
        {{"x", randn(rng, {kSamples, 5})},
         {"h", randn(rng, {kSamples, 6})},
         {"c", randn(rng, {kSamples, 6})}},
        [&](const Tensors& x) {
          const LstmState s = cell(x[0], LstmState{x[1], x[2]});
          return Tensors{s.h, s.c};
        },
        {.outputs = {"next_h", "next_c"}});
  TransformerDecoderLayer decoder(rng, 8, 2, {.dim_feedforward = 16});
  write(folder + "/decoder", decoder,
        {{"x", randn(rng, {kSamples, 5, 8})}, {"memory", randn(rng, {kSamples, 7, 8})}},
        [&](const Tensors& x) { return Tensors{decoder(x[0], x[1])}; });
}

void function_models(const std::string& folder) {
  Rng rng(3);
  int number = 0;
  for (const auto& f : onnx_models::functions()) {
    onnx_models::Function m(f);
    write(fmt::format("{}/function_{}", folder, number++), m,
          uniform(rng, {kSamples, 3, 4}, 0.1, 2));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "onnx_peer FOLDER SEED COUNT\n");
    return 2;
  }
  try {
    const std::string folder = argv[1];
    four_models(folder);
    recurrent_models(folder);
    function_models(folder);
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
