#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>

#include <cmath>
#include <thread>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {
Tensor leaf(std::initializer_list<double> values, std::optional<Shape> shape = {}) {
  return tensor(values, shape, DType::f64).requires_grad_();
}
}  // namespace

TEST_CASE("backward gives the gradients of a small expression and accumulates them") {
  const Tensor x = leaf({2, 3}), w = leaf({4, 5});
  (x * w + x * x).sum().backward();
  REQUIRE(x.grad().to_vector<double>() == std::vector<double>{4 + 4, 5 + 6});
  REQUIRE(w.grad().to_vector<double>() == std::vector<double>{2, 3});
  (x * 10.0).sum().backward();
  REQUIRE(x.grad().to_vector<double>() == std::vector<double>{18, 21});
  x.zero_grad();
  REQUIRE(!x.grad().defined());
}

TEST_CASE("a tensor used many times, in diamonds, gets the whole gradient") {
  // y = ((x + x) doubled 20 times): 2^20, by way of 2^20 paths.
  const Tensor x = leaf({1.5});
  Tensor y = x;
  for (int i = 0; i < 20; ++i) y = y + y;
  y.sum().backward();
  REQUIRE(x.grad().item() == 1048576.0);
}

TEST_CASE("grad mode, detach and leaves") {
  const Tensor x = leaf({1, 2});
  const Tensor quiet = no_grad([&] { return x * 2.0; });
  REQUIRE(!quiet.requires_grad());
  REQUIRE((x * 2.0).requires_grad());
  REQUIRE(!(x * 2.0).detach().requires_grad());
  REQUIRE(x.is_leaf());
  Tensor y = x * 2.0;
  REQUIRE(!y.is_leaf());
  REQUIRE_THROWS_AS(y.requires_grad_(), GradError);
  REQUIRE_THROWS_AS(arange(3).requires_grad_(), DtypeError);
  (x.detach() * x).sum().backward();
  REQUIRE(x.grad().to_vector<double>() == std::vector<double>{1, 2});
}

TEST_CASE("an upstream gradient, retain_graph, and the freed graph as a sentence") {
  const Tensor x = leaf({3, 4});
  const Tensor y = x * x;
  y.backward(tensor({1, 10}, {}, DType::f64), true);
  y.backward(tensor({1, 10}, {}, DType::f64));
  REQUIRE(x.grad().to_vector<double>() == std::vector<double>{12, 160});
  REQUIRE_THROWS_WITH(y.backward(tensor({1, 1}, {}, DType::f64)),
                      Contains("backward a second time") && Contains("test_engine.cpp"));
  REQUIRE_THROWS_AS((x * x).backward(), GradError);
  REQUIRE_THROWS_AS((x * x).backward(tensor({1, 2, 3}, {}, DType::f64)), ShapeError);
  REQUIRE_THROWS_AS(zeros({2}).backward(), GradError);
}

TEST_CASE("an in-place edit of a saved tensor is found, and one that needs a gradient is refused") {
  const Tensor x = leaf({3, 4});
  const Tensor c = tensor({1, 2}, {}, DType::f64);
  const Tensor y = (x * c).sum();
  c.fill_(7);
  REQUIRE_THROWS_WITH(y.backward(), Contains("mul") && Contains("changed in place") &&
                                        Contains("version 1") && Contains("version 0") &&
                                        Contains("test_engine.cpp"));
  REQUIRE_THROWS_WITH(x.fill_(0), Contains("fill_") && Contains("NoGrad"));
  no_grad([&] { x.fill_(0); });
  REQUIRE(x.to_vector<double>() == std::vector<double>{0, 0});
  // A view shares the version.
  const Tensor z = (x * c).sum();
  c.slice(0, 0, 1).fill_(1);
  REQUIRE_THROWS_AS(z.backward(), GradError);
}

