// check_model on models that are broken on purpose, one fault each.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/check.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>

#include "catch.h"

using namespace loupe;
using Kind = ModelCheck::Kind;

namespace {

// Two linear layers and what can go wrong with them.
struct Net : Layer<Net> {
  enum class Fault {
    none,
    unlisted_tensor,
    unlisted_module,
    detached,
    unused,
    tied,
    dead,
    exploding
  };
  Fault fault;
  Linear fc1, fc2;
  Tensor scale;
  Net(Rng& rng, Fault f) : fault(f), fc1(rng, 4, 8), fc2(rng, 8, 8) {
    scale = ones({8}).requires_grad_();
    if (f == Fault::tied) fc2.weight = fc1.weight = randn(rng, {8, 8}).requires_grad_();
    NoGrad guard;
    if (f == Fault::dead) fc1.bias.fill_(-1000);
    if (f == Fault::exploding) fc2.weight.fill_(1e7);
  }
  Tensor forward(In x) {
    Tensor h = relu(fc1(x));
    if (fault == Fault::detached) h = h.detach();
    if (fault == Fault::unused) return h * scale;
    return fc2(h) * scale;
  }
  void visit(Visitor& v) override {
    v("fc1", fc1);
    if (fault != Fault::unlisted_module) v("fc2", fc2);
    if (fault != Fault::unlisted_tensor) v("scale", scale);
  }
  std::string type_name() const override { return "Net"; }
};
using Fault = Net::Fault;

ModelCheck checked(Fault fault) {
  Rng rng(1);
  Net net(rng, fault);
  return check_model(net, randn(rng, {3, fault == Fault::tied ? 8 : 4}));
}

}  // namespace

TEST_CASE("check_model finds nothing in a sound model") {
  const ModelCheck check = checked(Fault::none);
  INFO(check);
  CHECK(check.ok());
  CHECK(check.findings.empty());
  REQUIRE(check.parameters.size() == 5);
  CHECK(check.parameters[1].name == "fc1.weight");
  CHECK(check.parameters[1].has_gradient);
  CHECK(check.parameters[1].largest_gradient > 0);
  CHECK(check.activations.size() >= 4);
  CHECK(check.activations[0].path == "fc1");
}

TEST_CASE("check_model reports a parameter that visit() leaves out, with the op that reads it") {
  const ModelCheck check = checked(Fault::unlisted_tensor);
  INFO(to_string(check));
  REQUIRE(check.findings.size() == 1);
  CHECK(check.findings[0].kind == Kind::unlisted_parameter);
  CHECK(check.findings[0].name == "(model)");
  CHECK(check.findings[0].detail.find("(8,)") != std::string::npos);
  CHECK(check.findings[0].detail.find("mul (test_check.cpp:") != std::string::npos);
}

TEST_CASE("check_model reports a module that visit() leaves out") {
  const ModelCheck check = checked(Fault::unlisted_module);
  INFO(to_string(check));
  CHECK(check.found(Kind::unlisted_module, "Linear"));
  CHECK(check.found(Kind::unlisted_parameter));
  CHECK_FALSE(check.ok());
}

TEST_CASE("check_model reports parameters without gradient, and unused ones") {
  const ModelCheck detached = checked(Fault::detached);
  INFO(to_string(detached));
  CHECK(detached.found(Kind::no_gradient, "fc1.weight"));
  CHECK(detached.found(Kind::no_gradient, "fc1.bias"));
  CHECK_FALSE(detached.found(Kind::no_gradient, "fc2.weight"));
  const ModelCheck unused = checked(Fault::unused);
  INFO(to_string(unused));
  CHECK(unused.found(Kind::unused, "fc2.weight"));
  CHECK(unused.found(Kind::unused, "fc2.bias"));
  CHECK(unused.findings.size() == 2);
}

