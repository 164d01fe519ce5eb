// Products, convolution, pooling, norms, attention, dropout.
#include <loupe/autograd/ops.h>

#include "case.h"

namespace judge {

namespace {

Size2 size2(const Args& a, const std::string& key, int64_t otherwise) {
  if (!a.has(key)) return Size2(otherwise);
  const std::vector<int64_t> n = a.integers(key);
  return n.size() == 1 ? Size2(n[0]) : Size2(n.at(0), n.at(1));
}

ConvPadding conv_padding(const Args& a) {
  if (a.flag("same")) return kSame;
  return size2(a, "padding", 0);
}

Pool1dArgs pool1d(const Args& a) {
  Pool1dArgs args;
  if (a.has("stride")) args.stride = a.integer("stride");
  args.padding = a.integer("padding");
  args.count_include_pad = a.flag("count_include_pad", true);
  args.ceil_mode = a.flag("ceil_mode");
  args.dilation = a.integer("dilation", 1);
  return args;
}

Pool2dArgs pool2d(const Args& a) {
  Pool2dArgs args;
  if (a.has("stride")) args.stride = size2(a, "stride", 1);
  args.padding = size2(a, "padding", 0);
  args.count_include_pad = a.flag("count_include_pad", true);
  args.ceil_mode = a.flag("ceil_mode");
  args.dilation = size2(a, "dilation", 1);
  return args;
}

// x, weight, bias, running_mean, running_var; the buffers after the call are outputs too.
using Norm = Tensor (*)(In x, In weight, In bias, const BatchNormArgs& args);
Tensors with_buffers(Norm norm, const Tensors& x, const Args& a) {
  BatchNormArgs args;
  args.running_mean = optional_input(x, 3);
  args.running_var = optional_input(x, 4);
  args.training = a.flag("training");
  args.momentum = a.number("momentum", 0.1);
  args.eps = a.number("eps", 1e-5);
  Tensors y{norm(x[0], optional_input(x, 1), optional_input(x, 2), args)};
  for (const Tensor& buffer : {args.running_mean, args.running_var})
    if (buffer.defined()) y.push_back(buffer);
  return y;
}

AttentionOptions attention_options(const Tensors& x, const Args& a) {
  AttentionOptions options;
  options.attn_mask = optional_input(x, 3);
  options.is_causal = a.flag("is_causal");
  if (a.has("scale")) options.scale = a.number("scale");
  return options;
}

const Row kRows[] = {
    {"matmul", [](const Tensors& x, const Args&) { return Tensors{matmul(x[0], x[1])}; }},
    {"linear", [](const Tensors& x,
                  const Args&) { return Tensors{linear(x[0], x[1], optional_input(x, 2))}; }},
    {"linear_relu",
     [](const Tensors& x, const Args&) {
       return Tensors{linear_relu(x[0], x[1], optional_input(x, 2))};
     }},
    {"addmm", [](const Tensors& x, const Args&) { return Tensors{addmm(x[0], x[1], x[2])}; }},

    {"conv1d",
     [](const Tensors& x, const Args& a) {
       const Conv1dArgs args{.stride = a.integer("stride", 1),
                             .padding = conv_padding(a),
                             .dilation = a.integer("dilation", 1),
                             .groups = a.integer("groups", 1)};
       return Tensors{conv1d(x[0], x[1], optional_input(x, 2), args)};
     }},
    {"conv2d",
     [](const Tensors& x, const Args& a) {
       const Conv2dArgs args{.stride = size2(a, "stride", 1),
                             .padding = conv_padding(a),
                             .dilation = size2(a, "dilation", 1),
                             .groups = a.integer("groups", 1)};
       return Tensors{conv2d(x[0], x[1], optional_input(x, 2), args)};
     }},

    {"max_pool1d",
     [](const Tensors& x, const Args& a) {
       return Tensors{max_pool1d(x[0], a.integer("kernel_size"), pool1d(a))};
     }},
    {"max_pool2d",
     [](const Tensors& x, const Args& a) {
       return Tensors{max_pool2d(x[0], size2(a, "kernel_size", 1), pool2d(a))};
     }},
    {"max_pool1d_with_indices",
     [](const Tensors& x, const Args& a) {
       const PoolResult y = max_pool1d_with_indices(x[0], a.integer("kernel_size"), pool1d(a));
       return Tensors{y.values, y.indices};
     }},
    {"max_pool2d_with_indices",
     [](const Tensors& x, const Args& a) {
       const PoolResult y = max_pool2d_with_indices(x[0], size2(a, "kernel_size", 1), pool2d(a));
       return Tensors{y.values, y.indices};
     }},
    {"conv_transpose1d",
     [](const Tensors& x, const Args& a) {
       const ConvTranspose1dArgs args{.stride = a.integer("stride", 1),
                                      .padding = a.integer("padding"),
                                      .output_padding = a.integer("output_padding"),
                                      .groups = a.integer("groups", 1),
                                      .dilation = a.integer("dilation", 1)};
       return Tensors{conv_transpose1d(x[0], x[1], optional_input(x, 2), args)};
     }},
    {"conv_transpose2d",
     [](const Tensors& x, const Args& a) {
       const ConvTranspose2dArgs args{.stride = size2(a, "stride", 1),
                                      .padding = size2(a, "padding", 0),
                                      .output_padding = size2(a, "output_padding", 0),
                                      .groups = a.integer("groups", 1),
                                      .dilation = size2(a, "dilation", 1)};
       return Tensors{conv_transpose2d(x[0], x[1], optional_input(x, 2), args)};
     }},
    {"interpolate",
     [](const Tensors& x, const Args& a) {
       InterpolateArgs args;
       if (a.has("size")) {
         const std::vector<int64_t> size = a.integers("size");
         args.size = size.size() == 1 ? Size2(1, size[0]) : Size2(size.at(0), size.at(1));
       }
       if (a.has("scale_factor")) args.scale_factor = a.number("scale_factor");
       const std::string mode = a.text("mode");
       if (mode == "nearest-exact") args.mode = Interpolation::nearest_exact;
       else if (mode != "nearest") args.mode = Interpolation::linear;
       args.align_corners = a.flag("align_corners");
       return Tensors{interpolate(x[0], args)};
     }},
    {"avg_pool1d",
     [](const Tensors& x, const Args& a) {
       return Tensors{avg_pool1d(x[0], a.integer("kernel_size"), pool1d(a))};
     }},
    {"avg_pool2d",
     [](const Tensors& x, const Args& a) {
       return Tensors{avg_pool2d(x[0], size2(a, "kernel_size", 1), pool2d(a))};
     }},
    {"adaptive_avg_pool1d",
     [](const Tensors& x, const Args& a) {
       return Tensors{adaptive_avg_pool1d(x[0], a.integer("output_size"))};
     }},
    {"adaptive_avg_pool2d",
     [](const Tensors& x, const Args& a) {
       return Tensors{adaptive_avg_pool2d(x[0], size2(a, "output_size", 1))};
     }},

    {"batch_norm", [](const Tensors& x, const Args& a) { return with_buffers(batch_norm, x, a); }},
    {"batch_norm_relu",
     [](const Tensors& x, const Args& a) { return with_buffers(batch_norm_relu, x, a); }},
    {"batch_norm_relu_max_pool",
     [](const Tensors& x, const Args& a) { return with_buffers(batch_norm_relu_max_pool, x, a); }},
    {"instance_norm",
     [](const Tensors& x, const Args& a) { return with_buffers(instance_norm, x, a); }},
    {"group_norm",
     [](const Tensors& x, const Args& a) {
       return Tensors{group_norm(x[0], a.integer("num_groups"), optional_input(x, 1),
                                 optional_input(x, 2), a.number("eps", 1e-5))};
     }},
    {"layer_norm",
     [](const Tensors& x, const Args& a) {
       return Tensors{layer_norm(x[0], a.dims("normalized_shape"), optional_input(x, 1),
                                 optional_input(x, 2), a.number("eps", 1e-5))};
     }},
    {"rms_norm",
     [](const Tensors& x, const Args& a) {
       std::optional<double> eps;
       if (a.has("eps")) eps = a.number("eps");
       return Tensors{rms_norm(x[0], a.dims("normalized_shape"), optional_input(x, 1), eps)};
     }},

    {"scaled_dot_product_attention",
     [](const Tensors& x, const Args& a) {
       return Tensors{scaled_dot_product_attention(x[0], x[1], x[2], attention_options(x, a))};
     }},
    {"attention_with_weights",
     [](const Tensors& x, const Args& a) {
       return Tensors{attention_with_weights(x[0], x[1], x[2], attention_options(x, a)).output};
     }},
    {"dropout",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return Tensors{dropout(x[0], rng, a.number("p", 0.5))};
     }},
};

}  // namespace

std::span<const Row> network_rows() { return kRows; }

}  // namespace judge
