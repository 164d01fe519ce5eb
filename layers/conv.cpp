#include <loupe/layers/conv.h>
#include <loupe/layers/init.h>

namespace loupe {
namespace {

void check(const char* layer, Size2 stride, ConvPadding padding, Size2 dilation) {
  if (padding.same && stride != Size2(1))
    fail<ValueError>("{}: padding kSame needs stride 1, got ({}, {})", layer, stride.h, stride.w);
  if (stride.h < 1 || stride.w < 1 || dilation.h < 1 || dilation.w < 1 || padding.h < 0 ||
      padding.w < 0)
    fail<ValueError>(
        "{}: stride ({}, {}) and dilation ({}, {}) must be at least 1, padding ({}, {}) at least 0",
        layer, stride.h, stride.w, dilation.h, dilation.w, padding.h, padding.w);
}

// Weight and bias of either layer. `shape`: (out, in, kernel...), of which each group sees in /
// groups channels.
void start(const char* layer, Rng& rng, Shape shape, int64_t groups, bool with_bias, Tensor& weight,
           Tensor& bias) {
  for (int64_t size : shape)
    if (size < 1)
      fail<ValueError>("{}: channels and kernel sizes must be positive, got a weight of shape {}",
                       layer, shape);
  if (groups < 1 || shape[0] % groups != 0 || shape[1] % groups != 0)
    fail<ValueError>("{}: {} input and {} output channels cannot be divided into {} groups", layer,
                     shape[1], shape[0], groups);
  shape[1] /= groups;
  weight = empty(shape);
  init::kaiming_uniform(weight, rng);
  weight.requires_grad_();
  if (!with_bias) return;
  bias = empty({shape[0]});
  init::bias_for(bias, weight, rng);
  bias.requires_grad_();
}

std::string text(Size2 v) {
  return v.h == v.w ? fmt::format("{}", v.h) : fmt::format("({}, {})", v.h, v.w);
}

// "3 -> 64, kernel 3", and every option that is not the default.
std::string described(const Tensor& weight, Size2 kernel, Size2 stride, ConvPadding padding,
                      Size2 dilation, int64_t groups, bool bias) {
  std::string s =
      fmt::format("{} -> {}, kernel {}", weight.size(1) * groups, weight.size(0), text(kernel));
  if (stride != Size2(1)) s += ", stride " + text(stride);
  if (padding.same) s += ", padding same";
  else if (padding != ConvPadding(0)) s += ", padding " + text({padding.h, padding.w});
  if (dilation != Size2(1)) s += ", dilation " + text(dilation);
  if (groups != 1) s += fmt::format(", groups {}", groups);
  return bias ? s : s + ", no bias";
}

// The weight of a transposed layer is stored input channels first; its fan is that of its output.
void start_transposed(const char* layer, Rng& rng, Shape shape, int64_t groups, bool with_bias,
                      Size2 output_padding, Tensor& weight, Tensor& bias) {
  if (output_padding.h < 0 || output_padding.w < 0)
    fail<ValueError>("{}: output_padding must be at least 0, got ({}, {})", layer, output_padding.h,
                     output_padding.w);
  start(layer, rng, shape, groups, false, weight, bias);
  if (!with_bias) return;
  bias = empty({shape[1]});
  init::bias_for(bias, weight, rng);
  bias.requires_grad_();
}

// "3 -> 64, kernel 3, ..." of a transposed layer.
std::string described_transposed(const Tensor& weight, Size2 kernel, Size2 stride, Size2 padding,
                                 Size2 output_padding, Size2 dilation, int64_t groups, bool bias) {
  std::string s =
      fmt::format("{} -> {}, kernel {}", weight.size(0), weight.size(1) * groups, text(kernel));
  if (stride != Size2(1)) s += ", stride " + text(stride);
  if (padding != Size2(0)) s += ", padding " + text(padding);
  if (output_padding != Size2(0)) s += ", output_padding " + text(output_padding);
  if (dilation != Size2(1)) s += ", dilation " + text(dilation);
  if (groups != 1) s += fmt::format(", groups {}", groups);
  return bias ? s : s + ", no bias";
}

// Two for each weight of a filter at each output.
int64_t operations(const Tensor& weight, const Shape& output) {
  return 2 * output.numel() * (weight.numel() / weight.size(0));
}

}  // namespace

Conv1d::Conv1d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o) : options(o) {
  check("Conv1d", o.stride, o.padding, o.dilation);
  start("Conv1d", rng, {out_channels, in_channels, o.kernel_size}, o.groups, o.bias, weight, bias);
}

Tensor Conv1d::forward(In x) const {
  return conv1d(x, weight, bias,
                {options.stride, options.padding, options.dilation, options.groups});
}

std::string Conv1d::describe() const {
  return described(weight, options.kernel_size, options.stride, options.padding, options.dilation,
                   options.groups, options.bias);
}

int64_t Conv1d::flops(const Shape& /*input*/, const Shape& output) const {
  return operations(weight, output);
}

Conv2d::Conv2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o) : options(o) {
  check("Conv2d", o.stride, o.padding, o.dilation);
  start("Conv2d", rng, {out_channels, in_channels, o.kernel_size.h, o.kernel_size.w}, o.groups,
        o.bias, weight, bias);
}

Tensor Conv2d::forward(In x) const {
  return conv2d(x, weight, bias,
                {options.stride, options.padding, options.dilation, options.groups});
}

std::string Conv2d::describe() const {
  return described(weight, options.kernel_size, options.stride, options.padding, options.dilation,
                   options.groups, options.bias);
}

int64_t Conv2d::flops(const Shape& /*input*/, const Shape& output) const {
  return operations(weight, output);
}

ConvTranspose1d::ConvTranspose1d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o)
    : options(o) {
  check("ConvTranspose1d", o.stride, o.padding, o.dilation);
  start_transposed("ConvTranspose1d", rng, {in_channels, out_channels, o.kernel_size}, o.groups,
                   o.bias, o.output_padding, weight, bias);
}

Tensor ConvTranspose1d::forward(In x) const {
  return conv_transpose1d(
      x, weight, bias,
      {options.stride, options.padding, options.output_padding, options.groups, options.dilation});
}

std::string ConvTranspose1d::describe() const {
  return described_transposed(weight, options.kernel_size, options.stride, options.padding,
                              options.output_padding, options.dilation, options.groups,
                              options.bias);
}

ConvTranspose2d::ConvTranspose2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o)
    : options(o) {
  check("ConvTranspose2d", o.stride, o.padding, o.dilation);
  start_transposed("ConvTranspose2d", rng,
                   {in_channels, out_channels, o.kernel_size.h, o.kernel_size.w}, o.groups, o.bias,
                   o.output_padding, weight, bias);
}

Tensor ConvTranspose2d::forward(In x) const {
  return conv_transpose2d(
      x, weight, bias,
      {options.stride, options.padding, options.output_padding, options.groups, options.dilation});
}

std::string ConvTranspose2d::describe() const {
  return described_transposed(weight, options.kernel_size, options.stride, options.padding,
                              options.output_padding, options.dilation, options.groups,
                              options.bias);
}

}  // namespace loupe
