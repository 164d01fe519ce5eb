#include <loupe/autograd/graph.h>
#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/kernels/activation.h>

namespace loupe {
namespace {

// A rule has the value, its slope as numbers (of the input, or of the output where kFromOutput),
// and the slope made of ops, which can be differentiated again.
struct Relu {
  static constexpr const char* kName = "relu";
  static constexpr bool kFromOutput = true;
  Attributes attributes() const { return {}; }
  template <class T> T value(T x) const { return x < T(0) ? T(0) : x; }  // NaN stays
  template <class T> T slope(T y) const { return y > T(0) ? T(1) : T(0); }
  Tensor slope_of(const Tensor& y) const { return gt(y, 0.0).to(y.dtype()); }
};

struct LeakyRelu {
  static constexpr const char* kName = "leaky_relu";
  static constexpr bool kFromOutput = false;
  double below = 0.01;
  Attributes attributes() const { return {{"negative_slope", below}}; }
  template <class T> T value(T x) const {
    const T scaled = x * static_cast<T>(below);
    return x > T(0) ? x : scaled;
  }
  template <class T> T slope(T x) const { return x > T(0) ? T(1) : static_cast<T>(below); }
  Tensor slope_of(const Tensor& x) const { return gt(x, 0.0).to(x.dtype()) * (1 - below) + below; }
};

struct Gelu {
  static constexpr const char* kName = "gelu";
  static constexpr bool kFromOutput = false;
  Attributes attributes() const { return {{"approximate", std::string("none")}}; }
  template <class T> T value(T x) const { return kernels::gelu(x); }
  template <class T> T slope(T x) const { return kernels::gelu_slope(x); }
  Tensor slope_of(const Tensor& x) const {
    return (erf(x * 0.70710678118654752440) + 1.0) * 0.5 +
           x * exp(square(x) * -0.5) * 0.39894228040143267794;
  }
};

struct GeluTanh {
  static constexpr const char* kName = "gelu";
  static constexpr bool kFromOutput = false;
  Attributes attributes() const { return {{"approximate", std::string("tanh")}}; }
  template <class T> T value(T x) const { return kernels::gelu_tanh(x); }
  template <class T> T slope(T x) const { return kernels::gelu_tanh_slope(x); }
  Tensor slope_of(const Tensor& x) const {
    constexpr double k = 0.79788456080286535588;  // sqrt(2 / pi)
    const Tensor z = square(x), t = tanh(x * (z * 0.044715 + 1.0) * k);
    return (t + 1.0) * 0.5 + x * (1.0 - square(t)) * (z * 0.134145 + 1.0) * (0.5 * k);
  }
};

struct Silu {
  static constexpr const char* kName = "silu";
  static constexpr bool kFromOutput = false;
  Attributes attributes() const { return {}; }
  template <class T> T value(T x) const { return kernels::silu(x); }
  template <class T> T slope(T x) const { return kernels::silu_slope(x); }
  Tensor slope_of(const Tensor& x) const {
    const Tensor s = sigmoid(x);
    return s * (x * (1.0 - s) + 1.0);
  }
};

struct Sigmoid {
  static constexpr const char* kName = "sigmoid";
  static constexpr bool kFromOutput = true;
  Attributes attributes() const { return {}; }
  template <class T> T value(T x) const { return kernels::vsigmoid(x); }
  template <class T> T slope(T y) const { return y * (T(1) - y); }
  Tensor slope_of(const Tensor& y) const { return y * (1.0 - y); }
};

struct Tanh {
  static constexpr const char* kName = "tanh";
  static constexpr bool kFromOutput = true;
  Attributes attributes() const { return {}; }
  template <class T> T value(T x) const { return kernels::vtanh(x); }
  template <class T> T slope(T y) const { return T(1) - y * y; }
  Tensor slope_of(const Tensor& y) const { return 1.0 - square(y); }
};

struct Erf {
  static constexpr const char* kName = "erf";
  static constexpr bool kFromOutput = false;
  Attributes attributes() const { return {}; }
  template <class T> T value(T x) const { return kernels::verf(x); }
  template <class T> T slope(T x) const {
    return T(1.12837916709551257390) * kernels::vexp(-x * x);
  }
  Tensor slope_of(const Tensor& x) const { return exp(-square(x)) * 1.12837916709551257390; }
};

struct Softplus {
  static constexpr const char* kName = "softplus";
  static constexpr bool kFromOutput = false;
  double beta = 1, threshold = 20;
  Attributes attributes() const { return {{"beta", beta}, {"threshold", threshold}}; }
  template <class T> T value(T x) const {
    return kernels::softplus(x, static_cast<T>(beta), static_cast<T>(threshold));
  }
  template <class T> T slope(T x) const {
    return kernels::softplus_slope(x, static_cast<T>(beta), static_cast<T>(threshold));
  }
  Tensor slope_of(const Tensor& x) const {
    const Tensor z = x * beta;
    return where(gt(z, threshold), ones({}, x.dtype()), sigmoid(z));
  }
};

struct Elu {
  static constexpr const char* kName = "elu";
  static constexpr bool kFromOutput = false;
  double alpha = 1;
  Attributes attributes() const { return {{"alpha", alpha}}; }
  template <class T> T value(T x) const { return kernels::elu(x, static_cast<T>(alpha)); }
  template <class T> T slope(T x) const { return kernels::elu_slope(x, static_cast<T>(alpha)); }
  Tensor slope_of(const Tensor& x) const {
    return where(gt(x, 0.0), ones({}, x.dtype()), exp(minimum(x, zeros({}, x.dtype()))) * alpha);
  }
};

template <class Rule> Tensor activate(In x, Rule rule);

template <class Rule> struct ActivationNode final : Node {
  Rule rule;
  SavedTensor saved{this};
  const char* name() const override { return Rule::kName; }
  Attributes attributes() const override { return rule.attributes(); }
  Tensors replay(const Tensors& x) const override { return {activate<Rule>(x[0], rule)}; }
  Tensors backward(const Tensors& dy) override {
    const Tensor at = saved.get(), &g = dy[0];
    if (grad_enabled()) return {g * rule.slope_of(at)};
    const Tensor dx = raw::elementwise_result(g.shape(), g.dtype(), {&at, &g});
    dispatch_floating(g.dtype(), Rule::kName, [&]<class T>(Type<T>) {
      raw::map2<T, T, T>(dx, g, at, [r = rule](T up, T v) { return up * r.slope(v); });
    });
    return {dx};
  }
};

template <class Rule> void record_rule(In x, Tensor& y, Rule rule) {
  if (auto n = record<ActivationNode<Rule>>({x}, y)) {
    n->rule = rule;
    if (Rule::kFromOutput) n->saved.output(y);
    else n->saved.input(x);
  }
}

template <class Rule> Tensor activate(In x, Rule rule) {
  Tensor y = raw::empty_like(x);
  dispatch_floating(x->dtype(), Rule::kName, [&]<class T>(Type<T>) {
    raw::map1<T, T>(y, x, [rule](T v) { return rule.value(v); });
  });
  record_rule(x, y, rule);
  return y;
}

}  // namespace

Tensor relu(In x) { return activate(x, Relu{}); }
Tensor leaky_relu(In x, double negative_slope) { return activate(x, LeakyRelu{negative_slope}); }
Tensor gelu(In x, GeluOptions options) {
  return options.approximate == Approximate::tanh ? activate(x, GeluTanh{}) : activate(x, Gelu{});
}
Tensor silu(In x) { return activate(x, Silu{}); }
Tensor sigmoid(In x) { return activate(x, Sigmoid{}); }
Tensor tanh(In x) { return activate(x, Tanh{}); }
Tensor erf(In x) { return activate(x, Erf{}); }
Tensor softplus(In x, SoftplusOptions options) {
  if (options.beta == 0) fail<ValueError>("softplus: beta must not be 0");
  return activate(x, Softplus{options.beta, options.threshold});
}
Tensor elu(In x, double alpha) { return activate(x, Elu{alpha}); }
void detail::record_relu(In z, Tensor& y) { record_rule(z, y, Relu{}); }

}  // namespace loupe
