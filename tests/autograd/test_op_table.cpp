// Every check that an op must pass, driven by the table of op_cases.h.
#include "op_checks.h"
#include "public_names.h"

#include <loupe/autograd/shadow.h>

#include <filesystem>
#include <set>
#include <unordered_set>

namespace loupe::testing {

namespace {

void require_naive(const OpCase& c, const Tensors& inputs) {
  Arrays arrays;
  for (const Tensor& t : inputs) arrays.emplace_back(t);
  const Arrays wanted = c.naive(arrays);
  const Tensors got = c.f(inputs);
  REQUIRE(got.size() == wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    REQUIRE(to_string(got[i].shape()) == to_string(wanted[i].shape));
    require_close(got[i], wanted[i].v, 1e-12);
  }
}

}  // namespace

// Other layouts, modes and shapes: test_op_layouts.cpp, test_op_modes.cpp.
TEST_CASE("op table: forward equals the plain loops") {
  for_rows([](const OpCase& c, const std::vector<Shape>& shapes) {
    require_naive(c, draw_inputs(c, shapes, 1));
  });
}

TEST_CASE("op table: gradients equal difference quotients") {
  for_rows([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable) return;
    const Tensors x = draw_inputs(c, shapes, 2);
    REQUIRE_NOTHROW(gradcheck(c.f, x, {.label = c.name, .tolerance = c.gradient_tolerance}));
  });
}

TEST_CASE("op table: second derivatives") {
  for_rows([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable) return;
    const Tensors x = draw_inputs(c, shapes, 3);
    REQUIRE_NOTHROW(gradgradcheck(c.f, x, {.label = c.name, .tolerance = c.gradient_tolerance}));
  });
}

TEST_CASE("op table: f32 gives what f64 gives, results and gradients, small and large") {
  for (const OpCase& c : op_cases()) {
    std::vector<std::vector<Shape>> sizes = c.shapes;
    if (!c.large.empty()) sizes.push_back(c.large);
    for (const auto& shapes : sizes) {
      INFO(title(c, shapes));
      // The f64 path gets the very numbers that f32 can hold.
      const Tensors x32 = converted(draw_inputs(c, shapes, 4), DType::f32),
                    x64 = converted(x32, DType::f64);
      const Tensors y32 = c.f(x32), y64 = c.f(x64);
      REQUIRE(y32.size() == y64.size());
      for (size_t i = 0; i < y32.size(); ++i)
        require_close(y32[i], y64[i].to_vector<double>(), c.f32_tolerance);
      if (!c.differentiable || c.name == "to") continue;
      const Tensors g32 = gradients(c, x32), g64 = gradients(c, x64);
      for (size_t i = 0; i < g32.size(); ++i) {
        REQUIRE(g32[i].dtype() == DType::f32);
        INFO("gradient " << i);
        require_close(g32[i], g64[i].to_vector<double>(), c.f32_tolerance);
      }
    }
  }
}

TEST_CASE(
    "op table: in shadow mode every op has its f64 twin and stays close to it, small and large") {
  for (const OpCase& c : op_cases()) {
    if (!c.differentiable) continue;
    std::vector<std::vector<Shape>> sizes = c.shapes;
    if (!c.large.empty()) sizes.push_back(c.large);
    for (const auto& shapes : sizes) {
      INFO(title(c, shapes));
      const Tensors x = converted(draw_inputs(c, shapes, 5), DType::f32);
      ShadowGuard shadow(1e-5);
      REQUIRE_NOTHROW(gradients(c, x));
      const std::vector<ShadowRow> rows = shadow.rows();
      REQUIRE((!rows.empty() ||
               c.name == "contiguous"));  // which, of a row-major tensor, is that tensor
      for (const ShadowRow& r : rows) {
        INFO(r.op);
        REQUIRE(r.checks > 0);
      }
    }
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

TEST_CASE("op table: every op that a header of autograd/ops declares has a row, and no other") {
  // Not ops: they compare two tensors and give a bool, draw random numbers, are an entry of a list.
  const std::set<std::string> exempt{"equal", "allclose", "multinomial", "Index"};
  const std::set<std::string> members{"flatten", "index", "t"};  // of Tensor alone
  std::set<std::string> declared, rows, ops;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(LOUPE_SOURCE_ROOT) / "autograd" / "ops"))
    if (entry.path().extension() == ".h")
      for (const std::string& name : public_names(entry.path())) declared.insert(name);
  REQUIRE(declared.size() > 90);
  for (const OpCase& c : op_cases()) {
    INFO(c.name);
    CHECK(rows.insert(c.name).second);
    const std::string op = c.name.substr(0, c.name.find('('));
    ops.insert(op);
    CHECK(declared.count(op) + members.count(op) == 1);
  }
  for (const std::string& op : declared) {
    INFO(op << " has no row: add one to tests/autograd/op_cases_*.cpp");
    CHECK(ops.count(op) + exempt.count(op) == 1);
  }
}

}  // namespace loupe::testing
