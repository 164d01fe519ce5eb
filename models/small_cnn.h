#pragma once
// A small CNN for 28 x 28 images.
#include <loupe/layers/conv.h>
#include <loupe/layers/dropout.h>
#include <loupe/layers/linear.h>
#include <loupe/models/norm_choice.h>

#include <array>

namespace loupe {

struct SmallCnnConfig {
  int64_t in_channels = 1, classes = 10, image_size = 28;
  std::array<int64_t, 4> widths = {32, 64, 64, 128};
  int64_t hidden = 128;
  NormKind norm = NormKind::batch;
  std::array<double, 3> dropouts = {0.25, 0.25, 0.4};
};

/// [conv norm ReLU pool] [conv norm ReLU] [conv norm ReLU pool] dropout [conv norm ReLU pool]
/// dropout flatten fc1 norm ReLU dropout fc2: x (N, C, S, S) -> logits (N, classes). Convolutions
/// are 3 x 3 with padding 1 and, like fc1, have a bias only without norm. 278,890 parameters with
/// the defaults.
class SmallCnn : public Layer<SmallCnn> {
 public:
  explicit SmallCnn(Rng& rng, SmallCnnConfig config = {});
  Tensor forward(In x);
  void visit(Visitor& v) override {
    v("conv1", conv1, "norm1", norm1, "conv2", conv2, "norm2", norm2, "conv3", conv3, "norm3",
      norm3, "conv4", conv4, "norm4", norm4, "fc1", fc1, "norm5", norm5, "fc2", fc2, "dropout1",
      dropout1, "dropout2", dropout2, "dropout3", dropout3);
  }
  std::string type_name() const override { return "SmallCnn"; }

  SmallCnnConfig config;
  Conv2d conv1, conv2, conv3, conv4;
  ChannelNorm norm1, norm2, norm3, norm4;
  Linear fc1;
  FeatureNorm norm5;
  Linear fc2;
  Dropout dropout1, dropout2, dropout3;
};

}  // namespace loupe
