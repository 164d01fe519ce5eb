#include <loupe/autograd/ops/matmul.h>
#include <loupe/layers/init.h>
#include <loupe/layers/linear.h>

namespace loupe {

Linear::Linear(Rng& rng, int64_t in_features, int64_t out_features, Options options) {
  if (in_features < 0 || out_features < 0)
    fail<ValueError>("Linear: sizes must not be negative, got {} -> {}", in_features, out_features);
  weight = empty({out_features, in_features});
  init::kaiming_uniform_(weight, rng, {.a = init::kLayerSlope});
  weight.requires_grad_();
  if (!options.bias) return;
  bias = empty({out_features});
  init::bias_for(bias, weight, rng);
  bias.requires_grad_();
}

Tensor Linear::forward(In x, LinearThen then) const {
  return then == LinearThen::relu ? linear_relu(x, weight, bias) : linear(x, weight, bias);
}

std::string Linear::describe() const {
  return fmt::format("{} -> {}{}", weight.size(1), weight.size(0),
                     bias.defined() ? "" : ", no bias");
}

int64_t Linear::flops(const Shape& /*input*/, const Shape& output) const {
  return 2 * output.numel() * weight.size(1);
}

}  // namespace loupe
