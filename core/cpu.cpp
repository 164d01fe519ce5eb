#include <loupe/core/cpu.h>
#include <loupe/core/error.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace loupe {
namespace {

constexpr const char* kNames[] = {"reference", "baseline", "v3", "v4"};

CpuLevel from_environment() {
  const char* wanted = std::getenv("LOUPE_CPU");
  if (!wanted || !*wanted) return best_cpu_level();
  for (int i = 0; i < 4; ++i) {
    if (std::strcmp(wanted, kNames[i]) != 0) continue;
    if (i > static_cast<int>(best_cpu_level()))
      fail<ValueError>("LOUPE_CPU={}: this machine has no more than {}", wanted,
                       name(best_cpu_level()));
    return static_cast<CpuLevel>(i);
  }
  fail<ValueError>("LOUPE_CPU={}: expected reference, baseline, v3 or v4", wanted);
}

std::atomic<int>& level() {
  static std::atomic<int> value = static_cast<int>(from_environment());
  return value;
}

}  // namespace

CpuLevel best_cpu_level() {
#if LOUPE_X86_LEVELS
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return CpuLevel::v4;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2"))
    return CpuLevel::v3;
#endif
  return CpuLevel::baseline;
}

CpuLevel cpu_level() { return static_cast<CpuLevel>(level().load(std::memory_order_relaxed)); }
const char* name(CpuLevel l) { return kNames[static_cast<int>(l)]; }

void set_cpu_level(CpuLevel l) {
  if (l > best_cpu_level()) fail<ValueError>("set_cpu_level: this machine has no {}", name(l));
  level() = static_cast<int>(l);
}

}  // namespace loupe
