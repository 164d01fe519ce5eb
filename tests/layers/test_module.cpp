#include "catch.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/init.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>

#include <algorithm>
#include <cmath>

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

struct Scale : Layer<Scale> {
  Tensor weight, bias, steps;
  explicit Scale(double w, bool with_bias = true)
      : weight(full({2}, w)), steps(zeros({}, DType::i64)) {
    weight.requires_grad_();
    if (with_bias) bias = zeros({2}).requires_grad_();
  }
  Tensor forward(In x) { return bias.defined() ? x * weight + bias : x * weight; }
  void visit(Visitor& v) override {
    v("weight", weight, "bias", bias);
    v.buffers("steps", steps);
  }
  std::string type_name() const override { return "Scale"; }
};

struct Net : Layer<Net> {
  Scale first{2};
  std::optional<Scale> absent;
  std::variant<std::monostate, Scale> choice = Scale(3, false);
  Sequential rest{Scale(4), Scale(5)};
  Tensor head;
  Net() : head(first.weight) {}
  Tensor forward(In x) { return rest(std::get<Scale>(choice)(first(x))) * head; }
  void visit(Visitor& v) override {
    v("first", first, "absent", absent, "choice", choice, "rest", rest, "head", head);
  }
  std::string type_name() const override { return "Net"; }
};

std::vector<std::string> names(const StateDict& d) {
  std::vector<std::string> out;
  for (const auto& n : d) out.push_back(n.name);
  return out;
}

}  // namespace

static_assert(std::is_move_constructible_v<Net> && !std::is_copy_constructible_v<Net>);

TEST_CASE(
    "visit() gives names in PyTorch's order, buffers and tied tensors once or twice as asked") {
  Net net;
  REQUIRE(names(state_dict(net)) ==
          std::vector<std::string>{"head", "first.weight", "first.bias", "first.steps",
                                   "choice.weight", "choice.steps", "rest.0.weight", "rest.0.bias",
                                   "rest.0.steps", "rest.1.weight", "rest.1.bias", "rest.1.steps"});
  REQUIRE(named_parameters(net).size() == 7);  // head and first.weight are one
  REQUIRE(parameter_count(net) == 14);
  REQUIRE(named_buffers(net).size() == 4);
  to(net, DType::f64);
  REQUIRE(net.head.is_same(net.first.weight));
  REQUIRE(net.head.dtype() == DType::f64);
  REQUIRE(net.head.requires_grad());
  REQUIRE(net.first.steps.dtype() == DType::i64);
}

TEST_CASE(
    "paths name what runs, train() and eval() reach every module, a moved model keeps working") {
  Net net;
  const Tensor y = net(ones({2}));
  REQUIRE(y.grad_meta()->fn->module_path() == "");
  Net moved = std::move(net);
  std::string path;
  moved.rest[1].add_forward_hook([&](Module& m, const Tensor&, const Tensor& out) {
    path = m.path() + "|" + out.grad_meta()->fn->module_path();
  });
  const Tensor z = moved.rest(ones({2}));
  REQUIRE(path == "rest.1|rest.1");
  eval(moved);
  REQUIRE(!moved.rest[1].is_training());
  train(moved);
  REQUIRE(moved.first.is_training());
  REQUIRE_THROWS_AS(moved.rest[2], IndexError);
}

TEST_CASE("EvalScope gives every module its own mode back, also after an error") {
  Net net;
  net.rest[1].set_training(false);
  try {
    const EvalScope outer(net);
    const EvalScope inner(net);
    CHECK(!net.is_training());
    CHECK(!net.first.is_training());
    throw std::runtime_error("a pass that fails");
  } catch (const std::runtime_error&) {}
  CHECK(net.is_training());
  CHECK(net.first.is_training());
  CHECK(!net.rest[1].is_training());
}

TEST_CASE("to() converts in place: who holds a tensor or a hook goes on with it") {
  Net net;
  const Tensor weight = net.first.weight;
  int calls = 0;
  register_hook(weight, [&](const Tensor& g) {
    ++calls;
    return g;
  });
  const Tensor old_loss = net(ones({2})).sum();
  net(ones({2})).sum().backward();
  CHECK(calls == 1);
  const Tensor gradient = weight.grad().clone();
  to(net, DType::f64);
  CHECK(weight.is_same(net.first.weight));
  CHECK(weight.dtype() == DType::f64);
  CHECK(weight.requires_grad());
  CHECK(equal(weight.grad(), gradient.to(DType::f64)));
  CHECK(weight.to_vector<double>() == std::vector<double>{2, 2});
  // A graph from before saved the old numbers.
  REQUIRE_THROWS_WITH(old_loss.backward(), Contains("changed in place"));
  net(ones({2}, DType::f64)).sum().backward();
  CHECK(calls == 2);
  CHECK(equal(weight.grad(), gradient.to(DType::f64) * 2.0));
  to(net, DType::f64);  // again: nothing to do
  CHECK(equal(weight.grad(), gradient.to(DType::f64) * 2.0));
}

