#include <loupe/autograd/ops.h>
#include <loupe/layers/residual.h>

#include <cmath>

namespace loupe {

SkipInit::SkipInit(double gain_init) {
  if (!std::isfinite(gain_init))
    fail<ValueError>("SkipInit: gain_init must be finite, got {}", gain_init);
  gain = full({1}, gain_init).requires_grad_();
}

Tensor SkipInit::forward(In x) const { return x * gain; }

LayerScale::LayerScale(int64_t size, Options o) {
  if (size < 1) fail<ValueError>("LayerScale: size must be at least 1, got {}", size);
  if (!std::isfinite(o.init_values))
    fail<ValueError>("LayerScale: init_values must be finite, got {}", o.init_values);
  gamma = full({size}, o.init_values).requires_grad_();
}

Tensor LayerScale::forward(In x) const {
  if (x->dim() < 1 || x->size(-1) != gamma.size(0))
    fail<ShapeError>("LayerScale: expected (..., {}), got {}", gamma.size(0), x->shape());
  return x * gamma;
}

}  // namespace loupe
