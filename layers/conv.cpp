#include <loupe/autograd/ops/norm.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/init.h>

#include <tuple>

namespace loupe {
namespace {

// The options of any of the four layers. One number stands for both directions.
struct Window {
  Size2 kernel;
  Size2 stride;
  ConvPadding padding;
  Size2 dilation;
  int64_t groups;
  bool bias;
  bool transposed = false;
  Size2 output_padding = 0;
};

template <class Options> Window window(const Options& o) {
  Window w{.kernel = o.kernel_size,
           .stride = o.stride,
           .padding = o.padding,
           .dilation = o.dilation,
           .groups = o.groups,
           .bias = o.bias};
  if constexpr (requires { o.output_padding; }) {
    w.transposed = true;
    w.output_padding = o.output_padding;
  }
  return w;
}

void check(const char* layer, const Window& w) {
  if (w.padding.same && w.stride != Size2(1))
    fail<ValueError>("{}: padding kSame needs stride 1, got ({}, {})", layer, w.stride.h,
                     w.stride.w);
  if (w.stride.h < 1 || w.stride.w < 1 || w.dilation.h < 1 || w.dilation.w < 1 || w.padding.h < 0 ||
      w.padding.w < 0)
    fail<ValueError>(
        "{}: stride ({}, {}) and dilation ({}, {}) must be at least 1, padding ({}, {}) at least 0",
        layer, w.stride.h, w.stride.w, w.dilation.h, w.dilation.w, w.padding.h, w.padding.w);
  if (w.output_padding.h < 0 || w.output_padding.w < 0)
    fail<ValueError>("{}: output_padding must be at least 0, got ({}, {})", layer,
                     w.output_padding.h, w.output_padding.w);
}

// Weight and bias. `shape`: (out, in, kernel...), or (in, out, kernel...) of a transposed layer,
// with all channels; a group sees only its share of the second.
std::tuple<Tensor, Tensor> start(const char* layer, Rng& rng, Shape shape, const Window& w) {
  check(layer, w);
  for (int64_t size : shape)
    if (size < 1)
      fail<ValueError>("{}: channels and kernel sizes must be positive, got a weight of shape {}",
                       layer, shape);
  const int64_t out = shape[w.transposed ? 1 : 0];
  if (w.groups < 1 || shape[0] % w.groups != 0 || shape[1] % w.groups != 0)
    fail<ValueError>("{}: {} input and {} output channels cannot be divided into {} groups", layer,
                     shape[w.transposed ? 0 : 1], out, w.groups);
  shape[1] /= w.groups;
  Tensor weight = empty(shape), bias;
  init::kaiming_uniform_(weight, rng, {.a = init::kLayerSlope});
  weight.requires_grad_();
  if (!w.bias) return {weight, bias};
  bias = empty({out});
  init::bias_for(bias, weight, rng);
  bias.requires_grad_();
  return {weight, bias};
}

std::string text(Size2 v) {
  return v.h == v.w ? fmt::format("{}", v.h) : fmt::format("({}, {})", v.h, v.w);
}

// "3 -> 64, kernel 3", and every option that is not the default.
std::string described(const Tensor& weight, const Window& w) {
  const int64_t first = weight.size(0), second = weight.size(1) * w.groups;
  std::string s = w.transposed ? fmt::format("{} -> {}", first, second)
                               : fmt::format("{} -> {}", second, first);
  s += ", kernel " + text(w.kernel);
  if (w.stride != Size2(1)) s += ", stride " + text(w.stride);
  if (w.padding.same) s += ", padding same";
  else if (w.padding != ConvPadding(0)) s += ", padding " + text({w.padding.h, w.padding.w});
  if (w.output_padding != Size2(0)) s += ", output_padding " + text(w.output_padding);
  if (w.dilation != Size2(1)) s += ", dilation " + text(w.dilation);
  if (w.groups != 1) s += fmt::format(", groups {}", w.groups);
  return w.bias ? s : s + ", no bias";
}

// Two for each weight of a filter at each output.
int64_t operations(const Tensor& weight, const Shape& output) {
  return 2 * output.numel() * (weight.numel() / weight.size(0));
}

}  // namespace

Conv1d::Conv1d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o) : options(o) {
  const Shape shape{out_channels, in_channels, o.kernel_size};
  std::tie(weight, bias) = start("Conv1d", rng, shape, window(o));
}

