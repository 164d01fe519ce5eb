// save_onnx: the file's structure as protozero reads it back, its numbers as an interpreter of
// ONNX's ops (onnx_ops.cpp) computes them, and what it refuses. onnxruntime judges the same files
// in tests/interop/onnx_check.py.
#include <loupe/models/bert.h>
#include <loupe/models/gpt.h>
#include <loupe/models/resnet_cifar.h>
#include <loupe/models/small_cnn.h>

#include <protozero/pbf_reader.hpp>
#include <set>

#include "../interop/onnx_models.h"
#include "onnx_exported.h"

using namespace judges;
using Catch::Matchers::Contains;
using onnx_models::stir;

namespace {

Sequential small_cnn(Rng& rng) {
  return Sequential(Conv2d(rng, 2, 4, {.kernel_size = 3, .padding = 1, .bias = false}),
                    BatchNorm2d(4), ReLU(), MaxPool2d({.kernel_size = 2}), Flatten(),
                    Linear(rng, 64, 3));
}

}  // namespace

TEST_CASE("save_onnx: opset, names, raw weights, an open batch, places") {
  Rng rng(1);
  Sequential net = small_cnn(rng);
  stir(net, rng);
  const Exported e = exported(net, randn(rng, {2, 2, 8, 8}));
  CHECK(e.model.opset >= 17);
  CHECK(e.model.ir_version == 9);
  CHECK(e.model.producer == "loupe");
  CHECK(e.model.graph_name == "Sequential");
  CHECK(e.ops() == std::vector<std::string>{"Conv", "BatchNormalization", "Relu", "MaxPool",
                                            "Reshape", "Gemm", "Identity"});
  REQUIRE(e.model.inputs.size() == 1);
  CHECK(e.model.inputs[0].name == "input");
  CHECK(e.model.inputs[0].shape == std::vector<std::string>{"N", "2", "8", "8"});
  CHECK(e.model.outputs[0].name == "output");
  CHECK(e.model.outputs[0].shape == std::vector<std::string>{"N", "3"});
  for (const auto& [name, t] : state_dict(net)) {
    if (name.ends_with("num_batches_tracked")) continue;
    INFO(name);
    REQUIRE(e.weights.contains(name));
    CHECK(equal(parse_tensor(e.weights.at(name)), t.detach()));
    protozero::pbf_reader r(e.weights.at(name));
    CHECK(r.next(9));  // raw_data
  }
  const OnnxNode& conv = e.model.nodes[0];
  CHECK(conv.name == "0/Conv");
  CHECK_THAT(conv.doc, Contains("conv2d (") && Contains("in 0)") && Contains("Conv2d"));
  CHECK(conv.attributes.at("pads").ints == std::vector<int64_t>{1, 1, 1, 1});
  // Every value is given before it is read, and once.
  std::set<std::string> known{"input"}, names;
  for (const auto& [name, tensor] : e.weights) known.insert(name);
  for (const OnnxNode& n : e.model.nodes) {
    for (const std::string& in : n.inputs) CHECK(known.contains(in));
    for (const std::string& out : n.outputs) CHECK(known.insert(out).second);
    CHECK(names.insert(n.name).second);
  }
}

TEST_CASE("save_onnx: a batch norm folds into the convolution before it") {
  Rng rng(2);
  Sequential net = small_cnn(rng);
  stir(net, rng);
  const Tensor x = randn(rng, {3, 2, 8, 8});
  const Exported e = exported(net, x, {.fold_batch_norm = true});
  CHECK(e.ops() ==
        std::vector<std::string>{"Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Identity"});
  CHECK(e.weights.contains("0.weight"));
  CHECK(e.weights.contains("0.bias"));
  CHECK_FALSE(e.weights.contains("1.weight"));
  CHECK_FALSE(equal(parse_tensor(e.weights.at("0.weight")), state_dict(net)[0].tensor.detach()));
  eval(net);
  CHECK(distance(e.model, {x}, {no_grad([&] { return net(x); })}) < 1e-5);
}

