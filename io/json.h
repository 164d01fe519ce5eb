#pragma once
// A strict JSON reader (RFC 8259) that walks the text and builds no tree, so that hostile files
// cost nothing: duplicate keys, more than 64 levels, invalid UTF-8, lone surrogates and trailing
// text are IoErrors with the offset.
#include <loupe/io/file.h>

#include <string>
#include <string_view>
#include <unordered_set>

namespace loupe {

/// Usage: r.object([&](const std::string& key) { if (key == "n") n = r.integer(); else r.skip();
/// }); r.end();
class JsonReader {
 public:
  /// `name` is the file in error messages, `base` the offset of text[0] in it.
  JsonReader(std::string_view text, std::string name, size_t base = 0)
      : text_(text), name_(std::move(name)), base_(base) {}

  enum class Kind { object, array, string, number, boolean, null };
  /// What comes next.
  Kind peek();
  /// Calls on_key(key) for each member; it must consume the value.
  template <class F> void object(F&& on_key) {
    open('{');
    std::unordered_set<std::string> keys;
    for (bool first = true; more('}', first); first = false) {
      const size_t at = at_;
      const auto [key, fresh] = keys.insert(string());
      if (!fresh) fail_at(at, "duplicate key \"" + *key + "\"");
      expect(':');
      on_key(*key);
    }
  }
  /// Calls on_item() for each element; it must consume the value.
  template <class F> void array(F&& on_item) {
    open('[');
    for (bool first = true; more(']', first); first = false) on_item();
  }
  std::string string();
  double number();
  /// A number without fraction or exponent that fits 64 bits.
  int64_t integer();
  bool boolean();
  /// Consumes a null if one comes next.
  bool null();
  /// Consumes a value of any kind, checking its syntax.
  void skip();
  /// Only white space may be left.
  void end();
  /// IoError at the present offset.
  [[noreturn]] void fail(const std::string& reason) const { fail_at(at_, reason); }
  size_t offset() const { return base_ + at_; }

 private:
  void space();
  char next_char();
  void open(char bracket);
  bool more(char close, bool first);
  void expect(char c);
  bool literal(std::string_view word);
  std::string_view number_text();
  char32_t hex4();
  [[noreturn]] void fail_at(size_t at, const std::string& reason) const;

  std::string_view text_;
  std::string name_;
  size_t base_, at_ = 0;
  int depth_ = 0;
};

/// `s` in quotes with JSON's escapes; other characters, non-ASCII ones too, as they are.
std::string json_quote(std::string_view s);

}  // namespace loupe
