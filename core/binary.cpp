#include <loupe/core/dmath.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/number.h>

#include <cmath>

namespace loupe::raw {
namespace {

constexpr const char* kBinaryNames[] = {"add",     "sub", "mul",       "div",      "maximum",
                                        "minimum", "pow", "remainder", "floor_div"};

void check_same_dtype(const Tensor& a, const Tensor& b, const char* op) {
  if (a.dtype() != b.dtype())
    fail<DtypeError>("{}: element types differ: {} and {}; convert one with to(...)", op, a.dtype(),
                     b.dtype());
}

// f32, f64, i64 and u8; bool has no arithmetic.
template <class F> decltype(auto) dispatch_number(DType t, const char* op, F&& f) {
  if (t == DType::boolean) fail<DtypeError>("{}: bool has no arithmetic; convert with to(...)", op);
  if (t == DType::i64) return f(Type<int64_t>{});
  if (t == DType::u8) return f(Type<uint8_t>{});
  return dispatch_floating(t, op, std::forward<F>(f));
}

// Signed overflow is undefined in C++; the unsigned type of the same width wraps around.
template <class T> using Wrapping = std::conditional_t<std::is_same_v<T, int64_t>, uint64_t, T>;

// x^y modulo 2^64. A negative y gives 1/x^|y| without its part behind the point, as PyTorch does.
template <class T> T integer_power(T x, T y) {
  const auto exponent = static_cast<int64_t>(y);
  if (exponent < 0) {
    if (x == T(1)) return x;
    if (static_cast<int64_t>(x) == -1) return exponent % 2 != 0 ? x : T(1);
    return T(0);
  }
  auto base = static_cast<uint64_t>(x);
  uint64_t r = 1;
  for (auto n = static_cast<uint64_t>(exponent); n > 0; n /= 2, base *= base)
    if (n % 2 != 0) r *= base;
  return static_cast<T>(r);
}

template <class T> [[gnu::noinline]] T power(T x, T y) {
  if constexpr (std::is_integral_v<T>) return integer_power(x, y);
  else return static_cast<T>(dmath::pow(static_cast<double>(x), static_cast<double>(y)));
}

// x - y floor(x / y): the sign of y, as in Python. An integer y is not 0.
template <class T> [[gnu::noinline]] T remainder_of(T x, T y) {
  T r;
  if constexpr (std::is_floating_point_v<T>) {
    r = std::fmod(x, y);
  } else {
    if (static_cast<int64_t>(y) == -1) return T(0);  // the smallest i64 / -1 overflows
    r = static_cast<T>(x % y);
  }
  return r != T(0) && (r < T(0)) != (y < T(0)) ? T(r + y) : r;
}

// floor(x / y) of the exact quotient, which rounding x / y would miss next to a whole number.
[[gnu::noinline]] double floor_quotient(double x, double y) {
  if (y == 0) return x / y;
  const double cut = std::fmod(x, y);
  const double q = (x - cut) / y;  // a whole number but for rounding
  return std::nearbyint(q) - (cut != 0 && (cut < 0) != (y < 0) ? 1 : 0);
}

template <class T>
void binary_into(Binary op, const Tensor& out, const Tensor& a, const Tensor& b) {
  using W = Wrapping<T>;
  switch (op) {
    case Binary::add: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(W(x) + W(y)); });
    case Binary::sub: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(W(x) - W(y)); });
    case Binary::mul: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(W(x) * W(y)); });
    case Binary::div:
      if constexpr (std::is_floating_point_v<T>)
        return map2<T, T, T>(out, a, b, [](T x, T y) { return x / y; });
      else
        fail<DtypeError>("div: needs f32 or f64, got {}; convert with to(DType::f32)",
                         dtype_of<T>());
    // A NaN on either side wins, as in PyTorch.
    case Binary::maximum:
      return map2<T, T, T>(out, a, b, [](T x, T y) { return x > y || x != x ? x : y; });
    case Binary::minimum:
      return map2<T, T, T>(out, a, b, [](T x, T y) { return x < y || x != x ? x : y; });
    case Binary::pow: return map2<T, T, T>(out, a, b, [](T x, T y) { return power(x, y); });
    case Binary::remainder:
      if (std::is_integral_v<T> && sum(compare(Compare::eq, b, 0), {}, false).item<int64_t>() > 0)
        fail<ValueError>("remainder: an integer divided by 0");
      return map2<T, T, T>(out, a, b, [](T x, T y) { return remainder_of(x, y); });
    case Binary::floor_div:  // of floating types: the gradient of remainder
      return map2<T, T, T>(out, a, b, [](T x, T y) {
        return static_cast<T>(floor_quotient(static_cast<double>(x), static_cast<double>(y)));
      });
  }
}