Tensor Conv1d::forward(In x) const {
  return conv1d(x, weight, bias,
                {.stride = options.stride,
                 .padding = options.padding,
                 .dilation = options.dilation,
                 .groups = options.groups});
}

std::string Conv1d::describe() const { return described(weight, window(options)); }

int64_t Conv1d::flops(const Shape& /*input*/, const Shape& output) const {
  return operations(weight, output);
}

Conv2d::Conv2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o) : options(o) {
  const Shape shape{out_channels, in_channels, o.kernel_size.h, o.kernel_size.w};
  std::tie(weight, bias) = start("Conv2d", rng, shape, window(o));
}

Tensor Conv2d::forward(In x) const {
  return conv2d(x, weight, bias,
                {.stride = options.stride,
                 .padding = options.padding,
                 .dilation = options.dilation,
                 .groups = options.groups});
}

std::string Conv2d::describe() const { return described(weight, window(options)); }

int64_t Conv2d::flops(const Shape& /*input*/, const Shape& output) const {
  return operations(weight, output);
}

WeightStandardizedConv2d::WeightStandardizedConv2d(Rng& rng, int64_t in_channels,
                                                   int64_t out_channels, Options o)
    : options(o) {
  if (!(o.eps >= 0))
    fail<ValueError>("WeightStandardizedConv2d: eps must not be negative, got {}", o.eps);
  const Shape shape{out_channels, in_channels, o.conv.kernel_size.h, o.conv.kernel_size.w};
  std::tie(weight, bias) = start("WeightStandardizedConv2d", rng, shape, window(o.conv));
  if (weight.numel() == out_channels)
    fail<ValueError>("WeightStandardizedConv2d: a filter of one weight has no deviation: {}",
                     weight.shape());
}

Tensor WeightStandardizedConv2d::standardized() const {
  const int64_t out = weight.size(0), size = weight.numel() / out;
  const Tensor rows =
      layer_norm(weight.reshape({out, size}), Shape{size}, Tensor(), Tensor(), options.eps);
  return rows.reshape(weight.shape());
}

Tensor WeightStandardizedConv2d::forward(In x) const {
  const Conv2d::Options& o = options.conv;
  return conv2d(
      x, standardized(), bias,
      {.stride = o.stride, .padding = o.padding, .dilation = o.dilation, .groups = o.groups});
}

std::string WeightStandardizedConv2d::describe() const {
  return described(weight, window(options.conv));
}

int64_t WeightStandardizedConv2d::flops(const Shape& /*input*/, const Shape& output) const {
  return operations(weight, output);
}

ConvTranspose1d::ConvTranspose1d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o)
    : options(o) {
  const Shape shape{in_channels, out_channels, o.kernel_size};
  std::tie(weight, bias) = start("ConvTranspose1d", rng, shape, window(o));
}

Tensor ConvTranspose1d::forward(In x) const {
  return conv_transpose1d(x, weight, bias,
                          {.stride = options.stride,
                           .padding = options.padding,
                           .output_padding = options.output_padding,
                           .groups = options.groups,
                           .dilation = options.dilation});
}

std::string ConvTranspose1d::describe() const { return described(weight, window(options)); }

ConvTranspose2d::ConvTranspose2d(Rng& rng, int64_t in_channels, int64_t out_channels, Options o)
    : options(o) {
  const Shape shape{in_channels, out_channels, o.kernel_size.h, o.kernel_size.w};
  std::tie(weight, bias) = start("ConvTranspose2d", rng, shape, window(o));
}

Tensor ConvTranspose2d::forward(In x) const {
  return conv_transpose2d(x, weight, bias,
                          {.stride = options.stride,
                           .padding = options.padding,
                           .output_padding = options.output_padding,
                           .groups = options.groups,
                           .dilation = options.dilation});
}

std::string ConvTranspose2d::describe() const { return described(weight, window(options)); }

}  // namespace loupe
