#include <loupe/core/elementwise.h>
#include <loupe/core/kernels/vmath.h>

#include <cmath>

namespace loupe::raw {
namespace {

using namespace kernels;

template <class T, class F> Tensor apply(const Tensor& a, F f) {
  Tensor out = empty_like(a);
  map1<T, T>(out, a, f);
  return out;
}

template <class T> Tensor unary_floating(Unary op, const Tensor& a) {
  switch (op) {
    case Unary::sqrt: return apply<T>(a, [](T x) { return T(std::sqrt(x)); });
    case Unary::rsqrt: return apply<T>(a, [](T x) { return T(1) / T(std::sqrt(x)); });
    case Unary::exp: return apply<T>(a, [](T x) { return vexp(x); });
    case Unary::log: return apply<T>(a, [](T x) { return vlog(x); });
    case Unary::sigmoid: return apply<T>(a, [](T x) { return vsigmoid(x); });
    case Unary::tanh: return apply<T>(a, [](T x) { return vtanh(x); });
    case Unary::reciprocal: return apply<T>(a, [](T x) { return T(1) / x; });
    default: return Tensor();
  }
}

template <class T> Tensor unary_any(Unary op, const Tensor& a) {
  switch (op) {
    case Unary::neg: return apply<T>(a, [](T x) { return T(-x); });
    case Unary::abs:
      return apply<T>(a, [](T x) { return x < T(0) ? T(-x) : (x == T(0) ? T(0) : x); });
    case Unary::relu: return apply<T>(a, [](T x) { return x < T(0) ? T(0) : x; });  // NaN stays
    case Unary::square: return apply<T>(a, [](T x) { return T(x * x); });
    case Unary::sign: return apply<T>(a, [](T x) { return T((x > T(0)) - (x < T(0))); });
    default: return Tensor();
  }
}

}  // namespace

Tensor unary(Unary op, const Tensor& a) {
  constexpr const char* names[] = {"neg",        "sqrt", "rsqrt",      "exp",  "log",
                                   "abs",        "relu", "sigmoid",    "tanh", "square",
                                   "reciprocal", "sign", "logical_not"};
  const char* name = names[static_cast<size_t>(op)];
  if (op == Unary::logical_not) {
    if (a.dtype() != DType::boolean) fail<DtypeError>("logical_not: needs bool, got {}", a.dtype());
    return apply<bool>(a, [](bool x) { return !x; });
  }
  switch (op) {
    case Unary::neg:
    case Unary::abs:
    case Unary::relu:
    case Unary::square:
    case Unary::sign:
      if (a.dtype() == DType::i64) return unary_any<int64_t>(op, a);
      return dispatch_floating(a.dtype(), name,
                               [&]<class T>(Type<T>) { return unary_any<T>(op, a); });
    default:
      return dispatch_floating(a.dtype(), name,
                               [&]<class T>(Type<T>) { return unary_floating<T>(op, a); });
  }
}

Tensor clamp(const Tensor& a, double low, double high) {
  return dispatch_floating(a.dtype(), "clamp", [&]<class T>(Type<T>) {
    const T lo = static_cast<T>(low), hi = static_cast<T>(high);
    return apply<T>(a, [lo, hi](T x) {
      const T y = x < lo ? lo : x;
      return y > hi ? hi : y;
    });
  });
}

bool has_nonfinite(const Tensor& t) {
  if (!is_floating(t.dtype())) return false;
  // x - x is 0 for a finite x and NaN for the others; a sum of those is 0 or NaN.
  const Tensor zeros_or_nan = dispatch_floating(t.dtype(), "has_nonfinite", [&]<class T>(Type<T>) {
    return apply<T>(t, [](T x) { return x - x; });
  });
  return sum(zeros_or_nan, {}, false).item<double>() != 0;
}

}  // namespace loupe::raw
