// The op of docs/add_an_op.md. The page's code is cut from this file, and its messages are what the
// checks say of the wrong versions below: the last test compares.
#include "misuse.h"
#include "op_checks.h"

#include <loupe/autograd/graph.h>
#include <loupe/autograd/shadow.h>
#include <loupe/core/elementwise.h>

#include <fstream>
#include <regex>
#include <sstream>

namespace loupe {

/// sqrt(a^2 + b^2). Broadcasts; f32 and f64 only. The squares are summed in f64. At (0, 0) the
/// gradient is NaN, as in PyTorch.
Tensor hypot(In a, In b);

namespace {

struct HypotNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"}, y{this, "y"};
  const char* name() const override { return "hypot"; }
  Tensors replay(const Tensors& x) const override { return {hypot(x[0], x[1])}; }
  // dy/da = a / y and dy/db = b / y.
  Tensors backward(const Tensors& dy) override {
    const Tensor g = dy[0] / y.get();
    return {needs(0) ? g * a.get() : Tensor(), needs(1) ? g * b.get() : Tensor()};
  }
};

}  // namespace

Tensor hypot(In a, In b) {
  raw::check_same_dtype(a, b, "hypot");
  const Shape shape = broadcast_shapes(a->shape(), b->shape(), "hypot");
  Tensor y = raw::elementwise_result(shape, a->dtype(), {&a.t, &b.t});
  dispatch_floating(a->dtype(), "hypot", [&]<class T>(Type<T>) {
    raw::map2<T, T, T>(y, a, b, [](T p, T q) {
      const double x = p, z = q;
      return static_cast<T>(std::sqrt(x * x + z * z));
    });
  });
  if (auto n = record<HypotNode>({a, b}, y)) {
    if (n->needs(0)) n->a.input(a);
    if (n->needs(1)) n->b.input(b);
    n->y.output(y);
  }
  return y;
}

namespace testing {
namespace {

OpCase hypot_case() {
  return {.name = "hypot",
          .shapes =
              {{{2, 3}, {2, 3}}, {{2, 3}, {3}}, {{2, 1}, {3}}, {{}, {2, 2}}, {{0}, {1}}, {{}, {}}},
          .f = [](const Tensors& x) { return hypot(x[0], x[1]); },
          .naive = map2([](double a, double b) { return std::sqrt(a * a + b * b); }),
          .large = {{257, 65}, {257, 65}}};
}

using misuse::pointed::refuses;

TEST_CASE("misuse: hypot") {
  refuses<ShapeError>("hypot", [] { hypot(zeros({2, 3}), zeros({4})); });
  refuses<DtypeError>("hypot", [] { hypot(zeros({2}), zeros({2}, DType::f64)); });
  refuses<DtypeError>("hypot", [] { hypot(zeros({2}, DType::i64), zeros({2}, DType::i64)); });
}

// What one can get wrong.
enum class Mistake { no_division, cut_graph, no_gradient, rough_f32 };

Tensor wrong_hypot(In a, In b, Mistake mistake);

struct WrongHypotNode final : Node {
  SavedTensor a{this, "a"}, b{this, "b"}, y{this, "y"};
  Mistake mistake{};
  const char* name() const override { return "hypot"; }
  Tensors replay(const Tensors& x) const override { return {wrong_hypot(x[0], x[1], mistake)}; }
  Tensors backward(const Tensors& dy) override {
    if (mistake == Mistake::no_division) return {dy[0] * a.get(), dy[0] * b.get()};
    const Tensor root = mistake == Mistake::cut_graph ? y.get().detach() : y.get();
    const Tensor g = dy[0] / root;
    return {g * a.get(), mistake == Mistake::no_gradient ? Tensor() : g * b.get()};
  }
};

Tensor wrong_hypot(In a, In b, Mistake mistake) {
  Tensor y = no_grad([&] { return hypot(a, b); });
  // "Alpha max plus beta min": up to four per cent off.
  if (mistake == Mistake::rough_f32 && a->dtype() == DType::f32)
    y = no_grad([&] { return maximum(a, b) * 0.96 + minimum(a, b) * 0.398; });
  if (auto n = record<WrongHypotNode>({a, b}, y)) {
    n->mistake = mistake;
    n->a.input(a);
    n->b.input(b);
    n->y.output(y);
  }
  return y;
}

template <class F> std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) { return e.what(); }
  return "nothing was thrown";
}

