#pragma once
// In which order a run sees its data, and when its loss counts as dead: what the lesson's trainings
// and the live lesson (web/live.h) share.
#include <loupe/core/random.h>
#include <loupe/core/tensor.h>

#include <cstdint>
#include <vector>

namespace loupe::lesson {

/// Streams of one run: weights (0), data order (1) and data (2, 3, ...) never share numbers. Arms of
/// one seed share all of them.
inline uint64_t stream(uint64_t seed, uint64_t purpose) { return seed * 16 + purpose; }

/// Endless shuffled passes over n samples.
class Order {
 public:
  Order(uint64_t seed, int64_t n) : rng_(seed), n_(n) {}
  /// The indices of the next `count` samples.
  std::vector<int64_t> next(int64_t count);

 private:
  Rng rng_;
  int64_t n_;
  std::vector<int64_t> order_;
  size_t at_ = 0;
};

/// A loss that is not finite, or above nine tenths of knowing nothing, ln(classes). A net that
/// learned nothing ends at ln(classes) plus or minus noise.
bool is_dead(double final_loss, int64_t classes);
/// The mean of the last ten losses; NaN of none.
double tail_mean(const std::vector<double>& loss);

}  // namespace loupe::lesson