template <class T, class F>
Tensor compared(const Tensor& a, const Tensor& b, const Shape& shape, F f) {
  Tensor out = elementwise_result(shape, DType::boolean, {&a, &b});
  map2<bool, T, T>(out, a, b, f);
  return out;
}

}  // namespace

Tensor binary(Binary op, const Tensor& a, const Tensor& b, const char* name) {
  check_same_dtype(a, b, name);
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), name);
  Tensor out = elementwise_result(shape, a.dtype(), {&a, &b});
  dispatch_number(a.dtype(), name, [&]<class T>(Type<T>) { binary_into<T>(op, out, a, b); });
  return out;
}

Tensor number_like(const Tensor& a, Number b, const char* op) {
  Tensor t = empty({}, a.dtype());
  dispatch(a.dtype(), [&]<class T>(Type<T>) { *t.ptr<T>() = checked_factor<T>(b, op); });
  return t;
}

namespace {

// x^0.5 and x^-0.5 as PyTorch has them: NaN at -Inf, where pow gives Inf and 0.
Tensor square_root(const Tensor& a, bool inverse) {
  Tensor out = empty_like(a);
  dispatch_floating(a.dtype(), "pow", [&]<class T>(Type<T>) {
    if (inverse) map1<T, T>(out, a, [](T x) { return T(1) / T(std::sqrt(x)); });
    else map1<T, T>(out, a, [](T x) { return T(std::sqrt(x)); });
  });
  return out;
}

}  // namespace

Tensor binary(Binary op, const Tensor& a, Number b, bool swapped) {
  const char* name = kBinaryNames[static_cast<size_t>(op)];
  if (a.dtype() == DType::boolean) dispatch_number(a.dtype(), name, []<class T>(Type<T>) {});
  if (op == Binary::pow && !swapped) {
    if (b.real == 1) return clone(a);
    if (b.real == 2) return binary(Binary::mul, a, a, name);
    if (is_floating(a.dtype()) && std::fabs(b.real) == 0.5) return square_root(a, b.real < 0);
    if (b.real == 3) return binary(Binary::mul, binary(Binary::mul, a, a, name), a, name);
    if (!is_floating(a.dtype()) && b.real < 0)
      fail<ValueError>("pow: an integer to the negative power {}; convert with to(DType::f32)",
                       b.real);
  }
  const Tensor number = number_like(a, b, name);
  return swapped ? binary(op, number, a, name) : binary(op, a, number, name);
}

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

// b has a part behind the point, is NaN, or lies beyond i64. `op` and `limit` become a question about
// the integer `limit` that has the same answer.
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

namespace {

void check_broadcast_into(const Tensor& dst, const Tensor& src, const char* op) {
  check_same_dtype(dst, src, op);
  if (broadcast_shapes(dst.shape(), src.shape(), op) != dst.shape())
    fail<ShapeError>("{}: shape {} does not broadcast to {}", op, src.shape(), dst.shape());
}

}  // namespace

void add_into(const Tensor& dst, const Tensor& src, Number alpha) {
  check_broadcast_into(dst, src, "add_");
  dispatch_number(dst.dtype(), "add_", [&]<class T>(Type<T>) {
    using W = Wrapping<T>;
    const T factor = checked_factor<T>(alpha, "add_");
    if (alpha.real == 1) binary_into<T>(Binary::add, dst, dst, src);
    else map2<T, T, T>(dst, dst, src, [factor](T x, T y) { return T(W(x) + W(factor) * W(y)); });
  });
}

void mul_into(const Tensor& dst, const Tensor& src) {
  check_broadcast_into(dst, src, "mul_");
  dispatch_number(dst.dtype(), "mul_",
                  [&]<class T>(Type<T>) { binary_into<T>(Binary::mul, dst, dst, src); });
}

void scale(const Tensor& dst, Number factor) {
  dispatch_number(dst.dtype(), "mul_", [&]<class T>(Type<T>) {
    const T f = checked_factor<T>(factor, "mul_");
    map1<T, T>(dst, dst, [f](T x) { return T(Wrapping<T>(x) * Wrapping<T>(f)); });
  });
}

}  // namespace loupe::raw
