#include <loupe/core/random.h>
#include <loupe/io/text.h>
#include <loupe/io/utf8.h>

#include <unistd.h>

#include <algorithm>

namespace loupe {
namespace {

[[noreturn]] void fail_utf8(std::string_view text, size_t at, const std::string& name) {
  fail<IoError>("{}: offset {}: byte 0x{:02x} is not valid UTF-8; convert the text to UTF-8 first",
                name, at, static_cast<uint8_t>(text[at]));
}

/// Calls f(code point, offset) for each character.
template <class F> void for_each_char(std::string_view text, const std::string& name, F f) {
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = decode_utf8(text, at);
    if (c == kInvalidUtf8) fail_utf8(text, start, name);
    f(c, start);
  }
}

}  // namespace

TextFile read_text(const std::string& path) {
  TextFile file{path, read_file(path), 0, ""};
  if (file.text.empty()) fail<IoError>("{}: is empty, expected text", path);
  if (const size_t bad = find_invalid_utf8(file.text); bad != std::string::npos)
    fail_utf8(file.text, bad, path);
  file.bytes = file.text.size();
  file.sha256 = loupe::sha256(as_bytes(file.text));
  return file;
}

TextFile read_words(const std::string& path) {
  if (path == kWordListPath && ::access(path.c_str(), F_OK) != 0)
    fail<IoError>("{}: no word list here; install it with: apt-get install wamerican", path);
  TextFile file = read_text(path);
  std::vector<std::string_view> words;
  const std::string_view text = file.text;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view word = text.substr(at, end - at);
    at = end + 1;
    if (!word.empty() &&
        std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; }))
      words.push_back(word);
  }
  if (words.empty()) fail<IoError>("{}: no line is a word of the letters a to z", path);
  Rng rng(20150211);
  for (size_t i = words.size() - 1; i > 0; --i)
    std::swap(words[i], words[static_cast<size_t>(rng.integer(0, static_cast<int64_t>(i) + 1))]);
  std::string shuffled;
  shuffled.reserve(text.size());
  for (const std::string_view word : words) (shuffled += word) += '\n';
  file.text = std::move(shuffled);
  return file;
}

CharVocab CharVocab::of(std::string_view text, const std::string& name) {
  if (text.empty()) fail<IoError>("{}: is empty, so that there is no vocabulary", name);
  std::vector<uint8_t> seen(128);
  for_each_char(text, name, [&](char32_t c, size_t) {
    if (c >= seen.size()) seen.resize(c + 1);
    seen[c] = 1;
  });
  std::string characters;
  for (char32_t c = 0; c < seen.size(); ++c)
    if (seen[c]) append_utf8(characters, c);
  return from_characters(characters, name);
}

CharVocab CharVocab::from_characters(std::string_view characters, const std::string& name) {
  CharVocab vocab;
  for_each_char(characters, name, [&](char32_t c, size_t at) {
    if (!vocab.chars_.empty() && c <= vocab.chars_.back())
      fail<IoError>("{}: offset {}: the characters of a vocabulary must be distinct and ascending",
                    name, at);
    vocab.chars_.push_back(c);
  });
  if (vocab.chars_.empty()) fail<IoError>("{}: an empty vocabulary", name);
  vocab.ids_.assign(vocab.chars_.back() + 1, -1);
  for (size_t i = 0; i < vocab.chars_.size(); ++i)
    vocab.ids_[vocab.chars_[i]] = static_cast<int32_t>(i);
  return vocab;
}

std::string CharVocab::characters() const {
  std::string s;
  for (const char32_t c : chars_) append_utf8(s, c);
  return s;
}

std::vector<int32_t> CharVocab::encode(std::string_view text, const std::string& name) const {
  std::vector<int32_t> out;
  out.reserve(text.size());
  for_each_char(text, name, [&](char32_t c, size_t at) {
    const int32_t id = c < ids_.size() ? ids_[c] : -1;
    if (id < 0) {
      std::string shown;
      append_utf8(shown, c);
      fail<IoError>("{}: offset {}: the character '{}' (U+{:04X}) is not among the vocabulary's {}",
                    name, at, shown, static_cast<uint32_t>(c), size());
    }
    out.push_back(id);
  });
  return out;
}

std::string CharVocab::decode(std::span<const int32_t> ids) const {
  std::string s;
  for (const int32_t id : ids) {
    if (id < 0 || id >= size())
      fail<IndexError>("CharVocab::decode: id {} in a vocabulary of {}", id, size());
    append_utf8(s, chars_[static_cast<size_t>(id)]);
  }
  return s;
}

}  // namespace loupe
