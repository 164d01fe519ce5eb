// Every check that an op must pass, driven by the table of op_cases.h.
#include "catch.h"

#include "op_cases.h"

#include <loupe/autograd/autograd.h>
#include <loupe/autograd/shadow.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_set>

namespace loupe::testing {

Tensors draw_inputs(const OpCase& c, const std::vector<Shape>& shapes, uint64_t seed) {
  Rng rng(seed);
  Tensors inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Draw d = i < c.draw.size() ? c.draw[i] : Draw{};
    Tensor t;
    switch (d.kind) {
      case Draw::any:
        t = randn(rng, shapes[i], DType::f64);
        for (double& x : t.data<double>()) x += x < 0 ? -0.1 : 0.1;
        break;
      case Draw::range: t = uniform(rng, shapes[i], d.low, d.high, DType::f64); break;
      case Draw::labels: t = randint(rng, 0, static_cast<int64_t>(d.high), shapes[i]); break;
      case Draw::mask: t = gt(uniform(rng, shapes[i]), 0.5); break;
    }
    inputs.push_back(t);
  }
  return inputs;
}

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    for (auto part : {elementwise_cases(), shape_cases(), product_cases(), layer_cases()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return cases;
}

namespace {

// Calls check(case, shapes) for the whole table.
template <class F> void for_cases(F check) {
  for (const OpCase& c : op_cases())
    for (const std::vector<Shape>& shapes : c.shapes) {
      std::string text = c.name;
      for (const Shape& s : shapes) text += " " + to_string(s);
      INFO(text);
      check(c, shapes);
    }
}

Tensors converted(const Tensors& ts, DType dtype) {
  Tensors out;
  for (const Tensor& t : ts) out.push_back(is_floating(t.dtype()) ? t.to(dtype) : t);
  return out;
}

// The same values in memory with gaps, the last two dimensions swapped.
Tensor scattered(const Tensor& t) {
  Shape shape = t.shape();
  const int r = shape.rank();
  for (int i = 0; i < r; ++i) shape[i] = 2 * shape[i] + 1;
  if (r >= 2) std::swap(shape[r - 1], shape[r - 2]);
  Tensor view = full(shape, t.dtype() == DType::boolean ? 1 : 3, t.dtype());
  if (r >= 2) view = raw::transpose(view, -1, -2);
  for (int i = 0; i < r; ++i) view = raw::slice(view, i, 1, INT64_MAX, 2);
  raw::copy(t, view);
  return view;
}

Tensors marked(const Tensors& ts) {
  Tensors out;
  for (const Tensor& t : ts)
    out.push_back(is_floating(t.dtype()) ? t.detach().requires_grad_() : t);
  return out;
}

double mean_size(const std::vector<double>& v) {
  double s = 0;
  for (double x : v) s += std::abs(x);
  return v.empty() ? 0 : s / static_cast<double>(v.size());
}

void require_close(const Tensor& got, const std::vector<double>& wanted, double tolerance) {
  const std::vector<double> g = got.to_vector<double>();
  REQUIRE(g.size() == wanted.size());
  const double mean = mean_size(wanted);
  for (size_t i = 0; i < g.size(); ++i)
    if (!(std::abs(g[i] - wanted[i]) <= tolerance * std::max(mean, std::abs(wanted[i])))) {
      CAPTURE(i, g[i], wanted[i], mean);
      FAIL("differs by more than " << tolerance);
    }
}

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

// A random upstream gradient for every output, in f64.
Tensors upstreams(const Tensors& ys, DType dtype) {
  Rng rng(99);
  Tensors out;
  for (const Tensor& y : ys) out.push_back(randn(rng, y.shape(), DType::f64).to(dtype));
  return out;
}

Tensors gradients(const OpCase& c, const Tensors& inputs) {
  const Tensors x = marked(inputs), y = c.f(x);
  Tensors leaves, outputs;
  for (const Tensor& t : x)
    if (t.requires_grad()) leaves.push_back(t);
  return grad(y, leaves, {}, upstreams(y, y[0].dtype()));
}

const double kTight = 1e-7;

}  // namespace

TEST_CASE("op table: forward equals the plain loops, also on scattered and channels-last memory") {
  for_cases([](const OpCase& c, const std::vector<Shape>& shapes) {
    const Tensors x = draw_inputs(c, shapes, 1);
    require_naive(c, x);
    Tensors views, last;
    for (const Tensor& t : x) {
      views.push_back(scattered(t));
      last.push_back(raw::channels_last(t));
    }
    INFO("scattered");
    require_naive(c, views);
    INFO("channels last");
    require_naive(c, last);
  });
}

TEST_CASE(
    "op table: gradients equal difference quotients, also on scattered and channels-last memory") {
  for_cases([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable) return;
    const Tensors x = draw_inputs(c, shapes, 2);
    Tensors views, last;
    bool rank4 = false;
    for (const Tensor& t : x) {
      views.push_back(scattered(t));
      last.push_back(raw::channels_last(t));
      rank4 = rank4 || t.dim() == 4;
    }
    REQUIRE_NOTHROW(gradcheck(c.f, x, {.label = c.name, .tolerance = kTight}));
    REQUIRE_NOTHROW(gradcheck(c.f, views, {.label = c.name + ", scattered", .tolerance = kTight}));
    if (rank4)
      REQUIRE_NOTHROW(
          gradcheck(c.f, last, {.label = c.name + ", channels last", .tolerance = kTight}));
  });
}

