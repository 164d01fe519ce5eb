// Functions of one element: roots, exponentials, logarithms, sine and cosine, signs, roundings. The
// activations stand in activation.cpp; rule.h says how a rule is read.
#include <loupe/autograd/ops/elementwise.h>
#include <loupe/autograd/ops/rule.h>
#include <loupe/core/kernels/vmath.h>

#include <cmath>

namespace loupe {
namespace {

using detail::apply_rule;
using detail::Saves;

struct Neg {
  static constexpr const char* kName = "neg";
  static constexpr Saves kSaves = Saves::nothing;
  static constexpr bool kIntegers = true;
  template <class T> T value(T x) const {
    using Wrapping = std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, T>;
    return T(-Wrapping(x));
  }
  Tensor grad_of(const Tensor& up, const Tensor& /*nothing*/) const { return -up; }
};

struct Sqrt {
  static constexpr const char* kName = "sqrt";
  static constexpr Saves kSaves = Saves::output;
  template <class T> T value(T x) const { return T(std::sqrt(x)); }
  template <class T> T grad(T up, T y) const { return up / (y * T(2)); }
  Tensor grad_of(const Tensor& up, const Tensor& y) const { return up / (y * 2); }
};

struct Rsqrt {
  static constexpr const char* kName = "rsqrt";
  static constexpr Saves kSaves = Saves::output;
  template <class T> T value(T x) const { return T(1) / T(std::sqrt(x)); }
  template <class T> T grad(T up, T y) const { return up * (y * y * y) * T(-0.5); }
  Tensor grad_of(const Tensor& up, const Tensor& y) const { return up * pow(y, 3) * -0.5; }
};

struct Exp {
  static constexpr const char* kName = "exp";
  static constexpr Saves kSaves = Saves::output;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vexp(x, level);
  }
  template <class T> T slope(T y) const { return y; }
  Tensor slope_of(const Tensor& y) const { return y; }
};

struct Expm1 {
  static constexpr const char* kName = "expm1";
  static constexpr Saves kSaves = Saves::output;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vexpm1(x, level);
  }
  template <class T> T slope(T y) const { return y + T(1); }
  Tensor slope_of(const Tensor& y) const { return y + 1; }
};

struct Log {
  static constexpr const char* kName = "log";
  static constexpr Saves kSaves = Saves::input;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vlog(x, level);
  }
  template <class T> T grad(T up, T x) const { return up / x; }
  Tensor grad_of(const Tensor& up, const Tensor& x) const { return up / x; }
};

struct Log1p {
  static constexpr const char* kName = "log1p";
  static constexpr Saves kSaves = Saves::input;
  template <class T, class Level> LOUPE_INLINE T value(T x, Level level) const {
    return kernels::vlog1p(x, level);
  }
  template <class T> T grad(T up, T x) const { return up / (x + T(1)); }
  Tensor grad_of(const Tensor& up, const Tensor& x) const { return up / (x + 1); }
};

// The f32 loop holds up to kTurnLimit. Beyond it sine and cosine are computed in f64, one by one.
template <class T> bool far_out(T x) {
  return std::is_same_v<T, float> && !(std::fabs(x) <= static_cast<T>(kernels::kTurnLimit));
}

struct Sin {
  static constexpr const char* kName = "sin";
  static constexpr Saves kSaves = Saves::input;
  template <class Level> LOUPE_INLINE float value(float x, Level level) const {
    return kernels::vsin_after(x, 0, level);
  }
  template <class Level> LOUPE_INLINE double value(double x, Level) const { return dmath::sin(x); }
  template <class T> bool rare(T x) const { return far_out(x); }
  template <class T> T rare_value(T x) const { return T(dmath::sin(static_cast<double>(x))); }
  Tensor slope_of(const Tensor& x) const { return cos(x); }
};

struct Cos {
  static constexpr const char* kName = "cos";
  static constexpr Saves kSaves = Saves::input;
  template <class Level> LOUPE_INLINE float value(float x, Level level) const {
    return kernels::vsin_after(x, 1, level);
  }
  template <class Level> LOUPE_INLINE double value(double x, Level) const { return dmath::cos(x); }
  template <class T> bool rare(T x) const { return far_out(x); }
  template <class T> T rare_value(T x) const { return T(dmath::cos(static_cast<double>(x))); }
  Tensor slope_of(const Tensor& x) const { return -sin(x); }
};

struct Abs {
  static constexpr const char* kName = "abs";
  static constexpr Saves kSaves = Saves::input;
  static constexpr bool kIntegers = true;
  template <class T> T value(T x) const {
    const T size = x < T(0) ? Neg{}.value(x) : x;
    return x == T(0) ? T(0) : size;  // of -0 too
  }
  template <class T> T slope(T x) const { return T((x > T(0)) - (x < T(0))); }
  Tensor slope_of(const Tensor& x) const { return sign(x); }
};

// The sign and the roundings are steps, flat between them: their gradient is 0.
struct Step {
  static constexpr Saves kSaves = Saves::nothing;
  static constexpr bool kIntegers = true;
  Tensor grad_of(const Tensor& up, const Tensor& /*nothing*/) const { return zeros_like(up); }
};

struct Sign : Step {
  static constexpr const char* kName = "sign";
  template <class T> T value(T x) const { return T((x > T(0)) - (x < T(0))); }
};

// A rounding leaves integers as they are.
template <class T, class F> LOUPE_INLINE T rounded(T x, F rounding) {
  if constexpr (std::is_integral_v<T>) return x;
  else return rounding(x);
}

struct Floor : Step {
  static constexpr const char* kName = "floor";
  template <class T> T value(T x) const {
    return rounded(x, [](T r) { return std::floor(r); });
  }
};

struct Ceil : Step {
  static constexpr const char* kName = "ceil";
  template <class T> T value(T x) const {
    return rounded(x, [](T r) { return std::ceil(r); });
  }
};

struct Round : Step {
  static constexpr const char* kName = "round";
  template <class T> T value(T x) const {
    return rounded(x, [](T r) { return std::nearbyint(r); });
  }
};

struct Trunc : Step {
  static constexpr const char* kName = "trunc";
  template <class T> T value(T x) const {
    return rounded(x, [](T r) { return std::trunc(r); });
  }
};

}  // namespace

Tensor neg(In a) { return apply_rule(a, Neg{}); }
Tensor operator-(In a) { return neg(a); }
Tensor sqrt(In a) { return apply_rule(a, Sqrt{}); }
Tensor rsqrt(In a) { return apply_rule(a, Rsqrt{}); }
Tensor exp(In a) { return apply_rule(a, Exp{}); }
Tensor expm1(In a) { return apply_rule(a, Expm1{}); }
Tensor log(In a) { return apply_rule(a, Log{}); }
Tensor log1p(In a) { return apply_rule(a, Log1p{}); }
Tensor sin(In a) { return apply_rule(a, Sin{}); }
Tensor cos(In a) { return apply_rule(a, Cos{}); }
Tensor abs(In a) { return apply_rule(a, Abs{}); }
Tensor sign(In a) { return apply_rule(a, Sign{}); }
Tensor floor(In a) { return apply_rule(a, Floor{}); }
Tensor ceil(In a) { return apply_rule(a, Ceil{}); }
Tensor round(In a) { return apply_rule(a, Round{}); }
Tensor trunc(In a) { return apply_rule(a, Trunc{}); }

}  // namespace loupe
