#include <loupe/autograd/ops/activation.h>
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/rule.h>
#include <loupe/autograd/ops/views.h>
#include <loupe/core/kernels/elementwise/activation.h>

namespace loupe {
namespace {

using detail::apply_rule;
using detail::Saves;

struct Relu {
  static constexpr const char* kName = "relu";
  static constexpr Saves kSaves = Saves::output;
  template <class T> T value(T x) const { return x < T(0) ? T(0) : x; }  // NaN stays
  template <class T> T grad(T up, T y) const { return y <= T(0) ? T(0) : up; }
  Tensor grad_of(const Tensor& up, const Tensor& y) const {
    return where(le(y, 0), zeros({}, y.dtype()), up);
  }
};

struct LeakyRelu {
  static constexpr const char* kName = "leaky_relu";
  static constexpr Saves kSaves = Saves::input;
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
  static constexpr Saves kSaves = Saves::input;
  Attributes attributes() const { return {{"approximate", std::string("none")}}; }
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::gelu(x, level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::gelu_slope(x, level);
  }
  Tensor slope_of(const Tensor& x) const {
    return (erf(x * 0.70710678118654752440) + 1.0) * 0.5 +
           x * exp(square(x) * -0.5) * 0.39894228040143267794;
  }
};

struct GeluTanh {
  static constexpr const char* kName = "gelu";
  static constexpr Saves kSaves = Saves::input;
  Attributes attributes() const { return {{"approximate", std::string("tanh")}}; }
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::gelu_tanh(x, level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::gelu_tanh_slope(x, level);
  }
  Tensor slope_of(const Tensor& x) const {
    constexpr double k = 0.79788456080286535588;  // sqrt(2 / pi)
    const Tensor z = square(x), t = tanh(x * (z * 0.044715 + 1.0) * k);
    return (t + 1.0) * 0.5 + x * (1.0 - square(t)) * (z * 0.134145 + 1.0) * (0.5 * k);
  }
};

struct Silu {
  static constexpr const char* kName = "silu";
  static constexpr Saves kSaves = Saves::input;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::silu(x, level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::silu_slope(x, level);
  }
  Tensor slope_of(const Tensor& x) const {
    const Tensor s = sigmoid(x);
    return s * (x * (1.0 - s) + 1.0);
  }
};

struct Sigmoid {
  static constexpr const char* kName = "sigmoid";
  static constexpr Saves kSaves = Saves::output;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vsigmoid(x, level);
  }
  template <class T> T slope(T y) const { return y * (T(1) - y); }
  Tensor slope_of(const Tensor& y) const { return y * (1.0 - y); }
};

struct Tanh {
  static constexpr const char* kName = "tanh";
  static constexpr Saves kSaves = Saves::output;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vtanh(x, level);
  }
  template <class T> T slope(T y) const { return T(1) - y * y; }
  Tensor slope_of(const Tensor& y) const { return 1.0 - square(y); }
};

struct Erf {
  static constexpr const char* kName = "erf";
  static constexpr Saves kSaves = Saves::input;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::verf(x, level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return T(1.12837916709551257390) * kernels::vexp(-x * x, level);
  }
  Tensor slope_of(const Tensor& x) const { return exp(-square(x)) * 1.12837916709551257390; }
};

struct Softplus {
  static constexpr const char* kName = "softplus";
  static constexpr Saves kSaves = Saves::input;
  double beta = 1, threshold = 20;
  Attributes attributes() const { return {{"beta", beta}, {"threshold", threshold}}; }
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::softplus(x, static_cast<T>(beta), static_cast<T>(threshold), level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::softplus_slope(x, static_cast<T>(beta), static_cast<T>(threshold), level);
  }
  Tensor slope_of(const Tensor& x) const {
    const Tensor z = x * beta;
    return where(gt(z, threshold), ones({}, x.dtype()), sigmoid(z));
  }
};

