#pragma once
// Learning rates chosen before: a table in the program (rates.txt), made by `loupe lesson --retune`
// on tuning seeds, so that a run spends its time on verdicts. A configuration that is not in it
// (other data, another norm) is tuned as it comes.
#include <loupe/lesson/runs.h>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace loupe::lesson {

class RateTable {
 public:
  RateTable() = default;
  /// Lines of a rate, a space and a key. ValueError for another line.
  explicit RateTable(std::string_view text);
  /// The program's own.
  static RateTable committed();

  /// The rate of a configuration: all of it but the rate itself, the role, and what is only
  /// measured.
  std::optional<double> find(const Config& config) const;
  /// May be called from many threads.
  void add(const Config& config, double rate);
  std::string text() const;

 private:
  std::map<std::string, double> rates_;
  mutable std::mutex mutex_;
};

}  // namespace loupe::lesson
