// Pictures of a model and its values over depth.
#include <loupe/autograd/ops.h>
#include <loupe/io/png.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/models/gpt.h>
#include <loupe/view/depth.h>
#include <loupe/view/pictures.h>

#include <cmath>

#include "catch.h"

using namespace loupe;

namespace {

using Pixel = std::vector<uint8_t>;

Pixel pixel(const Tensor& picture, int64_t y, int64_t x) {
  return picture.slice(0, y, y + 1).slice(1, x, x + 1).to_vector<uint8_t>();
}

}  // namespace

TEST_CASE("tiles of images: zoom, gaps, rows, and colours in any memory") {
  const Tensor images = from_data<uint8_t>({10, 20, 30, 40, 50, 60}, Shape{3, 1, 1, 2});
  const Tensor p = picture_of_images(images, {.columns = 2, .zoom = 2, .gap = 4});
  CHECK(p.shape() == Shape({2 * 6, 2 * 8, 1}));
  CHECK(pixel(p, 0, 0) == Pixel{128});  // the frame
  CHECK(pixel(p, 2, 2) == Pixel{10});   // half a gap in
  CHECK(pixel(p, 3, 3) == Pixel{10});   // its second row and column
  CHECK(pixel(p, 2, 4) == Pixel{20});
  CHECK(pixel(p, 2, 8 + 2) == Pixel{30});       // the second tile
  CHECK(pixel(p, 6 + 2, 2) == Pixel{50});       // the second row of tiles
  CHECK(pixel(p, 6 + 2, 8 + 2) == Pixel{128});  // there is no fourth

  const Tensor rgb = from_data<uint8_t>({1, 2, 3, 4, 5, 6}, Shape{1, 3, 1, 2});
  const Tensor colours = picture_of_images(rgb, {.gap = 0});
  CHECK(colours.to_vector<uint8_t>() == Pixel{1, 3, 5, 2, 4, 6});
  CHECK(picture_of_images(rgb.transpose(2, 3), {.gap = 0}).shape() == Shape({2, 1, 3}));
  CHECK(picture_of_images(zeros({0, 1, 4, 4}, DType::u8)).shape() == Shape({6, 6, 1}));
}

TEST_CASE("filters: one scale, orange above zero, blue below, a row a filter") {
  const Tensor w = tensor({0, 1, -2, 0.5, 0, 0, 0, 0}, Shape{2, 2, 1, 2});
  const Tensor p = picture_of_filters(w, {.zoom = 1, .gap = 0});
  CHECK(p.shape() == Shape({2, 4, 3}));
  CHECK(pixel(p, 0, 0) == Pixel{255, 255, 255});
  CHECK(pixel(p, 0, 2) == Pixel{33, 102, 172});   // -2 is the largest: all blue
  CHECK(pixel(p, 0, 1) == Pixel{233, 180, 138});  // half the way from white to orange
  CHECK(pixel(p, 1, 3) == Pixel{255, 255, 255});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor broken = picture_of_filters(tensor({nan, 4}, Shape{1, 1, 2}), {.zoom = 1, .gap = 0});
  CHECK(pixel(broken, 0, 0) == Pixel{0, 0, 0});
  CHECK(pixel(broken, 0, 1) == Pixel{210, 105, 20});

  const Tensor rgb =
      picture_of_filters(tensor({1, -1, 0}, Shape{1, 3, 1, 1}), {.zoom = 1, .gap = 0});
  CHECK(rgb.to_vector<uint8_t>() == Pixel{255, 0, 128});
}

TEST_CASE("attention maps are the weights that the layer itself reports") {
  Rng rng(3);
  MultiheadAttention attention(rng, 12, 3);
  eval(attention);
  const Tensor x = randn(rng, {2, 5, 12});
  const Tensor padding = eq(tensor({0, 0, 0, 0, 1, 0, 0, 0, 1, 1}, Shape{2, 5}), 1);
  for (const MultiheadAttention::Masks& masks :
       {MultiheadAttention::Masks{}, {.is_causal = true}, {.key_padding_mask = padding}}) {
    const auto maps = attention_maps([&] { attention(x, masks); });
    REQUIRE(maps.size() == 1);
    CHECK(maps[0].weights.shape() == Shape({2, 3, 5, 5}));
    const NoGrad off;
    const Tensor wanted = attention.with_weights(x, x, x, masks, false).weights;
    CHECK(max(abs(maps[0].weights - wanted)).item() < 1e-6);
  }
}

TEST_CASE("attention maps of a GPT: every block, causal, with the modules' paths") {
  Rng rng(0);
  Gpt gpt(rng, {.vocab = 20, .context = 6, .layers = 2, .heads = 2, .width = 8});
  const Tensor tokens = randint(rng, 0, 20, {3, 6});
  const auto maps = attention_maps([&] { gpt(tokens); });
  REQUIRE(maps.size() == 2);
  CHECK(maps[0].path.find("0") != std::string::npos);
  CHECK(maps[0].path != maps[1].path);
  for (const AttentionMap& map : maps) {
    REQUIRE(map.weights.shape() == Shape({3, 2, 6, 6}));
    CHECK(max(abs(map.weights.sum({-1}) - 1.0)).item() < 1e-6);
    CHECK(max(abs(triu(map.weights, 1))).item() == 0);
    CHECK(!map.weights.requires_grad());
  }
  const Tensor picture = picture_of_attention(maps[0].weights[0], {.zoom = 1, .gap = 0});
  CHECK(picture.shape() == Shape({6, 12, 3}));
  CHECK(pixel(picture, 0, 0) == Pixel{8, 48, 107});  // the first looks at itself alone
  CHECK(pixel(picture, 0, 1) == Pixel{255, 255, 255});
}

