#pragma once
// Convolution layers. Options are PyTorch's, but for padding_mode (zeros only). Weights and biases
// start from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in = in_channels / groups * kernel size.
#include <loupe/autograd/ops/conv.h>
#include <loupe/layers/module.h>

namespace loupe {

/// (N, in_channels, L) -> (N, out_channels, L'); see conv1d. weight (out, in / groups,
/// kernel_size), bias (out).
class Conv1d : public Layer<Conv1d> {
 public:
  struct Options {
    int64_t kernel_size = 1, stride = 1, padding = 0, dilation = 1, groups = 1;
    bool bias = true;
  };
  Conv1d(Rng& rng, int64_t in_channels, int64_t out_channels, Options options);

  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "Conv1d"; }
  std::string describe() const override;
  int64_t flops(const Shape& input, const Shape& output) const override;

  Options options;
  Tensor weight, bias;
};

/// (N, in_channels, H, W) -> (N, out_channels, H', W'); see conv2d. weight (out, in / groups, rows,
/// columns), bias (out).
class Conv2d : public Layer<Conv2d> {
 public:
  struct Options {
    Size2 kernel_size = 1, stride = 1, padding = 0, dilation = 1;
    int64_t groups = 1;
    bool bias = true;
  };
  Conv2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options options);

  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "Conv2d"; }
  std::string describe() const override;
  int64_t flops(const Shape& input, const Shape& output) const override;

  Options options;
  Tensor weight, bias;
};

}  // namespace loupe
