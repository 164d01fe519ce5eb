#pragma once
// Activations as layers, with PyTorch's names and defaults (Softmax and LogSoftmax: the last
// dimension; SwiGLU is ours). Formulas in autograd/ops/activation.h
// and softmax.h.
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/softmax.h>
#include <loupe/layers/module.h>

namespace loupe {

/// A layer without parameters: Op says its options and which function it is.
template <class Op> class ActivationLayer : public Layer<ActivationLayer<Op>> {
 public:
  using Options = typename Op::Options;
  ActivationLayer(Options o = {}) : options(o) {}
  Tensor forward(In x) const { return Op::run(x, options); }
  void visit(Visitor& /*v*/) override {}
  std::string type_name() const override { return Op::kName; }

  Options options;
};

namespace activation {
struct None {};
struct LeakyOptions {
  double negative_slope = 0.01;
};
struct EluOptions {
  double alpha = 1;
};
struct CeluOptions {
  double alpha = 1;
};
struct HardtanhOptions {
  double min_val = -1;
  double max_val = 1;
};
struct AxisOptions {
  int64_t dim = -1;
};

#define LOUPE_ACTIVATION(Name, OptionsType, call)                               \
  struct Name {                                                                 \
    using Options = OptionsType;                                                \
    static constexpr const char* kName = #Name;                                 \
    static Tensor run(In x, [[maybe_unused]] const Options& o) { return call; } \
  };
LOUPE_ACTIVATION(ReLU, None, relu(x))
LOUPE_ACTIVATION(LeakyReLU, LeakyOptions, leaky_relu(x, o.negative_slope))
LOUPE_ACTIVATION(GELU, GeluOptions, gelu(x, o))
LOUPE_ACTIVATION(SiLU, None, silu(x))
LOUPE_ACTIVATION(Sigmoid, None, sigmoid(x))
LOUPE_ACTIVATION(Tanh, None, tanh(x))
LOUPE_ACTIVATION(Softplus, SoftplusOptions, softplus(x, o))
LOUPE_ACTIVATION(ELU, EluOptions, elu(x, o.alpha))
LOUPE_ACTIVATION(CELU, CeluOptions, celu(x, o.alpha))
LOUPE_ACTIVATION(SELU, None, selu(x))
LOUPE_ACTIVATION(Mish, None, mish(x))
LOUPE_ACTIVATION(Hardswish, None, hardswish(x))
LOUPE_ACTIVATION(Hardsigmoid, None, hardsigmoid(x))
LOUPE_ACTIVATION(Hardtanh, HardtanhOptions, hardtanh(x, o.min_val, o.max_val))
LOUPE_ACTIVATION(ReLU6, None, relu6(x))
LOUPE_ACTIVATION(LogSigmoid, None, log_sigmoid(x))
LOUPE_ACTIVATION(GLU, AxisOptions, glu(x, o.dim))
LOUPE_ACTIVATION(SwiGLU, AxisOptions, swiglu(x, o.dim))
LOUPE_ACTIVATION(Softmax, AxisOptions, softmax(x, o.dim))
LOUPE_ACTIVATION(LogSoftmax, AxisOptions, log_softmax(x, o.dim))
#undef LOUPE_ACTIVATION
}  // namespace activation

using ReLU = ActivationLayer<activation::ReLU>;
using LeakyReLU = ActivationLayer<activation::LeakyReLU>;
using GELU = ActivationLayer<activation::GELU>;
using SiLU = ActivationLayer<activation::SiLU>;
using Sigmoid = ActivationLayer<activation::Sigmoid>;
using Tanh = ActivationLayer<activation::Tanh>;
using Softplus = ActivationLayer<activation::Softplus>;
using ELU = ActivationLayer<activation::ELU>;
using CELU = ActivationLayer<activation::CELU>;
using SELU = ActivationLayer<activation::SELU>;
using Mish = ActivationLayer<activation::Mish>;
using Hardswish = ActivationLayer<activation::Hardswish>;
using Hardsigmoid = ActivationLayer<activation::Hardsigmoid>;
using Hardtanh = ActivationLayer<activation::Hardtanh>;
using ReLU6 = ActivationLayer<activation::ReLU6>;
using LogSigmoid = ActivationLayer<activation::LogSigmoid>;
using GLU = ActivationLayer<activation::GLU>;
using SwiGLU = ActivationLayer<activation::SwiGLU>;
using Softmax = ActivationLayer<activation::Softmax>;
using LogSoftmax = ActivationLayer<activation::LogSoftmax>;

}  // namespace loupe