TEST_CASE("save_onnx: a model comes back in the modes its modules had") {
  Rng rng(3);
  Sequential net = small_cnn(rng);
  net[1].set_training(false);
  exported(net, randn(rng, {2, 2, 8, 8}));
  CHECK(net.is_training());
  CHECK(net[0].is_training());
  CHECK_FALSE(net[1].is_training());
  for (const auto& [name, p] : named_parameters(net)) CHECK(p.requires_grad());
}

TEST_CASE("save_onnx: the four models give their numbers, at other batch sizes too") {
  Rng rng(4);
  for (const NormKind norm : {NormKind::batch, NormKind::layer, NormKind::group, NormKind::none}) {
    SmallCnn m(rng, {.image_size = 16, .widths = {8, 8, 8, 8}, .hidden = 16, .norm = norm});
    stir(m, rng);
    same_numbers(m, randn(rng, {2, 1, 16, 16}), randn(rng, {5, 1, 16, 16}));
  }
  ResNetCifar resnet(rng, {.depth = 8, .width = 4});
  stir(resnet, rng);
  same_numbers(resnet, randn(rng, {1, 3, 16, 16}), randn(rng, {3, 3, 16, 16}));
  for (const NormKind norm : {NormKind::layer, NormKind::batch, NormKind::rms, NormKind::none}) {
    for (const bool flag : {true, false}) {
      Gpt gpt(rng, {.vocab = 11,
                    .context = 6,
                    .layers = 2,
                    .heads = 2,
                    .width = 8,
                    .norm = norm,
                    .pre_norm = flag,
                    .tied = flag});
      stir(gpt, rng);
      same_numbers(gpt, randint(rng, 0, 11, {2, 6}), randint(rng, 0, 11, {4, 6}));
    }
  }
}

TEST_CASE("save_onnx: BertEncoder with a mask, and with its pooler, as several inputs") {
  Rng rng(5);
  BertEncoder bert(rng,
                   {.vocab = 13, .width = 8, .layers = 2, .heads = 2, .inner = 12, .context = 7});
  stir(bert, rng);
  const auto inputs = [&](int64_t n) {
    Tensor mask = randint(rng, 0, 2, {n, 5});
    mask.select(0, 0).fill_(0);  // a text of padding alone
    return Tensors{randint(rng, 0, 13, {n, 5}), randint(rng, 0, 2, {n, 5}), mask};
  };
  const OnnxForward forward = [&](const Tensors& x) {
    const Tensor hidden = bert(x[0], x[1], x[2]);
    return Tensors{hidden, bert.pooled(hidden), sentence_embedding(hidden, x[2])};
  };
  const Tensors example = inputs(3);
  const TempDir dir;
  save_onnx(bert, {{"ids", example[0]}, {"types", example[1]}, {"mask", example[2]}}, forward,
            dir / "bert.onnx", {.outputs = {"hidden", "pooled", "sentence"}});
  const Exported e(dir / "bert.onnx");
  CHECK(e.model.inputs[2].name == "mask");
  CHECK(e.model.inputs[2].type == 7);
  CHECK(e.model.outputs[1].shape == std::vector<std::string>{"N", "8"});
  CHECK(e.weights.contains("encoder.layer.1.attention.self.query.weight"));
  eval(bert);
  for (const Tensors& x : {example, inputs(1), inputs(6)})
    CHECK(distance(e.model, x, no_grad([&] { return forward(x); })) < 1e-5);
}

