#include <loupe/core/error.h>
#include <loupe/core/memory.h>
#include <loupe/view/memory.h>

namespace loupe {

MemoryForecast forecast_memory(const std::function<void(int64_t batch)>& step, int64_t small) {
  if (!step) fail<ValueError>("forecast_memory: the step is empty");
  if (small < 1) fail<ValueError>("forecast_memory: a batch of {}, expected at least 1", small);
  const auto peak_of = [&](int64_t batch) {
    step(batch);  // gradients and an optimizer's state are there from now on
    reset_peak_memory();
    step(batch);
    return static_cast<double>(memory_stats().peak_bytes);
  };
  const int64_t large = 3 * small;
  const double low = peak_of(small), high = peak_of(large);
  const double per_sample = (high - low) / static_cast<double>(large - small);
  return {low - per_sample * static_cast<double>(small), per_sample};
}

}  // namespace loupe
