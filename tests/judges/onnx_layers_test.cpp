// save_onnx of layers that ONNX has as one node with options of its own: recurrent networks,
// transposed convolutions, pools and resampling; and random Sequentials of all layers.
#include <set>
#include <sstream>

#include "../interop/onnx_models.h"
#include "onnx_exported.h"

using namespace judges;
using Catch::Matchers::Contains;
using onnx_models::Outputs;
using onnx_models::stir;

namespace {

const OnnxNode& node(const Exported& e, const std::string& op) {
  for (const OnnxNode& n : e.model.nodes)
    if (n.op == op) return n;
  FAIL("no node " << op);
  return e.model.nodes[0];
}
int64_t count(const Exported& e, const std::string& op) {
  const std::vector<std::string> ops = e.ops();
  return std::count(ops.begin(), ops.end(), op);
}

template <class M> Exported same(M layer, const Shape& sample) {
  Rng rng(3);
  Sequential net(std::move(layer));
  stir(net, rng);
  Shape two = sample, five = sample;
  two.insert(0, 2);
  five.insert(0, 5);
  INFO(net[0].type_name() << " " << net[0].describe());
  const Tensor example = randn(rng, two);
  same_numbers(net, example, randn(rng, five));
  return exported(net, example);
}

}  // namespace

TEST_CASE("save_onnx: random Sequentials of all layers give their numbers") {
  std::set<std::string> met;
  for (uint64_t seed = 1; seed <= 80; ++seed) {
    onnx_models::RandomModel m(seed);
    std::string layers;
    for (const auto& [name, module] : named_modules(m.net)) {
      layers += module->type_name() + "(" + module->describe() + ") ";
      met.insert(module->type_name());
    }
    INFO("seed " << seed << ": " << layers);
    same_numbers(m.net, m.samples(2), m.samples(5));
  }
  std::istringstream all(
      "AdaptiveAvgPool1d AdaptiveAvgPool2d AvgPool1d AvgPool2d BatchNorm1d BatchNorm2d "
      "CELU Conv1d Conv2d ConvTranspose1d ConvTranspose2d Dropout Dropout1d Dropout2d ELU "
      "Embedding Flatten GELU GLU GRU GRUCell GroupNorm Hardsigmoid Hardswish Hardtanh "
      "InstanceNorm2d LSTM LayerNorm LeakyReLU Linear LogSigmoid LogSoftmax MaxPool1d "
      "MaxPool2d Mish MultiheadAttention RMSNorm RNN RNNCell ReLU ReLU6 SELU SiLU Sigmoid "
      "Softmax Softplus SwiGLU Tanh TransformerEncoderLayer Upsample");
  for (std::string name; all >> name;) {
    INFO(name);
    CHECK(met.contains(name));
  }
}

TEST_CASE("save_onnx: an LSTM is a node a layer and direction, which makes the input's product") {
  Rng rng(1);
  const RecurrentOptions both{.num_layers = 2, .batch_first = true, .bidirectional = true};
  const Exported e = same(Outputs(LSTM(rng, 3, 4, both)), {6, 3});
  CHECK(count(e, "LSTM") == 4);
  CHECK(count(e, "MatMul") == 0);
  CHECK(count(e, "Gemm") == 0);
  for (const char* name : {"0.net.weight_ih_l0", "0.net.weight_hh_l1_reverse", "0.net.bias_ih_l1"})
    CHECK(e.weights.contains(name));
  const OnnxNode first = node(e, "LSTM");
  CHECK(first.attributes.at("hidden_size").i == 4);
  CHECK(first.attributes.at("direction").s == "forward");
  CHECK(first.inputs.size() == 7);
  CHECK(first.outputs.size() == 3);
  CHECK(e.model.nodes.back().op == "Identity");
}