TEST_CASE("save_onnx: layers, one by one") {
  Rng rng(6);
  const Tensor image = randn(rng, {2, 4, 9, 7}), more_images = randn(rng, {3, 4, 9, 7});
  const auto on_images = [&](auto layer) {
    Sequential net(std::move(layer));
    stir(net, rng);
    INFO(net[0].type_name() << " " << net[0].describe());
    same_numbers(net, image, more_images);
  };
  on_images(Conv2d(rng, 4, 6, {.kernel_size = {3, 2}, .stride = {2, 1}, .padding = {1, 0}}));
  on_images(Conv2d(rng, 4, 8, {.kernel_size = 3, .dilation = 2, .groups = 2}));
  on_images(MaxPool2d({.kernel_size = 3, .stride = 2, .padding = 1}));
  on_images(AvgPool2d({.kernel_size = 3, .stride = 2, .padding = 1}));
  on_images(AvgPool2d({.kernel_size = 3, .padding = 1, .count_include_pad = false}));
  on_images(AdaptiveAvgPool2d(1));
  on_images(AdaptiveAvgPool2d({3, 7}));
  on_images(AdaptiveAvgPool2d({4, 3}));
  on_images(BatchNorm2d(4));
  on_images(BatchNorm2d(4, {.affine = false}));
  on_images(BatchNorm2d(7, {.axis = 3}));
  on_images(BatchNorm2d(9, {.track_running_stats = false, .axis = 2}));
  on_images(BatchNorm2d(4, {.track_running_stats = false}));
  on_images(GroupNorm(2, 4));
  on_images(InstanceNorm2d(4));
  on_images(InstanceNorm2d(4, {.affine = true, .track_running_stats = true}));
  on_images(LayerNorm({9, 7}));
  on_images(LayerNorm(4, {.axes = {1}}));
  on_images(RMSNorm(7));
  on_images(ReLU());
  on_images(LeakyReLU({.negative_slope = 0.2}));
  on_images(GELU());
  on_images(GELU({Approximate::tanh}));
  on_images(SiLU());
  on_images(Sigmoid());
  on_images(Tanh());
  on_images(Softplus());
  on_images(Softplus({.beta = 3, .threshold = 1}));
  on_images(ELU({.alpha = 0.7}));
  on_images(Softmax({.dim = 1}));
  on_images(LogSoftmax());
  on_images(Dropout(rng, 0.5));
  on_images(Linear(rng, 7, 3));
  on_images(Flatten());

  const Tensor line = randn(rng, {2, 3, 10}), more_lines = randn(rng, {1, 3, 10});
  const auto on_lines = [&](auto layer) {
    Sequential net(std::move(layer));
    stir(net, rng);
    INFO(net[0].type_name() << " " << net[0].describe());
    same_numbers(net, line, more_lines);
  };
  on_lines(Conv1d(rng, 3, 5, {.kernel_size = 3, .stride = 2, .padding = 1}));
  on_lines(MaxPool1d({.kernel_size = 2}));
  on_lines(AvgPool1d({.kernel_size = 3, .stride = 2, .padding = 1}));
  on_lines(AdaptiveAvgPool1d(4));
  on_lines(BatchNorm1d(3));
  on_lines(MultiheadAttention(rng, 10, 2));
  on_lines(TransformerEncoderLayer(rng, 10, 2, {.dim_feedforward = 8}));
  on_lines(TransformerEncoderLayer(
      rng, 10, 5, {.activation = TransformerActivation::gelu, .norm_first = true}));

  Sequential words(Embedding(rng, 9, 4), Linear(rng, 4, 2));
  same_numbers(words, randint(rng, 0, 9, {2, 3}), randint(rng, 0, 9, {5, 3}));
  Sequential flat(Linear(rng, 4, 8), BatchNorm1d(8), ReLU(), Linear(rng, 8, 2));
  stir(flat, rng);
  same_numbers(flat, randn(rng, {2, 4}), randn(rng, {7, 4}));
}

TEST_CASE("save_onnx: functions of tensors") {
  Rng rng(7);
  const Tensor x = uniform(rng, {2, 3, 4}, 0.1, 2), other = uniform(rng, {5, 3, 4}, 0.1, 2);
  const auto functions = onnx_models::functions();
  for (size_t i = 0; i < functions.size(); ++i) {
    INFO("function " << i);
    onnx_models::Function m(functions[i]);
    same_numbers(m, x, other);
  }
}

