#include <loupe/autograd/ops.h>
#include <loupe/io/png.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/view/depth.h>
#include <loupe/view/explain.h>
#include <loupe/view/graph.h>
#include <loupe/view/memory.h>
#include <loupe/view/pictures.h>
#include <loupe/view/profile.h>

#include <cmath>

#include "misuse.h"

using namespace loupe;
using misuse::refuses;

TEST_CASE("what view refuses") {
  const Tensor plain = ones({2});
  const Tensor leaf = ones({2}).requires_grad_();
  refuses<GradError>("graph_of", [&] { graph_of(Tensor()); });
  refuses<GradError>("graph_of", [&] { graph_of(plain); });
  refuses<GradError>("graph_of", [&] { graph_of(leaf); });
  refuses<GradError>("graph_of", [&] {
    const NoGrad guard;
    graph_of(leaf * leaf);
  });
  Profile profile;
  refuses<IoError>("save_trace", [&] { profile.save_trace("/nowhere/trace.json"); });
  refuses<IoError>("save_trace", [&] { profile.save_trace("/dev/full"); });
  refuses<ValueError>("forecast_memory", [] { forecast_memory({}); });
  refuses<ValueError>("forecast_memory", [] { forecast_memory([](int64_t) {}, 0); });
}

TEST_CASE("what the pictures refuse") {
  const Tensor images = zeros({1, 1, 2, 2}, DType::u8);
  refuses<DtypeError>("picture_of_images", [] { picture_of_images(zeros({1, 1, 2, 2})); });
  refuses<ShapeError>("picture_of_images", [] {
    picture_of_images(zeros({1, 2, 2, 2}, DType::u8));
  });
  refuses<ValueError>("picture_of_images", [&] { picture_of_images(images, {.zoom = 0}); });
  refuses<ValueError>("picture_of_images", [&] { picture_of_images(images, {.columns = -1}); });
  refuses<ValueError>("picture_of_images", [&] { picture_of_images(images, {.gap = -1}); });
  refuses<ShapeError>("picture_of_filters", [] { picture_of_filters(ones({4, 4})); });
  refuses<ShapeError>("picture_of_attention", [] { picture_of_attention(ones({1, 2, 3, 3})); });
  refuses<ValueError>("attention_maps", [] { attention_maps({}); });
  refuses<DtypeError>("write_png", [] { write_png("x.png", zeros({1, 1, 1})); });
  refuses<ShapeError>("write_png", [] { write_png("x.png", zeros({1, 1}, DType::u8)); });

  Rng rng(0);
  Sequential net(Linear(rng, 2, 3), ReLU());
  const Tensor x = ones({4, 2});
  refuses<ValueError>("liked_images", [&] { liked_images(net, "head", x, 1); });
  refuses<ValueError>("liked_images", [&] { liked_images(net, "0", x, 0); });
  refuses<ValueError>("liked_images", [&] { liked_images(net, "0", x, 1, 0); });
  refuses<ValueError>("liked_images", [&] { liked_images(net, "0", zeros({0, 2}), 1); });
  refuses<ShapeError>("liked_images", [&] { liked_images(net, "0", x[0].unsqueeze(0)[0], 1); });
  refuses<ValueError>("values_over_depth", [&] { values_over_depth(net, {}); });
  refuses<ValueError>("values_over_depth",
                      [&] { values_over_depth(net, [] { return Tensor(); }); });
  CHECK(!net.has_hooks());
}

TEST_CASE("what explain refuses") {  // what see() refuses: test_see.cpp
  refuses<ValueError>("explain", [] { explain("dropout"); });
  refuses<ShapeError>("explain", [] { explain("linear", {.input = ones({3}, DType::f64)}); });
  refuses<ShapeError>("explain", [] { explain("linear", {.input = ones({9, 2}, DType::f64)}); });
  refuses<ShapeError>("explain", [] { explain("conv2d", {.input = ones({2, 5}, DType::f64)}); });
  refuses<ShapeError>("explain", [] {
    explain("group_norm", {.input = ones({2, 3}, DType::f64)});
  });
  refuses<ShapeError>("explain", [] { explain("adam", {.input = ones({2, 3}, DType::f64)}); });
  refuses<ValueError>("explain", [] { explain("layer_norm", {.row = 4}); });
  refuses<ValueError>("explain", [] { explain("layer_norm", {.column = 9}); });
  refuses<ValueError>("explain", [] {
    explain("layer_norm", {.input = from_data(std::vector<double>{1, NAN}, Shape{1, 2})});
  });
}
