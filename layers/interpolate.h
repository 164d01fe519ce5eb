#pragma once
// Resampling as a layer.
#include <loupe/autograd/ops/interpolate.h>
#include <loupe/layers/module.h>

namespace loupe {

/// interpolate(x, options): Upsample({.scale_factor = 2}). Options and modes in
/// autograd/ops/interpolate.h; PyTorch's "bilinear" is Interpolation::linear of an image.
class Upsample : public Layer<Upsample> {
 public:
  using Options = InterpolateArgs;
  explicit Upsample(Options o) : options(o) {}
  Tensor forward(In x) const { return interpolate(x, options); }
  void visit(Visitor& /*v*/) override {}
  std::string type_name() const override { return "Upsample"; }
  std::string describe() const override {
    return options.size ? fmt::format("to {} x {}", options.size->h, options.size->w)
                        : fmt::format("by {}", options.scale_factor.value_or(0));
  }

  Options options;
};

}  // namespace loupe
