#include <loupe/autograd/ops.h>
#include <loupe/layers/dynamic.h>

#include <cmath>

namespace loupe {
namespace {

Tensor parameter(Tensor t) {
  t.requires_grad_();
  return t;
}

int64_t checked(const char* layer, int64_t size, double alpha_init) {
  if (size < 1) fail<ValueError>("{}: size must be at least 1, got {}", layer, size);
  if (!std::isfinite(alpha_init))
    fail<ValueError>("{}: alpha_init must be finite, got {}", layer, alpha_init);
  return size;
}

void check_input(const char* layer, const Tensor& x, int64_t size) {
  if (x.dim() < 1 || x.size(-1) != size)
    fail<ShapeError>("{}: expected (..., {}), got {}", layer, size, x.shape());
}

}  // namespace

DynamicTanh::DynamicTanh(int64_t size, Options o)
    : alpha(parameter(full({1}, o.alpha_init))),
      weight(parameter(ones({checked("DynamicTanh", size, o.alpha_init)}))),
      bias(parameter(zeros({size}))) {}

Tensor DynamicTanh::forward(In x) const {
  check_input("DynamicTanh", x, weight.size(0));
  return tanh(x * alpha) * weight + bias;
}

DynamicErf::DynamicErf(int64_t size, Options o)
    : alpha(parameter(full({1}, o.alpha_init))),
      shift(parameter(zeros({1}))),
      weight(parameter(ones({checked("DynamicErf", size, o.alpha_init)}))),
      bias(parameter(zeros({size}))) {}

Tensor DynamicErf::forward(In x) const {
  check_input("DynamicErf", x, weight.size(0));
  return erf(x * alpha + shift) * weight + bias;
}

}  // namespace loupe