TEST_CASE("the images that a unit likes: by the largest place, the strongest first") {
  Rng rng(0);
  Conv2d conv(rng, 1, 2, {.kernel_size = 1, .bias = false});
  {
    const NoGrad off;
    conv.weight.copy_(tensor({1, -1}, Shape{2, 1, 1, 1}));
  }
  Sequential net(std::move(conv), BatchNorm2d(2), Dropout(rng, 0.5));
  net[1].set_training(false);  // a frozen norm
  const Tensor x = tensor({0, 3, 5, 1, -7, 2, 4, 4}, Shape{4, 1, 1, 2});
  for (const int64_t batch : {1, 3, 4}) {
    const auto liked = liked_images(net, "0", x, 3, batch);
    REQUIRE(liked.size() == 2);
    CHECK(liked[0][0].index == 1);
    CHECK(liked[0][0].value == 5);
    CHECK(liked[0][1].index == 3);
    CHECK(liked[0][2].index == 0);
    CHECK(liked[1][0].index == 2);
    CHECK(liked[1][0].value == 7);
  }
  CHECK(liked_images(net, "0", x, 9)[0].size() == 4);
  CHECK(net.is_training());
  CHECK(!net[1].is_training());
  CHECK(net[2].is_training());
  CHECK(!net.has_hooks());
}

TEST_CASE("values over depth: outputs and their gradients, as the chain rule gives them") {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 4), ReLU(), Linear(rng, 4, 1));
  const Tensor x = randn(rng, {5, 3});
  const auto layers = values_over_depth(net, [&] { return net(x).sum(); });
  REQUIRE(layers.size() == 3);
  CHECK(layers[0].path == "0");
  CHECK(layers[1].type == "ReLU");
  const auto& first = static_cast<Linear&>(net[0]);
  const auto& last = static_cast<Linear&>(net[2]);
  const NoGrad off;
  CHECK(max(abs(layers[0].output - linear(x, first.weight, first.bias))).item() < 1e-6);
  CHECK(max(abs(layers[2].gradient - 1.0)).item() == 0);
  CHECK(max(abs(layers[1].gradient - last.weight)).item() < 1e-6);  // (5, 4) - (1, 4)
  const Tensor alive = gt(layers[0].output, 0).to(DType::f32);
  CHECK(max(abs(layers[0].gradient - layers[1].gradient * alive)).item() < 1e-6);
  CHECK(first.weight.grad().defined());
}

TEST_CASE("values over depth: a layer called twice has two entries, each with its gradient") {
  Rng rng(0);
  Linear linear(rng, 2, 2);
  const Tensor x = randn(rng, {3, 2});
  const auto layers = values_over_depth(linear, [&] { return (linear(linear(x)) * 2.0).sum(); });
  REQUIRE(layers.size() == 2);
  const NoGrad off;
  CHECK(max(abs(layers[1].gradient - 2.0)).item() == 0);
  CHECK(max(abs(layers[0].gradient - matmul(layers[1].gradient, linear.weight))).item() < 1e-6);
}

TEST_CASE("the spread of a tensor: zeros, bad values, bins of four a decade") {
  const double inf = std::numeric_limits<double>::infinity();
  const Spread s = spread_of(tensor({0, 0, 1, -1, 100, inf, -inf, std::nan("")}));
  CHECK(s.count == 8);
  CHECK(s.zeros == 2);
  CHECK(s.bad == 3);
  CHECK(s.mean == Approx(20));
  CHECK(s.deviation == Approx(std::sqrt((400 + 400 + 361 + 441 + 6400) / 5.0)));
  const auto bin = [&](double decade) {
    return s.bins[static_cast<size_t>((decade - Spread::kLowest) * 4)];
  };
  CHECK(bin(0) == 2);
  CHECK(bin(2) == 1);
  CHECK(spread_of(tensor({1e-30}, {}, DType::f64)).bins[0] == 1);
  CHECK(spread_of(zeros({0})).count == 0);
}

TEST_CASE("the picture of depth names every layer and escapes their names") {
  Rng rng(0);
  Sequential net(Linear(rng, 3, 4), Tanh());
  const Tensor x = randn(rng, {5, 3});
  const std::string svg = depth_svg(values_over_depth(net, [&] { return net(x).sum(); }), "a < b");
  CHECK(svg.find("a &lt; b") != std::string::npos);
  CHECK(svg.find(">Tanh<") != std::string::npos);
  size_t outlines = 0;
  for (size_t at = 0; (at = svg.find("<path class=\"", at)) != std::string::npos; ++at)
    outlines += svg[at + 13] == 'a' || svg[at + 13] == 'b';
  CHECK(outlines == 4);  // two layers, output and gradient
}
