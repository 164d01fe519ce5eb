#include <loupe/autograd/ops.h>
#include <loupe/view/explain.h>
#include <loupe/view/graph.h>
#include <loupe/view/memory.h>
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