TEST_CASE("save_onnx: GRU resets after the product, RNN tells its activation") {
  Rng rng(2);
  const Exported gru = same(Outputs(GRU(rng, 3, 4, {.batch_first = true})), {6, 3});
  CHECK(node(gru, "GRU").attributes.at("linear_before_reset").i == 1);
  const Exported relu = same(
      Outputs(RNN(rng, 3, 4, {.nonlinearity = Nonlinearity::relu, .batch_first = true})), {6, 3});
  CHECK(node(relu, "RNN").attributes.at("activations").strings == std::vector<std::string>{"Relu"});
  const Exported tanh = same(
      Outputs(RNN(rng, 3, 4, {.bias = false, .batch_first = true, .bidirectional = true})), {6, 3});
  CHECK(count(tanh, "RNN") == 2);
  CHECK(tanh.model.nodes[1].attributes.count("activations") == 0);
  // Cells: one step.
  CHECK(count(same(GRUCell(rng, 3, 4), {3}), "GRU") == 1);
  CHECK(count(same(RNNCell(rng, 3, 4, {.bias = false}), {3}), "Gemm") == 0);
}

TEST_CASE("save_onnx: recurrent layers with lengths and states as inputs") {
  Rng rng(3);
  const auto one = [&](const std::string& name, auto net, const Shape& state) {
    INFO(name);
    stir(net, rng);
    const TempDir dir;
    const auto m = onnx_models::with_lengths(name, net, rng, 6, 5, 3, state);
    save_onnx(net, m.inputs, m.forward, dir / "m.onnx", {.outputs = m.outputs});
    const Exported e(dir / "m.onnx");
    CHECK(node(e, "Cast").attributes.at("to").i == 6);
    eval(net);
    Tensors all, few;
    for (const auto& [input, t] : m.inputs) {
      all.push_back(t);
      few.push_back(t.slice(0, 1, 4));
    }
    for (const Tensors& x : {all, few})
      CHECK(distance(e.model, x, no_grad([&] { return m.forward(x); })) < 1e-5);
  };
  const RecurrentOptions both{.num_layers = 2, .batch_first = true, .bidirectional = true};
  one("lstm", LSTM(rng, 3, 4, both), {4, 4});
  one("gru", GRU(rng, 3, 4, both), {4, 4});
  one("rnn", RNN(rng, 3, 4, {.batch_first = true, .bidirectional = true}), {2, 4});
}

TEST_CASE("save_onnx: a recurrence of sums that no linear layer made") {
  Rng rng(4);
  const Tensor weight = randn(rng, {8, 2});
  for (const bool reverse : {false, true}) {
    onnx_models::Function m([&](const Tensor& x) {
      const Tensor zero = zeros({x.size(0), 2}), lengths = from_data(std::vector<int64_t>{2});
      return recurrence(RecurrentCell::lstm, x.transpose(0, 1), zero, zero, weight, Tensor(),
                        {.lengths = lengths.expand({x.size(0)}), .reverse = reverse})
          .states.transpose(0, 1);
    });
    same_numbers(m, randn(rng, {2, 3, 8}), randn(rng, {4, 3, 8}));
  }
}

TEST_CASE("save_onnx: transposed convolutions, and padding that keeps the size") {
  Rng rng(5);
  const Exported e = same(ConvTranspose2d(rng, 4, 6,
                                          {.kernel_size = {3, 2},
                                           .stride = {3, 2},
                                           .padding = {1, 0},
                                           .output_padding = {2, 1},
                                           .groups = 2,
                                           .dilation = {1, 2}}),
                          {4, 5, 6});
  const OnnxNode n = node(e, "ConvTranspose");
  CHECK(n.attributes.at("output_padding").ints == std::vector<int64_t>{2, 1});
  CHECK(n.attributes.at("pads").ints == std::vector<int64_t>{1, 0, 1, 0});
  CHECK(n.attributes.at("dilations").ints == std::vector<int64_t>{1, 2});
  CHECK(n.attributes.at("group").i == 2);
  CHECK(n.inputs[1] == "0.weight");
  same(ConvTranspose1d(rng, 4, 3, {.kernel_size = 3, .stride = 2, .padding = 1, .bias = false}),
       {4, 7});
  CHECK(count(same(Conv2d(rng, 3, 4, {.kernel_size = {2, 3}, .padding = kSame}), {3, 5, 6}),
              "Pad") == 1);
  CHECK(count(same(Conv1d(rng, 3, 4, {.kernel_size = 3, .padding = kSame, .dilation = 2}), {3, 6}),
              "Pad") == 0);
}

