#pragma once
// Character-level text: one id per Unicode code point, vocabulary = the sorted distinct characters
// of the text.
#include <loupe/io/file.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace loupe {

/// A text and where it came from, to be recorded with results.
struct TextFile {
  std::string path;
  std::string text;    // valid UTF-8, not empty
  uint64_t bytes = 0;  // size of the file
  std::string sha256;  // of the file
};

/// Reads any UTF-8 file. IoError if it is missing, empty, or not UTF-8 (with the offset).
TextFile read_text(const std::string& path);

/// Debian's English word list, package wamerican.
inline constexpr const char* kWordListPath = "/usr/share/dict/american-english";
/// The list's words made of a-z alone, shuffled by a fixed seed, one a line: the default text on a
/// fresh machine. IoError if it is missing; for the default path with
/// the line that installs it.
TextFile read_words(const std::string& path = kWordListPath);

/// Maps characters to ids 0, 1, ... in the order of their code points, and back.
class CharVocab {
 public:
  CharVocab() = default;
  /// The characters that occur in `text`. IoError if it is empty or not UTF-8.
  static CharVocab of(std::string_view text, const std::string& name = "text");
  /// A vocabulary as characters() gave it: strictly ascending code points. IoError otherwise.
  static CharVocab from_characters(std::string_view characters,
                                   const std::string& name = "vocabulary");

  int64_t size() const { return static_cast<int64_t>(chars_.size()); }
  /// All characters in order of their ids, as UTF-8.
  std::string characters() const;
  /// IoError on invalid UTF-8 or a character that is not in the vocabulary, with its offset.
  std::vector<int32_t> encode(std::string_view text, const std::string& name = "text") const;
  /// IndexError on an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids) const;

 private:
  std::vector<char32_t> chars_;  // ascending
  std::vector<int32_t> ids_;     // by code point; -1 where there is none
};

}  // namespace loupe