struct Elu {
  static constexpr const char* kName = "elu";
  static constexpr Saves kSaves = Saves::input;
  double alpha = 1;
  Attributes attributes() const { return {{"alpha", alpha}}; }
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::elu(x, static_cast<T>(alpha), level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::elu_slope(x, static_cast<T>(alpha), level);
  }
  Tensor slope_of(const Tensor& x) const {
    return where(gt(x, 0.0), ones({}, x.dtype()), exp(minimum(x, zeros({}, x.dtype()))) * alpha);
  }
};

struct Celu {
  static constexpr const char* kName = "celu";
  static constexpr Saves kSaves = Saves::input;
  double alpha = 1;
  Attributes attributes() const { return {{"alpha", alpha}}; }
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::celu(x, static_cast<T>(alpha), level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::celu_slope(x, static_cast<T>(alpha), level);
  }
  Tensor slope_of(const Tensor& x) const {
    return where(gt(x, 0), ones({}, x.dtype()), exp(minimum(x, 0) / alpha));
  }
};

struct Selu {
  static constexpr const char* kName = "selu";
  static constexpr Saves kSaves = Saves::input;
  static constexpr double kScale = 1.0507009873554804934, kAlpha = 1.6732632423543772848;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return T(kScale) * kernels::elu(x, T(kAlpha), level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return T(kScale) * kernels::elu_slope(x, T(kAlpha), level);
  }
  Tensor slope_of(const Tensor& x) const {
    return where(gt(x, 0), full({}, kScale, x.dtype()), exp(minimum(x, 0)) * (kScale * kAlpha));
  }
};

struct Mish {
  static constexpr const char* kName = "mish";
  static constexpr Saves kSaves = Saves::input;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::mish(x, level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::mish_slope(x, level);
  }
  Tensor slope_of(const Tensor& x) const {
    const Tensor t = tanh(softplus(x));
    return t + x * sigmoid(x) * (1 - square(t));
  }
};

struct Hardsigmoid {
  static constexpr const char* kName = "hardsigmoid";
  static constexpr Saves kSaves = Saves::input;
  template <class T> T value(T x) const {
    const T low = kernels::detail::at_least(x + T(3), T(0));
    return kernels::detail::at_most(low, T(6)) / T(6);
  }
  template <class T> T grad(T up, T x) const {
    const T inside = up / T(6);
    return kernels::vabs(x) < T(3) ? inside : T(0);
  }
  Tensor grad_of(const Tensor& up, const Tensor& x) const {
    return where(lt(abs(x.detach()), 3), up / 6, zeros({}, x.dtype()));
  }
};

struct Hardswish {
  static constexpr const char* kName = "hardswish";
  static constexpr Saves kSaves = Saves::input;
  template <class T> T value(T x) const {
    const T low = kernels::detail::at_least(x + T(3), T(0));
    return x * kernels::detail::at_most(low, T(6)) / T(6);
  }
  template <class T> T grad(T up, T x) const {
    const T inside = up * (x / T(3) + T(0.5));
    const T right = x >= T(3) ? up : inside;  // NaN stays
    return x <= T(-3) ? T(0) : right;
  }
  Tensor grad_of(const Tensor& up, const Tensor& x) const {
    const Tensor right = where(ge(x, 3), up, up * (x / 3 + 0.5));
    return where(le(x, -3), zeros({}, x.dtype()), right);
  }
};

struct Hardtanh {
  static constexpr const char* kName = "hardtanh";
  static constexpr Saves kSaves = Saves::input;
  double low = -1, high = 1;
  Attributes attributes() const { return {{"low", low}, {"high", high}}; }
  template <class T> T value(T x) const {
    const T y = kernels::detail::at_least(x, static_cast<T>(low));
    return kernels::detail::at_most(y, static_cast<T>(high));
  }
  template <class T> T grad(T up, T x) const {
    const T left = x > static_cast<T>(low) ? up : T(0);
    return x < static_cast<T>(high) ? left : T(0);
  }
  Tensor grad_of(const Tensor& up, const Tensor& x) const {
    return where(gt(x, low) & lt(x, high), up, zeros({}, x.dtype()));
  }
};

