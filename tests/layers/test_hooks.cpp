// Hooks before forward, after it and around the backward pass; names that follow a changing model;
// lines of recorded ops.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>
#include <loupe/layers/transformer.h>

#include <set>
#include <sstream>

#include "catch.h"

using namespace loupe;

namespace {

// y = weight * x, with a weight of one number: gradients are known by sight.
struct Times : Layer<Times> {
  Tensor weight;
  explicit Times(double w) : weight(scalar(w).requires_grad_()) {}
  Tensor forward(In x) { return x * weight; }
  void visit(Visitor& v) override { v("weight", weight); }
  std::string type_name() const override { return "Times"; }
};

double number(const Tensor& t) { return t.defined() ? t.sum().item() : -1; }

template <class F> std::string message(F f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "nothing was thrown";
}

// Every recorded op that leads to y.
std::vector<Node*> nodes_of(const Tensor& y) {
  std::vector<Node*> found, pending;
  std::set<Node*> seen;
  const auto add = [&](const std::shared_ptr<GradMeta>& meta) {
    if (meta && meta->fn && seen.insert(meta->fn.get()).second) pending.push_back(meta->fn.get());
  };
  add(y.grad_meta());
  while (!pending.empty()) {
    Node* const node = pending.back();
    pending.pop_back();
    found.push_back(node);
    for (size_t i = 0; i < node->input_count(); ++i) add(node->edge(i));
  }
  return found;
}

}  // namespace

TEST_CASE("a hook before forward sees the input and can change it") {
  Times layer(3);
  double seen = 0;
  HookHandle watch = layer.add_forward_pre_hook([&](Module&, const Tensor& x) {
    seen = number(x);
    return Tensor();
  });
  HookHandle change = layer.add_forward_pre_hook([](Module&, const Tensor& x) { return x + 1.0; });
  double after = 0;
  layer.add_forward_hook([&](Module&, const Tensor& x, const Tensor&) { after = number(x); });
  CHECK(number(layer(scalar(2))) == 9);
  CHECK(seen == 2);
  CHECK(after == 3);
  change.remove();
  CHECK(number(layer(scalar(2))) == 6);
  watch.remove();
  watch.remove();  // does nothing
  seen = 0;
  layer(scalar(2));
  CHECK(seen == 0);
  CHECK(layer.has_forward_hooks());
  layer.clear_forward_hooks();
  CHECK_FALSE(layer.has_hooks());
}

TEST_CASE("a backward hook gets grad_input and grad_output, and can change grad_input") {
  Times first(2), second(3);
  const Tensor x = scalar(5).requires_grad_();
  std::vector<double> seen;
  HookHandle handle = second.add_backward_hook([&](Module& m, const Tensor& dx, const Tensor& dy) {
    CHECK(&m == &second);
    seen = {number(dx), number(dy)};
    return Tensor();
  });
  const auto run = [&] {
    x.zero_grad();
    first.weight.zero_grad();
    second.weight.zero_grad();
    const Tensor hidden = first(x);
    // The input is used elsewhere too: grad_input is the module's own part.
    (second(hidden) * 7.0 + hidden * 100.0).backward();
  };
  run();
  CHECK(seen == std::vector<double>{21, 7});
  CHECK(number(x.grad()) == 242);
  CHECK(number(second.weight.grad()) == 70);
  HookHandle doubled =
      second.add_backward_hook([](Module&, const Tensor& dx, const Tensor&) { return dx * 2.0; });
  run();
  CHECK(number(x.grad()) == 284);
  CHECK(number(first.weight.grad()) == 710);
  CHECK(number(second.weight.grad()) == 70);  // grad_input only
  doubled.remove();
  handle.remove();
  seen.clear();
  run();
  CHECK(seen.empty());
  CHECK(number(x.grad()) == 242);
}

TEST_CASE("a hook before a module's backward runs first and can change grad_output") {
  Times layer(3);
  const Tensor x = scalar(5).requires_grad_();
  std::string order;
  layer.add_backward_hook([&](Module&, const Tensor& dx, const Tensor& dy) {
    order += fmt::format("after {} {} ", number(dx), number(dy));
    return Tensor();
  });
  layer.add_backward_pre_hook([&](Module&, const Tensor& dy) {
    order += fmt::format("before {} ", number(dy));
    return dy * 10.0;
  });
  (layer(x) * 2.0).backward();
  CHECK(order == "before 2 after 60 20 ");
  CHECK(number(x.grad()) == 60);
  CHECK(number(layer.weight.grad()) == 100);
}

