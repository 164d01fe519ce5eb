// Errors and recorded ops know where they come from: the caller's line, the module's path, the op
// whose backward ran.
#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/core/threads.h>

#include "catch.h"

using namespace loupe;

namespace {

template <class F> std::string message(F f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "nothing was thrown";
}

std::string at(int line) { return fmt::format("test_place.cpp:{}", line); }

const Tensor f23 = zeros({2, 3}), f22 = zeros({2, 2}), f43 = zeros({4, 3});

}  // namespace

TEST_CASE("an error of an op ends with the line of the call") {
  const int line = __LINE__ + 1;
  const std::string text = message([] { matmul(f23, f43); });
  CHECK(text == fmt::format("matmul: inner dimensions differ: (2, 3) x (4, 3) ({})", at(line)));
}

TEST_CASE("members, operators and factories name the line too") {
  const auto ends = [](const std::string& text, int line) {
    CAPTURE(text, line);
    CHECK(text.ends_with("(" + at(line) + ")"));
  };
  ends(message([] { return f23 + f22; }), __LINE__);
  ends(message([] { return f23 < f22; }), __LINE__);
  ends(message([] { return f23.reshape({5}); }), __LINE__);
  ends(message([] { return f23[7]; }), __LINE__);
  ends(message([] { return f23.flatten(3); }), __LINE__);
  ends(message([] { return f23.size(9); }), __LINE__);
  ends(message([] { return f23.item(); }), __LINE__);
  ends(message([] { f23.copy_(f22); }), __LINE__);
  ends(message([] { f23.add_(f22); }), __LINE__);
  ends(message([] { return f23.t().data<float>(); }), __LINE__);
  ends(message([] { f23.backward(); }), __LINE__);
  ends(message([] { return zeros({2, -1}); }), __LINE__);
  ends(message([] { return tensor({1, 2, 3}, Shape{2}); }), __LINE__);
  ends(message([] { return cat({f23, f22}); }), __LINE__);
  ends(message([] { return allclose(f23, Tensor()); }), __LINE__);
}

TEST_CASE("the line is that of the innermost call, wherever else a call is open") {
  // sum() is over when matmul fails; its argument still lives.
  const std::string text = message([] {
    return sum(f23) +  //
           matmul(f23, f43);
  });
  CHECK(text.ends_with("(" + at(__LINE__ - 2) + ")"));
}

TEST_CASE("outside a call of the library an error has no place") {
  CHECK(message([] { fail<ValueError>("lr: must be positive, got {}", -1); }) ==
        "lr: must be positive, got -1");
  CHECK(message([] { fail<ShapeError>("own: {}", Shape{2}); }) == "own: (2,)");
  message([] { matmul(f23, f43); });  // an exception leaves no place behind
  CHECK(message([] { fail<ValueError>("lr: must be positive, got {}", -1); }) ==
        "lr: must be positive, got -1");
}

TEST_CASE("an error on a worker thread has the place of the thread that waits", "[threads]") {
  set_thread_limit(4);
  const auto run = [](In /*x*/) {
    parallel_ranges(64, 1, [](int64_t begin, int64_t) {
      if (begin >= 8) fail<IndexError>("piece: {} and more", 8);
    });
  };
  const std::string text = message([&] { run(f23); });
  CHECK(text == fmt::format("piece: 8 and more ({})", at(__LINE__ - 1)));
}

TEST_CASE("within module scopes an error names the path and the call that entered") {
  const auto layer = [](In x) {
    PathScope path("fc1");
    return matmul(x, f43);
  };
  const auto model = [&](In x) {
    PathScope path("net");
    return layer(x);
  };
  const int outer = __LINE__ + 1;
  const std::string text = message([&] { model(f23); });
  CHECK(text.ends_with(fmt::format("(in net.fc1, {}, called at {})", at(outer - 7), at(outer))));
  CHECK(current_path().empty());
}

namespace {

enum class Fault { none, shape, dtype, count, throws };

// y = 2 a b, with a backward that can be wrong in every way.
struct TwiceNode final : Node {
  SavedTensor a{this}, b{this};
  Fault fault = Fault::none;
  const char* name() const override { return "twice"; }
  Tensors backward(const Tensors& dy) override {
    if (fault == Fault::throws) return {matmul(dy[0], f43), Tensor()};
    Tensor da = dy[0] * b.get() * 2.0, db = dy[0] * a.get() * 2.0;
    if (fault == Fault::shape) db = db.select(0, 0).select(0, 0).expand({5});
    if (fault == Fault::dtype) db = db.to(DType::f64);
    if (fault == Fault::count) return {da};
    return {da, db};
  }
};

Tensor twice(In a, In b, Fault fault) {
  Tensor y = raw::binary(raw::Binary::mul, raw::binary(raw::Binary::mul, a, b, "twice"), 2.0);
  if (auto n = record<TwiceNode>({a, b}, y)) {
    n->a.input(a);
    n->b.input(b);
    n->fault = fault;
  }
  return y;
}

struct Broken {
  std::string text;
  int forward, backward;
};

Broken broken(Fault fault) {
  const Tensor a = ones({2, 3}).requires_grad_(), b = ones({2, 3}).requires_grad_();
  PathScope path("head");
  const Tensor loss = twice(a, b, fault).sum();
  const int forward = __LINE__ - 1;
  return {message([&] { loss.backward(); }), forward, __LINE__};
}

}  // namespace

TEST_CASE("an own op whose backward is wrong: op, backward, input, expected, got, line and path") {
  const auto holds = [](Fault fault, const std::string& start) {
    const Broken b = broken(fault);
    CAPTURE(b.text);
    CHECK(b.text.rfind(fmt::format("twice ({}, in head): {}", at(b.forward), start), 0) == 0);
    CHECK(b.text.ends_with(fmt::format("{})", at(b.backward))));
  };
  CHECK(broken(Fault::none).text == "nothing was thrown");
  holds(Fault::shape,
        "backward gave a gradient of shape (5,) for input 1 of 2, whose shape is (2, 3)");
  holds(Fault::dtype, "backward gave a gradient of type f64 for input 1 of 2, whose type is f32");
  holds(Fault::count, "backward returned 1 gradients for 2 inputs");
}

TEST_CASE("an error inside a backward rule names the op, its forward line and the backward call") {
  const Broken b = broken(Fault::throws);
  CAPTURE(b.text);
  CHECK(
      b.text.rfind("matmul: inner dimensions differ: (2, 3) x (4, 3) (in the backward of twice (" +
                       at(b.forward) + ", in head), test_place.cpp:",
                   0) == 0);
  CHECK(b.text.ends_with("called at " + at(b.backward) + ")"));
}

TEST_CASE("ops of a backward rule carry the line and the path of their forward call") {
  const Tensor x = ones({2}).requires_grad_();
  Tensor y;
  {
    PathScope path("net");
    y = exp(x);
  }
  const int line = __LINE__ - 2;
  const Tensor dx = grad({y.sum()}, {x}, {.create_graph = true})[0];
  const Node& node = *dx.grad_meta()->fn;
  CHECK(node.module_path() == "net");
  CHECK(to_string(node.site()) == at(line));
}