struct LogSigmoid {
  static constexpr const char* kName = "log_sigmoid";
  static constexpr Saves kSaves = Saves::input;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::log_sigmoid(x, level);
  }
  template <class T, class Level> LOUPE_INLINE T slope(T x, Level level) const {
    return kernels::vsigmoid(-x, level);
  }
  Tensor slope_of(const Tensor& x) const { return sigmoid(-x); }
};

// The two halves of x along one axis.
struct Halves {
  Tensor first, second;
};
Halves halves(In x, int64_t dim, const char* op) {
  if (x->dim() == 0)
    fail<ShapeError>("{}: needs at least one dimension, got shape {}", op, x->shape());
  const int axis = normalize_axis(dim, x->dim(), op);
  const int64_t size = x->shape()[axis];
  if (size % 2 != 0)
    fail<ShapeError>("{}: the size {} of dimension {} must be even, in shape {}", op, size, dim,
                     x->shape());
  if (!is_floating(x->dtype()))
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", op, x->dtype());
  return {slice(x, axis, 0, size / 2), slice(x, axis, size / 2)};
}

}  // namespace

Tensor relu(In x) { return apply_rule(x, Relu{}); }
Tensor leaky_relu(In x, double negative_slope) { return apply_rule(x, LeakyRelu{negative_slope}); }
Tensor gelu(In x, GeluOptions options) {
  return options.approximate == Approximate::tanh ? apply_rule(x, GeluTanh{})
                                                  : apply_rule(x, Gelu{});
}
Tensor silu(In x) { return apply_rule(x, Silu{}); }
Tensor sigmoid(In x) { return apply_rule(x, Sigmoid{}); }
Tensor tanh(In x) { return apply_rule(x, Tanh{}); }
Tensor erf(In x) { return apply_rule(x, Erf{}); }
Tensor softplus(In x, SoftplusOptions options) {
  if (options.beta == 0 || options.beta != options.beta)
    fail<ValueError>("softplus: beta must not be {}", options.beta);
  return apply_rule(x, Softplus{options.beta, options.threshold});
}
Tensor elu(In x, double alpha) { return apply_rule(x, Elu{alpha}); }
Tensor celu(In x, double alpha) {
  if (!(alpha != 0) || alpha != alpha) fail<ValueError>("celu: alpha must not be {}", alpha);
  return apply_rule(x, Celu{alpha});
}
Tensor selu(In x) { return apply_rule(x, Selu{}); }
Tensor mish(In x) { return apply_rule(x, Mish{}); }
Tensor hardswish(In x) { return apply_rule(x, Hardswish{}); }
Tensor hardsigmoid(In x) { return apply_rule(x, Hardsigmoid{}); }
Tensor hardtanh(In x, double min_val, double max_val) {
  if (!(min_val <= max_val))
    fail<ValueError>("hardtanh: min_val {} is not below max_val {}", min_val, max_val);
  return apply_rule(x, Hardtanh{min_val, max_val});
}
Tensor relu6(In x) { return apply_rule(x, Hardtanh{0, 6}); }
Tensor log_sigmoid(In x) { return apply_rule(x, LogSigmoid{}); }
Tensor glu(In x, int64_t dim) {
  SiteScope site(x.here);
  const Halves h = halves(x, dim, "glu");
  return h.first * sigmoid(h.second);
}
Tensor swiglu(In x, int64_t dim) {
  SiteScope site(x.here);
  const Halves h = halves(x, dim, "swiglu");
  return silu(h.first) * h.second;
}
void detail::record_relu(In z, Tensor& y) { record_rule(z, y, Relu{}); }

}  // namespace loupe
