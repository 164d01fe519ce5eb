#pragma once
// Instruction sets: one binary runs on any x86-64 and uses what the machine has. Elsewhere
// (WebAssembly) there are the two lowest levels, with the same bits but for the 2-norm of f64,
// whose squares are added in the machine's long double.
//
// Elementwise and reduction loops go through `simd([=] { loop })`: the same loop compiled for three
// levels. The micro-kernels under core/kernels/micro are whole sources compiled once per level.
// LOUPE_CPU=baseline|v3|v4 forces a level (ValueError if the machine lacks it). LOUPE_CPU=reference
// is below them all: the plain loops that stand beside the fast kernels, for f32 as for f64, no
// BLAS, no fused multiply-add and elementary functions of our own (dmath.h, vmath.h): slow, and the
// same bits on every x86-64 machine.
#include <type_traits>

// The levels above the baseline exist here.
#if defined(__x86_64__)
#define LOUPE_X86_LEVELS 1
#else
#define LOUPE_X86_LEVELS 0
#endif

namespace loupe {

/// reference: plain loops on SSE2. baseline: SSE2. v3: AVX2 and FMA. v4: AVX-512 F, BW, CD, DQ, VL.
enum class CpuLevel { reference, baseline, v3, v4 };

/// The level in use, decided once at the first call.
CpuLevel cpu_level();
const char* name(CpuLevel level);
/// Whether the plain loops run in place of fast kernels and BLAS.
inline bool plain_kernels() { return cpu_level() == CpuLevel::reference; }

/// For tests: forces a level from now on; ValueError if this machine lacks it.
void set_cpu_level(CpuLevel level);
/// The best level of this machine.
CpuLevel best_cpu_level();

/// How a loop inside simd() forms a * b + c. The compilers fuse nothing by themselves
/// (-ffp-contract=off): which products they choose differs, and so would the bits. Two roundings:
/// the baseline, and loops of f64 at every level. (Doubles inside a loop of f32 are fused at v3 and
/// v4.)
struct Separate {
  static float multiply_add(float a, float b, float c) { return a * b + c; }
  static double multiply_add(double a, double b, double c) { return a * b + c; }
};
/// One rounding: v3 and v4 have the instruction.
struct Fused {
  static float multiply_add(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
  static double multiply_add(double a, double b, double c) { return __builtin_fma(a, b, c); }
};

#if LOUPE_X86_LEVELS
namespace detail {
// `flatten` inlines the loop into a function that carries the target: the loop is compiled for that
// level. It runs a copy of f, which no store through a pointer can reach: captured numbers stay in
// registers. clang drops a target string that names a vector width; it then uses 256-bit vectors of
// the v4 set.
#if defined(__clang__)
#define LOUPE_TARGET_V4 target("arch=x86-64-v4")
#else
#define LOUPE_TARGET_V4 target("arch=x86-64-v4,prefer-vector-width=512")
#endif
template <class F> [[gnu::flatten]] __attribute__((LOUPE_TARGET_V4)) void run_v4(const F& f) {
  if constexpr (std::is_invocable_v<const F&, Fused>) F{f}(Fused{});
  else F{f}();
}
template <class F>
[[gnu::flatten]] __attribute__((target("arch=x86-64-v3"))) void run_v3(const F& f) {
  if constexpr (std::is_invocable_v<const F&, Fused>) F{f}(Fused{});
  else F{f}();
}
}  // namespace detail
#endif

/// Runs f compiled for the level in use. f takes nothing, or the level's way to multiply and add:
/// `simd([=](auto level) { ... level.multiply_add(a, b, c) ... })`. T is the element type of the
/// loop: only f32 has fast forms, the others run the baseline's at every level, with the same bits.
/// Capture by value; put `#pragma omp simd` on the loop inside. Sums need explicit lanes (double or
/// float acc[32], folded in a fixed order): g++ 12 does not vectorise `omp simd reduction` here. A
/// conditional load is not vectorised: load first, choose after.
template <class T = float, class F> void simd(const F& f) {
#if LOUPE_X86_LEVELS
  if constexpr (std::is_same_v<T, float>) {
    switch (cpu_level()) {
      case CpuLevel::v4: return detail::run_v4(f);
      case CpuLevel::v3: return detail::run_v3(f);
      default: break;
    }
  }
#endif
  if constexpr (std::is_invocable_v<const F&, Separate>) f(Separate{});
  else f();
}

}  // namespace loupe