TEST_CASE("a backward hook on an input without a gradient, in no_grad, and twice differentiated") {
  Times layer(3);
  std::vector<double> seen;
  HookHandle handle = layer.add_backward_hook([&](Module&, const Tensor& dx, const Tensor& dy) {
    seen = {number(dx), number(dy)};
    return Tensor();
  });
  layer(scalar(5)).backward();
  CHECK(seen == std::vector<double>{-1, 1});
  CHECK_FALSE(no_grad([&] { return layer(scalar(5)); }).requires_grad());
  const Tensor x = scalar(5).requires_grad_();
  const Tensor dx = grad({square(layer(x))}, {x}, {.create_graph = true})[0];
  CHECK(number(dx) == 90);
  CHECK(number(grad({dx}, {x})[0]) == 18);
}

TEST_CASE("what a backward hook returns must fit") {
  Times layer(3);
  const Tensor x = ones({2}).requires_grad_();
  const auto with = [&](const Tensor& returned) {
    HookHandle handle =
        layer.add_backward_hook([&](Module&, const Tensor&, const Tensor&) { return returned; });
    const Tensor y = layer(x).sum();
    const std::string text = message([&] { y.backward(); });
    handle.remove();
    return text;
  };
  CHECK(with(zeros({3})).rfind("add_backward_hook: the hook returned shape (3,)", 0) == 0);
  CHECK(with(zeros({2}, DType::f64)).rfind("add_backward_hook: the hook returned f64", 0) == 0);
}

TEST_CASE("a module may be moved or destroyed before its handles and graphs") {
  int calls = 0;
  HookHandle handle;
  Tensor y;
  const Tensor x = scalar(5).requires_grad_();
  {
    Times layer(3);
    handle = layer.add_backward_hook([&](Module&, const Tensor&, const Tensor&) {
      ++calls;
      return Tensor();
    });
    Times moved = std::move(layer);
    moved(x).backward();
    CHECK(calls == 1);
    y = moved(x);
  }
  y.backward();  // the hook went with the module
  CHECK(calls == 1);
  CHECK(number(x.grad()) == 6);
  handle.remove();
  std::optional<HookScope> scope;
  {
    Times layer(3);
    scope.emplace(layer, [&](Module&, const Tensor&, const Tensor&) { ++calls; });
    layer(x);
  }
  CHECK(calls == 2);
  scope.reset();
}

TEST_CASE("a hook may remove itself while it runs") {
  Times layer(3);
  int calls = 0;
  HookHandle handle;
  handle = layer.add_forward_hook([&](Module&, const Tensor&, const Tensor&) {
    ++calls;
    handle.remove();
  });
  layer(scalar(1));
  layer(scalar(1));
  CHECK(calls == 1);
}

TEST_CASE("hooks keep a layer out of fusion, whatever their kind") {
  Rng rng(1);
  Sequential net(Linear(rng, 4, 4), ReLU());
  int calls = 0;
  HookHandle handle = net[1].add_forward_pre_hook([&](Module&, const Tensor&) {
    ++calls;
    return Tensor();
  });
  net(ones({2, 4}));
  CHECK(calls == 1);
  handle.remove();
  handle = net[0].add_backward_hook([&](Module&, const Tensor&, const Tensor&) {
    ++calls;
    return Tensor();
  });
  net(ones({2, 4})).sum().backward();
  CHECK(calls == 2);
}

namespace {

struct Block : Layer<Block> {
  Times a{2}, b{3};
  Tensor forward(In x) { return b(a(x)); }
  void visit(Visitor& v) override { v("a", a, "b", b); }
  std::string type_name() const override { return "Block"; }
};

std::string path_of(const Tensor& y) { return y.grad_meta()->fn->module_path(); }

struct Borrower : Layer<Borrower> {
  Block& block;
  const char* name;
  Borrower(Block& b, const char* n) : block(b), name(n) {}
  Tensor forward(In x) { return block(x); }
  void visit(Visitor& v) override { v.child(name, block); }
  std::string type_name() const override { return "Borrower"; }
};

}  // namespace

