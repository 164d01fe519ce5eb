// Every op of the table without recording, with one input at a time needing a gradient, and on
// tensors without dimensions.
#include "op_checks.h"

namespace loupe::testing {
namespace {

void require_unrecorded(const OpCase& c, const Tensors& inputs, double tolerance) {
  const Tensors x = marked(inputs), wanted = c.f(x);
  const int64_t before = memory_stats().live_storages;
  {
    NoGrad off;
    const Tensors y = c.f(x);
    require_same(y, wanted, tolerance);
    for (const Tensor& t : y) REQUIRE((!t.requires_grad() || t.is_leaf()));
    // Nothing but results is kept.
    REQUIRE(memory_stats().live_storages <= before + static_cast<int64_t>(y.size()));
  }
  // Inputs that need none record nothing either.
  for (const Tensor& t : c.f(inputs)) REQUIRE_FALSE(t.requires_grad());
}

// The Node that made y gives no gradient to an input that needs none, but what is there already.
void require_only_needed(const Tensors& y, const Tensors& up) {
  for (size_t i = 0; i < y.size(); ++i) {
    const auto& meta = y[i].grad_meta();
    if (!meta || !meta->fn || meta->fn->output_count() != 1) continue;
    const Tensors given = meta->fn->backward({up[i]});
    for (size_t k = 0; k < given.size(); ++k)
      if (!meta->fn->needs(k) && given[k].defined() && given[k].storage() != up[i].storage()) {
        CAPTURE(meta->fn->name(), k);
        FAIL("computes a gradient that nobody needs");
      }
  }
}

void require_one_at_a_time(const OpCase& c, const Tensors& inputs, double tolerance) {
  const Tensors x = marked(inputs), y = c.f(x), up = upstreams(y, y[0].dtype());
  const Tensors all = grad(y, needing_gradient(x), {.allow_unused = true}, up);
  for (size_t k = 0, floating = 0; k < inputs.size(); ++k) {
    if (!x[k].requires_grad()) continue;
    INFO("input " << k << " alone needs a gradient");
    Tensors one = inputs;
    one[k] = x[k];
    const Tensors z = c.f(one);
    Tensors outputs, into;
    for (size_t i = 0; i < z.size(); ++i)
      if (z[i].requires_grad()) {
        outputs.push_back(z[i]);
        into.push_back(up[i]);
      }
    REQUIRE(!outputs.empty());
    {
      NoGrad off;
      require_only_needed(outputs, into);
    }
    require_same(grad(outputs, {x[k]}, {.retain_graph = true, .allow_unused = true}, into)[0],
                 all[floating], tolerance);
    require_same(grad(outputs, {x[k]}, {.create_graph = true, .allow_unused = true}, into)[0],
                 all[floating], 10 * tolerance);
    ++floating;
  }
}

template <class F> void for_both_types(F check) {
  for_rows([&](const OpCase& c, const std::vector<Shape>& shapes) {
    const Tensors x = draw_inputs(c, shapes, 21);
    check(c, x, 1e-11);
    INFO("f32");
    check(c, converted(x, DType::f32), 4 * c.f32_tolerance);
  });
}

}  // namespace

TEST_CASE("op table: without recording the results are the same and nothing is kept") {
  for_both_types([](const OpCase& c, const Tensors& x, double tolerance) {
    require_unrecorded(c, x, tolerance);
  });
}

TEST_CASE("op table: one input at a time needing a gradient gets the one it gets among all") {
  for_both_types([](const OpCase& c, const Tensors& x, double tolerance) {
    if (c.differentiable) require_one_at_a_time(c, x, tolerance);
  });
}

// Every input in turn without dimensions, then all: the op takes it, or says why not. What it takes
// has a gradient of that shape.
TEST_CASE("op table: tensors without dimensions are taken or refused with a typed error") {
  int taken = 0, refused = 0;
  for (const OpCase& c : op_cases()) {
    for (size_t k = 0; k <= c.shapes[0].size(); ++k) {
      std::vector<Shape> shapes = c.shapes[0];
      for (size_t i = 0; i < shapes.size(); ++i)
        if (i == k || k == shapes.size()) shapes[i] = Shape{};
      INFO(title(c, shapes));
      Tensors x = draw_inputs(c, shapes, 22);
      // Labels of 0 are within everything.
      for (Tensor& t : x)
        if (t.dtype() == DType::i64) t = raw::zeros(t.shape(), DType::i64);
      try {
        const Tensors m = marked(x), y = c.f(m);
        if (c.differentiable) {
          const Tensors leaves = needing_gradient(m);
          const Tensors g = grad(y, leaves, {.allow_unused = true}, upstreams(y, DType::f64));
          for (size_t i = 0; i < g.size(); ++i)
            if (g[i].defined()) REQUIRE(g[i].shape() == leaves[i].shape());
        }
        ++taken;
      } catch (const Error& e) {
        // The text begins with the op's name.
        REQUIRE(std::string(e.what()).find(':') != std::string::npos);
        ++refused;
      }
    }
  }
  REQUIRE(taken > 50);
  REQUIRE(refused > 50);
}

}  // namespace loupe::testing
