// Every check that an op must pass, driven by the table of op_cases.h.
#include "op_checks.h"
#include "public_names.h"

#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <unordered_set>

namespace loupe::testing {

// Other layouts, modes and shapes: test_op_layouts.cpp, test_op_modes.cpp.
TEST_CASE("op table: forward equals the plain loops") { for_rows(check_forward); }

TEST_CASE("op table: gradients equal difference quotients") { for_rows(check_gradient); }

TEST_CASE("op table: second derivatives") { for_rows(check_second_derivative); }

TEST_CASE("op table: f32 gives what f64 gives, results and gradients, small and large") {
  for (const OpCase& c : op_cases())
    for (const auto& shapes : all_shapes(c)) {
      INFO(title(c, shapes));
      check_f32(c, shapes);
    }
}

TEST_CASE(
    "op table: in shadow mode every op has its f64 twin and stays close to it, small and large") {
  for (const OpCase& c : op_cases())
    for (const auto& shapes : all_shapes(c)) {
      INFO(title(c, shapes));
      check_shadow(c, shapes);
    }
}

TEST_CASE("op table: the same tensor twice gets both parts of its gradient") {
  int pairs = 0;
  for_cases([&](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable || c.kink_at_equal || shapes.size() < 2 || shapes[0] != shapes[1]) return;
    Tensors x = draw_inputs(c, shapes, 5);
    if (x[0].dtype() != DType::f64 || x[1].dtype() != DType::f64) return;
    const Tensors rest(x.begin() + 2, x.end());
    const auto doubled = [&](const Tensors& t) {
      Tensors all{t[0], t[0]};
      all.insert(all.end(), t.begin() + 1, t.end());
      return c.f(all);
    };
    Tensors one{x[0]};
    one.insert(one.end(), rest.begin(), rest.end());
    REQUIRE_NOTHROW(gradcheck(
        doubled, one,
        {.label = c.name + ", the same tensor twice", .tolerance = c.gradient_tolerance}));
    REQUIRE_NOTHROW(gradgradcheck(
        doubled, one,
        {.label = c.name + ", the same tensor twice", .tolerance = c.gradient_tolerance}));
    ++pairs;
  });
  REQUIRE(pairs >= 20);
}

namespace {

// Calls f with every Node from which the tensors came.
template <class F> void walk(const Tensors& outputs, F f) {
  std::unordered_set<Node*> seen;
  std::vector<Node*> todo;
  const auto add = [&](const std::shared_ptr<GradMeta>& meta) {
    if (meta && meta->fn && seen.insert(meta->fn.get()).second) todo.push_back(meta->fn.get());
  };
  for (const Tensor& y : outputs) add(y.grad_meta());
  while (!todo.empty()) {
    Node* const node = todo.back();
    todo.pop_back();
    f(*node);
    for (size_t i = 0; i < node->input_count(); ++i) add(node->edge(i));
  }
}

bool saves(const Tensors& outputs, const Tensor& t) {
  bool found = false;
  NoGrad off;
  walk(outputs, [&](Node& node) {
    for (const SavedTensor* s : node.saved())
      if (s->defined() && s->get().storage() == t.storage()) found = true;
  });
  return found;
}

}  // namespace

TEST_CASE(
    "op table: an in-place edit of what an op saved throws; of anything else it leaves the "
    "gradient as it was") {
  int caught = 0, spared = 0;
  for_cases([&](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable) return;
    const Tensors drawn = draw_inputs(c, shapes, 6);
    const Tensors wanted = gradients(c, drawn);
    // Which tensor is edited: each input, then each output.
    const size_t outputs = c.f(drawn).size();
    for (size_t k = 0; k < drawn.size() + outputs; ++k) {
      INFO("edited: " << (k < drawn.size() ? "input " : "output ")
                      << (k < drawn.size() ? k : k - drawn.size()));
      Tensors copies;
      for (const Tensor& t : drawn) copies.push_back(raw::clone(t));
      const Tensors x = marked(copies), y = c.f(x);
      Tensors leaves;
      for (const Tensor& t : x)
        if (t.requires_grad()) leaves.push_back(t);
      const Tensor& edited = k < drawn.size() ? x[k] : y[k - drawn.size()];
      // An expanded tensor cannot be written to in place.
      if (std::any_of(edited.strides().begin(), edited.strides().end(),
                      [](int64_t step) { return step == 0; }))
        continue;
      const bool saved = saves(y, edited);
      no_grad([&] { edited.fill_(edited.dtype() == DType::i64 ? 0 : 1); });
      if (saved) {
        REQUIRE_THROWS_WITH(grad(y, leaves, {}, upstreams(y, DType::f64)),
                            Catch::Matchers::Contains("changed in place"));
        ++caught;
      } else {
        const Tensors g = grad(y, leaves, {}, upstreams(y, DType::f64));
        for (size_t i = 0; i < g.size(); ++i)
          require_close(g[i], wanted[i].to_vector<double>(), 1e-14);
        ++spared;
      }
    }
  });
  REQUIRE(caught >= 50);
  REQUIRE(spared >= 50);
}