TEST_CASE("a module that joins a Sequential or ModuleList after the first call has its path") {
  Sequential net(Times(2));
  CHECK(path_of(net(scalar(1))) == "0");
  net.push_back(Block());
  CHECK(path_of(net(scalar(1))) == "1.b");
  CHECK(net[1].path() == "1");
  net.push_back(Times(5));
  CHECK(path_of(net(scalar(1))) == "2");
  struct Stack : Layer<Stack> {
    ModuleList<Times> layers;
    Tensor forward(In x) {
      Tensor y = x;
      for (Times& layer : layers) y = layer(y);
      return y;
    }
    void visit(Visitor& v) override { v("layers", layers); }
    std::string type_name() const override { return "Stack"; }
  };
  Stack stack;
  for (int i = 0; i < 5; ++i) {
    stack.layers.push_back(Times(2));
    CHECK(path_of(stack(scalar(1))) == "layers." + std::to_string(i));
  }
}

TEST_CASE("a child that was replaced or moved has the path of its place") {
  Block block;
  CHECK(path_of(block(scalar(1))) == "b");
  block.b = Times(7);
  CHECK(path_of(block(scalar(1))) == "b");
  Block other;
  other(scalar(1));
  block.b = std::move(other.a);
  CHECK(path_of(block(scalar(1))) == "b");
  CHECK(block.b.path() == "b");
  std::swap(block.a, block.b);
  CHECK(path_of(block(scalar(1))) == "b");
  CHECK(block.a.path() == "a");
}

TEST_CASE("a module in two models has its path in the model that runs") {
  Block block;
  Borrower one(block, "encoder"), two(block, "backbone");
  CHECK(path_of(one(scalar(1))) == "encoder.b");
  CHECK(path_of(two(scalar(1))) == "backbone.b");
  CHECK(path_of(one(scalar(1))) == "encoder.b");
  CHECK(block.a.path() == "encoder.a");
}

TEST_CASE("a module that no visit() lists leaves the path of the module around it") {
  struct Temporary : Layer<Temporary> {
    Tensor forward(In x) { return Times(2)(x); }
    void visit(Visitor& /*v*/) override {}
    std::string type_name() const override { return "Temporary"; }
  };
  Sequential net(Times(1));
  net.push_back(Temporary());
  CHECK(path_of(net(scalar(1))) == "1");
  // A whole model that another one calls keeps its own names, there and by itself.
  Block block;
  struct Caller : Layer<Caller> {
    Block* block;
    Tensor forward(In x) { return (*block)(x); }
    void visit(Visitor& /*v*/) override {}
    std::string type_name() const override { return "Caller"; }
  };
  Caller caller;
  caller.block = &block;
  CHECK(path_of(caller(scalar(1))) == "b");
  CHECK(path_of(block(scalar(1))) == "b");
  CHECK(path_of(caller(scalar(1))) == "b");
}

TEST_CASE("an error in a model names the layer and the call") {
  Rng rng(1);
  Sequential inner(Linear(rng, 4, 3), Tanh(), Linear(rng, 2, 5));
  Sequential net;
  net.push_back(std::move(inner));
  const std::string text = message([&] { net(ones({2, 4})); });
  CAPTURE(text);
  CHECK(text.ends_with(fmt::format("(in 0.2, test_hooks.cpp:{})", __LINE__ - 2)));
  struct Own : Layer<Own> {
    Times inside{2};
    int line = 0;
    Tensor forward(In x) {
      line = __LINE__ + 1;
      return matmul(x, ones({3, 3}));
    }
    void visit(Visitor& v) override { v("inside", inside); }
    std::string type_name() const override { return "Own"; }
  };
  Own own;
  const std::string mine = message([&] { own(ones({2, 4})); });
  CAPTURE(mine);
  CHECK(mine.ends_with(
      fmt::format("(test_hooks.cpp:{}, called at test_hooks.cpp:{})", own.line, __LINE__ - 3)));
}

