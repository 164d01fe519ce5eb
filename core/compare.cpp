// Comparisons, logic, tests of elements, and the choices made by them.
#include <loupe/core/elementwise.h>
#include <loupe/core/number.h>

#include <cmath>
#include <limits>

namespace loupe::raw {
namespace {

template <class T, class F>
Tensor compared(const Tensor& a, const Tensor& b, const Shape& shape, F f) {
  Tensor out = elementwise_result(shape, DType::boolean, {&a, &b});
  map2<bool, T, T>(out, a, b, f);
  return out;
}

}  // namespace

Tensor compare(Compare op, const Tensor& a, const Tensor& b) {
  check_same_dtype(a, b, "compare");
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), "compare");
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    switch (op) {
      case Compare::eq: return compared<T>(a, b, shape, [](T x, T y) { return x == y; });
      case Compare::ne: return compared<T>(a, b, shape, [](T x, T y) { return x != y; });
      case Compare::lt: return compared<T>(a, b, shape, [](T x, T y) { return x < y; });
      case Compare::le: return compared<T>(a, b, shape, [](T x, T y) { return x <= y; });
      case Compare::gt: return compared<T>(a, b, shape, [](T x, T y) { return x > y; });
      case Compare::ge: break;
    }
    return compared<T>(a, b, shape, [](T x, T y) { return x >= y; });
  });
}

namespace {

// What "x op b" says of every integer x.
enum class Verdict { always, never, depends };

// b has a part behind the point, is NaN, or lies beyond i64. `op` and `limit` become a question
// about the integer `limit` that has the same answer.
Verdict against_real(Compare& op, int64_t& limit, double b) {
  const auto said = [](bool yes) { return yes ? Verdict::always : Verdict::never; };
  const bool below = op == Compare::lt || op == Compare::le;
  if (b != b) return said(op == Compare::ne);
  if (b >= 0x1p63) return said(op == Compare::ne || below);
  if (b < -0x1p63) return said(op == Compare::ne || op == Compare::gt || op == Compare::ge);
  limit = static_cast<int64_t>(std::floor(b));
  if (b == std::floor(b)) return Verdict::depends;
  if (op == Compare::eq || op == Compare::ne) return said(op == Compare::ne);
  op = below ? Compare::le : Compare::gt;
  return Verdict::depends;
}

template <class T, class F> Tensor asked(const Tensor& a, F f) {
  Tensor out = empty_like(a, DType::boolean);
  map1<bool, T>(out, a, f);
  return out;
}

template <class T> Tensor compare_integer(Compare op, const Tensor& a, Number b) {
  if (std::is_same_v<T, uint8_t> && b.whole()) checked_number<T>(b, "compare");
  int64_t limit = b.integer;
  const Verdict verdict = b.exact ? Verdict::depends : against_real(op, limit, b.real);
  if (verdict != Verdict::depends)
    return asked<T>(a, [yes = verdict == Verdict::always](T) { return yes; });
  switch (op) {
    case Compare::eq: return asked<T>(a, [limit](T x) { return int64_t(x) == limit; });
    case Compare::ne: return asked<T>(a, [limit](T x) { return int64_t(x) != limit; });
    case Compare::lt: return asked<T>(a, [limit](T x) { return int64_t(x) < limit; });
    case Compare::le: return asked<T>(a, [limit](T x) { return int64_t(x) <= limit; });
    case Compare::gt: return asked<T>(a, [limit](T x) { return int64_t(x) > limit; });
    case Compare::ge: break;
  }
  return asked<T>(a, [limit](T x) { return int64_t(x) >= limit; });
}

}  // namespace

Tensor compare(Compare op, const Tensor& a, Number b) {
  if (is_floating(a.dtype())) return compare(op, a, number_like(a, b, "compare"));
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    if constexpr (std::is_integral_v<T>) return compare_integer<T>(op, a, b);
    else return Tensor();
  });
}

Tensor logical(Logical op, const Tensor& a, const Tensor& b) {
  constexpr const char* names[] = {"logical_and", "logical_or", "logical_xor"};
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), names[static_cast<size_t>(op)]);
  const Tensor x = to(a, DType::boolean), y = to(b, DType::boolean);
  Tensor out = elementwise_result(shape, DType::boolean, {&x, &y});
  switch (op) {
    case Logical::and_:
      map2<bool, bool, bool>(out, x, y, [](bool p, bool q) { return p && q; });
      break;
    case Logical::or_:
      map2<bool, bool, bool>(out, x, y, [](bool p, bool q) { return p || q; });
      break;
    case Logical::xor_:
      map2<bool, bool, bool>(out, x, y, [](bool p, bool q) { return p != q; });
      break;
  }
  return out;
}

Tensor logical_not(const Tensor& a) {
  return asked<bool>(to(a, DType::boolean), [](bool x) { return !x; });
}

Tensor test(Test what, const Tensor& a) {
  return dispatch(a.dtype(), [&]<class T>(Type<T>) {
    if constexpr (std::is_floating_point_v<T>) {
      switch (what) {
        case Test::nan: return asked<T>(a, [](T x) { return x != x; });
        case Test::infinite: return asked<T>(a, [](T x) { return x == x && x - x != T(0); });
        case Test::finite: break;
      }
      return asked<T>(a, [](T x) { return x - x == T(0); });
    } else {
      return asked<T>(a, [yes = what == Test::finite](T) { return yes; });
    }
  });
}

Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b) {
  if (cond.dtype() != DType::boolean)
    fail<DtypeError>("where: the condition must be bool, got {}", cond.dtype());
  check_same_dtype(a, b, "where");
  const Shape shape =
      broadcast_shapes(broadcast_shapes(a.shape(), b.shape(), "where"), cond.shape(), "where");
  Tensor out = elementwise_result(shape, a.dtype(), {&a, &b, &cond});
  dispatch(a.dtype(), [&]<class T>(Type<T>) {
    map3<T, bool, T, T>(out, cond, a, b, [](bool c, T x, T y) { return c ? x : y; });
  });
  return out;
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
    Tensor out = empty_like(a);
    map1<T, T>(out, a, [lo, hi](T x) {
      const T y = x < lo ? lo : x;
      return y > hi ? hi : y;
    });
    return out;
  });
}

}  // namespace loupe::raw
