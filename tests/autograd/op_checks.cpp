#include "op_checks.h"

#include <loupe/autograd/shadow.h>

namespace loupe::testing {

void check_forward(const OpCase& c, const std::vector<Shape>& shapes) {
  const Tensors inputs = draw_inputs(c, shapes, 1);
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

void check_gradient(const OpCase& c, const std::vector<Shape>& shapes) {
  if (!c.differentiable) return;
  const Tensors x = draw_inputs(c, shapes, 2);
  REQUIRE_NOTHROW(gradcheck(c.f, x, {.label = c.name, .tolerance = c.gradient_tolerance}));
}

void check_second_derivative(const OpCase& c, const std::vector<Shape>& shapes) {
  if (!c.differentiable) return;
  const Tensors x = draw_inputs(c, shapes, 3);
  REQUIRE_NOTHROW(gradgradcheck(c.f, x, {.label = c.name, .tolerance = c.gradient_tolerance}));
}

void check_f32(const OpCase& c, const std::vector<Shape>& shapes) {
  // The f64 path gets the very numbers that f32 can hold.
  const Tensors x32 = converted(draw_inputs(c, shapes, 4), DType::f32);
  const Tensors x64 = converted(x32, DType::f64);
  const Tensors y32 = c.f(x32), y64 = c.f(x64);
  REQUIRE(y32.size() == y64.size());
  for (size_t i = 0; i < y32.size(); ++i)
    require_close(y32[i], y64[i].to_vector<double>(), c.f32_tolerance);
  if (!c.differentiable || c.name == "to") return;
  const Tensors g32 = gradients(c, x32), g64 = gradients(c, x64);
  for (size_t i = 0; i < g32.size(); ++i) {
    REQUIRE(g32[i].dtype() == DType::f32);
    INFO("gradient " << i);
    require_close(g32[i], g64[i].to_vector<double>(), c.f32_tolerance);
  }
}

void check_shadow(const OpCase& c, const std::vector<Shape>& shapes) {
  if (!c.differentiable) return;
  const Tensors x = converted(draw_inputs(c, shapes, 5), DType::f32);
  ShadowGuard shadow(1e-5);
  REQUIRE_NOTHROW(gradients(c, x));
  const std::vector<ShadowRow> rows = shadow.rows();
  // contiguous gives a row-major tensor itself.
  REQUIRE((!rows.empty() || c.name == "contiguous"));
  for (const ShadowRow& r : rows) {
    INFO(r.op);
    REQUIRE(r.checks > 0);
  }
}

std::vector<std::vector<Shape>> all_shapes(const OpCase& c) {
  std::vector<std::vector<Shape>> shapes = c.shapes;
  if (!c.large.empty()) shapes.push_back(c.large);
  return shapes;
}

}  // namespace loupe::testing