TEST_CASE(
    "op table: in-place functions refuse an op's result and its inputs while they need a "
    "gradient") {
  for_cases([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable) return;
    const Tensors x = marked(draw_inputs(c, shapes, 7));
    for (const Tensor& y : c.f(x)) REQUIRE_THROWS_AS(y.fill_(0), GradError);
    for (const Tensor& t : x)
      if (t.requires_grad()) REQUIRE_THROWS_AS(t.mul_(2), GradError);
  });
}

TEST_CASE("op table: after forward, backward and second derivatives no storage stays alive") {
  for_cases([](const OpCase& c, const std::vector<Shape>& shapes) {
    const int64_t before = memory_stats().live_storages;
    {
      const Tensors x = marked(draw_inputs(c, shapes, 8));
      const Tensors y = c.f(x);
      if (c.differentiable) {
        Tensors leaves;
        for (const Tensor& t : x)
          if (t.requires_grad()) leaves.push_back(t);
        const Tensors g = grad(y, leaves, {.create_graph = true}, upstreams(y, DType::f64));
        Tensors differentiable;
        for (const Tensor& t : g)
          if (t.requires_grad()) differentiable.push_back(t);
        if (!differentiable.empty())
          grad(differentiable, leaves, {.allow_unused = true},
               upstreams(differentiable, DType::f64));
      }
      const Tensors again = c.f(x);
      if (c.differentiable) again[0].backward(upstreams({again[0]}, DType::f64)[0]);
    }
    REQUIRE(memory_stats().live_storages == before);
  });
}

namespace {

// An op takes a tensor, or a list of them, and gives tensors. What begins with an Rng draws
// numbers; what gives a bool compares two tensors.
bool is_op(const std::string& text) {
  static const std::regex gives("^(inline )?(std::vector<Tensor>|[A-Z][A-Za-z0-9]*) [a-z].*");
  static const std::regex takes(".*[(,] *(In [a-z]|const std::vector<Tensor>& ).*");
  static const std::regex draws("[^(]*\\(Rng& .*");
  return std::regex_match(text, gives) && std::regex_match(text, takes) &&
         !std::regex_match(text, draws);
}
// A member that gives a tensor and keeps the caller's line is recorded.
bool is_recorded_member(const std::string& text) {
  return text.rfind("Tensor ", 0) == 0 && text.find("Here here") != std::string::npos &&
         text.find(") const;") != std::string::npos;
}

// The ops that the headers declare, and how many overloads each has.
std::map<std::string, int> declared_ops() {
  const std::filesystem::path root = LOUPE_SOURCE_ROOT;
  std::map<std::string, int> ops;
  for (const auto& entry : std::filesystem::directory_iterator(root / "autograd" / "ops"))
    if (entry.path().extension() == ".h")
      for (const Declaration& d : declarations(entry.path()))
        if (is_op(d.text)) ++ops[d.name];
  for (const Declaration& d : declarations(root / "core" / "tensor.h"))
    if (is_recorded_member(d.text)) ops.emplace(d.name, 1);
  return ops;
}

}  // namespace

TEST_CASE("op table: every op that a header declares has a row for each overload") {
  const std::map<std::string, int> declared = declared_ops();
  REQUIRE(declared.size() > 150);
  std::map<std::string, int> rows;
  std::set<std::string> names;
  for (const OpCase& c : op_cases()) {
    INFO(c.name);
    CHECK(names.insert(c.name).second);
    const std::string op = c.name.substr(0, c.name.find('('));
    ++rows[op];
    CHECK(declared.count(op) == 1);  // by no header: a row of nothing
  }
  for (const auto& [op, overloads] : declared) {
    INFO(op << " has " << overloads << " overloads and " << rows[op]
            << " rows: add one to tests/autograd/op_cases_*.cpp");
    CHECK(rows[op] >= overloads);
  }
}

// The reading itself: what it takes for an op, and what not.
TEST_CASE("op table: ops are told from other declarations") {
  CHECK(is_op("Tensor relu(In x);"));
  CHECK(is_op("Sorted sort(In a, int64_t axis = -1, bool descending = false);"));
  CHECK(is_op("std::vector<Tensor> meshgrid(const std::vector<Tensor>& vectors, bool xy);"));
  CHECK(is_op("RecurrenceResult recurrence(RecurrentCell cell, In x_gates, In h0);"));
  CHECK(is_op("Tensor pow(Number base, In exponent);"));
  CHECK(is_op("inline Tensor maximum(Number a, In b) { return maximum(b, a); }"));
  CHECK_FALSE(is_op("Tensor multinomial(Rng& rng, In weights, int64_t count);"));
  CHECK_FALSE(is_op("bool equal(In a, In b);"));
  CHECK_FALSE(is_op("class Index {"));
  CHECK(is_recorded_member("Tensor t(Here here = {}) const;"));
  CHECK_FALSE(is_recorded_member("Tensor detach() const;"));
  CHECK_FALSE(is_recorded_member("const Tensor& zero_(Here here = {}) const {"));
}

}  // namespace loupe::testing
