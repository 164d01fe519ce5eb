#pragma once
// Arithmetic and comparisons, element by element. Shapes broadcast as in NumPy; element types must
// agree (a C++ number takes the tensor's). Operators + - * / stand in core/tensor.h.
#include <loupe/core/tensor.h>

#include <optional>

namespace loupe {

/// a + b, a - b, a * b, a / b.
Tensor add(In a, In b);
Tensor sub(In a, In b);
Tensor mul(In a, In b);
/// f32 and f64 only.
Tensor div(In a, In b);
/// -a.
Tensor neg(In a);
/// a^b. Integers stay exact and wrap around; ValueError for an integer tensor to a negative number
/// (with a negative exponent in a tensor 1/a^|b| is cut: 1, -1 or 0). The gradient of b is 0 where
/// a = 0 and b >= 0, and NaN where a < 0.
Tensor pow(In a, In b);
Tensor pow(In a, Number exponent);
Tensor pow(Number base, In exponent);
/// a - b floor(a / b), with the sign of b, as Python's %. f32, f64 and integers; ValueError where
/// an integer is divided by 0. Gradients: 1 and -floor(a / b).
Tensor remainder(In a, In b);
Tensor remainder(In a, Number b);
/// a * a.
Tensor square(In a);
/// 1 / a.
Tensor reciprocal(In a);
/// Square root, and its reciprocal.
Tensor sqrt(In a);
Tensor rsqrt(In a);
/// e^a, and e^a - 1 without loss for small a.
Tensor exp(In a);
Tensor expm1(In a);
/// The natural logarithm, and log(1 + a) without loss for small a.
Tensor log(In a);
Tensor log1p(In a);
/// Sine and cosine of radians, of any size; NaN at the infinities.
Tensor sin(In a);
Tensor cos(In a);
/// |a|, with gradient 0 at 0.
Tensor abs(In a);
/// The sign: -1, 0 or 1 (0 for NaN); its gradient is 0.
Tensor sign(In a);
/// The next whole number downwards, upwards, nearest (a half goes to the even one), towards 0.
/// Integers stay. The gradient is 0.
Tensor floor(In a);
Tensor ceil(In a);
Tensor round(In a);
Tensor trunc(In a);
/// a limited to [low, high], or from one side: clamp(a, 0, {}) and clamp(a, {}, 6). The gradient is
/// 1 inside and at the bounds, 0 outside. Where low > high every element becomes high, without a
/// gradient. ValueError if a bound is NaN, or both are missing.
Tensor clamp(In a, std::optional<Number> low, std::optional<Number> high);
/// The same between tensors that broadcast: min(max(a, low), high). An undefined bound is none. The
/// bound that was taken gets the gradient; where low > high that is `high`. Where low equals high
/// and a lies below, none gets it.
Tensor clamp(In a, In low, In high);
/// The larger (smaller) of two; where they are equal each gets half the gradient. NaN wins.
Tensor maximum(In a, In b);
Tensor minimum(In a, In b);
Tensor maximum(In a, Number b);
Tensor minimum(In a, Number b);
inline Tensor maximum(Number a, In b) { return maximum(b, a); }
inline Tensor minimum(Number a, In b) { return minimum(b, a); }

/// cond ? a : b; cond is bool. A number takes the other's type; two numbers give i64 if both are
/// C++ integers, else f32.
Tensor where(In cond, In a, In b);
Tensor where(In cond, In a, Number b);
Tensor where(In cond, Number a, In b);
Tensor where(In cond, Number a, Number b);
/// a with `value` wherever mask (bool) is true; the gradient is 0 there.
Tensor masked_fill(In a, In mask, Number value);
/// The lower (upper) triangle of the last two dimensions, zero elsewhere; `diagonal` shifts it up.
Tensor tril(In a, int64_t diagonal = 0);
Tensor triu(In a, int64_t diagonal = 0);

/// Comparisons give bool and have no gradient. An integer or bool tensor is compared with the
/// number itself: `i64 < 0.5`, `bool == 2`, NaN and the infinities have their mathematical answer.
/// ValueError for u8 against a whole number outside of 0 to 255.
Tensor eq(In a, In b);
Tensor ne(In a, In b);
Tensor lt(In a, In b);
Tensor le(In a, In b);
Tensor gt(In a, In b);
Tensor ge(In a, In b);
Tensor eq(In a, Number b);
Tensor ne(In a, Number b);
Tensor lt(In a, Number b);
Tensor le(In a, Number b);
Tensor gt(In a, Number b);
Tensor ge(In a, Number b);
inline Tensor operator<(In a, In b) { return lt(a, b); }
inline Tensor operator<=(In a, In b) { return le(a, b); }
inline Tensor operator>(In a, In b) { return gt(a, b); }
inline Tensor operator>=(In a, In b) { return ge(a, b); }
inline Tensor operator<(In a, Number b) { return lt(a, b); }
inline Tensor operator<=(In a, Number b) { return le(a, b); }
inline Tensor operator>(In a, Number b) { return gt(a, b); }
inline Tensor operator>=(In a, Number b) { return ge(a, b); }
/// Logic of any types, also mixed: 0 is false, all else true, NaN too. Gives bool.
Tensor logical_and(In a, In b);
Tensor logical_or(In a, In b);
Tensor logical_xor(In a, In b);
Tensor logical_not(In a);
/// The same for bool tensors only; DtypeError for others.
Tensor operator&(In a, In b);
Tensor operator|(In a, In b);
Tensor operator^(In a, In b);
Tensor operator~(In a);
/// Which elements are NaN, infinite, neither. Gives bool; integers are finite.
Tensor isnan(In a);
Tensor isinf(In a);
Tensor isfinite(In a);
/// True if both have the same shape, type and elements (NaN equals nothing).
bool equal(In a, In b);
/// True if shapes agree and everywhere a equals b, or b is finite and |a - b| <= atol + rtol |b|.
bool allclose(In a, In b, double rtol = 1e-5, double atol = 1e-8);

}  // namespace loupe
