// Text to ids and back. The files that the tokenizer comes in are read in wordpiece_files.cpp.
#include <loupe/io/unicode.h>
#include <loupe/io/utf8.h>
#include <loupe/io/wordpiece.h>

#include <algorithm>

namespace loupe {
namespace {

std::u32string decode_all(std::string_view text, const std::string& name) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = decode_utf8(text, at);
    if (c == kInvalidUtf8)
      fail<IoError>("{}: offset {}: byte 0x{:02x} is not valid UTF-8", name, start,
                    static_cast<uint8_t>(text[start]));
    out += c;
  }
  return out;
}

}  // namespace

void WordPiece::add_tokens(const Added& added, const std::string& name) {
  for (const auto& [content, id] : added) {
    if (const auto [entry, fresh] = vocab_.emplace(content, id); !fresh && entry->second != id)
      fail<IoError>("{}: the added token '{}' has id {}, but {} in the vocabulary", name, content,
                    id, entry->second);
    special_.emplace_back(decode_all(content, name), id);
  }
}

void WordPiece::finish(const std::string& name) {
  for (const auto& [token, id] : vocab_) {
    longest_ = std::max(longest_, token.size());
    vocab_size_ = std::max(vocab_size_, id + 1);
    if (!tokens_.emplace(id, token).second)
      fail<IoError>("{}: the tokens '{}' and '{}' have the same id {}", name, token, tokens_[id],
                    id);
  }
  check_special(options_.unk_token, unk_, name);
  check_special(options_.cls_token, cls_, name);
  check_special(options_.sep_token, sep_, name);
  check_special(options_.pad_token, pad_, name);
  if (options_.max_chars_per_word < 1 || options_.max_chars_per_word > 10000)
    fail<IoError>("{}: max_input_chars_per_word is {}, expected 1 to 10000", name,
                  options_.max_chars_per_word);
  const std::pair<const std::string&, int64_t> always[] = {{options_.unk_token, unk_},
                                                           {options_.cls_token, cls_},
                                                           {options_.sep_token, sep_},
                                                           {options_.pad_token, pad_}};
  for (const auto& [token, id] : always) special_.emplace_back(decode_all(token, name), id);
  if (const auto mask = vocab_.find(options_.mask_token); mask != vocab_.end())
    special_.emplace_back(decode_all(options_.mask_token, name), mask->second);
  // Where several begin at the same place the longest wins.
  std::sort(special_.begin(), special_.end(), [](const auto& a, const auto& b) {
    return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a.first < b.first;
  });
  special_.erase(std::unique(special_.begin(), special_.end()), special_.end());
}

void WordPiece::check_special(const std::string& token, int64_t& id,
                              const std::string& name) const {
  const auto entry = token.empty() ? vocab_.end() : vocab_.find(token);
  if (entry == vocab_.end())
    fail<IoError>("{}: the vocabulary of {} tokens lacks '{}'", name, vocab_.size(), token);
  id = entry->second;
}

std::vector<int64_t> WordPiece::encode(std::string_view text, int64_t max_length,
                                       const std::string& name) const {
  if (max_length < 2)
    fail<ValueError>("WordPiece::encode: max_length is {}, expected at least 2 for [CLS] and [SEP]",
                     max_length);
  std::vector<int64_t> ids = pieces(text, name);
  if (static_cast<int64_t>(ids.size()) > max_length - 2)
    ids.resize(static_cast<size_t>(max_length - 2));
  ids.insert(ids.begin(), cls_);
  ids.push_back(sep_);
  return ids;
}

std::vector<std::string> WordPiece::tokenize(std::string_view text, const std::string& name) const {
  std::vector<std::string> out;
  for (const int64_t id : pieces(text, name)) out.push_back(token(id));
  return out;
}

int64_t WordPiece::id(std::string_view token) const {
  const auto entry = vocab_.find(token);
  if (entry == vocab_.end())
    fail<IndexError>("WordPiece::id: no token '{}' in the vocabulary", token);
  return entry->second;
}

const std::string& WordPiece::token(int64_t id) const {
  const auto entry = tokens_.find(id);
  if (entry == tokens_.end())
    fail<IndexError>("WordPiece::token: no token has id {} in a vocabulary of {}", id, vocab_size_);
  return entry->second;
}

std::vector<int64_t> WordPiece::pieces(std::string_view utf8, const std::string& name) const {
  const std::u32string decoded = decode_all(utf8, name);
  const std::u32string_view text = decoded;
  std::u32string starts;  // the characters special tokens begin with
  for (const auto& [token, id] : special_) starts += token[0];
  std::vector<int64_t> ids;
  size_t from = 0;
  for (size_t at = text.find_first_of(starts); at != text.npos;
       at = text.find_first_of(starts, at)) {
    const auto hit = std::find_if(special_.begin(), special_.end(), [&](const auto& s) {
      return text.substr(at, s.first.size()) == s.first;
    });
    if (hit == special_.end()) {
      ++at;
      continue;
    }
    append_words(ids, normalize(text.substr(from, at - from)));
    ids.push_back(hit->second);
    from = at += hit->first.size();
  }
  append_words(ids, normalize(text.substr(from)));
  return ids;
}

std::u32string WordPiece::normalize(std::u32string_view text) const {
  std::u32string a, b;
  a.reserve(text.size());
  for (const char32_t c : text) {
    if (options_.clean_text && unicode::is_removed(c)) continue;
    if (options_.clean_text && unicode::is_space(c)) a += U' ';
    else if (options_.handle_chinese_chars && unicode::is_ideograph(c))
      (((a += U' ') += c) += U' ');
    else a += c;
  }
  if (options_.strip_accents.value_or(options_.lowercase)) {
    for (const char32_t c : a) unicode::append_stripped(b, c);
    a.swap(b);
    b.clear();
  }
  if (options_.lowercase) {
    for (const char32_t c : a) unicode::append_lower(b, c);
    a.swap(b);
  }
  return a;
}

void WordPiece::append_words(std::vector<int64_t>& ids, std::u32string_view text) const {
  size_t start = 0;
  const auto flush = [&](size_t end) {
    if (end > start) append_word(ids, text.substr(start, end - start));
    start = end + 1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (unicode::is_break(text[i])) flush(i);
    else if (unicode::is_punctuation(text[i])) flush(i), append_word(ids, text.substr(i, 1));
  }
  flush(text.size());
}

void WordPiece::append_word(std::vector<int64_t>& ids, std::u32string_view word) const {
  if (static_cast<int64_t>(word.size()) > options_.max_chars_per_word) return ids.push_back(unk_);
  std::string bytes;
  std::vector<size_t> ends;  // byte offset behind each character
  for (const char32_t c : word) {
    append_utf8(bytes, c);
    ends.push_back(bytes.size());
  }
  const size_t before = ids.size();
  for (size_t start = 0, first = 0; start < bytes.size();) {
    std::string piece = start ? options_.continuing_prefix : std::string();
    const size_t prefix = piece.size();
    piece.append(bytes, start);
    size_t last = ends.size();
    while (last > first && prefix + ends[last - 1] - start > longest_) --last;
    int64_t found = -1;
    for (; last > first && found < 0; --last)
      if (const auto hit =
              vocab_.find(std::string_view(piece).substr(0, prefix + ends[last - 1] - start));
          hit != vocab_.end())
        found = hit->second;
    if (found < 0) {  // one piece unknown makes the whole word unknown
      ids.resize(before);
      return ids.push_back(unk_);
    }
    first = last + 1;
    start = ends[last];
    ids.push_back(found);
  }
}

}  // namespace loupe