TEST_CASE("load_state_dict is strict, lists everything, and changes nothing when it throws") {
  Net a, b;
  Rng rng(1);
  init::uniform_(a.first.weight, rng, 5, 6);
  copy_state(a, b);
  REQUIRE(equal(a.first.weight, b.head));
  StateDict d = state_dict(a);
  d.erase(d.begin() + 2);  // first.bias
  d.push_back({"extra", zeros({1})});
  d[3].tensor = zeros({3});  // choice.weight
  Net c;
  REQUIRE_THROWS_WITH(load_state_dict(c, d),
                      Contains("missing: first.bias") && Contains("unexpected: extra") &&
                          Contains("choice.weight is (3,), the model has (2,)"));
  REQUIRE(c.first.weight[0].item() == 2);
  d[3].tensor = zeros({2}, DType::f64);
  REQUIRE_THROWS_AS(load_state_dict(c, d), ValueError);
  const LoadReport report = load_state_dict(c, d, {.strict = false});
  REQUIRE(report.missing == std::vector<std::string>{"first.bias"});
  REQUIRE(report.unexpected == std::vector<std::string>{"extra"});
  REQUIRE(std::get<Scale>(c.choice).weight[0].item() == 0);
  // A tied tensor given twice must be given alike.
  StateDict two = state_dict(a);
  for (Named& n : two)
    if (n.name == "head") n.tensor = zeros(n.tensor.shape());
  REQUIRE_THROWS_WITH(load_state_dict(c, two),
                      Contains("two values") && Contains("head and first.weight"));
  for (Named& n : two)
    if (n.name == "head") n.tensor = a.first.weight.detach().clone();
  load_state_dict(c, two);
  // A prefix, a rename, and a tied tensor given once.
  StateDict p;
  for (const auto& n : state_dict(a))
    if (n.name != "head")
      p.push_back({"model." + (n.name == "first.bias" ? "first.beta" : n.name), n.tensor});
  load_state_dict(c, p, {.prefix = "model.", .rename = {{"first.beta", "first.bias"}}});
  REQUIRE(equal(c.head, a.head));
}

TEST_CASE("initialisation has PyTorch's scale") {
  Rng rng(1);
  const Tensor w = zeros({256, 128, 3, 3});
  REQUIRE(init::fan_in(w) == 1152);
  REQUIRE(init::fan_out(w) == 2304);
  init::kaiming_uniform_(w, rng, {.a = init::kLayerSlope});
  REQUIRE(std::abs(max(w).item() * std::sqrt(1152.0) - 1) < 1e-3);
  REQUIRE(std::abs(loupe::std(w).item() * std::sqrt(3 * 1152.0) - 1) < 0.01);
  init::kaiming_normal_(w, rng);
  REQUIRE(std::abs(loupe::std(w).item() * std::sqrt(1152.0 / 2) - 1) < 0.01);
  init::xavier_uniform_(w, rng);
  REQUIRE(std::abs(max(w).item() / std::sqrt(6.0 / 3456) - 1) < 1e-3);
  REQUIRE_THROWS_AS(init::fan_in(zeros({3})), ShapeError);
}

TEST_CASE("summary lists layers, shapes and parameters and leaves the model as it was") {
  Net net;
  const std::string s = summary(net, ones({1, 2}));
  REQUIRE_THAT(s, Contains("rest.1") && Contains("Scale") && Contains("(1, 2)") &&
                      Contains("14 parameters"));
  REQUIRE(net.first.is_training());
}

TEST_CASE("summary fits as many columns as it is given; the ends of names and all sizes stay") {
  Rng rng(1);
  Sequential outer(Linear(rng, 128, 256), LayerNorm(256));
  const Tensor x = ones({64, 128});
  const auto widest = [](const std::string& table) {
    size_t most = 0, line = 0;
    for (const char c : table) most = std::max(most, line = c == '\n' ? 0 : line + 1);
    return most;
  };
  const std::string whole = summary(outer, x);
  for (const size_t columns : {200u, 80u, 64u}) {
    const std::string table = summary(outer, x, columns);
    CHECK(widest(table) <= std::max<size_t>(columns, 64));
    REQUIRE_THAT(table, Contains("\n1 ") && Contains("LayerNorm") && Contains("(64, 256)") &&
                            Contains("33,024"));
    if (columns == 200) CHECK(table == whole);
  }
}

TEST_CASE("a state without BatchNorm's counts, and scalars of shape (1), as PyTorch takes them") {
  BatchNorm1d bn(2), other(2);
  Rng rng(1);
  for (int i = 0; i < 2; ++i) bn(randn(rng, {4, 2}));
  const auto count = [&] { return bn.num_batches_tracked.item<int64_t>(); };
  StateDict state = state_dict(other);
  std::erase_if(state, [](const Named& n) { return n.name == "num_batches_tracked"; });
  const LoadReport report = load_state_dict(bn, state);
  CHECK(report.missing.empty());
  CHECK(report.unexpected.empty());
  CHECK(count() == 2);  // it stays as it is
  CHECK(bn.running_mean.to_vector<double>() == std::vector<double>{0, 0});
  state.push_back({"num_batches_tracked", tensor({7}, {}, DType::i64)});
  load_state_dict(bn, state);
  CHECK(count() == 7);
  CHECK(bn.num_batches_tracked.dim() == 0);
  state.back().tensor = tensor({7, 8}, {}, DType::i64);
  REQUIRE_THROWS_WITH(load_state_dict(bn, state), Contains("num_batches_tracked is (2,)"));
  // In a model, under its name; another name is missing as ever.
  Sequential net(Linear(rng, 2, 2), BatchNorm1d(2));
  StateDict whole = state_dict(net);
  std::erase_if(whole, [](const Named& n) { return n.name == "1.num_batches_tracked"; });
  CHECK(load_state_dict(net, whole).missing.empty());
  std::erase_if(whole, [](const Named& n) { return n.name == "1.running_var"; });
  REQUIRE_THROWS_WITH(load_state_dict(net, whole), Contains("missing: 1.running_var"));
}

TEST_CASE("to: a graph that saved none of the weights cannot run backward either") {
  Rng rng(1);
  Linear alone(rng, 2, 2);
  const Tensor old = alone(ones({1, 2})).sum();  // saves the input
  to(alone, DType::f64);
  REQUIRE_THROWS_AS(old.backward(), DtypeError);
}
