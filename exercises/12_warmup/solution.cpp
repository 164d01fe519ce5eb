#include "exercise.h"

double mine::learning_rate(int64_t step, const Schedule& s) {
  // >>> your part
  const double now = static_cast<double>(step), warmup = static_cast<double>(s.warmup);
  if (step < s.warmup) return s.lr * (now + 1) / warmup;
  if (step >= s.total) return s.low;
  const double u = (now - warmup) / static_cast<double>(s.total - s.warmup);
  return s.low + (s.lr - s.low) * (1 + std::cos(std::numbers::pi * u)) / 2;
  // <<<
}
