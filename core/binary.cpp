// Arithmetic of two operands, tensors or numbers.
#include <loupe/core/dmath.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/number.h>

#include <cmath>

namespace loupe::raw {
namespace {

constexpr const char* kBinaryNames[] = {"add",     "sub", "mul",       "div",      "maximum",
                                        "minimum", "pow", "remainder", "floor_div"};

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
    if (!is_floating(a.dtype()) && b.whole() && b.real < 0)
      fail<ValueError>("pow: an integer to the negative power {}; convert with to(DType::f32)",
                       b.real);
  }
  const Tensor number = number_like(a, b, name);
  return swapped ? binary(op, number, a, name) : binary(op, a, number, name);
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