TEST_CASE("check_model reports a parameter without requires_grad_()") {
  Rng rng(1);
  Net net(rng, Fault::none);
  net.fc1.bias.requires_grad_(false);
  const ModelCheck check = check_model(net, randn(rng, {3, 4}));
  INFO(to_string(check));
  REQUIRE(check.findings.size() == 1);
  CHECK(check.found(Kind::no_requires_grad, "fc1.bias"));
}

TEST_CASE("check_model reports tied parameters, which are no mistake") {
  const ModelCheck check = checked(Fault::tied);
  INFO(to_string(check));
  REQUIRE(check.findings.size() == 1);
  CHECK(check.found(Kind::tied, "fc1.weight"));
  CHECK(check.findings[0].detail == "is the same tensor as fc2.weight");
  CHECK(check.ok());
}

TEST_CASE("check_model reports dead activations and zero gradients") {
  const ModelCheck check = checked(Fault::dead);
  INFO(to_string(check));
  CHECK(check.found(Kind::dead));
  CHECK(check.found(Kind::zero_gradient, "fc1.weight"));
  CHECK(check.found(Kind::zero_gradient, "fc2.weight"));
  CHECK_FALSE(check.found(Kind::zero_gradient, "fc2.bias"));
}

TEST_CASE("check_model reports exploding and non-finite activations and gradients") {
  const ModelCheck large = checked(Fault::exploding);
  INFO(to_string(large));
  CHECK(large.found(Kind::exploding, "fc2"));
  CHECK_FALSE(large.found(Kind::exploding, "fc1"));
  Rng rng(1);
  Net net(rng, Fault::exploding);
  CHECK_FALSE(check_model(net, randn(rng, {3, 4}), {}, {.huge = 1e12}).found(Kind::exploding));
  no_grad([&] { net.fc1.weight.select(0, 0).fill_(std::nan("")); });
  const ModelCheck bad = check_model(net, randn(rng, {3, 4}));
  CHECK(bad.found(Kind::exploding, "fc1"));
  CHECK(bad.found(Kind::bad_gradient, "fc2.weight"));
}

TEST_CASE("check_model leaves a model as it was") {
  Rng rng(1);
  Sequential net(Linear(rng, 4, 8), BatchNorm1d(8), Dropout(rng, 0.5), Linear(rng, 8, 2));
  const Tensor x = randn(rng, {6, 4});
  net(x).sum().backward();
  StateDict before;
  for (const Named& n : state_dict(net)) before.push_back({n.name, n.tensor.clone()});
  const Tensor gradient = parameters(net)[0].grad().clone();
  const auto state = named_streams(net)[0].second->state();
  const Tensor labels = zeros({6}, DType::i64);
  const auto check = check_model(net, x, [&](const Tensor& y) { return cross_entropy(y, labels); });
  // The bias before a BatchNorm moves nothing: its gradient is rounding, or 0.
  for (const auto& f : check.findings) CHECK(f.name == "0.bias");
  const StateDict after = state_dict(net);
  for (size_t i = 0; i < before.size(); ++i) {
    INFO(before[i].name);
    CHECK(equal(before[i].tensor, after[i].tensor));
  }
  CHECK(equal(parameters(net)[0].grad(), gradient));
  CHECK(named_streams(net)[0].second->state() == state);
  CHECK(net.is_training());
}

TEST_CASE("check_model of a model with several inputs; its table has 80 columns") {
  Rng rng(1);
  Net net(rng, Fault::dead);
  net.fc2.bias.requires_grad_(false);
  const Tensor x = randn(rng, {3, 4});
  const ModelCheck check = check_model(net, [&] { return sum(net(x) * 2.0); });
  const std::string table = to_string(check);
  INFO(table);
  CHECK(check.found(Kind::no_requires_grad, "fc2.bias"));
  size_t begin = 0;
  for (size_t end; (end = table.find('\n', begin)) != std::string::npos; begin = end + 1)
    CHECK(end - begin <= 80);
  for (const auto& f : check.findings) {
    CHECK(table.find(name(f.kind)) != std::string::npos);
    CHECK(table.find(f.name) != std::string::npos);
  }
}
