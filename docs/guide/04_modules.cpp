// Chapter 4: modules, their state, and the three switches.
#include <loupe/loupe.h>

#include <cmath>
#include <cstdio>

using namespace loupe;

// [block]
// A block of two layers with a shortcut.
struct Block : Layer<Block> {
  Linear fc1, fc2;
  BatchNorm1d bn;
  Dropout dropout;

  Block(Rng& rng, int64_t width)
      : fc1(rng, width, 2 * width), fc2(rng, 2 * width, width), bn(width), dropout(rng, 0.5) {}
  Tensor forward(In x) { return x + dropout(fc2(relu(fc1(bn(x))))); }
  void visit(Visitor& v) override { v("fc1", fc1, "fc2", fc2, "bn", bn, "dropout", dropout); }
  std::string type_name() const override { return "Block"; }
};
// [/block]

// [net]
struct Net : Layer<Net> {
  Block first, second;
  Linear head;

  explicit Net(Rng& rng) : first(rng, 4), second(rng, 4), head(rng, 4, 3) {}
  Tensor forward(In x) { return head(second(first(x))); }
  void visit(Visitor& v) override { v("first", first, "second", second, "head", head); }
  std::string type_name() const override { return "Net"; }
};
// [/net]

// [forgetful]
// The bug: visit() does not list `second`.
struct Forgetful : Layer<Forgetful> {
  Linear first, second;

  explicit Forgetful(Rng& rng) : first(rng, 4, 8), second(rng, 8, 3) {}
  Tensor forward(In x) { return second(relu(first(x))); }
  void visit(Visitor& v) override { v("first", first); }
  std::string type_name() const override { return "Forgetful"; }
};
// [/forgetful]

int main() {
  std::printf("== names\n");
  // [names]
  Rng rng(0);
  Net net(rng);
  for (const Named& entry : state_dict(net))
    std::printf("%-32s %s\n", entry.name.c_str(), to_string(entry.tensor.shape()).c_str());
  // [/names]

  std::printf("== count\n");
  // [count]
  std::printf("%zu tensors of state, of which %zu are parameters with %lld numbers\n",
              state_dict(net).size(), parameters(net).size(),
              static_cast<long long>(parameter_count(net)));
  // [/count]

  std::printf("== summary\n");
  // [summary]
  std::printf("%s\n", summary(net, randn(rng, {8, 4}), 80).c_str());
  // [/summary]

  std::printf("== switches\n");
  // [switches]
  const Tensor x = randn(rng, {8, 4});
  const auto show = [&](const char* when) {
    const Tensor y = net(x), again = net(x);
    std::printf("%-22s twice the same: %-5s recorded: %s\n", when,
                equal(y, again) ? "true" : "false", y.requires_grad() ? "true" : "false");
  };
  show("train(net)");
  eval(net);
  show("eval(net)");
  {
    NoGrad off;
    show("eval(net), NoGrad");
  }
  requires_grad_(net, false);
  show("eval(net), frozen");
  // [/switches]

  std::printf("== frozen\n");
  // [frozen]
  // Frozen and in training mode: no parameter moves, but BatchNorm's running statistics do.
  train(net);
  const Tensor before = net.first.bn.running_mean.clone();
  net(x + 10);
  const Tensor moved = max(abs(net.first.bn.running_mean - before));
  std::printf("running_mean moved by up to %.2f\n", moved.item());
  // [/frozen]

  std::printf("== load\n");
  // [load]
  Rng other(1);
  Net copy(other);
  StateDict state = state_dict(net);
  state.pop_back();  // the last bias is missing
  try {
    load_state_dict(copy, state);
  } catch (const ValueError& error) { std::printf("%s\n", error.what()); }
  copy_state(net, copy);
  eval(net);
  eval(copy);
  std::printf("after copy_state: %s\n", equal(net(x), copy(x)) ? "equal outputs" : "different");
  // [/load]

  std::printf("== forgetful\n");
  // [check]
  Forgetful forgetful(rng);
  std::printf("%s\n", to_string(check_model(forgetful, x)).c_str());
  // [/check]
}
