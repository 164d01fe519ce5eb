#include <loupe/io/json.h>
#include <loupe/io/unicode.h>
#include <loupe/io/utf8.h>
#include <loupe/io/wordpiece.h>

#include <algorithm>
#include <filesystem>

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

WordPiece WordPiece::load(const std::string& path) {
  std::error_code ignored;
  std::string file = path;
  if (std::filesystem::is_directory(path, ignored)) {
    file = path + "/tokenizer.json";
    if (!std::filesystem::exists(file, ignored)) file = path + "/vocab.txt";
    if (!std::filesystem::exists(file, ignored))
      fail<IoError>(
          "{}: holds neither tokenizer.json nor vocab.txt, one of which a BERT tokenizer needs",
          path);
  }
  const std::string text = read_file(file);
  const size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string::npos && text[first] == '{' ? from_json(text, file)
                                                          : from_vocab(text, file);
}

WordPiece WordPiece::from_vocab(std::string_view text, const std::string& name,
                                WordPieceOptions options) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail<IoError>("{}: offset {}: byte 0x{:02x} is not valid UTF-8", name, bad,
                  static_cast<uint8_t>(text[bad]));
  WordPiece w;
  w.options_ = std::move(options);
  int64_t line = 0;
  for (size_t at = 0; at < text.size(); ++line) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view token = text.substr(at, end - at);
    if (token.ends_with('\r')) token.remove_suffix(1);
    if (!token.empty()) {
      const auto [entry, fresh] = w.vocab_.emplace(token, line);
      if (!fresh)
        fail<IoError>("{}: offset {}: the token '{}' of line {} is on line {} too", name, at, token,
                      line + 1, entry->second + 1);
    }
    at = end + 1;
  }
  w.finish(name);
  return w;
}

WordPiece WordPiece::from_json(std::string_view text, const std::string& name) {
  JsonReader r(text, name);
  WordPiece w;
  WordPieceOptions& o = w.options_;
  bool has_model = false;
  std::vector<std::pair<std::string, int64_t>> added;
  const auto expect_type = [&](const char* part, std::initializer_list<std::string_view> known) {
    const std::string type = r.string();
    if (std::find(known.begin(), known.end(), type) == known.end())
      r.fail(fmt::format("the {} is a {}, expected {}", part, type, *known.begin()));
  };
  const auto flag = [&](bool wanted, const char* what) {
    if (r.boolean() != wanted) r.fail(fmt::format("an added token with {} is not supported", what));
  };

  r.object([&](const std::string& key) {
    if (key == "model") {
      has_model = true;
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("model", {"WordPiece"});
        else if (k == "unk_token") o.unk_token = r.string();
        else if (k == "continuing_subword_prefix") o.continuing_prefix = r.string();
        else if (k == "max_input_chars_per_word") o.max_chars_per_word = r.integer();
        else if (k == "vocab") {
          r.object([&](const std::string& token) {
            const int64_t id = r.integer();
            if (id < 0 || id > INT32_MAX)
              r.fail(fmt::format("the id {} of a token is outside [0, 2^31)", id));
            w.vocab_.emplace(token, id);
          });
        } else r.skip();
      });
    } else if (key == "normalizer") {
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("normalizer", {"BertNormalizer"});
        else if (k == "clean_text") o.clean_text = r.boolean();
        else if (k == "handle_chinese_chars") o.handle_chinese_chars = r.boolean();
        else if (k == "lowercase") o.lowercase = r.boolean();
        else if (k == "strip_accents" && !r.null()) o.strip_accents = r.boolean();
        else if (k != "strip_accents") r.skip();
      });
    } else if (key == "pre_tokenizer") {
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("pre_tokenizer", {"BertPreTokenizer"});
        else r.skip();
      });
    } else if (key == "post_processor") {
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("post_processor", {"TemplateProcessing", "BertProcessing"});
        else r.skip();
      });
    } else if (key == "added_tokens") {
      r.array([&] {
        auto& [content, id] = added.emplace_back("", -1);
        r.object([&, &content_ = content, &id_ = id](const std::string& k) {
          if (k == "content") content_ = r.string();
          else if (k == "id") id_ = r.integer();
          else if (k == "single_word" || k == "lstrip" || k == "rstrip" || k == "normalized")
            flag(false, k.c_str());
          else r.skip();
        });
        if (content.empty() || id < 0 || id > INT32_MAX)
          r.fail("an added token needs a content and an id in [0, 2^31)");
      });
    } else {
      r.skip();
    }
  });
  r.end();
  if (!has_model)
    fail<IoError>("{}: has no \"model\", expected a tokenizer.json of a WordPiece model", name);
  for (const auto& [content, id] : added) {
    if (const auto [entry, fresh] = w.vocab_.emplace(content, id); !fresh && entry->second != id)
      fail<IoError>("{}: the added token '{}' has id {}, but {} in the vocabulary", name, content,
                    id, entry->second);
    w.special_.emplace_back(decode_all(content, name), id);
  }
  w.finish(name);
  return w;
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
