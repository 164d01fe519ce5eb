// The files that a WordPiece tokenizer comes in: vocab.txt, tokenizer.json, and what stands beside
// them.
#include <loupe/io/json.h>
#include <loupe/io/utf8.h>
#include <loupe/io/wordpiece.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

namespace loupe {

// What the files beside the vocabulary say of the tokenizer.
struct WordPiece::Settings {
  std::optional<bool> lowercase, handle_chinese_chars;
  std::optional<std::optional<bool>> strip_accents;
  std::optional<std::string> unk_token, cls_token, sep_token, pad_token, mask_token;
  int64_t max_length = INT64_MAX;
  Added added;

  void read_tokens(const std::string& path);  // special_tokens_map.json
  void read_added(const std::string& path);   // added_tokens.json
  void read_config(const std::string& path);  // tokenizer_config.json
  void apply(WordPieceOptions& o) const;

 private:
  bool read_token(JsonReader& r, const std::string& key);
};

namespace {

// Transformers' AddedToken. What tells how it meets its neighbours must be off.
std::string read_added_token(JsonReader& r, int64_t* id = nullptr) {
  std::string content;
  r.object([&](const std::string& key) {
    if (key == "content") content = r.string();
    else if (key == "id" && id) *id = r.integer();
    else if (key == "single_word" || key == "lstrip" || key == "rstrip" || key == "normalized") {
      if (r.boolean()) r.fail(fmt::format("an added token with {} is not supported", key));
    } else if (key == "special" || key == "__type") r.skip();
    else r.fail(fmt::format("\"{}\" of an added token is not known here", key));
  });
  if (content.empty()) r.fail("an added token needs a content");
  return content;
}

void check_id(const JsonReader& r, int64_t id) {
  if (id < 0 || id > INT32_MAX)
    r.fail(fmt::format("the id {} of a token is outside [0, 2^31)", id));
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// A member that must have the one value that is done here; null stands for it.
void expect_string(JsonReader& r, const std::string& key, std::string_view only) {
  if (r.null()) return;
  if (const std::string got = r.string(); got != only)
    r.fail(fmt::format("{} \"{}\"; only \"{}\" is done here", key, got, only));
}
void expect_flag(JsonReader& r, const std::string& key, bool only) {
  if (!r.null() && r.boolean() != only) r.fail(fmt::format("{} = {} is not done here", key, !only));
}
// Null, {} or [].
void expect_nothing(JsonReader& r, const std::string& key) {
  const auto found = [&] { r.fail(fmt::format("{} is not done here", key)); };
  if (r.null()) return;
  if (r.peek() == JsonReader::Kind::array) r.array(found);
  else r.object([&](const std::string&) { found(); });
}

}  // namespace

bool WordPiece::Settings::read_token(JsonReader& r, const std::string& key) {
  std::optional<std::string>* const token = key == "unk_token"    ? &unk_token
                                            : key == "cls_token"  ? &cls_token
                                            : key == "sep_token"  ? &sep_token
                                            : key == "pad_token"  ? &pad_token
                                            : key == "mask_token" ? &mask_token
                                                                  : nullptr;
  if (!token) return false;
  if (r.null()) return true;
  *token = r.peek() == JsonReader::Kind::string ? r.string() : read_added_token(r);
  return true;
}

void WordPiece::Settings::read_tokens(const std::string& path) {
  const std::string text = read_file(path);
  JsonReader r(text, path);
  r.object([&](const std::string& key) {
    if (read_token(r, key)) return;
    if (is_one_of(key, {"bos_token", "eos_token"})) r.skip();  // a sentence has neither
    else if (key == "additional_special_tokens") expect_nothing(r, key);
    else r.fail(fmt::format("\"{}\" is not known here", key));
  });
  r.end();
}

void WordPiece::Settings::read_added(const std::string& path) {
  const std::string text = read_file(path);
  JsonReader r(text, path);
  r.object([&](const std::string& content) {
    added.emplace_back(content, r.integer());
    check_id(r, added.back().second);
  });
  r.end();
}

void WordPiece::Settings::read_config(const std::string& path) {
  const std::string text = read_file(path);
  JsonReader r(text, path);
  r.object([&](const std::string& key) {
    if (read_token(r, key)) return;
    if (key == "do_lower_case") {
      if (!r.null()) lowercase = r.boolean();
    } else if (key == "tokenize_chinese_chars") {
      if (!r.null()) handle_chinese_chars = r.boolean();
    } else if (key == "strip_accents") {
      if (r.null()) strip_accents = std::optional<bool>();
      else strip_accents = std::optional<bool>(r.boolean());
    } else if (key == "model_max_length" || key == "max_len") {
      // Transformers writes 1e30 for "none".
      if (r.null()) return;
      const double n = r.number();
      if (!(n >= 2)) r.fail(fmt::format("{} is {}, expected at least 2", key, n));
      if (n < 1e9) max_length = std::min(max_length, static_cast<int64_t>(n));
    } else if (key == "tokenizer_class") {
      if (r.null()) return;
      if (const std::string c = r.string(); !is_one_of(c, {"BertTokenizer", "BertTokenizerFast"}))
        r.fail(fmt::format("tokenizer_class \"{}\"; only BertTokenizer is known here", c));
    } else if (key == "added_tokens_decoder") {
      r.object([&](const std::string& id) {
        int64_t n = -1;
        const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), n);
        if (error != std::errc() || end != id.data() + id.size())
          r.fail("expected an id, found " + id);
        check_id(r, n);
        added.emplace_back(read_added_token(r), n);
      });
    } else if (key == "do_basic_tokenize") expect_flag(r, key, true);
    else if (key == "padding_side" || key == "truncation_side") expect_string(r, key, "right");
    else if (is_one_of(key, {"never_split", "additional_special_tokens", "extra_special_tokens",
                             "model_specific_special_tokens", "auto_map"}))
      expect_nothing(r, key);
    else if (is_one_of(
                 key,
                 {// of decoding
                  "clean_up_tokenization_spaces", "bos_token", "eos_token",
                  // where it came from
                  "name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file",
                  "processor_class", "backend", "is_local", "local_files_only", "from_slow",
                  "transformers_version", "add_prefix_space", "legacy", "use_fast",
                  // for pairs, long texts in pieces and batches, which are padded and masked here
                  "model_input_names", "stride", "max_length", "truncation", "truncation_strategy",
                  "padding", "pad_to_multiple_of", "pad_token_type_id", "pad_token_id",
                  "return_token_type_ids", "return_tensors"}))
      r.skip();
    else r.fail(fmt::format("\"{}\" is not known here and might change the tokens", key));
  });
  r.end();
}

