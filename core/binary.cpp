#include <loupe/core/dmath.h>
#include <loupe/core/elementwise.h>
#include <loupe/core/number.h>

#include <cmath>

namespace loupe::raw {
namespace {

constexpr const char* kBinaryNames[] = {"add", "sub", "mul", "div", "maximum", "minimum", "pow"};

void check_same_dtype(const Tensor& a, const Tensor& b, const char* op) {
  if (a.dtype() != b.dtype())
    fail<DtypeError>("{}: element types differ: {} and {}; convert one with to(...)", op, a.dtype(), b.dtype());
}

// f32, f64, i64 and u8; bool has no arithmetic.
template <class F> decltype(auto) dispatch_number(DType t, const char* op, F&& f) {
  if (t == DType::boolean) fail<DtypeError>("{}: bool has no arithmetic; convert with to(...)", op);
  if (t == DType::i64) return f(Type<int64_t>{});
  if (t == DType::u8) return f(Type<uint8_t>{});
  return dispatch_floating(t, op, std::forward<F>(f));
}

template <class T> T power(T x, T y) {
  return static_cast<T>(dmath::pow(static_cast<double>(x), static_cast<double>(y)));
}

template <class T> void binary_into(Binary op, const Tensor& out, const Tensor& a, const Tensor& b) {
  switch (op) {
    case Binary::add: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(x + y); });
    case Binary::sub: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(x - y); });
    case Binary::mul: return map2<T, T, T>(out, a, b, [](T x, T y) { return T(x * y); });
    case Binary::div:
      if constexpr (std::is_floating_point_v<T>) return map2<T, T, T>(out, a, b, [](T x, T y) { return x / y; });
      else fail<DtypeError>("div: needs f32 or f64, got {}; convert with to(DType::f32)", dtype_of<T>());
    // A NaN on either side wins, as in PyTorch.
    case Binary::maximum: return map2<T, T, T>(out, a, b, [](T x, T y) { return x > y || x != x ? x : y; });
    case Binary::minimum: return map2<T, T, T>(out, a, b, [](T x, T y) { return x < y || x != x ? x : y; });
    case Binary::pow: return map2<T, T, T>(out, a, b, [](T x, T y) { return power(x, y); });
  }
}

template <class T, class F> Tensor apply(const Tensor& a, F f) {
  Tensor out = empty_like(a);
  map1<T, T>(out, a, f);
  return out;
}

template <class T> Tensor binary_number(Binary op, const Tensor& a, T b, bool swapped) {
  switch (op) {
    case Binary::add: return apply<T>(a, [b](T x) { return T(x + b); });
    case Binary::sub: return swapped ? apply<T>(a, [b](T x) { return T(b - x); }) : apply<T>(a, [b](T x) { return T(x - b); });
    case Binary::mul: return apply<T>(a, [b](T x) { return T(x * b); });
    case Binary::div:
      if constexpr (std::is_floating_point_v<T>)
        return swapped ? apply<T>(a, [b](T x) { return b / x; }) : apply<T>(a, [b](T x) { return x / b; });
      else fail<DtypeError>("div: needs f32 or f64, got {}; convert with to(DType::f32)", a.dtype());
    case Binary::maximum: return apply<T>(a, [b](T x) { return x > b || x != x ? x : b; });
    case Binary::minimum: return apply<T>(a, [b](T x) { return x < b || x != x ? x : b; });
    case Binary::pow: break;
  }
  if (!swapped && b == T(2)) return apply<T>(a, [](T x) { return T(x * x); });
  if (!swapped && b == T(3)) return apply<T>(a, [](T x) { return T(x * x * x); });
  if (!swapped && b == T(1)) return clone(a);
  return swapped ? apply<T>(a, [b](T x) { return power(b, x); }) : apply<T>(a, [b](T x) { return power(x, b); });
}

template <class T, class F> Tensor compared(const Tensor& a, const Tensor& b, const Shape& shape, F f) {
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
  return dispatch_number(a.dtype(), name, [&]<class T>(Type<T>) {
    if constexpr (!std::is_floating_point_v<T>)
      if (b != std::floor(b)) fail<DtypeError>("{}: {} is not a whole number and the tensor is {}; convert with to(DType::f32)", name, b, a.dtype());
    return binary_number<T>(op, a, checked_number<T>(b, name), swapped);
  });
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
  if (!is_floating(a.dtype()) && b != std::floor(b))
    fail<DtypeError>("compare: {} is not a whole number and the tensor is {}; convert with to(DType::f32)", b, a.dtype());
  return compare(op, a, full({}, b, a.dtype()));
}

Tensor where(const Tensor& cond, const Tensor& a, const Tensor& b) {
  if (cond.dtype() != DType::boolean) fail<DtypeError>("where: the condition must be bool, got {}", cond.dtype());
  check_same_dtype(a, b, "where");
  const Shape shape = broadcast_shapes(broadcast_shapes(a.shape(), b.shape(), "where"), cond.shape(), "where");
  Tensor out = elementwise_result(shape, a.dtype(), {&a, &b, &cond});
  dispatch(a.dtype(), [&]<class T>(Type<T>) {
    map3<T, bool, T, T>(out, cond, a, b, [](bool c, T x, T y) { return c ? x : y; });
  });
  return out;
}

void add_into(const Tensor& dst, const Tensor& src, double alpha) {
  check_same_dtype(dst, src, "add_");
  if (broadcast_shapes(dst.shape(), src.shape(), "add_") != dst.shape())
    fail<ShapeError>("add_: shape {} does not broadcast to {}", src.shape(), dst.shape());
  dispatch_number(dst.dtype(), "add_", [&]<class T>(Type<T>) {
    const T factor = checked_number<T>(alpha, "add_");
    if (alpha == 1) map2<T, T, T>(dst, dst, src, [](T x, T y) { return T(x + y); });
    else map2<T, T, T>(dst, dst, src, [factor](T x, T y) { return T(x + factor * y); });
  });
}

void mul_into(const Tensor& dst, const Tensor& src) {
  check_same_dtype(dst, src, "mul_");
  if (broadcast_shapes(dst.shape(), src.shape(), "mul_") != dst.shape())
    fail<ShapeError>("mul_: shape {} does not broadcast to {}", src.shape(), dst.shape());
  dispatch_number(dst.dtype(), "mul_", [&]<class T>(Type<T>) { map2<T, T, T>(dst, dst, src, [](T x, T y) { return T(x * y); }); });
}

void scale(const Tensor& dst, double factor) {
  dispatch_number(dst.dtype(), "mul_", [&]<class T>(Type<T>) {
    const T f = checked_number<T>(factor, "mul_");
    map1<T, T>(dst, dst, [f](T x) { return T(x * f); });
  });
}

}  // namespace loupe::raw
