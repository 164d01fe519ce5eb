#pragma once
// The loops of elementwise operations: a plan merges dimensions, an inner loop is vectorised for
// unit and zero strides. For the sources under core/ and autograd/ops that define such operations;
// users never see it.
#include <loupe/core/cpu.h>
#include <loupe/core/raw.h>

#include <initializer_list>
#include <memory>

namespace loupe::raw {

inline constexpr int kMaxOperands = 4;

/// How operands of one (broadcast) shape are walked: dimension 0 is the innermost. Dimensions of
/// size 1 are dropped, the others sorted by operand 0's strides, and neighbours merged where all
/// operands allow it.
struct Plan {
  int operands = 0, rank = 0;
  int64_t size[kMaxRank] = {};
  int64_t stride[kMaxOperands][kMaxRank] = {};
};

/// The first operand has the full shape; the others broadcast to it.
Plan make_plan(std::initializer_list<const Tensor*> operands);

inline constexpr int64_t kElementGrain = 16384;  // elements of one piece

namespace detail {
void run_rows(const Plan& plan, void (*row)(const void*, const int64_t*, int64_t),
              const void* context);
}

/// Calls row(offsets, n) for runs of up to kElementGrain elements along the innermost dimension; in
/// pieces, on threads.
template <class Row> void for_rows(const Plan& plan, const Row& row) {
  detail::run_rows(
      plan,
      [](const void* f, const int64_t* at, int64_t n) { (*static_cast<const Row*>(f))(at, n); },
      std::addressof(row));
}

/// The type that decides how a loop over several is compiled: f32 if one of them is.
template <class... T>
using LoopType = std::conditional_t<(std::is_same_v<T, float> || ...), float, double>;

/// f(x...), and where f takes it, with the level's way to multiply and add (core/cpu.h).
template <class Level, class F, class... T>
[[gnu::always_inline]] inline auto call_at(Level level, const F& f, T... x) {
  if constexpr (std::is_invocable_v<const F&, T..., Level>) return f(x..., level);
  else return f(x...);
}

/// Calls f(Type<T>) for f32, f64, i64 and u8; DtypeError, with `op` in front, for bool.
template <class F> decltype(auto) dispatch_number(DType t, const char* op, F&& f) {
  if (t == DType::boolean) fail<DtypeError>("{}: bool has no arithmetic; convert with to(...)", op);
  if (t == DType::i64) return f(Type<int64_t>{});
  if (t == DType::u8) return f(Type<uint8_t>{});
  return dispatch_floating(t, op, std::forward<F>(f));
}

/// One row of map1: p[i * sp] = f(q[i * sq]).
template <class R, class A, class F>
void map1_row(R* p, int64_t sp, const A* q, int64_t sq, int64_t n, F f) {
  if (sp == 1 && sq == 1) {
    simd<LoopType<R, A>>([=](auto level) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, q[i]);
    });
  } else {
    for (int64_t i = 0; i < n; ++i) p[i * sp] = call_at(Separate{}, f, q[i * sq]);
  }
}

/// out[i] = f(a[i]).
template <class R, class A, class F> void map1(const Tensor& out, const Tensor& a, F f) {
  const Plan plan = make_plan({&out, &a});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const int64_t sr = plan.stride[0][0], sx = plan.stride[1][0];
  for_rows(plan,
           [=](const int64_t* at, int64_t n) { map1_row(r + at[0], sr, x + at[1], sx, n, f); });
}

/// The same, and where rare(a[i]) out[i] = instead(a[i]): for a fast loop that does not hold for
/// every number.
template <class R, class A, class F, class Rare, class Instead>
void map1_except(const Tensor& out, const Tensor& a, F f, Rare rare, Instead instead) {
  const Plan plan = make_plan({&out, &a});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const int64_t sr = plan.stride[0][0], sx = plan.stride[1][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    R* const p = r + at[0];
    const A* const q = x + at[1];
    map1_row(p, sr, q, sx, n, f);
    for (int64_t i = 0; i < n; ++i)
      if (rare(q[i * sx])) p[i * sr] = instead(q[i * sx]);
  });
}

/// out[i] = f(a[i], b[i]).
template <class R, class A, class B, class F>
void map2(const Tensor& out, const Tensor& a, const Tensor& b, F f) {
  const Plan plan = make_plan({&out, &a, &b});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const B* const y = b.ptr<B>();
  const int64_t sr = plan.stride[0][0], sa = plan.stride[1][0], sb = plan.stride[2][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    R* const p = r + at[0];
    const A* const q = x + at[1];
    const B* const s = y + at[2];
    if (sr == 1 && sa + sb > 0 && sa <= 1 && sb <= 1) {
      simd<LoopType<R, A, B>>([=](auto level) {
        if (sa == 1 && sb == 1) {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, q[i], s[i]);
        } else if (sb == 0) {
          const B value = s[0];
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, q[i], value);
        } else {
          const A value = q[0];
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, value, s[i]);
        }
      });
    } else {
      for (int64_t i = 0; i < n; ++i) p[i * sr] = call_at(Separate{}, f, q[i * sa], s[i * sb]);
    }
  });
}

/// out[i] = f(a[i], b[i], c[i]).
template <class R, class A, class B, class C, class F>
void map3(const Tensor& out, const Tensor& a, const Tensor& b, const Tensor& c, F f) {
  const Plan plan = make_plan({&out, &a, &b, &c});
  R* const r = out.ptr<R>();
  const A* const x = a.ptr<A>();
  const B* const y = b.ptr<B>();
  const C* const z = c.ptr<C>();
  const int64_t sr = plan.stride[0][0], sa = plan.stride[1][0], sb = plan.stride[2][0],
                sc = plan.stride[3][0];
  for_rows(plan, [=](const int64_t* at, int64_t n) {
    R* const p = r + at[0];
    const A* const q = x + at[1];
    const B* const s = y + at[2];
    const C* const u = z + at[3];
    if (sr == 1 && sa == 1 && sb + sc > 0 && sb <= 1 && sc <= 1) {
      simd<LoopType<R, A, B, C>>([=](auto level) {
        if (sb == 1 && sc == 1) {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, q[i], s[i], u[i]);
        } else if (sc == 0) {
          const C value = u[0];
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, q[i], s[i], value);
        } else {
          const B value = s[0];
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) p[i] = call_at(level, f, q[i], value, u[i]);
        }
      });
    } else {
      for (int64_t i = 0; i < n; ++i)
        p[i * sr] = call_at(Separate{}, f, q[i * sa], s[i * sb], u[i * sc]);
    }
  });
}

/// DtypeError, with `op` in front, unless both hold the same type.
void check_same_dtype(const Tensor& a, const Tensor& b, const char* op);

/// The result of an elementwise op: the broadcast shape, with the strides of the first dense
/// operand that has it.
Tensor elementwise_result(const Shape& shape, DType dtype,
                          std::initializer_list<const Tensor*> operands);

}  // namespace loupe::raw
