#include <loupe/lesson/effort.h>
#include <loupe/lesson/story.h>

#include <sstream>

namespace loupe::lesson {

std::string text_of(const Config& config) {
  std::string text;
  for (const auto& [name, value] : config)
    text += fmt::format("{}{}={}", text.empty() ? "" : ";", name, value);
  return text;
}

EffortTable::EffortTable(std::string_view text) {
  std::istringstream in{std::string(text)};
  for (std::string line; std::getline(in, line);) {
    if (line.empty()) continue;
    std::istringstream words(line);
    Effort e;
    std::string key;
    if (!(words >> e.seconds >> e.seeds) || !std::getline(words >> std::ws, key))
      fail<ValueError>("lesson: \"{}\" is no line of efforts", line);
    efforts_[key] = e;
  }
}

EffortTable EffortTable::committed() { return EffortTable(embedded("lesson/effort.txt")); }

std::string EffortTable::of(const Records& runs) {
  std::map<std::string, Effort> all;
  for (const Record& r : runs) {
    Effort& e = all[text_of(r.config)];
    e.seconds += r.seconds;
    ++e.seeds;
  }
  std::string out;
  for (const auto& [key, e] : all)
    out += fmt::format("{:.3f} {} {}\n", e.seconds / e.seeds, e.seeds, key);
  return out;
}

std::optional<Effort> EffortTable::find(const Config& config) const {
  const auto it = efforts_.find(text_of(config));
  if (it == efforts_.end()) return std::nullopt;
  return it->second;
}

}  // namespace loupe::lesson
