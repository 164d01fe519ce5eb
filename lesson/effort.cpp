#include <loupe/lesson/effort.h>
#include <loupe/lesson/story.h>

#include <algorithm>
#include <sstream>

namespace loupe::lesson {

std::string text_of(const Config& config) {
  std::string text;
  for (const auto& [name, value] : config)
    text += fmt::format("{}{}={}", text.empty() ? "" : ";", name, value);
  return text;
}

namespace {

// "a=1;lr=0.1;z=2" without its learning rate: "a=1;z=2".
std::string without_rate(const std::string& config) {
  const std::string all = ";" + config;
  const size_t at = all.find(";lr=");
  if (at == std::string::npos) return config;
  const size_t end = std::min(all.find(';', at + 1), all.size());
  const std::string rest = all.substr(0, at) + all.substr(end);
  return rest.empty() ? rest : rest.substr(1);
}

}  // namespace

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
    at_any_rate_[without_rate(key)].push_back(e);
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
  const std::string key = text_of(config);
  if (const auto it = efforts_.find(key); it != efforts_.end()) return it->second;
  const auto others = at_any_rate_.find(without_rate(key));
  if (others == at_any_rate_.end()) return std::nullopt;
  Effort mean;
  for (const Effort& e : others->second) {
    mean.seconds += e.seconds / static_cast<double>(others->second.size());
    mean.seeds += e.seeds;
  }
  mean.seeds /= static_cast<int>(others->second.size());
  return mean;
}

}  // namespace loupe::lesson