void WordPiece::Settings::apply(WordPieceOptions& o) const {
  o.lowercase = lowercase.value_or(o.lowercase);
  o.handle_chinese_chars = handle_chinese_chars.value_or(o.handle_chinese_chars);
  if (strip_accents) o.strip_accents = *strip_accents;
  o.unk_token = unk_token.value_or(o.unk_token);
  o.cls_token = cls_token.value_or(o.cls_token);
  o.sep_token = sep_token.value_or(o.sep_token);
  o.pad_token = pad_token.value_or(o.pad_token);
  o.mask_token = mask_token.value_or(o.mask_token);
}

WordPiece WordPiece::load(const std::string& path) {
  std::error_code ignored;
  std::string file = path;
  Settings settings;
  if (std::filesystem::is_directory(path, ignored)) {
    const auto there = [&](const char* name) {
      return std::filesystem::exists(path + "/" + name, ignored);
    };
    file = path + (there("tokenizer.json") ? "/tokenizer.json" : "/vocab.txt");
    if (!there("tokenizer.json") && !there("vocab.txt"))
      fail<IoError>(
          "{}: holds neither tokenizer.json nor vocab.txt, one of which a BERT tokenizer needs",
          path);
    if (there("special_tokens_map.json")) settings.read_tokens(path + "/special_tokens_map.json");
    if (there("added_tokens.json")) settings.read_added(path + "/added_tokens.json");
    if (there("tokenizer_config.json")) settings.read_config(path + "/tokenizer_config.json");
  }
  const std::string text = read_file(file);
  const size_t first = text.find_first_not_of(" \t\r\n");
  const bool json = first != std::string::npos && text[first] == '{';
  WordPiece w = json ? parse_json(text, file) : parse_vocab(text, file);
  settings.apply(w.options_);
  w.max_length_ = settings.max_length;
  w.add_tokens(settings.added, path);
  w.finish(file);
  return w;
}

WordPiece WordPiece::from_vocab(std::string_view text, const std::string& name,
                                WordPieceOptions options) {
  WordPiece w = parse_vocab(text, name);
  w.options_ = std::move(options);
  w.finish(name);
  return w;
}

WordPiece WordPiece::from_json(std::string_view text, const std::string& name) {
  WordPiece w = parse_json(text, name);
  w.finish(name);
  return w;
}

WordPiece WordPiece::parse_vocab(std::string_view text, const std::string& name) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string_view::npos)
    fail<IoError>("{}: offset {}: byte 0x{:02x} is not valid UTF-8", name, bad,
                  static_cast<uint8_t>(text[bad]));
  WordPiece w;
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
  return w;
}

