#pragma once
// The tokenizer of the BERT family (Devlin et al. 2019): clean, space out CJK, lower-case, strip
// accents, split at white space and punctuation, then greedy longest-match WordPiece. Gives the ids
// of Hugging Face's BertTokenizerFast.
#include <loupe/io/file.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace loupe {

/// The defaults are those of bert-base-uncased. A tokenizer.json brings its own.
struct WordPieceOptions {
  bool clean_text = true;            // drop control characters, white space becomes blanks
  bool handle_chinese_chars = true;  // each CJK ideograph is a word
  bool lowercase = true;
  std::optional<bool> strip_accents = {};  // empty: as lowercase
  std::string unk_token = "[UNK]", cls_token = "[CLS]", sep_token = "[SEP]", pad_token = "[PAD]",
              mask_token = "[MASK]";
  std::string continuing_prefix = "##";
  int64_t max_chars_per_word = 100;  // a longer word becomes unk_token
};

class WordPiece {
 public:
  /// A folder with tokenizer.json or vocab.txt, or one of these files (told by its first character,
  /// '{'). In a folder, what special_tokens_map.json, added_tokens.json and tokenizer_config.json
  /// say counts too. IoError if it is missing, malformed, not a BERT tokenizer, or lacks the unk,
  /// cls, sep or pad token, and for a member of these files that asks for what is not done here, or
  /// is not known.
  static WordPiece load(const std::string& path);
  /// vocab.txt: a token a line, its id the line's number.
  static WordPiece from_vocab(std::string_view text, const std::string& name,
                              WordPieceOptions options = {});
  /// tokenizer.json with a WordPiece model and a BertNormalizer.
  static WordPiece from_json(std::string_view text, const std::string& name);

  /// [CLS] pieces [SEP], cut to max_length ids. Special tokens written out in the text ("[MASK]")
  /// are recognised. IoError on invalid UTF-8 (`name` stands for the text); ValueError if
  /// max_length < 2.
  std::vector<int64_t> encode(std::string_view text, int64_t max_length = 512,
                              const std::string& name = "text") const;
  /// The pieces as written in the vocabulary, without [CLS] and [SEP].
  std::vector<std::string> tokenize(std::string_view text, const std::string& name = "text") const;

  int64_t vocab_size() const { return vocab_size_; }
  /// The id of a token; IndexError if there is none.
  int64_t id(std::string_view token) const;
  /// The token of an id; IndexError if there is none.
  const std::string& token(int64_t id) const;
  int64_t pad_id() const { return pad_; }
  /// The longest text in ids that tokenizer_config.json allows; INT64_MAX where it says nothing.
  int64_t max_length() const { return max_length_; }
  const WordPieceOptions& options() const { return options_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
  };
  using Vocab = std::unordered_map<std::string, int64_t, Hash, std::equal_to<>>;

  using Added = std::vector<std::pair<std::string, int64_t>>;
  struct Settings;

  static WordPiece parse_vocab(std::string_view text, const std::string& name);
  static WordPiece parse_json(std::string_view text, const std::string& name);
  void add_tokens(const Added& added, const std::string& name);
  void finish(const std::string& name);
  void check_special(const std::string& token, int64_t& id, const std::string& name) const;
  std::vector<int64_t> pieces(std::string_view text, const std::string& name) const;
  std::u32string normalize(std::u32string_view text) const;
  void append_words(std::vector<int64_t>& ids, std::u32string_view text) const;
  void append_word(std::vector<int64_t>& ids, std::u32string_view word) const;

  WordPieceOptions options_;
  Vocab vocab_;
  std::unordered_map<int64_t, std::string> tokens_;  // by id
  std::vector<std::pair<std::u32string, int64_t>>
      special_;         // found in the raw text, before anything else
  size_t longest_ = 0;  // bytes of the longest token
  int64_t vocab_size_ = 0, unk_ = -1, cls_ = -1, sep_ = -1, pad_ = -1;
  int64_t max_length_ = INT64_MAX;
};

}  // namespace loupe
