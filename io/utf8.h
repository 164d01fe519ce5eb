#pragma once
// Strict UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
#include <cstdint>
#include <string>
#include <string_view>

namespace loupe {

/// What decode_utf8 gives for bytes that are not UTF-8; no code point has this value.
inline constexpr char32_t kInvalidUtf8 = 0xFFFFFFFF;

/// The code point at s[at]; moves `at` behind it. kInvalidUtf8, and `at` unmoved, where s is not
/// UTF-8.
inline char32_t decode_utf8(std::string_view s, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const uint32_t lead = byte(at);
  if (lead < 0x80) return ++at, lead;
  const size_t extra = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (lead < 0xC2 || lead > 0xF4 || s.size() - at <= extra) return kInvalidUtf8;
  uint32_t c = lead & (0x3Fu >> extra);
  for (size_t i = 1; i <= extra; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) return kInvalidUtf8;
    c = c << 6 | (byte(at + i) & 0x3Fu);
  }
  constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
  if (c < kLeast[extra] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) return kInvalidUtf8;
  at += extra + 1;
  return c;
}

/// Appends a code point's bytes.
inline void append_utf8(std::string& s, char32_t c) {
  const auto put = [&](uint32_t b) { s += static_cast<char>(b); };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  if (c < 0x10000) return put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)),
      put(0x80 | (c & 0x3F));
}

/// Offset of the first byte that is not UTF-8, or npos.
inline size_t find_invalid_utf8(std::string_view s) {
  for (size_t at = 0; at < s.size();)
    if (decode_utf8(s, at) == kInvalidUtf8) return at;
  return std::string_view::npos;
}

}  // namespace loupe
