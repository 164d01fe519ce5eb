#pragma once
// How much memory a step will need, before it runs.
#include <cstdint>
#include <functional>

namespace loupe {

/// Bytes in tensors at the peak of a step: `fixed` (parameters, gradients, what does not grow) and
/// `per_sample` for each sample of the batch.
struct MemoryForecast {
  double fixed = 0, per_sample = 0;
  double at(int64_t batch) const { return fixed + per_sample * static_cast<double>(batch); }
};

/// Runs `step(batch)` four times: twice with `small`, then twice with three times that (the first
/// of each two makes gradients and the optimizer's state). Draws the line through their peaks: the
/// tensors of a step grow with its batch. Convolutions of few images may take another kernel and
/// other scratch memory than those of many: with 32 and 96 a CNN's step of 256 images is told to 5
/// percent, with 4 and 12 only to 15. Call it when no other thread makes tensors. ValueError for an
/// empty step or a batch below 1.
MemoryForecast forecast_memory(const std::function<void(int64_t batch)>& step, int64_t small = 32);

}  // namespace loupe
