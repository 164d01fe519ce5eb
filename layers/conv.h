#pragma once
// Convolution layers. Options are PyTorch's, but for padding_mode (zeros only). Weights and biases
// start from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), fan_in = in_channels / groups * kernel size; a
// transposed layer takes out_channels instead, as PyTorch does.
#include <loupe/autograd/ops/conv.h>
#include <loupe/layers/module.h>

namespace loupe {

/// (N, in_channels, L) -> (N, out_channels, L'); see conv1d. weight (out, in / groups,
/// kernel_size), bias (out).
class Conv1d : public Layer<Conv1d> {
 public:
  struct Options {
    int64_t kernel_size = 1, stride = 1;
    ConvPadding padding = 0;  // or kSame
    int64_t dilation = 1, groups = 1;
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
    Size2 kernel_size = 1, stride = 1;
    ConvPadding padding = 0;  // or kSame
    Size2 dilation = 1;
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

/// Conv2d by a standardized weight: (weight - mean) / sqrt(var + eps) over each output channel's
/// filter, with the biased variance (Qiao et al. 2019, Micro-Batch Training with Batch-Channel
/// Normalization and Weight Standardization). Names and state as Conv2d's: what is learned, and
/// saved, is the weight before.
class WeightStandardizedConv2d : public Layer<WeightStandardizedConv2d> {
 public:
  struct Options {
    Conv2d::Options conv = {};
    double eps = 1e-6;
  };
  /// ValueError as Conv2d, for a filter of one weight, and for a negative eps.
  WeightStandardizedConv2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options options);

  Tensor forward(In x) const;
  /// The weight that the convolution takes.
  Tensor standardized() const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "WeightStandardizedConv2d"; }
  std::string describe() const override;
  int64_t flops(const Shape& input, const Shape& output) const override;

  Options options;
  Tensor weight, bias;
};

/// (N, in_channels, L) -> (N, out_channels, L'); see conv_transpose1d. weight (in, out / groups,
/// kernel_size), bias (out).
class ConvTranspose1d : public Layer<ConvTranspose1d> {
 public:
  struct Options {
    int64_t kernel_size = 1, stride = 1, padding = 0, output_padding = 0, groups = 1;
    bool bias = true;
    int64_t dilation = 1;
  };
  ConvTranspose1d(Rng& rng, int64_t in_channels, int64_t out_channels, Options options);

  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "ConvTranspose1d"; }
  std::string describe() const override;

  Options options;
  Tensor weight, bias;
};

/// (N, in_channels, H, W) -> (N, out_channels, H', W'); see conv_transpose2d. weight (in, out /
/// groups, rows, columns), bias (out).
class ConvTranspose2d : public Layer<ConvTranspose2d> {
 public:
  struct Options {
    Size2 kernel_size = 1, stride = 1, padding = 0, output_padding = 0;
    int64_t groups = 1;
    bool bias = true;
    Size2 dilation = 1;
  };
  ConvTranspose2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options options);

  Tensor forward(In x) const;
  void visit(Visitor& v) override { v("weight", weight, "bias", bias); }
  std::string type_name() const override { return "ConvTranspose2d"; }
  std::string describe() const override;

  Options options;
  Tensor weight, bias;
};

}  // namespace loupe
