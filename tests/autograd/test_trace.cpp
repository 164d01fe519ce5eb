// A trace hears of every op that runs, and an op's options are told by name.
#include <loupe/autograd/ops.h>
#include <loupe/autograd/trace.h>

#include <map>

#include "catch.h"

using namespace loupe;

namespace {

std::map<std::string, Attribute> options(const Trace::Op& op) {
  std::map<std::string, Attribute> all;
  for (const auto& [name, value] : op.node->attributes()) all[name] = value;
  return all;
}

}  // namespace

TEST_CASE("a trace holds ops in order, with the very tensors, though no gradient needs them") {
  const Tensor ids = from_data(std::vector<int64_t>{2, 0, 1});
  const Tensor table = tensor({1, 2, 3, 4, 5, 6}, Shape{3, 2});
  Tensor rows, mask, y;
  const NoGrad guard;
  const Trace trace;
  rows = embedding(ids, table);
  mask = gt(rows, 2.5);
  y = where(mask, rows, rows * 3.0);
  REQUIRE(trace.ops().size() == 4);
  const char* names[] = {"embedding", "gt", "mul", "where"};
  for (size_t i = 0; i < 4; ++i) CHECK(trace.ops()[i].node->name() == std::string(names[i]));
  CHECK(trace.ops()[0].inputs[0].is_same(ids));
  CHECK(trace.ops()[0].inputs[1].is_same(table));
  CHECK(trace.ops()[1].inputs[0].is_same(rows));
  CHECK(trace.ops()[3].inputs[0].is_same(mask));
  CHECK(trace.ops()[3].outputs[0].is_same(y));
  CHECK_FALSE(y.requires_grad());
  CHECK(std::get<double>(options(trace.ops()[1]).at("number")) == 2.5);
  CHECK(std::get<double>(options(trace.ops()[2]).at("factor")) == 3);
}

TEST_CASE("a trace leaves the graph of backward() as it is") {
  Tensor x = tensor({1, -2, 3}).requires_grad_();
  Tensor y;
  {
    const Trace trace;
    y = (relu(x) * 2.0).sum();
    CHECK(trace.ops().size() == 3);
  }
  y.backward();
  CHECK(x.grad().to_vector<double>() == std::vector<double>{2, 0, 2});
  const Tensor plain = relu(tensor({1}));
  CHECK_FALSE(plain.requires_grad());
  CHECK(plain.is_leaf());
}

TEST_CASE("a trace inside another takes its place; without one nothing is kept") {
  const Tensor x = tensor({1, 2});
  relu(x);
  const Trace outer;
  {
    const Trace inner;
    relu(x);
    CHECK(inner.ops().size() == 1);
  }
  exp(x);
  REQUIRE(outer.ops().size() == 1);
  CHECK(outer.ops()[0].node->name() == std::string("exp"));
}

TEST_CASE("a trace knows the versions of what an op read") {
  const Tensor x = tensor({1, 2});
  const Trace trace;
  const Tensor y = relu(x);
  x.fill_(3);
  relu(x);
  y.fill_(1);
  CHECK(trace.ops()[0].output_versions[0] + 1 == y.storage()->version());
  CHECK(trace.ops()[0].versions[0] + 1 == trace.ops()[1].versions[0]);
}

TEST_CASE("options of convolution, pooling and norms are told by name") {
  Rng rng(1);
  const Tensor x = randn(rng, {2, 4, 8, 8}), w = randn(rng, {6, 2, 3, 3});
  const Trace trace;
  conv2d(x, w, Tensor(), {.stride = {2, 1}, .padding = 1, .groups = 2});
  avg_pool2d(x, 3, {.stride = 2, .padding = 1});
  adaptive_avg_pool2d(x, {2, 3});
  layer_norm(x, {8, 8}, Tensor(), Tensor(), 1e-3);
  const auto conv = options(trace.ops()[0]);
  CHECK(std::get<Dims>(conv.at("stride")) == Dims{2, 1});
  CHECK(std::get<Dims>(conv.at("padding")) == Dims{1, 1});
  CHECK(std::get<int64_t>(conv.at("groups")) == 2);
  const auto pool = options(trace.ops()[1]);
  CHECK(std::get<Dims>(pool.at("kernel")) == Dims{3, 3});
  CHECK(std::get<bool>(pool.at("count_include_pad")));
  CHECK(std::get<Dims>(options(trace.ops()[2]).at("output")) == Dims{2, 3});
  const auto norm = options(trace.ops()[3]);
  CHECK(std::get<double>(norm.at("eps")) == 1e-3);
  CHECK(std::get<int64_t>(norm.at("axes")) == 2);
}