TEST_CASE("save_onnx: what cannot be exported is refused by name") {
  Rng rng(8);
  const TempDir dir;
  const Tensor x = uniform(rng, {2, 3}, 0.1, 2);
  const auto refusal = [&](const std::function<Tensor(const Tensor&)>& f) {
    Sequential net(Linear(rng, 3, 3), onnx_models::Function(f));
    const std::string path = dir / "refused.onnx";
    const std::string text = error_of<ValueError>([&] { save_onnx(net, x, path); });
    CHECK_FALSE(std::filesystem::exists(path));
    return text;
  };
  Rng noise(1);
  CHECK_THAT(refusal([&](const Tensor& t) { return dropout(t, noise, 0.5); }),
             Contains("dropout (") && Contains("onnx_export_test.cpp:") && Contains("in 1)") &&
                 Contains("Function"));
  const Tensor labels = from_data(std::vector<int64_t>{0, 1, 2});
  CHECK_THAT(
      refusal([&](const Tensor& t) { return cross_entropy(t, labels.slice(0, 0, t.size(0))); }),
      Contains("cross_entropy (") && Contains("in 1)"));
  CHECK_THAT(refusal([](const Tensor& t) { return t * t.select(0, 0).select(0, 0).item(); }),
             Contains("option factor"));
  CHECK_THAT(refusal([](const Tensor& t) {
               return t + from_data(t.to_vector<double>(), t.shape()).to(DType::f32);
             }),
             Contains("depend on the input"));
  CHECK_THAT(refusal([](const Tensor& t) { return t / static_cast<double>(t.size(0)); }),
             Contains("option factor"));
  CHECK_THAT(refusal([](const Tensor& t) { return t.size(0) == 2 ? relu(t) : tanh(t); }),
             Contains("another"));
  CHECK_THAT(refusal([](const Tensor& t) {
               return t.reshape({2, 3});
             }),
             Contains("the first axis of an input must be the batch"));
  CHECK_THAT(refusal([](const Tensor& t) {
               const Tensor y = t * 2.0;
               y.add_(t);
               return y * 1.5;
             }),
             Contains("changed in place"));
}

TEST_CASE("save_onnx refuses a number that was read out of token ids") {
  const TempDir dir;
  const Tensor ids = from_data(std::vector<int64_t>{1, 5, 3, 2, 4, 2}, Shape{2, 3});
  for (const auto& read : {+[](const Tensor& t) { return max(t).item(); },
                           +[](const Tensor& t) { return min(t).item(); },
                           +[](const Tensor& t) { return sum(t).item(); }}) {
    onnx_models::Function net([&](const Tensor& t) { return t.to(DType::f32) * read(t); });
    CHECK_THAT(error_of<ValueError>([&] { save_onnx(net, ids, dir / "ids.onnx"); }),
               Contains("option factor"));
  }
}

TEST_CASE("save_onnx: weights of 2 GiB are a clear error, before anything is written") {
  // A parameter of 4 GiB that takes no memory: one number, repeated.
  struct Huge : Layer<Huge> {
    Tensor weight = ones({1}).expand({int64_t{1} << 30});
    Tensor forward(In x) { return x * weight.slice(0, 0, 1); }
    void visit(Visitor& v) override { v("weight", weight); }
    std::string type_name() const override { return "Huge"; }
  };
  Huge huge;
  const TempDir dir;
  CHECK_THAT(error_of<ValueError>([&] {
               save_onnx(huge, ones({1, 1}), dir / "huge.onnx");
             }),
             Contains("42949673") && Contains(" bytes;") && Contains("2 GiB"));
  CHECK_FALSE(std::filesystem::exists(dir / "huge.onnx"));
}