TEST_CASE("grad() returns without storing, and differentiates again") {
  const Tensor x = leaf({2});
  const Tensor y = (x * x * x).sum();
  const Tensor g = grad({y}, {x}, {.create_graph = true})[0];
  REQUIRE(g.item() == 12);
  REQUIRE(!x.grad().defined());
  const Tensor h = grad({g.sum()}, {x}, {.create_graph = true})[0];
  REQUIRE(h.item() == 12);
  REQUIRE(grad({h.sum()}, {x})[0].item() == 6);
  // exp saves its own output; its derivatives of every order are e^x.
  Tensor e = exp(x).sum();
  for (int order = 0; order < 4; ++order) e = grad({e}, {x}, {.create_graph = true})[0].sum();
  REQUIRE(std::abs(e.item() - std::exp(2.0)) < 1e-12);
  // A computed tensor may be an input.
  const Tensor mid = x * 5.0;
  REQUIRE(grad({(mid * mid).sum()}, {mid})[0].item() == 20);
  const Tensor unused = leaf({1});
  REQUIRE_THROWS_AS(grad({(x * 2.0).sum()}, {unused}), GradError);
  REQUIRE(!grad({(x * 2.0).sum()}, {unused}, {.allow_unused = true})[0].defined());
}

TEST_CASE("hooks see and may change a gradient, on leaves and inside the graph") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 3.0;
  Tensor seen;
  register_hook(y, [&](const Tensor& g) {
    seen = g;
    return g * 10.0;
  });
  register_hook(x, [&](const Tensor& g) { return g + 1.0; });
  (y * y).sum().backward();
  REQUIRE(seen.to_vector<double>() == std::vector<double>{6, 12});
  REQUIRE(x.grad().to_vector<double>() == std::vector<double>{181, 361});
  REQUIRE_THROWS_AS(register_hook(zeros({1}), [](const Tensor& g) { return g; }), GradError);
  register_hook(x, [](const Tensor&) { return zeros({3}, DType::f64); });
  REQUIRE_THROWS_AS((x * 1.0).sum().backward(), ShapeError);
}

TEST_CASE("a hook after accumulation runs once the last op that used the leaf has") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4}), unused = leaf({5});
  std::vector<std::string> order;
  const auto note = [&](const char* name) {
    return [&order, name](const Tensor& g) {
      order.push_back(name + std::string(" ") + std::to_string(static_cast<int>(g.sum().item())));
    };
  };
  const GradHookHandle of_x = register_post_accumulate_grad_hook(x, note("x"));
  GradHookHandle of_w = register_post_accumulate_grad_hook(w, note("w"));
  register_post_accumulate_grad_hook(unused, note("unused"));
  const auto loss = [&] {
    const Tensor first = x * x;  // twice: complete when both are there
    register_hook(first, [&](const Tensor& g) {
      order.push_back("first");
      call_after_backward([&] { order.push_back("end"); });
      return g;
    });
    return (first * w).sum();
  };
  loss().backward();
  // d/dw = x^2; d/dx = 2 x w.
  CHECK(order == std::vector<std::string>{"w 5", "first", "x 22", "end"});
  order.clear();
  of_w.remove();
  loss().backward();  // the hook sees what has been accumulated
  CHECK(order == std::vector<std::string>{"first", "x 44", "end"});
  order.clear();
  grad({loss()}, {x});
  CHECK(order == std::vector<std::string>{"first", "end"});
  // A pass that throws drops what waits for its end.
  order.clear();
  const Tensor y = x * 2.0;
  register_hook(y, [&](const Tensor& g) {
    call_after_backward([&] { order.push_back("end"); });
    return g;
  });
  register_hook(x, [](const Tensor&) { return zeros({3}, DType::f64); });
  CHECK_THROWS_AS(y.sum().backward(), ShapeError);
  CHECK(order.empty());
}

TEST_CASE("a gradient handed to two leaves is not shared") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  (a + b).sum().backward();
  a.grad().mul_(5);
  REQUIRE(b.grad().to_vector<double>() == std::vector<double>{1, 1});
}