TEST_CASE("op table: second derivatives") {
  for_cases([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.differentiable) return;
    const Tensors x = draw_inputs(c, shapes, 3);
    REQUIRE_NOTHROW(gradgradcheck(c.f, x, {.label = c.name, .tolerance = kTight}));
  });
}

TEST_CASE("op table: f32 gives what f64 gives, results and gradients, small and large") {
  for (const OpCase& c : op_cases()) {
    std::vector<std::vector<Shape>> sizes = c.shapes;
    if (!c.large.empty()) sizes.push_back(c.large);
    for (const auto& shapes : sizes) {
      std::string text = c.name;
      for (const Shape& s : shapes) text += " " + to_string(s);
      INFO(text);
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
      std::string text = c.name;
      for (const Shape& s : shapes) text += " " + to_string(s);
      INFO(text);
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
    REQUIRE_NOTHROW(gradcheck(doubled, one,
                              {.label = c.name + ", the same tensor twice", .tolerance = kTight}));
    REQUIRE_NOTHROW(gradgradcheck(
        doubled, one, {.label = c.name + ", the same tensor twice", .tolerance = kTight}));
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

TEST_CASE("op table: the rows' names are distinct, and every op of the library has one") {
  std::set<std::string> rows, ops;
  for (const OpCase& c : op_cases()) {
    INFO(c.name);
    REQUIRE(rows.insert(c.name).second);
    ops.insert(c.name.substr(0, c.name.find('(')));
  }
  for (const char* op :
       {"add",          "sub",        "mul",         "div",         "neg",        "pow",
        "square",       "reciprocal", "sqrt",        "rsqrt",       "exp",        "log",
        "abs",          "sign",       "clamp",       "maximum",     "minimum",    "where",
        "masked_fill",  "tril",       "triu",        "eq",          "ne",         "lt",
        "le",           "gt",         "ge",          "logical_not", "sum",        "mean",
        "var",          "std",        "max",         "min",         "argmax",     "topk",
        "reshape",      "flatten",    "transpose",   "t",           "permute",    "slice",
        "select",       "expand",     "squeeze",     "unsqueeze",   "contiguous", "clone",
        "to",           "cat",        "stack",       "split",       "chunk",      "pad",
        "index_select", "gather",     "scatter_add", "one_hot",     "matmul",     "linear",
        "conv1d",       "conv2d",     "addmm",       "linear_relu"}) {
    INFO(op);
    REQUIRE(ops.count(op) == 1);
  }
}

}  // namespace loupe::testing