TEST_CASE("save_onnx: ceil_mode is more padding at the end, dilation an option") {
  const Exported max =
      same(MaxPool2d({.kernel_size = 3, .stride = 2, .padding = 1, .ceil_mode = true}), {2, 6, 7});
  CHECK(node(max, "MaxPool").attributes.at("pads").ints == std::vector<int64_t>{1, 1, 2, 1});
  const Exported dilated =
      same(MaxPool2d({.kernel_size = 2, .stride = 1, .dilation = {2, 1}}), {2, 6, 7});
  CHECK(node(dilated, "MaxPool").attributes.at("dilations").ints == std::vector<int64_t>{2, 1});
  // As much padding as a kernel, which MaxPool does not take.
  CHECK(count(same(MaxPool2d({.kernel_size = 2, .padding = 2, .dilation = 3}), {2, 8, 8}), "Pad") ==
        1);
  const Exported average = same(
      AvgPool2d({.kernel_size = {3, 2}, .stride = 2, .padding = 1, .ceil_mode = true}), {2, 6, 6});
  CHECK(count(average, "Mul") == 1);
  CHECK(count(same(AvgPool2d({.kernel_size = 3,
                              .stride = 2,
                              .padding = 1,
                              .count_include_pad = false,
                              .ceil_mode = true}),
                   {2, 6, 6}),
              "Mul") == 0);
  same(AvgPool1d({.kernel_size = 3, .stride = 2, .ceil_mode = true}), {2, 6});
}

TEST_CASE("save_onnx: resampling is Resize, or taken apart where ONNX rounds otherwise") {
  const auto up = [](InterpolateArgs a) { return same(Upsample(a), {2, 4, 5}); };
  using enum Interpolation;
  const OnnxNode doubled = node(up({.scale_factor = 2}), "Resize");
  CHECK(doubled.attributes.at("mode").s == "nearest");
  CHECK(doubled.attributes.at("coordinate_transformation_mode").s == "asymmetric");
  CHECK(doubled.attributes.at("nearest_mode").s == "floor");
  CHECK(doubled.attributes.at("axes").ints == std::vector<int64_t>{2, 3});
  const OnnxNode exact = node(up({.scale_factor = 3, .mode = nearest_exact}), "Resize");
  CHECK(exact.attributes.at("nearest_mode").s == "round_prefer_ceil");
  CHECK(count(up({.size = Size2(7, 3)}), "Gather") == 2);
  CHECK(count(up({.size = Size2(2, 3), .mode = nearest_exact}), "Gather") == 2);
  const OnnxNode linear_one = node(up({.size = Size2(7, 3), .mode = linear}), "Resize");
  CHECK(linear_one.attributes.at("coordinate_transformation_mode").s == "half_pixel");
  const Exported corners = up({.size = Size2(7, 1), .mode = linear, .align_corners = true});
  CHECK(node(corners, "Resize").attributes.at("coordinate_transformation_mode").s ==
        "align_corners");
  // 4 * 1.7 = 6.8: six positions, 1 / 1.7 apart.
  CHECK(count(up({.scale_factor = 1.7, .mode = linear}), "MatMul") == 2);
}

TEST_CASE("save_onnx: layers and ops without an ONNX form are refused by name") {
  Rng rng(6);
  const TempDir dir;
  const std::string path = dir / "refused.onnx";
  const auto refusal = [&](Module& m, const Tensor& x) {
    const std::string text = error_of<ValueError>([&] { save_onnx(m, x, path); });
    CHECK_FALSE(std::filesystem::exists(path));
    return text;
  };
  LSTM lstm(rng, 3, 4, {.batch_first = true});
  CHECK_THAT(refusal(lstm, randn(rng, {2, 5, 3})), Contains("LSTM") && Contains("gives more"));
  onnx_models::Function product([](const Tensor& t) { return cumprod(t, 1); });
  CHECK_THAT(refusal(product, randn(rng, {2, 3})), Contains("cumprod ("));
  onnx_models::Function places([](const Tensor& t) {
    const PoolResult r = max_pool1d_with_indices(t, 2);
    return r.values + r.indices.to(DType::f32);
  });
  CHECK_THAT(refusal(places, randn(rng, {2, 3, 6})), Contains("depend on the input"));
  onnx_models::Function rolled([](const Tensor& t) { return roll(t, {1}, {0}); });
  CHECK_THAT(refusal(rolled, randn(rng, {2, 3})), Contains("roll (") && Contains("batch"));
}
