#include <loupe/cli/arguments.h>
#include <loupe/core/cpu.h>
#include <loupe/core/error.h>

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string_view>

namespace loupe::cli {
namespace {

template <class T> bool parses(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Damerau's distance: letters added, left out, replaced, and neighbours exchanged.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  std::iota(d[0].begin(), d[0].end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      d[i][j] = std::min({replaced, d[i - 1][j] + 1, d[i][j - 1] + 1});
      const bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (exchanged) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string NumberRange::text() const {
  if (high < std::numeric_limits<double>::max())
    return fmt::format("a number from {} to {}", low, high);
  return with_low ? fmt::format("a number of at least {}", low)
                  : fmt::format("a number above {}", low);
}

std::string number_fault(const std::string& text, const NumberRange& range) {
  double value = 0;
  const bool number = parses(text, value) && std::isfinite(value);
  if (number && value >= range.low && value <= range.high && (range.with_low || value > range.low))
    return "";
  return fmt::format("\"{}\" is not {}", text, range.text());
}

std::string WholeRange::text() const {
  if (high == INT64_MAX) return fmt::format("a whole number of at least {}", low);
  return fmt::format("a whole number from {} to {}", low, high);
}

std::string whole_fault(const std::string& text, const WholeRange& range) {
  int64_t value = 0;
  if (parses(text, value) && value >= range.low && value <= range.high) return "";
  return fmt::format("\"{}\" is not {}", text, range.text());
}

std::string seed_fault(const std::string& text) {
  uint64_t value = 0;
  return parses(text, value) ? ""
                             : fmt::format("\"{}\" is not a whole number from 0 to 2^64 - 1", text);
}

std::string nearest_word(const std::string& word, const std::vector<std::string>& known) {
  std::string nearest;
  size_t least = std::max<size_t>(1, std::min<size_t>(word.size(), 100) / 3) + 1;
  if (word.size() > 100) return nearest;
  for (const std::string& candidate : known)
    if (const size_t d = distance(word, candidate); d < least) least = d, nearest = candidate;
  return nearest;
}

namespace {

void check_variable(const std::string& name, const std::string& value) {
  if (value.empty()) return;  // as if it were not there
  if (name == "LOUPE_CPU") {
    cpu_level();  // refuses what it does not know
  } else if (name == "LOUPE_NUM_THREADS") {
    if (const std::string fault = whole_fault(value, {1, 4096}); !fault.empty())
      fail<ValueError>("LOUPE_NUM_THREADS: {}", fault);
  } else if (value != "0" && value != "1") {
    fail<ValueError>("{}={}: expected 0 (off) or 1 (on)", name, value);
  }
}

}  // namespace

void check_environment() {
  const std::vector<std::string> known{"LOUPE_CPU", "LOUPE_NUM_THREADS", "LOUPE_FUSION",
                                       "LOUPE_WINOGRAD"};
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view entry = *variable;
    const size_t equals = entry.find('=');
    if (!entry.starts_with("LOUPE_") || equals == entry.npos) continue;
    const std::string name(entry.substr(0, equals));
    if (std::find(known.begin(), known.end(), name) != known.end()) {
      check_variable(name, std::string(entry.substr(equals + 1)));
      continue;
    }
    const std::string meant = nearest_word(name, known);
    std::string names;
    for (const std::string& other : known) names += (names.empty() ? "" : ", ") + other;
    std::fprintf(stderr, "loupe: the variable %s means nothing here%s; known are %s\n",
                 name.c_str(), meant.empty() ? "" : (" (" + meant + "?)").c_str(), names.c_str());
  }
}

}  // namespace loupe::cli
