#include <loupe/lesson/rates.h>
#include <loupe/lesson/story.h>

namespace loupe::lesson {
namespace {

// The data's hash is in it: other data have other rates.
std::string key_of(const Config& config) {
  std::string key;
  for (const auto& [name, value] : config) {
    const bool decides = name != "lr" && name != "role" && name != "tested" && name != "inspect" &&
                         name != "precise";
    if (decides) key += fmt::format("{}{}={}", key.empty() ? "" : ";", name, value);
  }
  return key;
}

}  // namespace

RateTable::RateTable(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line(text.substr(at, end - at));
    at = end + 1;
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    const double rate = std::atof(line.c_str());
    if (space == std::string::npos || !(rate > 0))
      fail<ValueError>("lesson: \"{}\" is no line of learning rates", line);
    rates_[line.substr(space + 1)] = rate;
  }
}

RateTable RateTable::committed() { return RateTable(embedded("lesson/rates.txt")); }

std::optional<double> RateTable::find(const Config& config) const {
  std::lock_guard lock(mutex_);
  const auto it = rates_.find(key_of(config));
  if (it == rates_.end()) return std::nullopt;
  return it->second;
}

void RateTable::add(const Config& config, double rate) {
  std::lock_guard lock(mutex_);
  rates_[key_of(config)] = rate;
}

std::string RateTable::text() const {
  std::lock_guard lock(mutex_);
  std::string out;
  for (const auto& [key, rate] : rates_) out += fmt::format("{} {}\n", rate, key);
  return out;
}

}  // namespace loupe::lesson
