#include <loupe/io/json.h>
#include <loupe/io/utf8.h>

#include <charconv>

namespace loupe {
namespace {

constexpr int kMaxDepth = 64;

std::string shown(char c) {
  return c >= 0x20 && c < 0x7f ? fmt::format("'{}'", c)
                               : fmt::format("byte 0x{:02x}", static_cast<uint8_t>(c));
}

}  // namespace

void JsonReader::fail_at(size_t at, const std::string& reason) const {
  loupe::fail<IoError>("{}: offset {}: {}", name_, base_ + at, reason);
}

void JsonReader::space() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
    ++at_;
}

char JsonReader::next_char() {
  space();
  if (at_ == text_.size()) fail("the JSON ends too early");
  return text_[at_];
}

void JsonReader::expect(char c) {
  if (const char got = next_char(); got != c)
    fail(fmt::format("expected '{}', found {}", c, shown(got)));
  ++at_;
}

void JsonReader::open(char bracket) {
  expect(bracket);
  if (++depth_ > kMaxDepth) fail(fmt::format("JSON nested deeper than {} levels", kMaxDepth));
}

bool JsonReader::more(char close, bool first) {
  const char c = next_char();
  if (c == close) {
    ++at_, --depth_;
    return false;
  }
  if (!first) {
    if (c != ',') fail(fmt::format("expected ',' or '{}', found {}", close, shown(c)));
    ++at_;
    next_char();
  }
  return true;
}

JsonReader::Kind JsonReader::peek() {
  switch (const char c = next_char()) {
    case '{': return Kind::object;
    case '[': return Kind::array;
    case '"': return Kind::string;
    case 't':
    case 'f': return Kind::boolean;
    case 'n': return Kind::null;
    default:
      if (c == '-' || (c >= '0' && c <= '9')) return Kind::number;
      fail(fmt::format("expected a JSON value, found {}", shown(c)));
  }
}

char32_t JsonReader::hex4() {
  uint32_t v = 0;
  if (text_.size() - at_ < 4) fail("the JSON ends inside a \\u escape");
  const char* first = text_.data() + at_;
  const auto [end, error] = std::from_chars(first, first + 4, v, 16);
  if (error != std::errc() || end != first + 4) fail("a \\u escape needs four hex digits");
  at_ += 4;
  return v;
}

std::string JsonReader::string() {
  expect('"');
  const size_t start = at_ - 1;
  std::string s;
  for (;;) {
    if (at_ == text_.size()) fail_at(start, "a JSON string that does not end");
    const char c = text_[at_];
    if (c == '"') {
      ++at_;
      return s;
    }
    if (static_cast<uint8_t>(c) < 0x20) fail("a control character inside a JSON string");
    if (c != '\\') {
      const size_t before = at_;
      if (decode_utf8(text_, at_) == kInvalidUtf8) fail("invalid UTF-8 inside a JSON string");
      s.append(text_, before, at_ - before);
      continue;
    }
    if (++at_ == text_.size()) fail_at(start, "a JSON string that does not end");
    const char escape = text_[at_++];
    switch (escape) {
      case '"':
      case '\\':
      case '/': s += escape; break;
      case 'b': s += '\b'; break;
      case 'f': s += '\f'; break;
      case 'n': s += '\n'; break;
      case 'r': s += '\r'; break;
      case 't': s += '\t'; break;
      case 'u': {
        char32_t code = hex4();
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
          at_ += 2;
          const char32_t low = hex4();
          if (low < 0xDC00 || low > 0xDFFF) fail("a lone surrogate in a JSON string");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xD800 && code < 0xE000) {
          fail("a lone surrogate in a JSON string");
        }
        append_utf8(s, code);
        break;
      }
      default: --at_, fail(fmt::format("unknown JSON escape {}", shown(escape)));
    }
  }
}

std::string_view JsonReader::number_text() {
  next_char();
  const size_t start = at_;
  const auto digits = [&] {
    const size_t from = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    if (at_ == from) fail("expected a digit");
  };
  const auto one_of = [&](std::string_view set) {
    const bool yes = at_ < text_.size() && set.find(text_[at_]) != std::string_view::npos;
    at_ += yes;
    return yes;
  };
  one_of("-");
  if (!one_of("0")) digits();  // no leading zeros
  if (one_of(".")) digits();
  if (one_of("eE")) one_of("+-"), digits();
  return text_.substr(start, at_ - start);
}

double JsonReader::number() {
  const std::string_view s = number_text();
  double v = 0;
  if (std::from_chars(s.data(), s.data() + s.size(), v).ec != std::errc())
    fail(fmt::format("the number {} is out of range", s.substr(0, 40)));
  return v;
}

int64_t JsonReader::integer() {
  const std::string_view s = number_text();
  int64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc())
    fail(fmt::format("the number {} does not fit 64 bits", s.substr(0, 40)));
  if (end != s.data() + s.size() || s == "-0")
    fail(fmt::format("expected a whole number, found {}", s.substr(0, 40)));
  return v;
}

bool JsonReader::literal(std::string_view word) {
  next_char();
  if (text_.substr(at_, word.size()) != word) return false;
  at_ += word.size();
  return true;
}

bool JsonReader::boolean() {
  if (literal("true")) return true;
  if (!literal("false")) fail("expected true or false");
  return false;
}

bool JsonReader::null() { return literal("null"); }

void JsonReader::skip() {
  switch (peek()) {
    case Kind::object: return object([&](const std::string&) { skip(); });
    case Kind::array: return array([&] { skip(); });
    case Kind::string: return void(string());
    case Kind::number: return void(number_text());
    case Kind::boolean: return void(boolean());
    case Kind::null:
      if (!null()) fail("expected null");
  }
}

void JsonReader::end() {
  space();
  if (at_ != text_.size()) fail("text after the end of the JSON");
}

std::string json_quote(std::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) out += fmt::format("\\u{:04x}", static_cast<int>(c));
        else out += c;
    }
  }
  return out + '"';
}

}  // namespace loupe
