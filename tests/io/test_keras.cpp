#include <loupe/autograd/ops.h>
#include <loupe/io/keras.h>
#include <loupe/io/npy.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/state.h>

#include "fixture.h"
#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

const std::string kFixtures = LOUPE_FIXTURES;

struct Cnn : Layer<Cnn> {
  Conv2d conv1, conv2;
  BatchNorm2d norm1;
  Linear fc1, fc2;
  LayerNorm norm2;
  explicit Cnn(Rng& rng)
      : conv1(rng, 2, 6, {.kernel_size = 3, .padding = 1}),
        conv2(rng, 6, 8, {.kernel_size = {3, 2}}),
        norm1(6, {.convention = NormConvention::keras3}),
        fc1(rng, 8 * 4 * 4, 16),
        fc2(rng, 16, 5),
        norm2(16, {.eps = 1e-3}) {}
  Tensor forward(In x) {
    const Tensor h = relu(conv2(max_pool2d(relu(norm1(conv1(x))), 2)));
    return fc2(relu(norm2(fc1(h.flatten(1)))));
  }
  void visit(Visitor& v) override {
    v("conv1", conv1, "norm1", norm1, "conv2", conv2, "fc1", fc1, "norm2", norm2, "fc2", fc2);
  }
  std::string type_name() const override { return "Cnn"; }
};

std::string misuse(const std::map<std::string, Tensor>& arrays,
                   const std::map<std::string, Shape>& flattened = {}) {
  return error_of<ValueError>([&] { from_keras(arrays, flattened); });
}

}  // namespace

TEST_CASE(
    "the weights of a Keras CNN give Keras' logits: Conv2D, BatchNormalization, Flatten, Dense, "
    "LayerNormalization") {
  const auto io = load_npz(kFixtures + "/keras_cnn_io.npz");
  const Tensor images = io.at("x").permute({0, 3, 1, 2});  // NHWC as Keras has them
  const std::map<std::string, Shape> flattened{{"fc1", {8, 4, 4}}};
  for (const DType dtype : {DType::f64, DType::f32}) {
    Rng rng(1);
    Cnn m(rng);
    to(m, dtype);
    load_state_dict(m, from_keras(load_npz(kFixtures + "/keras_cnn.npz"), flattened));
    eval(m);
    NoGrad guard;
    fixture::same(std::string("keras cnn ") + name(dtype), "logits", m(images.to(dtype)),
                  io.at("y"), dtype == DType::f64 ? 1e-10 : 1e-6);
    // Without the change of rows it runs just as well, to other numbers.
    load_state_dict(m, from_keras(load_npz(kFixtures + "/keras_cnn.npz")));
    CHECK(max(abs(m(images.to(dtype)).to(DType::f64) - io.at("y"))).item() > 0.1);
  }
}

TEST_CASE("the weights of a Keras Embedding and Conv1D give Keras' outputs") {
  const auto io = load_npz(kFixtures + "/keras_text_io.npz");
  Rng rng(1);
  Embedding embed(rng, 7, 4);
  Conv1d conv(rng, 4, 5, {.kernel_size = 3});
  to(embed, DType::f64);
  to(conv, DType::f64);
  const StateDict state = from_keras(load_npz(kFixtures + "/keras_text.npz"));
  load_state_dict(embed, state, {.strict = false, .prefix = "embed."});
  load_state_dict(conv, state, {.strict = false, .prefix = "conv."});
  NoGrad guard;
  fixture::same("keras text f64", "outputs",
                conv(embed(io.at("x")).transpose(1, 2)).transpose(1, 2), io.at("y"), 1e-10);
}

TEST_CASE("from_keras: names, and each misuse in a sentence") {
  const StateDict state = from_keras({{"block/conv/kernel", zeros({3, 2, 4, 5})},
                                      {"block/norm/moving_mean", zeros({5})},
                                      {"rms/scale", ones({5})}});
  REQUIRE(state.size() == 4);
  CHECK(state[0].name == "block.conv.weight");
  CHECK(state[0].tensor.shape() == Shape{5, 4, 3, 2});
  CHECK(state[1].name == "block.norm.running_mean");
  CHECK(state[2].name == "block.norm.num_batches_tracked");
  CHECK(state[3].name == "rms.weight");
  CHECK_THAT(misuse({{"lstm/recurrent_kernel", zeros({2, 2})}}),
             Contains("no layout is known for \"lstm/recurrent_kernel\""));
  CHECK_THAT(misuse({{"kernel", zeros({2, 2})}}), Contains("expected LAYER/"));
  CHECK_THAT(misuse({{"conv3d/kernel", zeros({2, 2, 2, 2, 2})}}),
             Contains("conv3d/kernel has shape (2, 2, 2, 2, 2)"));
  CHECK_THAT(misuse({{"fc/kernel", zeros({12, 2})}}, {{"fc", {2, 2, 2}}}),
             Contains("fc/kernel is (12, 2), but an image (C, H, W) of (2, 2, 2)"));
  CHECK_THAT(misuse({{"fc/kernel", zeros({12, 2})}}, {{"fc", {12}}}), Contains("(12,)"));
  CHECK_THAT(misuse({{"fc/kernel", zeros({12, 2})}}, {{"fc2", {3, 2, 2}}}),
             Contains("no kernel of a layer \"fc2\""));
  CHECK_THAT(misuse({{"c/kernel", zeros({3, 3, 1, 2})}}, {{"c", {1, 3, 3}}}),
             Contains("which is no Dense"));
  CHECK_THAT(misuse({{"n/gamma", ones({2})}, {"n/scale", ones({2})}}),
             Contains("two variables become n.weight"));
}
