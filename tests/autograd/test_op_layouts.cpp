// Every op of the table in every layout of its inputs and of the gradient that comes back: results,
// gradients and second gradients are those of row-major memory.
#include "op_checks.h"

#include "layouts.h"

namespace loupe::testing {
namespace {

// What an op gives: results, gradients of the inputs, gradients of those by inputs and upstream
// gradient; or what it throws.
struct Outcome {
  std::string error;
  Tensors y, dx, ddx;
};

struct Upstream {
  Tensors of_y, of_dx;
};

Outcome outcome(const OpCase& c, const Tensors& inputs, const Upstream& up, bool second) {
  Outcome o;
  try {
    const Tensors x = marked(inputs), leaves = needing_gradient(x);
    o.y = c.f(x);
    if (!c.differentiable) return o;
    const Tensors dy = marked(up.of_y);
    Tensors outputs, into;
    for (size_t i = 0; i < o.y.size(); ++i)
      if (o.y[i].requires_grad()) {
        outputs.push_back(o.y[i]);
        into.push_back(dy[i]);
      }
    o.dx = grad(outputs, leaves, {.retain_graph = second, .allow_unused = true}, into);
    if (!second) return o;
    const Tensors again = grad(outputs, leaves, {.create_graph = true, .allow_unused = true}, into);
    INFO("the gradient under create_graph");
    require_same(again, o.dx, 1e-10);
    Tensors from, from_up, by = leaves;
    for (size_t i = 0; i < again.size(); ++i)
      if (again[i].defined() && again[i].requires_grad()) {
        from.push_back(again[i]);
        from_up.push_back(up.of_dx[i]);
      }
    by.insert(by.end(), into.begin(), into.end());
    if (!from.empty()) o.ddx = grad(from, by, {.allow_unused = true}, from_up);
  } catch (const Error& e) { o.error = e.what(); }
  return o;
}

void require_same_outcome(const Outcome& got, const Outcome& wanted, double tolerance) {
  REQUIRE(got.error == wanted.error);
  {
    INFO("results");
    require_same(got.y, wanted.y, tolerance);
  }
  {
    INFO("gradients");
    require_same(got.dx, wanted.dx, tolerance);
  }
  INFO("second gradients, by the inputs, then by the upstream gradients");
  require_same(got.ddx, wanted.ddx, 10 * tolerance);
}

Tensors placed(const Tensors& ts, const Layout& layout) {
  Tensors out;
  for (const Tensor& t : ts) {
    const Tensor there = layout.of(t);
    out.push_back(there.defined() ? there : t);
  }
  return out;
}
Tensors plain_copies(const Tensors& ts) {
  Tensors out;
  for (const Tensor& t : ts) out.push_back(plain_copy(t));
  return out;
}
bool any_fits(const Tensors& ts, const Layout& layout) {
  return std::any_of(ts.begin(), ts.end(), [&](const Tensor& t) { return layout.of(t).defined(); });
}

// One row at one list of shapes.
class Layouts {
 public:
  Layouts(const OpCase& c, const std::vector<Shape>& shapes, DType dtype)
      : c_(c),
        tolerance_(dtype == DType::f64 ? 1e-11 : 2 * c.f32_tolerance),
        second_(dtype == DType::f64) {
    x_ = converted(draw_inputs(c, shapes, 11), dtype);
    const Tensors y = c.f(x_);
    up_ = {upstreams(y, dtype), upstreams(needing_gradient(marked(x_)), dtype, 98)};
    if (c.name == "to") up_.of_y = converted(up_.of_y, y[0].dtype());
    row_major_ = outcome(c, x_, up_, second_);
    REQUIRE(row_major_.error.empty());
  }

  void run() const {
    for (const Layout& layout : layouts()) {
      INFO("layout: " << layout.name);
      if (any_fits(x_, layout))
        check(layout, placed(x_, layout), {placed(up_.of_y, layout), placed(up_.of_dx, layout)});
      if (!layout.alone) continue;
      for (size_t k = 0; x_.size() > 1 && k < x_.size(); ++k) {
        const Tensor there = layout.of(x_[k]);
        if (!there.defined()) continue;
        INFO("of input " << k << " alone");
        Tensors x = x_;
        x[k] = there;
        check(layout, x, up_);
      }
      if (c_.differentiable && any_fits(up_.of_y, layout)) {
        INFO("of the upstream gradient alone");
        check(layout, x_, {placed(up_.of_y, layout), up_.of_dx});
      }
    }
  }

