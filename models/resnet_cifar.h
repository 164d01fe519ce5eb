#pragma once
// The residual networks of He et al., "Deep residual learning for image recognition", 2015,
// section 4.2, with torchvision's names and its 1 x 1 convolutions on the shortcuts that change
// size (the paper's option B).
#include <loupe/layers/conv.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/sequential.h>

#include <optional>

namespace loupe {

/// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)), 3 x 3 convolutions; (N, in, H, W) -> (N,
/// out, H/stride, W/stride), rounded up.
class BasicBlock : public Layer<BasicBlock> {
 public:
  BasicBlock(Rng& rng, int64_t in_channels, int64_t out_channels, int64_t stride);
  Tensor forward(In x);
  void visit(Visitor& v) override {
    v("conv1", conv1, "bn1", bn1, "conv2", conv2, "bn2", bn2, "downsample", downsample);
  }
  std::string type_name() const override { return "BasicBlock"; }

  Conv2d conv1;
  BatchNorm2d bn1;
  Conv2d conv2;
  BatchNorm2d bn2;
  std::optional<Sequential> downsample;
};

struct ResNetCifarConfig {
  int64_t depth = 20;  // 6 n + 2
  int64_t width = 16, classes = 10, in_channels = 3;
};

/// conv1 bn1 ReLU, three stages of n blocks with width, 2 width and 4 width channels, average over
/// positions, fc: (N, C, H, W) -> (N, classes).
class ResNetCifar : public Layer<ResNetCifar> {
 public:
  explicit ResNetCifar(Rng& rng, ResNetCifarConfig config = {});
  Tensor forward(In x);
  void visit(Visitor& v) override {
    v("conv1", conv1, "bn1", bn1, "layer1", layer1, "layer2", layer2, "layer3", layer3, "fc", fc);
  }
  std::string type_name() const override { return "ResNetCifar"; }

  ResNetCifarConfig config;
  Conv2d conv1;
  BatchNorm2d bn1;
  Sequential layer1, layer2, layer3;
  Linear fc;
};

}  // namespace loupe
