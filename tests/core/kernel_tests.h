#pragma once
// What the kernels' tests share: numbers to compute with, and every CPU level that this machine
// has.
#include "catch.h"

#include <loupe/core/cpu.h>

#include <cstdint>
#include <random>
#include <vector>

template <class T> std::vector<T> numbers(int64_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(uniform(engine));
  return v;
}

/// Every CPU level of this machine, the plain loops of `reference` first.
inline const std::vector<loupe::CpuLevel>& cpu_levels() {
  using loupe::CpuLevel;
  static const std::vector<CpuLevel> all = [] {
    std::vector<CpuLevel> levels;
    for (const CpuLevel l : {CpuLevel::reference, CpuLevel::baseline, CpuLevel::v3, CpuLevel::v4})
      if (l <= loupe::best_cpu_level()) levels.push_back(l);
    return levels;
  }();
  return all;
}

/// Puts the level back that was in use.
struct LevelGuard {
  const loupe::CpuLevel before = loupe::cpu_level();
  ~LevelGuard() { loupe::set_cpu_level(before); }
};

/// Runs f once at each CPU level.
template <class F> void at_every_level(const F& f) {
  const LevelGuard guard;
  for (const loupe::CpuLevel level : cpu_levels()) {
    loupe::set_cpu_level(level);
    CAPTURE(loupe::name(level));
    f();
  }
}
