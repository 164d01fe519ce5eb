#pragma once
// Layers at the end of a residual branch, which let it start small: networks without a norm train
// so.
#include <loupe/layers/module.h>

namespace loupe {

/// gain * x with one learned scalar, (1), from gain_init: x + gain * branch(x). SkipInit (De and
/// Smith 2020) and ReZero (Bachlechner et al. 2020) start it at 0, so that the network starts as
/// its skips.
class SkipInit : public Layer<SkipInit> {
 public:
  /// ValueError unless gain_init is finite.
  explicit SkipInit(double gain_init = 0);
  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("gain", gain); }
  std::string type_name() const override { return "SkipInit"; }

  Tensor gain;
};

/// x * gamma over the last dimension, gamma (size) from init_values (Touvron et al. 2021, Going
/// deeper with Image Transformers).
class LayerScale : public Layer<LayerScale> {
 public:
  struct Options {
    double init_values = 1e-5;
  };
  /// ValueError unless size > 0 and init_values is finite.
  LayerScale(int64_t size, Options o);
  explicit LayerScale(int64_t size) : LayerScale(size, Options{}) {}
  /// ShapeError unless x ends in `size`.
  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("gamma", gamma); }
  std::string type_name() const override { return "LayerScale"; }
  std::string describe() const override { return fmt::format("{}", gamma.size(0)); }

  Tensor gamma;
};

}  // namespace loupe