namespace {

// The post-processor: [CLS] text [SEP] is what encode() makes.
struct Frame {
  std::string cls, sep;
};

void read_template(JsonReader& r, Frame& frame) {
  std::vector<std::string> parts;  // token, "" for the text
  r.array([&] {
    r.object([&](const std::string& kind) {
      std::string id;
      r.object([&](const std::string& k) {
        if (k == "id") id = r.string();
        else r.skip();  // type_id: the first sentence's
      });
      parts.push_back(kind == "Sequence" ? "" : id);
    });
  });
  if (parts.size() != 3 || parts[0].empty() || !parts[1].empty() || parts[2].empty())
    r.fail("the template of a single text is not [CLS] text [SEP]");
  frame = {parts[0], parts[2]};
}

void read_post_processor(JsonReader& r, Frame& frame) {
  r.object([&](const std::string& k) {
    if (k == "type") {
      const std::string type = r.string();
      if (!is_one_of(type, {"TemplateProcessing", "BertProcessing"}))
        r.fail(fmt::format("the post_processor is a {}, expected TemplateProcessing", type));
    } else if (k == "single") {
      read_template(r, frame);
    } else if (k == "cls" || k == "sep") {
      bool first = true;
      r.array([&] {
        if (std::exchange(first, false)) (k == "cls" ? frame.cls : frame.sep) = r.string();
        else r.skip();  // its id
      });
    } else if (is_one_of(k, {"pair", "special_tokens"})) {
      r.skip();
    } else {
      r.fail(fmt::format("\"{}\" of the post_processor is not known here", k));
    }
  });
}

}  // namespace

WordPiece WordPiece::parse_json(std::string_view text, const std::string& name) {
  JsonReader r(text, name);
  WordPiece w;
  WordPieceOptions& o = w.options_;
  bool has_model = false;
  Added added;
  Frame frame;
  const auto expect_type = [&](const char* part, std::string_view known) {
    if (const std::string type = r.string(); type != known)
      r.fail(fmt::format("the {} is a {}, expected {}", part, type, known));
  };
  const auto unknown = [&](const char* part, const std::string& key) {
    r.fail(
        fmt::format("\"{}\" of the {} is not known here and might change the tokens", key, part));
  };

  r.object([&](const std::string& key) {
    if (key == "model") {
      has_model = true;
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("model", "WordPiece");
        else if (k == "unk_token") o.unk_token = r.string();
        else if (k == "continuing_subword_prefix") o.continuing_prefix = r.string();
        else if (k == "max_input_chars_per_word") o.max_chars_per_word = r.integer();
        else if (k == "vocab") {
          r.object([&](const std::string& token) {
            const int64_t id = r.integer();
            check_id(r, id);
            w.vocab_.emplace(token, id);
          });
        } else unknown("model", k);
      });
    } else if (key == "normalizer") {
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("normalizer", "BertNormalizer");
        else if (k == "clean_text") o.clean_text = r.boolean();
        else if (k == "handle_chinese_chars") o.handle_chinese_chars = r.boolean();
        else if (k == "lowercase") o.lowercase = r.boolean();
        else if (k == "strip_accents" && !r.null()) o.strip_accents = r.boolean();
        else if (k != "strip_accents") unknown("normalizer", k);
      });
    } else if (key == "pre_tokenizer") {
      r.object([&](const std::string& k) {
        if (k == "type") expect_type("pre_tokenizer", "BertPreTokenizer");
        else unknown("pre_tokenizer", k);
      });
    } else if (key == "post_processor") {
      read_post_processor(r, frame);
    } else if (key == "added_tokens") {
      r.array([&] {
        int64_t id = -1;
        const std::string content = read_added_token(r, &id);
        if (id < 0 || id > INT32_MAX)
          r.fail("an added token needs a content and an id in [0, 2^31)");
        added.emplace_back(content, id);
      });
    } else if (is_one_of(key, {"version", "truncation", "padding", "decoder"})) {
      r.skip();  // how long a text may be and how batches are padded is the model's to say
    } else {
      r.fail(fmt::format("\"{}\" is not known here and might change the tokens", key));
    }
  });
  r.end();
  if (!has_model)
    fail<IoError>("{}: has no \"model\", expected a tokenizer.json of a WordPiece model", name);
  if (!frame.cls.empty()) o.cls_token = frame.cls;
  if (!frame.sep.empty()) o.sep_token = frame.sep;
  w.add_tokens(added, name);
  return w;
}

}  // namespace loupe