// Flatten once recorded the line of its own header.
TEST_CASE("ops of every layer record the line of the call") {
  Rng rng(1);
  const auto lines = [](const char* layer, const Tensor& y, int line) {
    INFO(layer);
    const auto nodes = nodes_of(y);
    CHECK_FALSE(nodes.empty());
    for (const Node* node : nodes) {
      INFO(node->name());
      CHECK(to_string(node->site()) == fmt::format("test_hooks.cpp:{}", line));
    }
  };
  const auto leaf = [&](const Shape& s) { return randn(rng, s).requires_grad_(); };
  const Tensor flat = leaf({4, 8}), wide = leaf({2, 5, 8}), signal = leaf({2, 4, 8}),
               image = leaf({2, 4, 6, 6}), ids = zeros({2, 3}, DType::i64);
  Flatten flatten;
  lines("Flatten", flatten(image), __LINE__);
  Linear linear(rng, 8, 3);
  lines("Linear", linear(flat), __LINE__);
  lines("linear_relu", linear_relu(linear, flat), __LINE__);
  Embedding embedding(rng, 5, 4);
  lines("Embedding", embedding(ids), __LINE__);
  Dropout dropout(rng, 0.5);
  lines("Dropout", dropout(flat), __LINE__);
  ReLU relu_layer;
  lines("ReLU", relu_layer(flat), __LINE__);
  GELU gelu_layer;
  lines("GELU", gelu_layer(flat), __LINE__);
  Softmax softmax_layer;
  lines("Softmax", softmax_layer(flat), __LINE__);
  Conv1d conv1(rng, 4, 4, {.kernel_size = 3});
  lines("Conv1d", conv1(signal), __LINE__);
  Conv2d conv2(rng, 4, 4, {.kernel_size = 3});
  lines("Conv2d", conv2(image), __LINE__);
  MaxPool2d max_pool({.kernel_size = 2});
  lines("MaxPool2d", max_pool(image), __LINE__);
  AvgPool2d avg_pool({.kernel_size = 2});
  lines("AvgPool2d", avg_pool(image), __LINE__);
  BatchNorm1d bn1(8);
  lines("BatchNorm1d", bn1(flat), __LINE__);
  BatchNorm2d bn2(4);
  lines("BatchNorm2d", bn2(image), __LINE__);
  lines("bn_relu_max_pool", bn_relu_max_pool(bn2, image, 3), __LINE__);
  InstanceNorm2d instance(4);
  lines("InstanceNorm2d", instance(image), __LINE__);
  LayerNorm layer_norm(8);
  lines("LayerNorm", layer_norm(flat), __LINE__);
  RMSNorm rms_norm(8);
  lines("RMSNorm", rms_norm(flat), __LINE__);
  GroupNorm group_norm(2, 4);
  lines("GroupNorm", group_norm(image), __LINE__);
  MultiheadAttention attention(rng, 8, 2, {.kdim = 8});
  lines("MultiheadAttention", attention(wide), __LINE__);
  lines("MultiheadAttention of three", attention(wide, wide, wide), __LINE__);
  TransformerEncoderLayer encoder(rng, 8, 2);
  lines("TransformerEncoderLayer", encoder(wide), __LINE__);
  TransformerDecoderLayer decoder(rng, 8, 2);
  lines("TransformerDecoderLayer", decoder(wide, wide), __LINE__);
  Sequential net(Flatten(), Linear(rng, 144, 4), ReLU(), BatchNorm1d(4));
  lines("Sequential", net(image), __LINE__);
}

TEST_CASE("masks in braces reach attention and the Transformer's layers") {
  Rng rng(1);
  const Tensor x = randn(rng, {2, 3, 8}), memory = randn(rng, {2, 4, 8});
  const Tensor ignore = tensor({0, 0, 1, 0, 1, 1}, Shape{2, 3}).to(DType::boolean);
  MultiheadAttention attention(rng, 8, 2);
  const MultiheadAttention::Masks masks{.key_padding_mask = ignore};
  MultiheadAttention::Masks changeable = masks;
  const Tensor y = attention(x, {.key_padding_mask = ignore});
  CHECK(equal(y, attention(x, masks)));
  CHECK(equal(y, attention(x, changeable)));
  CHECK(equal(y, attention.forward(x, masks)));
  CHECK_FALSE(equal(y, attention(x)));
  CHECK(equal(y, attention(x, x, x, {.key_padding_mask = ignore})));
  CHECK(equal(attention(x, {.is_causal = true}),
              attention(x, MultiheadAttention::Masks{.is_causal = true})));
  TransformerEncoderLayer encoder(rng, 8, 2, {.dropout = 0});
  CHECK(equal(encoder(x, {.key_padding_mask = ignore}), encoder(x, masks)));
  TransformerDecoderLayer decoder(rng, 8, 2, {.dropout = 0});
  CHECK(equal(decoder(x, memory, {.is_causal = true}),
              decoder(x, memory, TransformerDecoderLayer::Masks{.is_causal = true})));
}

TEST_CASE("shapes and element types print") {
  std::ostringstream out;
  out << Shape{2, 3} << " " << DType::f64 << " " << zeros({2}).shape() << " " << DType::boolean;
  CHECK(out.str() == "(2, 3) f64 (2,) bool");
  CHECK(fmt::format("{} {}", Shape{2, 3}, DType::i64) == "(2, 3) i64");
}