std::string read(const std::string& path) {
  std::ifstream in(std::string(LOUPE_SOURCE_ROOT) + "/" + path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// The fenced blocks of one language in a page.
std::vector<std::string> blocks(const std::string& page, const std::string& language) {
  const std::string fence = "\n```" + language + "\n";
  std::vector<std::string> found;
  for (size_t at = page.find(fence); at != std::string::npos; at = page.find(fence, at)) {
    at += fence.size();
    const size_t end = page.find("\n```", at);
    found.push_back(page.substr(at, end - at));
    at = end;
  }
  return found;
}

// On one line, without the line of a source, which moves.
std::string flat(const std::string& text) {
  const std::string one_line = std::regex_replace(text, std::regex("\\s+"), " ");
  return std::regex_replace(one_line, std::regex("[A-Za-z_]+\\.cpp:[0-9]+"), "model.cpp:12");
}

const Tensor kThree = full({1}, 3, DType::f64), kFour = full({1}, 4, DType::f64);

GradFunction with(Mistake mistake) {
  return [mistake](const Tensors& x) { return wrong_hypot(x[0], x[1], mistake); };
}

}  // namespace

TEST_CASE("add_an_op: the op of the page passes the checks of the table") {
  const OpCase c = hypot_case();
  for (const std::vector<Shape>& shapes : c.shapes) {
    INFO(title(c, shapes));
    check_forward(c, shapes);
    check_gradient(c, shapes);
    check_second_derivative(c, shapes);
  }
  for (const std::vector<Shape>& shapes : all_shapes(c)) {
    INFO(title(c, shapes));
    check_f32(c, shapes);
    check_shadow(c, shapes);
  }
}

TEST_CASE("add_an_op: each mistake is found by one check and not by another") {
  const Tensors x{kThree, kFour}, x32 = converted(x, DType::f32);
  // In first derivatives the cut graph is right; f64 knows nothing of the rough f32.
  CHECK_NOTHROW(gradcheck(with(Mistake::cut_graph), x));
  CHECK_NOTHROW(gradcheck(with(Mistake::rough_f32), x));
  CHECK_NOTHROW(gradgradcheck(with(Mistake::rough_f32), x));
  const Tensor rough = wrong_hypot(x32[0], x32[1], Mistake::rough_f32);
  CHECK(first_apart(rough.to_vector<double>(), {5}, 4e-6));
  // The twin of shadow mode runs the same wrong formula.
  ShadowGuard shadow(1e-5);
  const Tensors leaves = marked(x32);
  CHECK_NOTHROW(wrong_hypot(leaves[0], leaves[1], Mistake::no_division).sum().backward());
}

TEST_CASE("add_an_op: the page's code is this file's, its messages are what the checks say") {
  const std::string page = read("docs/add_an_op.md");
  const std::string source = read("tests/autograd/test_add_an_op.cpp");
  const std::vector<std::string> code = blocks(page, "cpp");
  CHECK(code.size() >= 4);
  for (const std::string& block : code) {
    INFO(block);
    CHECK(source.find("\n" + block + "\n") != std::string::npos);
  }
  const Tensors x{kThree, kFour};
  const std::vector<std::string> said{
      message_of([&] { gradcheck(with(Mistake::no_division), x); }),
      message_of([&] { gradcheck(with(Mistake::no_gradient), x); }),
      message_of([&] { gradgradcheck(with(Mistake::cut_graph), x); }),
      message_of([&] {
        ShadowGuard shadow(1e-5);
        const Tensors leaves = marked(converted(x, DType::f32));
        wrong_hypot(leaves[0], leaves[1], Mistake::rough_f32).sum().backward();
      }),
  };
  const std::vector<std::string> shown = blocks(page, "text");
  REQUIRE(shown.size() == said.size());
  for (size_t i = 0; i < said.size(); ++i) CHECK(flat(shown[i]) == flat(said[i]));
}

}  // namespace testing
}  // namespace loupe
