#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/autograd/shadow.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/core/memory.h>

#include "torch_case.h"

using namespace loupe;
using fixture::layer_case;

TEST_CASE("Linear equals PyTorch's: output, gradients of input, weight and bias") {
  Rng rng(1);
  layer_case("linear", Linear(rng, 5, 4));
  layer_case("linear_3d", Linear(rng, 5, 4));
  layer_case("linear_nobias", Linear(rng, 5, 4, {.bias = false}));
}

namespace {
// Restores the switch.
struct Fusion {
  bool before = fusion();
  ~Fusion() { set_fusion(before); }
};
}  // namespace

TEST_CASE("linear_relu: as the parts to the bit, and one result less at a time") {
  const Fusion restore;
  Rng rng(1);
  Linear fc(rng, 40, 30);
  const Tensor x = randn(rng, {200, 40}), up = randn(rng, {200, 30});
  const auto run = [&](bool on) {
    set_fusion(on);
    const Tensor in = x.clone().requires_grad_();
    reset_peak_memory();
    const int64_t before = memory_stats().live_bytes;
    const Tensor y = linear_relu(fc, in);
    const int64_t most = memory_stats().peak_bytes - before;
    CHECK(std::string(y.grad_meta()->fn->name()) == "relu");
    CHECK(std::string(y.grad_meta()->fn->edge(0)->fn->name()) == "linear");
    Tensors all{y};
    for (const Tensor& g : grad({y}, {in, fc.weight, fc.bias}, {}, {up})) all.push_back(g);
    return std::pair(all, most);
  };
  const auto [fused, little] = run(true);
  const auto [parts, much] = run(false);
  for (size_t i = 0; i < fused.size(); ++i)
    CHECK(fused[i].to_vector<float>() == parts[i].to_vector<float>());
  CHECK(min(fused[0]).item() == 0);
  CHECK(much >= 2 * 200 * 30 * 4);
  CHECK(little < much - 200 * 30 * 2);  // there is some room for the product's work
  set_fusion(true);
  double smallest = 0;
  fc.add_forward_hook([&](Module&, const Tensor&, const Tensor& y) { smallest = min(y).item(); });
  linear_relu(fc, x);
  CHECK(smallest < 0);  // a hook sees what Linear itself gives
}

TEST_CASE("Sequential fuses Linear with ReLU under the same names, unless somebody watches") {
  const Fusion restore;
  Rng rng(2);
  Sequential net(Linear(rng, 20, 16), ReLU(), Linear(rng, 16, 8), GELU(), Linear(rng, 8, 3));
  CHECK(named_parameters(net)[2].name == "2.weight");
  const Tensor x = randn(rng, {50, 20});
  set_fusion(false);
  const auto parts = net(x).to_vector<float>();
  set_fusion(true);
  CHECK(net(x).to_vector<float>() == parts);
  // As parts, relu carries the path of its own module.
  Sequential two(Linear(rng, 20, 16), ReLU());
  CHECK(two(x).grad_meta()->fn->module_path() == "0");
  int seen = 0;
  two[1].add_forward_hook([&](Module&, const Tensor&, const Tensor&) { ++seen; });
  CHECK(two(x).grad_meta()->fn->module_path() == "1");
  CHECK(seen == 1);
}

TEST_CASE("linear_relu under shadow and anomaly mode: the linear part is looked at too") {
  const Fusion restore;
  set_fusion(true);
  Rng rng(3);
  Linear fc(rng, 40, 30);
  const Tensor x = randn(rng, {130, 40});
  {
    ShadowGuard shadow;
    linear_relu(fc, x).sum().backward();
    int found = 0;
    for (const ShadowRow& r : shadow.rows())
      if (r.op == "linear" || r.op == "relu") {
        ++found;
        CHECK(r.checks == 1);
        CHECK(r.forward < 1e-6);
        CHECK(r.backward < 1e-6);
      }
    CHECK(found == 2);
  }
  AnomalyMode watch;
  no_grad([&] { fc.bias.fill_(-std::numeric_limits<float>::infinity()); });
  CHECK_THROWS_WITH(linear_relu(fc, x),
                    Catch::Matchers::StartsWith("linear ("));  // relu would hide it
}
