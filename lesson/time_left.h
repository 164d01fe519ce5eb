#pragma once
// How long runs will still take: from their rough costs, and from what those that are done took.
#include <map>
#include <string>

namespace loupe::lesson {

class TimeLeft {
 public:
  /// A run that will be made. `kind`: runs of one kind have costs that are wrong by one factor.
  void expect(const std::string& kind, double cost);
  /// It will not be made after all.
  void forget(const std::string& kind, double cost);
  /// It is done, and took so many seconds on the clock.
  void done(const std::string& kind, double cost, double seconds);
  /// With so many workers, of which some have been `under_way` seconds, all together, on their
  /// present runs.
  double seconds(int workers, double under_way) const;

 private:
  struct Kind {
    double left = 0;               // cost of the runs to come
    double cost = 0, seconds = 0;  // of those that are done
    double largest = 0;            // cost of one run
  };
  std::map<std::string, Kind> kinds_;
  double cost_ = 0, seconds_ = 0;  // of all that are done
};

}  // namespace loupe::lesson
