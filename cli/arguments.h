#pragma once
// What a user typed, checked: numbers, words and the environment.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace loupe::cli {

/// The numbers an option takes. NaN and infinities are never among them.
struct NumberRange {
  double low = 0, high = std::numeric_limits<double>::max();
  bool with_low = true;
  std::string text() const;  // "a number above 0"
};
/// Why `text` is not a number of the range; empty if it is one.
std::string number_fault(const std::string& text, const NumberRange& range);

/// The whole numbers an option takes.
struct WholeRange {
  int64_t low = 0, high = INT64_MAX;
  std::string text() const;  // "a whole number from 1 to 1000"
};
/// Why `text` is not a whole number of the range; empty if it is one.
std::string whole_fault(const std::string& text, const WholeRange& range);

/// Why `text` is no seed, a whole number from 0 to 2^64 - 1; empty if it is one.
std::string seed_fault(const std::string& text);

/// The word among `known` that `word` was probably meant to be; empty if none is near.
std::string nearest_word(const std::string& word, const std::vector<std::string>& known);

/// Checks every LOUPE_ variable of the environment: ValueError for a value that means nothing. One
/// that Loupe does not know is told on standard error.
void check_environment();

}  // namespace loupe::cli
