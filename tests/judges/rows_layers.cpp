// Layers. The inputs of a case are those of forward, then the layer's parameters and buffers, whose
// names stand in "state"; the case's tensors become the layer's members, in the layout they have.
#include <loupe/layers/activation.h>
#include <loupe/layers/attention.h>
#include <loupe/layers/conv.h>
#include <loupe/layers/embedding.h>
#include <loupe/layers/linear.h>
#include <loupe/layers/norm.h>
#include <loupe/layers/pool.h>
#include <loupe/layers/recurrent.h>
#include <loupe/layers/state.h>
#include <loupe/layers/transformer.h>

#include "case.h"

namespace judge {

namespace {

// Puts the given tensors in the place of a module's own, by name.
class Adopt : public Visitor {
 public:
  Adopt(std::map<std::string, Tensor>& given, std::string prefix)
      : given_(given), prefix_(std::move(prefix)) {}

 protected:
  void parameter(const std::string& name, Tensor& t) override { take(name, t); }
  void buffer(const std::string& name, Tensor& t) override { take(name, t); }
  void module(const std::string& name, Module& m) override {
    Adopt inner(given_, prefix_ + name + ".");
    m.visit(inner);
  }

 private:
  void take(const std::string& name, Tensor& t) {
    const auto found = given_.find(prefix_ + name);
    if (found == given_.end()) fail<ValueError>("judge: PyTorch has no {}{}", prefix_, name);
    if (found->second.shape() != t.shape())
      fail<ShapeError>("judge: {}{} is {} here, {} in PyTorch", prefix_, name, t.shape(),
                       found->second.shape());
    t = found->second;
    given_.erase(found);
  }
  std::map<std::string, Tensor>& given_;
  std::string prefix_;
};

size_t adopt(Module& m, const Tensors& x, const Args& a) {
  const std::vector<Json>& names = a.at("state").items;
  const size_t inputs = x.size() - names.size();
  std::map<std::string, Tensor> given;
  for (size_t i = 0; i < names.size(); ++i) given[names[i].text()] = x[inputs + i];
  Adopt visitor(given, "");
  m.visit(visitor);
  if (!given.empty()) fail<ValueError>("judge: the layer has no {}", given.begin()->first);
  train(m, a.flag("training"));
  return inputs;
}

// Outputs, then the buffers as the call left them.
template <class M, class Call> Tensors run_layer(M m, const Tensors& x, const Args& a, Call call) {
  const size_t inputs = adopt(m, x, a);
  Tensors y = call(m, Tensors(x.begin(), x.begin() + static_cast<int64_t>(inputs)));
  for (const auto& [name, buffer] : named_buffers(m)) y.push_back(raw::clone(buffer));
  return y;
}
template <class M> Tensors run_layer(M m, const Tensors& x, const Args& a) {
  return run_layer(std::move(m), x, a,
                   [](M& layer, const Tensors& in) { return Tensors{layer(in.at(0))}; });
}

Size2 size2(const Args& a, const std::string& key, int64_t otherwise) {
  if (!a.has(key)) return Size2(otherwise);
  const std::vector<int64_t> n = a.integers(key);
  return n.size() == 1 ? Size2(n[0]) : Size2(n.at(0), n.at(1));
}

ConvPadding conv_padding(const Args& a) {
  if (a.flag("same")) return kSame;
  return size2(a, "padding", 0);
}

Pool1dOptions pool1d(const Args& a) {
  Pool1dOptions o;
  o.kernel_size = a.integer("kernel_size");
  if (a.has("stride")) o.stride = a.integer("stride");
  o.padding = a.integer("padding");
  o.count_include_pad = a.flag("count_include_pad", true);
  o.ceil_mode = a.flag("ceil_mode");
  o.dilation = a.integer("dilation", 1);
  return o;
}

Pool2dOptions pool2d(const Args& a) {
  Pool2dOptions o;
  o.kernel_size = size2(a, "kernel_size", 1);
  if (a.has("stride")) o.stride = size2(a, "stride", 1);
  o.padding = size2(a, "padding", 0);
  o.count_include_pad = a.flag("count_include_pad", true);
  o.ceil_mode = a.flag("ceil_mode");
  o.dilation = size2(a, "dilation", 1);
  return o;
}

BatchNormOptions batch_norm_options(const Args& a) {
  BatchNormOptions o;
  o.eps = a.number("eps", 1e-5);
  if (a.flag("averaged")) o.momentum = std::nullopt;
  else o.momentum = a.number("momentum", 0.1);
  o.affine = a.flag("affine", true);
  o.track_running_stats = a.flag("track_running_stats", true);
  o.bias = a.flag("bias", true);
  return o;
}

MultiheadAttention::Masks masks(const Args& a, const Tensors& x, const char* padding,
                                const char* attention) {
  const auto mask = [&](const char* key) {
    return a.has(key) ? x[static_cast<size_t>(a.integer(key))] : Tensor();
  };
  MultiheadAttention::Masks all;
  all.key_padding_mask = mask(padding);
  all.attn_mask = mask(attention);
  return all;
}

TransformerLayerOptions transformer_options(const Args& a) {
  TransformerLayerOptions o;
  o.dim_feedforward = a.integer("dim_feedforward", 2048);
  o.dropout = a.number("dropout", 0.1);
  if (a.text("activation", "relu") == "gelu") o.activation = TransformerActivation::gelu;
  o.layer_norm_eps = a.number("layer_norm_eps", 1e-5);
  o.norm_first = a.flag("norm_first");
  o.bias = a.flag("bias", true);
  return o;
}

Tensors attend(const Tensors& x, const Args& a) {
  Rng rng(1);
  MultiheadAttention::Options o;
  o.dropout = a.number("dropout");
  o.bias = a.flag("bias", true);
  if (a.has("kdim")) o.kdim = a.integer("kdim");
  if (a.has("vdim")) o.vdim = a.integer("vdim");
  MultiheadAttention layer(rng, a.integer("embed_dim"), a.integer("num_heads"), o);
  return run_layer(std::move(layer), x, a, [&a](MultiheadAttention& m, const Tensors& in) {
    const auto all = masks(a, in, "key_padding_mask", "attn_mask");
    if (!a.flag("need_weights", true)) return Tensors{m(in[0], in[1], in[2], all)};
    const AttentionResult both =
        m.with_weights(in[0], in[1], in[2], all, a.flag("average_attn_weights", true));
    return Tensors{both.output, both.weights};
  });
}

// x, then h (and c) if they are given. Outputs: all h, the last h (and c).
template <class M> Tensors run_sequence(M layer, const Tensors& x, const Args& a) {
  return run_layer(std::move(layer), x, a, [](M& m, const Tensors& in) {
    const RecurrentResult y =
        m(in[0], SequenceArgs{.h0 = optional_input(in, 1), .c0 = optional_input(in, 2)});
    Tensors all{y.output, y.h};
    if (y.c.defined()) all.push_back(y.c);
    return all;
  });
}

RecurrentOptions recurrent_options(const Args& a) {
  RecurrentOptions o;
  o.num_layers = a.integer("num_layers", 1);
  o.bias = a.flag("bias", true);
  o.batch_first = a.flag("batch_first");
  o.bidirectional = a.flag("bidirectional");
  return o;
}

Nonlinearity nonlinearity(const Args& a) {
  return a.text("nonlinearity", "tanh") == "relu" ? Nonlinearity::relu : Nonlinearity::tanh;
}

RNN::Options rnn_options(const Args& a) {
  const RecurrentOptions shared = recurrent_options(a);
  RNN::Options o;
  o.num_layers = shared.num_layers;
  o.nonlinearity = nonlinearity(a);
  o.bias = shared.bias;
  o.batch_first = shared.batch_first;
  o.bidirectional = shared.bidirectional;
  return o;
}

#define PLAIN(Name)                                                                \
  {                                                                                \
#Name, [](const Tensors& x, const Args& a) { return run_layer(Name(), x, a); } \
  }

const Row kRows[] = {
    {"Linear",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(Linear(rng, a.integer("in_features"), a.integer("out_features"),
                               {.bias = a.flag("bias", true)}),
                        x, a);
     }},
    {"Conv1d",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(Conv1d(rng, a.integer("in_channels"), a.integer("out_channels"),
                               {.kernel_size = a.integer("kernel_size"),
                                .stride = a.integer("stride", 1),
                                .padding = conv_padding(a),
                                .dilation = a.integer("dilation", 1),
                                .groups = a.integer("groups", 1),
                                .bias = a.flag("bias", true)}),
                        x, a);
     }},
    {"Conv2d",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(Conv2d(rng, a.integer("in_channels"), a.integer("out_channels"),
                               {.kernel_size = size2(a, "kernel_size", 1),
                                .stride = size2(a, "stride", 1),
                                .padding = conv_padding(a),
                                .dilation = size2(a, "dilation", 1),
                                .groups = a.integer("groups", 1),
                                .bias = a.flag("bias", true)}),
                        x, a);
     }},
    {"ConvTranspose1d",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(ConvTranspose1d(rng, a.integer("in_channels"), a.integer("out_channels"),
                                        {.kernel_size = a.integer("kernel_size"),
                                         .stride = a.integer("stride", 1),
                                         .padding = a.integer("padding"),
                                         .output_padding = a.integer("output_padding"),
                                         .groups = a.integer("groups", 1),
                                         .bias = a.flag("bias", true),
                                         .dilation = a.integer("dilation", 1)}),
                        x, a);
     }},
    {"ConvTranspose2d",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(ConvTranspose2d(rng, a.integer("in_channels"), a.integer("out_channels"),
                                        {.kernel_size = size2(a, "kernel_size", 1),
                                         .stride = size2(a, "stride", 1),
                                         .padding = size2(a, "padding", 0),
                                         .output_padding = size2(a, "output_padding", 0),
                                         .groups = a.integer("groups", 1),
                                         .bias = a.flag("bias", true),
                                         .dilation = size2(a, "dilation", 1)}),
                        x, a);
     }},
    {"Embedding",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       EmbeddingOptions o;
       if (a.has("padding_idx")) o.padding_idx = a.integer("padding_idx");
       return run_layer(Embedding(rng, a.integer("num_embeddings"), a.integer("embedding_dim"), o),
                        x, a);
     }},

    {"BatchNorm1d",
     [](const Tensors& x, const Args& a) {
       return run_layer(BatchNorm1d(a.integer("num_features"), batch_norm_options(a)), x, a);
     }},
    {"BatchNorm2d",
     [](const Tensors& x, const Args& a) {
       return run_layer(BatchNorm2d(a.integer("num_features"), batch_norm_options(a)), x, a);
     }},
    {"InstanceNorm2d",
     [](const Tensors& x, const Args& a) {
       return run_layer(InstanceNorm2d(a.integer("num_features"),
                                       {.eps = a.number("eps", 1e-5),
                                        .momentum = a.number("momentum", 0.1),
                                        .affine = a.flag("affine"),
                                        .track_running_stats = a.flag("track_running_stats"),
                                        .bias = a.flag("bias", true)}),
                        x, a);
     }},
    {"GroupNorm",
     [](const Tensors& x, const Args& a) {
       return run_layer(GroupNorm(a.integer("num_groups"), a.integer("num_channels"),
                                  {.eps = a.number("eps", 1e-5),
                                   .affine = a.flag("affine", true),
                                   .bias = a.flag("bias", true)}),
                        x, a);
     }},
    {"LayerNorm",
     [](const Tensors& x, const Args& a) {
       LayerNorm::Options o;
       o.eps = a.number("eps", 1e-5);
       o.elementwise_affine = a.flag("elementwise_affine", true);
       o.bias = a.flag("bias", true);
       return run_layer(LayerNorm(a.dims("normalized_shape"), o), x, a);
     }},
    {"RMSNorm",
     [](const Tensors& x, const Args& a) {
       RMSNorm::Options o;
       if (a.has("eps")) o.eps = a.number("eps");
       o.elementwise_affine = a.flag("elementwise_affine", true);
       return run_layer(RMSNorm(a.dims("normalized_shape"), o), x, a);
     }},

    PLAIN(ReLU),
    PLAIN(SiLU),
    PLAIN(Sigmoid),
    PLAIN(Tanh),
    PLAIN(SELU),
    PLAIN(Mish),
    PLAIN(Hardswish),
    PLAIN(Hardsigmoid),
    PLAIN(ReLU6),
    PLAIN(LogSigmoid),
    {"CELU", [](const Tensors& x,
                const Args& a) { return run_layer(CELU({.alpha = a.number("alpha", 1)}), x, a); }},
    {"Hardtanh",
     [](const Tensors& x, const Args& a) {
       return run_layer(
           Hardtanh({.min_val = a.number("min_val", -1), .max_val = a.number("max_val", 1)}), x, a);
     }},
    {"GLU", [](const Tensors& x,
               const Args& a) { return run_layer(GLU({.dim = a.integer("dim", -1)}), x, a); }},
    {"LeakyReLU",
     [](const Tensors& x, const Args& a) {
       return run_layer(LeakyReLU({.negative_slope = a.number("negative_slope", 0.01)}), x, a);
     }},
    {"GELU",
     [](const Tensors& x, const Args& a) {
       const bool tanh = a.text("approximate") == "tanh";
       return run_layer(GELU({tanh ? Approximate::tanh : Approximate::none}), x, a);
     }},
    {"Softplus",
     [](const Tensors& x, const Args& a) {
       return run_layer(
           Softplus({.beta = a.number("beta", 1), .threshold = a.number("threshold", 20)}), x, a);
     }},
    {"ELU", [](const Tensors& x,
               const Args& a) { return run_layer(ELU({.alpha = a.number("alpha", 1)}), x, a); }},
    {"Softmax", [](const Tensors& x,
                   const Args& a) { return run_layer(Softmax({.dim = a.integer("dim")}), x, a); }},
    {"LogSoftmax",
     [](const Tensors& x, const Args& a) {
       return run_layer(LogSoftmax({.dim = a.integer("dim")}), x, a);
     }},

    {"MaxPool1d",
     [](const Tensors& x, const Args& a) { return run_layer(MaxPool1d(pool1d(a)), x, a); }},
    {"MaxPool2d",
     [](const Tensors& x, const Args& a) { return run_layer(MaxPool2d(pool2d(a)), x, a); }},
    {"AvgPool1d",
     [](const Tensors& x, const Args& a) { return run_layer(AvgPool1d(pool1d(a)), x, a); }},
    {"AvgPool2d",
     [](const Tensors& x, const Args& a) { return run_layer(AvgPool2d(pool2d(a)), x, a); }},
    {"AdaptiveAvgPool1d",
     [](const Tensors& x, const Args& a) {
       return run_layer(AdaptiveAvgPool1d(a.integer("output_size")), x, a);
     }},
    {"AdaptiveAvgPool2d",
     [](const Tensors& x, const Args& a) {
       return run_layer(AdaptiveAvgPool2d(size2(a, "output_size", 1)), x, a);
     }},

    {"RNN",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_sequence(
           RNN(rng, a.integer("input_size"), a.integer("hidden_size"), rnn_options(a)), x, a);
     }},
    {"GRU",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_sequence(
           GRU(rng, a.integer("input_size"), a.integer("hidden_size"), recurrent_options(a)), x, a);
     }},
    {"LSTM",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_sequence(
           LSTM(rng, a.integer("input_size"), a.integer("hidden_size"), recurrent_options(a)), x,
           a);
     }},
    {"RNNCell",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       RNNCell cell(rng, a.integer("input_size"), a.integer("hidden_size"),
                    {.bias = a.flag("bias", true)}, nonlinearity(a));
       return run_layer(std::move(cell), x, a, [](RNNCell& m, const Tensors& in) {
         return Tensors{m(in[0], optional_input(in, 1))};
       });
     }},
    {"GRUCell",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       GRUCell cell(rng, a.integer("input_size"), a.integer("hidden_size"),
                    {.bias = a.flag("bias", true)});
       return run_layer(std::move(cell), x, a, [](GRUCell& m, const Tensors& in) {
         return Tensors{m(in[0], optional_input(in, 1))};
       });
     }},
    {"LSTMCell",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       LSTMCell cell(rng, a.integer("input_size"), a.integer("hidden_size"),
                     {.bias = a.flag("bias", true)});
       return run_layer(std::move(cell), x, a, [](LSTMCell& m, const Tensors& in) {
         const LstmState y =
             m(in[0], LstmState{.h = optional_input(in, 1), .c = optional_input(in, 2)});
         return Tensors{y.h, y.c};
       });
     }},

    {"MultiheadAttention", attend},
    {"TransformerEncoderLayer",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(
           TransformerEncoderLayer(rng, a.integer("d_model"), a.integer("nhead"),
                                   transformer_options(a)),
           x, a, [&a](TransformerEncoderLayer& m, const Tensors& in) {
             return Tensors{m(in[0], masks(a, in, "src_key_padding_mask", "src_mask"))};
           });
     }},
    {"TransformerDecoderLayer",
     [](const Tensors& x, const Args& a) {
       Rng rng(1);
       return run_layer(
           TransformerDecoderLayer(rng, a.integer("d_model"), a.integer("nhead"),
                                   transformer_options(a)),
           x, a, [&a](TransformerDecoderLayer& m, const Tensors& in) {
             return Tensors{m(in[0], in[1], masks(a, in, "tgt_key_padding_mask", "tgt_mask"),
                              masks(a, in, "memory_key_padding_mask", "memory_mask"))};
           });
     }},
};

}  // namespace

std::span<const Row> layer_rows() { return kRows; }

}  // namespace judge