 private:
  void check(const Layout& layout, const Tensors& x, const Upstream& up) const {
    const Outcome got = outcome(c_, x, up, second_);
    if (layout.keeps_values) return require_same_outcome(got, row_major_, tolerance_);
    const Upstream plain{plain_copies(up.of_y), plain_copies(up.of_dx)};
    require_same_outcome(got, outcome(c_, plain_copies(x), plain, second_), tolerance_);
  }

  const OpCase& c_;
  double tolerance_;
  bool second_;
  Tensors x_;
  Upstream up_;
  Outcome row_major_;
};

}  // namespace

TEST_CASE("op table: results, gradients and second gradients are the same in every layout") {
  for_rows([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.draws_by_memory) Layouts(c, shapes, DType::f64).run();
  });
}

TEST_CASE("op table: results and gradients are the same in every layout, f32, small and large") {
  for_rows([](const OpCase& c, const std::vector<Shape>& shapes) {
    if (c.draws_by_memory) return;
    Layouts(c, shapes, DType::f32).run();
    if (c.large.empty() || shapes != c.shapes[0]) return;
    INFO("large: " << title(c, c.large));
    Layouts(c, c.large, DType::f32).run();
  });
}

TEST_CASE("op table: what draws in the order of memory has right gradients in every layout") {
  int rows = 0;
  for_cases([&](const OpCase& c, const std::vector<Shape>& shapes) {
    if (!c.draws_by_memory) return;
    ++rows;
    const Tensors x = draw_inputs(c, shapes, 12);
    for (const Layout& layout : layouts()) {
      if (!any_fits(x, layout)) continue;
      INFO("layout: " << layout.name);
      const GradcheckOptions options{.label = c.name, .tolerance = c.gradient_tolerance};
      REQUIRE_NOTHROW(gradcheck(c.f, placed(x, layout), options));
      REQUIRE_NOTHROW(gradgradcheck(c.f, placed(x, layout), options));
    }
  });
  REQUIRE(rows > 0);
}

// The test itself is tested: an op that reads through a view's strides wrongly, and one that loses
// its second derivative on memory that is not row-major, are found.
TEST_CASE("op table: a layout fault is found") {
  struct LosesNode final : Node {
    SavedTensor w{this};
    const char* name() const override { return "loses"; }
    Tensors backward(const Tensors& dy) override { return {dy[0] * raw::row_major(w.get())}; }
  };
  const auto loses = [](const Tensors& x) {
    Tensor y = no_grad([&] { return x[0] * x[0] * 0.5; });
    if (auto n = record<LosesNode>({x[0]}, y)) n->w.input(x[0]);
    return y;
  };
  const auto ignores_strides = [](const Tensors& x) {
    return raw::view(x[0], x[0].shape(), row_major_strides(x[0].shape()), 0) * 2.0;
  };
  const auto found = [](const GradFunction& f) {
    OpCase c{.name = "faulty", .shapes = {}, .f = f, .naive = {}};
    const Tensors x = draw_inputs(c, {{2, 3}}, 1);
    const Upstream up{upstreams(x, DType::f64), upstreams(x, DType::f64, 2)};
    const Tensors turned = placed(x, layouts()[2]);
    const Outcome a = outcome(c, x, up, true), b = outcome(c, turned, up, true);
    const auto same = [](const Tensors& p, const Tensors& q) {
      if (p.size() != q.size()) return false;
      for (size_t i = 0; i < p.size(); ++i)
        if (p[i].defined() != q[i].defined() || (p[i].defined() && !allclose(p[i], q[i])))
          return false;
      return true;
    };
    return !same(a.y, b.y) || !same(a.dx, b.dx) || !same(a.ddx, b.ddx);
  };
  REQUIRE(found(loses));
  REQUIRE(found(ignores_strides));
  REQUIRE_FALSE(found([](const Tensors& x) { return x[0] * x[0]; }));
}

}  // namespace loupe::testing
