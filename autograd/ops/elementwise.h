#pragma once
// Arithmetic and comparisons, element by element. Shapes broadcast as in NumPy; element types must
// agree (a C++ number takes the tensor's). Operators + - * / stand in core/tensor.h.
#include <loupe/core/tensor.h>

namespace loupe {

/// a + b, a - b, a * b, a / b.
Tensor add(In a, In b);
Tensor sub(In a, In b);
Tensor mul(In a, In b);
/// f32 and f64 only.
Tensor div(In a, In b);
/// -a.
Tensor neg(In a);
/// a^b; the gradient of b needs a > 0.
Tensor pow(In a, In b);
Tensor pow(In a, double exponent);
/// a * a.
Tensor square(In a);
/// 1 / a.
Tensor reciprocal(In a);
/// Square root, and its reciprocal.
Tensor sqrt(In a);
Tensor rsqrt(In a);
/// e^a and the natural logarithm.
Tensor exp(In a);
Tensor log(In a);
/// |a|, with gradient 0 at 0.
Tensor abs(In a);
/// The sign: -1, 0 or 1; its gradient is 0.
Tensor sign(In a);
/// a limited to [low, high]; the gradient is 0 outside. ValueError if low > high.
Tensor clamp(In a, double low, double high);
/// The larger (smaller) of two; where they are equal each gets half the gradient. NaN wins.
Tensor maximum(In a, In b);
Tensor minimum(In a, In b);

/// cond ? a : b; cond is bool.
Tensor where(In cond, In a, In b);
/// a with `value` wherever mask (bool) is true; the gradient is 0 there.
Tensor masked_fill(In a, In mask, double value);
/// The lower (upper) triangle of the last two dimensions, zero elsewhere; `diagonal` shifts it up.
Tensor tril(In a, int64_t diagonal = 0);
Tensor triu(In a, int64_t diagonal = 0);

/// Comparisons give bool and have no gradient.
Tensor eq(In a, In b);
Tensor ne(In a, In b);
Tensor lt(In a, In b);
Tensor le(In a, In b);
Tensor gt(In a, In b);
Tensor ge(In a, In b);
Tensor eq(In a, double b);
Tensor ne(In a, double b);
Tensor lt(In a, double b);
Tensor le(In a, double b);
Tensor gt(In a, double b);
Tensor ge(In a, double b);
inline Tensor operator<(In a, In b) { return lt(a, b); }
inline Tensor operator<=(In a, In b) { return le(a, b); }
inline Tensor operator>(In a, In b) { return gt(a, b); }
inline Tensor operator>=(In a, In b) { return ge(a, b); }
inline Tensor operator<(In a, double b) { return lt(a, b); }
inline Tensor operator<=(In a, double b) { return le(a, b); }
inline Tensor operator>(In a, double b) { return gt(a, b); }
inline Tensor operator>=(In a, double b) { return ge(a, b); }
/// not a; bool only.
Tensor logical_not(In a);
/// True if both have the same shape, type and elements (NaN equals nothing).
bool equal(const Tensor& a, const Tensor& b);
/// True if shapes agree and |a - b| <= atol + rtol |b| everywhere.
bool allclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8);

}  // namespace loupe
