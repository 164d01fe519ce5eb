#include <loupe/autograd/ops.h>
#include <loupe/layers/fused.h>
#include <loupe/layers/init.h>
#include <loupe/models/resnet_cifar.h>

namespace loupe {
namespace {

Conv2d conv(Rng& rng, int64_t in, int64_t out, int64_t size, int64_t stride) {
  return Conv2d(rng, in, out,
                {.kernel_size = size, .stride = stride, .padding = size / 2, .bias = false});
}

Sequential stage(Rng& rng, int64_t in, int64_t out, int64_t blocks, int64_t stride) {
  Sequential s;
  for (int64_t i = 0; i < blocks; ++i)
    s.push_back(BasicBlock(rng, i == 0 ? in : out, out, i == 0 ? stride : 1));
  return s;
}

const ResNetCifarConfig& checked(const ResNetCifarConfig& c) {
  if (c.classes < 1) fail<ValueError>("ResNetCifar: classes {} must be at least 1", c.classes);
  return c;
}

int64_t blocks(const ResNetCifarConfig& c) {
  if (c.depth < 8 || (c.depth - 2) % 6 != 0)
    fail<ValueError>("ResNetCifar: depth {} is not 6 n + 2 with n of at least 1", c.depth);
  return (c.depth - 2) / 6;
}

}  // namespace

BasicBlock::BasicBlock(Rng& rng, int64_t in, int64_t out, int64_t stride)
    : conv1(conv(rng, in, out, 3, stride)), bn1(out), conv2(conv(rng, out, out, 3, 1)), bn2(out) {
  if (stride != 1 || in != out) downsample.emplace(conv(rng, in, out, 1, stride), BatchNorm2d(out));
}

Tensor BasicBlock::forward(In x) {
  const Tensor y = bn2(conv2(bn_relu(bn1, conv1(x))));
  return relu(y + (downsample ? (*downsample)(x) : x.t));
}

ResNetCifar::ResNetCifar(Rng& rng, ResNetCifarConfig c)
    : config(checked(c)),
      conv1(conv(rng, c.in_channels, c.width, 3, 1)),
      bn1(c.width),
      layer1(stage(rng, c.width, c.width, blocks(c), 1)),
      layer2(stage(rng, c.width, 2 * c.width, blocks(c), 2)),
      layer3(stage(rng, 2 * c.width, 4 * c.width, blocks(c), 2)),
      fc(rng, 4 * c.width, c.classes) {}

Tensor ResNetCifar::forward(In x) {
  const Tensor h = layer3(layer2(layer1(bn_relu(bn1, conv1(x)))));
  return fc(h.mean({2, 3}));
}

}  // namespace loupe
