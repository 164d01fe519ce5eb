#include <loupe/autograd/autograd.h>
#include <loupe/autograd/ops.h>
#include <loupe/layers/fold.h>
#include <loupe/layers/sequential.h>
#include <loupe/layers/state.h>

namespace loupe {
namespace {

struct Folded {
  Tensor weight, bias;
};

// `channels`: the layer's output channels, its weight's first dimension.
Folded folded(const char* what, const Tensor& weight, const Tensor& bias, const BatchNormState& bn,
              bool training) {
  if (training)
    fail<ValueError>(
        "{}: the BatchNorm must be in eval mode: in training its scale changes with "
        "each batch; call eval(model) first",
        what);
  if (!bn.running_mean.defined())
    fail<ValueError>(
        "{}: the BatchNorm has no running statistics to fold "
        "(track_running_stats = false)",
        what);
  if (bn.options.axis != 1)
    fail<ValueError>("{}: the BatchNorm's channels are axis {}, the layer's are axis 1", what,
                     bn.options.axis);
  const int64_t channels = weight.size(0);
  if (bn.running_mean.size(0) != channels)
    fail<ShapeError>("{}: a layer of {} outputs and a BatchNorm of {} channels", what, channels,
                     bn.running_mean.size(0));
  NoGrad guard;
  const auto wide = [](const Tensor& t) { return t.detach().to(DType::f64); };
  Tensor scale = 1 / sqrt(wide(bn.running_var) + *bn.options.eps);
  if (bn.weight.defined()) scale = scale * wide(bn.weight);
  Tensor shift = -wide(bn.running_mean);
  if (bias.defined()) shift = shift + wide(bias);
  shift = shift * scale;
  if (bn.bias.defined()) shift = shift + wide(bn.bias);
  const Shape column = weight.dim() == 4 ? Shape{channels, 1, 1, 1} : Shape{channels, 1};
  Folded f{(wide(weight) * scale.reshape(column)).to(weight.dtype()), shift.to(weight.dtype())};
  f.weight.requires_grad_(weight.requires_grad());
  f.bias.requires_grad_(weight.requires_grad());
  return f;
}

// Layers i and i + 1 as one, if they are such a pair. `change` false: only the checks.
bool fold_pair(Sequential& net, size_t i, bool change) {
  auto* conv = dynamic_cast<Conv2d*>(&net[i]);
  auto* image_norm = dynamic_cast<BatchNorm2d*>(&net[i + 1]);
  auto* linear = dynamic_cast<Linear*>(&net[i]);
  auto* feature_norm = dynamic_cast<BatchNorm1d*>(&net[i + 1]);
  if (conv && image_norm) {
    Conv2d one = fuse_conv_bn_eval(*conv, *image_norm);
    if (change) *conv = std::move(one);
  } else if (linear && feature_norm) {
    Linear one = fuse_linear_bn_eval(*linear, *feature_norm);
    if (change) *linear = std::move(one);
  } else {
    return false;
  }
  if (change) net.replace(i + 1, Identity());
  return true;
}

int64_t fold_pairs(Module& model, bool change) {
  std::vector<Sequential*> nets;  // first, since what is folded away is gone
  for (auto& [path, module] : named_modules(model))
    if (auto* net = dynamic_cast<Sequential*>(module)) nets.push_back(net);
  int64_t count = 0;
  for (Sequential* net : nets)
    for (size_t i = 0; i + 1 < net->size(); ++i) count += fold_pair(*net, i, change);
  return count;
}

}  // namespace

Conv2d fuse_conv_bn_eval(const Conv2d& conv, const BatchNorm2d& bn) {
  const Folded f = folded("fuse_conv_bn_eval", conv.weight, conv.bias, bn, bn.is_training());
  Rng unused(0);
  Conv2d::Options options = conv.options;
  options.bias = true;
  Conv2d one(unused, conv.weight.size(1) * options.groups, conv.weight.size(0), options);
  one.weight = f.weight;
  one.bias = f.bias;
  train(one, false);
  return one;
}

Linear fuse_linear_bn_eval(const Linear& linear, const BatchNorm1d& bn) {
  const Folded f = folded("fuse_linear_bn_eval", linear.weight, linear.bias, bn, bn.is_training());
  Rng unused(0);
  Linear one(unused, linear.weight.size(1), linear.weight.size(0));
  one.weight = f.weight;
  one.bias = f.bias;
  train(one, false);
  return one;
}

int64_t fold_batch_norm(Module& model) {
  fold_pairs(model, false);  // all the errors first
  return fold_pairs(model, true);
}

}  // namespace loupe
