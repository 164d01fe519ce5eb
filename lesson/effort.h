#pragma once
// What the lesson's runs cost when it was last measured: a table in the program (effort.txt), of
// which only the time left is made. A configuration that is not in it counts like the same one at
// other learning rates, or has its rough cost.
#include <loupe/lesson/runs.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace loupe::lesson {

struct Effort {
  double seconds = 0;  // of processor time, a run
  int seeds = 0;       // until what it is for was settled
};

class EffortTable {
 public:
  EffortTable() = default;
  /// Lines of seconds, seeds and a configuration, a space between. ValueError for another line.
  explicit EffortTable(std::string_view text);
  /// The program's own.
  static EffortTable committed();
  /// Of a lesson's runs: the lines for such a table.
  static std::string of(const Records& runs);

  /// Of the configuration; where it is not there, the mean of those that differ in the learning rate
  /// alone.
  std::optional<Effort> find(const Config& config) const;

 private:
  std::map<std::string, Effort> efforts_;
  std::map<std::string, std::vector<Effort>> at_any_rate_;
};

/// A configuration as one text: "batch=64;lr=0.1".
std::string text_of(const Config& config);

}  // namespace loupe::lesson
