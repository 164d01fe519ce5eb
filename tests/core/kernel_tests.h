#pragma once
// What the kernels' tests share: numbers to compute with, and every CPU level that this machine has.
#include "catch.h"

#include <loupe/core/cpu.h>

#include <cstdint>
#include <random>
#include <vector>

template <class T>
std::vector<T> numbers(int64_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(uniform(engine));
  return v;
}

/// Runs f once at each CPU level up to this machine's best.
template <class F>
void at_every_level(const F& f) {
  const loupe::CpuLevel before = loupe::cpu_level();
  for (loupe::CpuLevel level : {loupe::CpuLevel::baseline, loupe::CpuLevel::v3, loupe::CpuLevel::v4}) {
    if (level > loupe::best_cpu_level()) break;
    loupe::set_cpu_level(level);
    CAPTURE(loupe::name(level));
    f();
  }
  loupe::set_cpu_level(before);
}
