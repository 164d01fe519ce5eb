#pragma once
// Element types, known at run time. Kernels are templates; `dispatch` chooses the C++ type for a
// DType, once per call.
#include <loupe/core/error.h>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string_view>
#include <type_traits>

namespace loupe {

enum class DType : uint8_t { f32, f64, i64, u8, boolean };

/// "f32", "f64", "i64", "u8", "bool".
constexpr const char* name(DType t) {
  constexpr const char* names[] = {"f32", "f64", "i64", "u8", "bool"};
  return names[static_cast<size_t>(t)];
}
/// Writes name(t).
std::ostream& operator<<(std::ostream& out, DType t);
/// Bytes of one element.
constexpr size_t size_of(DType t) {
  constexpr size_t sizes[] = {4, 8, 8, 1, 1};
  return sizes[static_cast<size_t>(t)];
}
constexpr bool is_floating(DType t) { return t == DType::f32 || t == DType::f64; }

/// A type as a value, so that a generic lambda can receive it: `[&]<class T>(Type<T>) { ... }`.
template <class T> struct Type { using type = T; };

template <class T> constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
  else if constexpr (std::is_same_v<T, int64_t>) return DType::i64;
  else if constexpr (std::is_same_v<T, uint8_t>) return DType::u8;
  else {
    static_assert(std::is_same_v<T, bool>,
                  "a tensor holds float, double, int64_t, uint8_t or bool");
    return DType::boolean;
  }
}

/// Calls f(Type<T>) with the C++ type of t.
template <class F> decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(Type<float>{});
    case DType::f64: return f(Type<double>{});
    case DType::i64: return f(Type<int64_t>{});
    case DType::u8: return f(Type<uint8_t>{});
    case DType::boolean: break;
  }
  return f(Type<bool>{});
}

/// The same for f32 and f64 only; DtypeError, with `op` in front, for every other type.
template <class F> decltype(auto) dispatch_floating(DType t, const char* op, F&& f) {
  if (t == DType::f32) return f(Type<float>{});
  if (t != DType::f64)
    fail<DtypeError>("{}: needs f32 or f64, got {}; convert with to(DType::f32)", op, name(t));
  return f(Type<double>{});
}

}  // namespace loupe

template <> struct fmt::formatter<loupe::DType> {
  constexpr auto parse(format_parse_context& ctx) { return ctx.begin(); }
  template <class Context> auto format(loupe::DType d, Context& ctx) const {
    auto out = ctx.out();
    for (char c : std::string_view(loupe::name(d))) *out++ = c;
    return out;
  }
};
