#pragma once
// Layers that replace a norm. They compute no mean or variance: each element goes through a
// squashing function with a learned slope.
#include <loupe/layers/module.h>

namespace loupe {

/// DyT: tanh(alpha x) * weight + bias (Zhu et al. 2025, Transformers without Normalization). x
/// (..., size); weight 1 and bias 0, (size); alpha, (1), starts at alpha_init.
class DynamicTanh : public Layer<DynamicTanh> {
 public:
  struct Options {
    double alpha_init = 0.5;
  };
  /// ValueError unless size > 0 and alpha_init is finite.
  DynamicTanh(int64_t size, Options o);
  explicit DynamicTanh(int64_t size) : DynamicTanh(size, Options{}) {}
  /// ShapeError unless x ends in `size`.
  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("alpha", alpha, "weight", weight, "bias", bias); }
  std::string type_name() const override { return "DynamicTanh"; }

  Tensor alpha, weight, bias;
};

/// Derf: erf(alpha x + shift) * weight + bias (Chen et al. 2025, Stronger Normalization-Free
/// Transformers). As DynamicTanh, with a learned shift, (1), from 0.
class DynamicErf : public Layer<DynamicErf> {
 public:
  struct Options {
    double alpha_init = 0.5;
  };
  DynamicErf(int64_t size, Options o);
  explicit DynamicErf(int64_t size) : DynamicErf(size, Options{}) {}
  Tensor forward(In x) const;
  void visit(Visitor& v) override {
    v("alpha", alpha, "shift", shift, "weight", weight, "bias", bias);
  }
  std::string type_name() const override { return "DynamicErf"; }

  Tensor alpha, shift, weight, bias;
};

}  // namespace loupe
