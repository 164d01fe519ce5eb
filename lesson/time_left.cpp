#include <loupe/lesson/time_left.h>

#include <algorithm>

namespace loupe::lesson {

void TimeLeft::expect(const std::string& kind, double cost) {
  Kind& k = kinds_[kind];
  k.left += cost;
  k.largest = std::max(k.largest, cost);
}

void TimeLeft::forget(const std::string& kind, double cost) { kinds_[kind].left -= cost; }

void TimeLeft::done(const std::string& kind, double cost, double seconds) {
  Kind& k = kinds_[kind];
  k.left -= cost;
  k.cost += cost;
  k.seconds += seconds;
  cost_ += cost;
  seconds_ += seconds;
}

double TimeLeft::seconds(int workers, double under_way) const {
  // Seconds for one of cost: of all runs (the costs themselves count like one second of them), then
  // of a kind (all others count like one of its runs).
  const double pace = (seconds_ + 1) / (cost_ + 1);
  double left = -under_way;
  for (const auto& [name, k] : kinds_) {
    const double own = (k.seconds + pace * k.largest) / std::max(k.cost + k.largest, 1e-9);
    left += own * std::max(0.0, k.left);
  }
  return std::max(0.0, left) / workers;
}

}  // namespace loupe::lesson
