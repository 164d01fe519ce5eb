#include <loupe/core/dmath.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/number.h>

#include <cmath>

namespace loupe::raw {
namespace {

constexpr const char* kBinaryNames[] = {"add", "sub", "mul", "div", "maximum", "minimum", "pow"};

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

template <class T> [[gnu::noinline]] T power(T x, T y) {
  return static_cast<T>(dmath::pow(static_cast<double>(x), static_cast<double>(y)));
}

// A number as a 0-dimensional tensor of a's type.
Tensor number_like(const Tensor& a, double b, const char* op) {
  if (!is_floating(a.dtype()) && b != std::floor(b))
    fail<DtypeError>(
        "{}: {} is not a whole number and the tensor is {}; convert with to(DType::f32)", op, b,
        a.dtype());
  dispatch(a.dtype(), [&]<class T>(Type<T>) { checked_number<T>(b, op); });
  return full({}, b, a.dtype());
}

template <class T>
void binary_into(Binary op, const Tensor& out, const Tensor& a, const Tensor& b) {
  switch (op) {
    case Binary::add: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(x + y); });
    case Binary::sub: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(x - y); });
    case Binary::mul: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(x * y); });
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

Tensor binary(Binary op, const Tensor& a, double b, bool swapped) {
  const char* name = kBinaryNames[static_cast<size_t>(op)];
  if (op == Binary::pow && !swapped) {
    if (b == 1) return clone(a);
    if (b == 2) return binary(Binary::mul, a, a, name);
    if (b == 3) return binary(Binary::mul, binary(Binary::mul, a, a, name), a, name);
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

Tensor compare(Compare op, const Tensor& a, double b) {
  return compare(op, a, number_like(a, b, "compare"));
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

void add_into(const Tensor& dst, const Tensor& src, double alpha) {
  check_broadcast_into(dst, src, "add_");
  dispatch_number(dst.dtype(), "add_", [&]<class T>(Type<T>) {
    const T factor = checked_number<T>(alpha, "add_");
    if (alpha == 1) binary_into<T>(Binary::add, dst, dst, src);
    else map2<T, T, T>(dst, dst, src, [factor](T x, T y) { return T(x + factor * y); });
  });
}

void mul_into(const Tensor& dst, const Tensor& src) {
  check_broadcast_into(dst, src, "mul_");
  dispatch_number(dst.dtype(), "mul_",
                  [&]<class T>(Type<T>) { binary_into<T>(Binary::mul, dst, dst, src); });
}

void scale(const Tensor& dst, double factor) {
  dispatch_number(dst.dtype(), "mul_", [&]<class T>(Type<T>) {
    const T f = checked_number<T>(factor, "mul_");
    map1<T, T>(dst, dst, [f](T x) { return T(x * f); });
  });
}

}  // namespace loupe::raw
