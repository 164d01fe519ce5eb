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

// sin (turned = 0) or cos (turned = 1). The vector loop is good up to kTurnLimit; what lies beyond is
// computed again, one by one.
Tensor wave(const Tensor& a, int turned) {
  if (a.dtype() == DType::f64)
    return apply<double>(a, [turned](double x) { return turned ? dmath::cos(x) : dmath::sin(x); });
  Tensor out = empty_like(a);
  const Plan plan = make_plan({&out, &a});
  float* const r = out.ptr<float>();
  const float* const x = a.ptr<float>();
  const int64_t sr = plan.stride[0][0], sx = plan.stride[1][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    float* const p = r + at[0];
    const float* const q = x + at[1];
    const uint64_t quarters = static_cast<uint64_t>(turned);
    if (sr == 1 && sx == 1) {
      simd([=](auto level) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) p[i] = vsin_after(q[i], quarters, level);
      });
    } else {
      for (int64_t i = 0; i < n; ++i) p[i * sr] = vsin_after(q[i * sx], quarters);
    }
    for (int64_t i = 0; i < n; ++i) {
      const double far = static_cast<double>(q[i * sx]);
      if (!(std::fabs(far) <= kTurnLimit))
        p[i * sr] = static_cast<float>(turned ? dmath::cos(far) : dmath::sin(far));
    }
  });
  return out;
}

template <class T> Tensor rounded(Unary op, const Tensor& a) {
  switch (op) {
    case Unary::floor: return apply<T>(a, [](T x) { return T(std::floor(x)); });
    case Unary::ceil: return apply<T>(a, [](T x) { return T(std::ceil(x)); });
    case Unary::round: return apply<T>(a, [](T x) { return T(std::nearbyint(x)); });
    default: return apply<T>(a, [](T x) { return T(std::trunc(x)); });
  }
}

// Integers too: -x and |x| wrap around, a rounding changes nothing.
template <class T> Tensor unary_number(Unary op, const Tensor& a) {
  using W = std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, T>;
  switch (op) {
    case Unary::neg: return apply<T>(a, [](T x) { return T(-W(x)); });
    case Unary::abs:
      return apply<T>(a, [](T x) { return x < T(0) ? T(-W(x)) : (x == T(0) ? T(0) : x); });
    case Unary::sign: return apply<T>(a, [](T x) { return T((x > T(0)) - (x < T(0))); });
    default: break;
  }
  if constexpr (std::is_floating_point_v<T>) return rounded<T>(op, a);
  else return clone(a);
}

}  // namespace

Tensor unary(Unary op, const Tensor& a) {
  constexpr const char* names[] = {"neg",   "abs",  "sign",  "sin",  "cos",
                                   "floor", "ceil", "round", "trunc"};
  const char* name = names[static_cast<size_t>(op)];
  const bool turns = op == Unary::sin || op == Unary::cos;
  if (!turns && a.dtype() == DType::i64) return unary_number<int64_t>(op, a);
  if (!turns && a.dtype() == DType::u8) return unary_number<uint8_t>(op, a);
  return dispatch_floating(a.dtype(), name, [&]<class T>(Type<T>) {
    return turns ? wave(a, op == Unary::cos ? 1 : 0) : unary_number<T>(op, a);
  });
}

Tensor clamp(const Tensor& a, std::optional<Number> low, std::optional<Number> high) {
  if (a.dtype() == DType::boolean)
    fail<DtypeError>("clamp: bool has no order; convert with to(...)");
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    using Limits = std::numeric_limits<T>;
    constexpr T lowest = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    constexpr T highest = Limits::has_infinity ? Limits::infinity() : Limits::max();
    const T lo = low ? checked_factor<T>(*low, "clamp") : lowest;
    const T hi = high ? checked_factor<T>(*high, "clamp") : highest;
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
