#pragma once
// The largest error over many numbers. std::max(worst, NaN) is `worst`: a test that takes it lets a
// NaN pass. Here a NaN stays, and no bound holds for it.
#include <cmath>

inline double worst_of(double worst, double error) {
  return error > worst || std::isnan(error) ? error : worst;
}
