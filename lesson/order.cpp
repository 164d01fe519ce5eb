#include <loupe/core/raw.h>
#include <loupe/lesson/order.h>
#include <loupe/lesson/stats.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace loupe::lesson {

std::vector<int64_t> Order::next(int64_t count) {
  std::vector<int64_t> v;
  while (static_cast<int64_t>(v.size()) < count) {
    if (at_ == order_.size()) {
      order_ = permutation(rng_, n_).to_vector<int64_t>();
      at_ = 0;
    }
    v.push_back(order_[at_++]);
  }
  return v;
}

bool is_dead(double final_loss, int64_t classes) {
  return !std::isfinite(final_loss) || final_loss > 0.9 * std::log(static_cast<double>(classes));
}

double tail_mean(const std::vector<double>& loss) {
  const size_t n = std::min<size_t>(10, loss.size());
  return n ? mean(std::span(loss).last(n)) : NAN;
}

}  // namespace loupe::lesson