TEST_CASE("anomaly mode names the op, the path and the line, forward and backward") {
  AnomalyMode on;
  const Tensor x = leaf({-1, 4});
  const int line = __LINE__ + 3;
  const auto run = [&] {
    PathScope path("net");
    log(x);
  };
  REQUIRE_THROWS_WITH(run(), Contains("log") && Contains("net") &&
                                 Contains(fmt::format("test_engine.cpp:{}", line)) &&
                                 Contains("forward"));
  const Tensor zero = leaf({0});
  const Tensor y = sqrt(zero);  // fine forward, infinite backward
  REQUIRE_THROWS_WITH(y.sum().backward(), Contains("sqrt") && Contains("backward"));
}

TEST_CASE("every way to write an op reports the caller's line") {
  const Tensor x = leaf({1, 2}, Shape{1, 2});
  const auto line_of = [](const Tensor& t) { return t.grad_meta()->fn->site().line; };
  const int here = __LINE__;
  const Tensor ts[] = {
      x * 2.0,         //
      2.f * x,         //
      x + 1,           //
      1 + x,           //
      -x,              //
      x / x,           //
      x.sum(),         //
      x.reshape({2}),  //
      cat({x, x}),     //
      exp(x),          //
      x.t(),           //
      mean(x),         //
  };
  for (int i = 0; i < 12; ++i) {
    INFO(i);
    REQUIRE(line_of(ts[i]) == here + 2 + i);
  }
}

TEST_CASE("chains of a million nodes are built, run backward and destroyed without recursion",
          "[heavy]") {
  const int64_t storages = memory_stats().live_storages;
  {
    const Tensor x = leaf({1.0});
    Tensor y = x;
    for (int i = 0; i < 1000000; ++i) y = y + 1.0;  // through edges
    y.sum().backward();
    REQUIRE(x.grad().item() == 1);
    Tensor z = x;
    for (int i = 0; i < 1000000; ++i) z = z * x;  // through saved tensors
  }
  {
    const Tensor x = leaf({1.0});
    Tensor y = x;
    for (int i = 0; i < 100000; ++i) y = y * x;
    const Tensor g = grad({y.sum()}, {x}, {.create_graph = true})[0];  // a graph of a graph
    REQUIRE(g.item() == 100001);
  }
  REQUIRE(memory_stats().live_storages == storages);
}

TEST_CASE("graphs on several threads at once", "[threads]") {
  std::vector<std::thread> threads;
  std::vector<double> result(4);
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([t, &result] {
      const Tensor x = leaf({static_cast<double>(t)});
      for (int i = 0; i < 200; ++i) (x * x).sum().backward();
      result[t] = x.grad().item();
    });
  for (auto& t : threads) t.join();
  for (size_t t = 0; t < 4; ++t) REQUIRE(result[t] == 400.0 * static_cast<double>(t));
}

TEST_CASE("a hook's handle may outlive its tensor") {
  GradHookHandle late;
  {
    const Tensor gone = leaf({1});
    late = register_post_accumulate_grad_hook(gone, [](const Tensor&) {});
  }
  late.remove();  // does nothing
}

TEST_CASE("call_after_backward waits for the outermost pass") {
  const Tensor x = leaf({2}), y = x * 1.0;
  std::string order;
  register_hook(y, [&](const Tensor& g) {
    const GradMode on(true);
    const Tensor z = leaf({3}) * 1.0;
    register_hook(z, [&](const Tensor& h) {
      call_after_backward([&] { order += x.grad().defined() ? "end" : "early"; });
      return h;
    });
    z.sum().backward();
    order += "inner ";
    return g;
  });
  y.sum().backward();
  CHECK(order == "inner end");
}

TEST_CASE("anomaly mode checks recorded ops alone; a graph that saved nothing runs again") {
  {
    AnomalyMode on;
    CHECK_NOTHROW(log(tensor({-1})));
  }
  const Tensor x = leaf({1, 2}), y = (x + 1.0).sum();
  y.backward();
  CHECK_NOTHROW(y.backward());
}
