#pragma once
// The fully connected layer.
#include <loupe/layers/module.h>

namespace loupe {

enum class LinearThen { nothing, relu };

/// y = x W^T + b: x (..., in) -> (..., out). weight (out, in) and bias (out) start from
/// U(-1/sqrt(in), 1/sqrt(in)).
class Linear : public Layer<Linear> {
 public:
  struct Options {
    bool bias = true;
  };
  Linear(Rng& rng, int64_t in_features, int64_t out_features, Options options = {.bias = true});

  /// LinearThen::relu: max(y, 0), as one pass over memory (layers/fused.h).
  Tensor forward(In x, LinearThen then = LinearThen::nothing) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "Linear"; }
  std::string describe() const override;
  int64_t flops(const Shape& input, const Shape& output) const override;

  Tensor weight;  // (out, in)
  Tensor bias;    // (out), undefined without bias
};

}  // namespace loupe
