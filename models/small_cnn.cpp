#include <loupe/autograd/ops.h>
#include <loupe/models/small_cnn.h>

namespace loupe {
namespace {

Conv2d conv(Rng& rng, int64_t in, int64_t out, NormKind norm) {
  return Conv2d(rng, in, out, {.kernel_size = 3, .padding = 1, .bias = norm == NormKind::none});
}

const SmallCnnConfig& checked(const SmallCnnConfig& c) {
  if (c.image_size < 8)
    fail<ValueError>("SmallCnn: image_size {} is below 8, which three poolings need", c.image_size);
  if (c.classes < 1 || c.hidden < 1)
    fail<ValueError>("SmallCnn: classes {} and hidden {} must be at least 1", c.classes, c.hidden);
  return c;
}

FeatureNorm hidden_norm(const SmallCnnConfig& c) {
  // Features of a vector have no neighbours to form groups with: one group is LayerNorm.
  return feature_norm(c.norm, c.hidden);
}

}  // namespace

SmallCnn::SmallCnn(Rng& rng, SmallCnnConfig c)
    : config(checked(c)),
      conv1(conv(rng, c.in_channels, c.widths[0], c.norm)),
      conv2(conv(rng, c.widths[0], c.widths[1], c.norm)),
      conv3(conv(rng, c.widths[1], c.widths[2], c.norm)),
      conv4(conv(rng, c.widths[2], c.widths[3], c.norm)),
      norm1(channel_norm(c.norm, c.widths[0])),
      norm2(channel_norm(c.norm, c.widths[1])),
      norm3(channel_norm(c.norm, c.widths[2])),
      norm4(channel_norm(c.norm, c.widths[3])),
      fc1(rng, c.widths[3] * (c.image_size / 8) * (c.image_size / 8), c.hidden,
          {.bias = c.norm == NormKind::none}),
      norm5(hidden_norm(c)),
      fc2(rng, c.hidden, c.classes),
      dropout1(rng, c.dropouts[0]),
      dropout2(rng, c.dropouts[1]),
      dropout3(rng, c.dropouts[2]) {}

Tensor SmallCnn::forward(In x) {
  if (x->dim() != 4 || x->size(1) != config.in_channels || x->size(2) != config.image_size ||
      x->size(3) != config.image_size)
    fail<ShapeError>("SmallCnn: expected images (N, {}, {}, {}), got {}", config.in_channels,
                     config.image_size, config.image_size, x->shape());
  Tensor h = norm_relu_pool(norm1, conv1(x), 2);
  h = norm_relu_pool(norm2, conv2(h), 1);
  h = dropout1(norm_relu_pool(norm3, conv3(h), 2));
  h = dropout2(norm_relu_pool(norm4, conv4(h), 2));
  h = dropout3(relu(normalize(norm5, fc1(h.flatten(1)))));
  return fc2(h);
}

}  // namespace loupe
