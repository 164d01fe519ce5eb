#include <loupe/io/unicode.h>

#include <algorithm>
#include <cstdint>

namespace loupe::unicode {
namespace {

struct Range {
  uint32_t first, last;
};
/// Every step-th code point of [first, last] maps to itself + delta.
struct Run {
  uint32_t first, last, step;
  int32_t delta;
};
struct Several {
  uint32_t first;
  char32_t to[4];
};

#include <loupe/io/unicode_tables.inc>

/// The last row that starts at or before c, or null.
template <class Row, size_t N> const Row* row_before(const Row (&rows)[N], char32_t c) {
  const Row* after =
      std::upper_bound(rows, rows + N, c, [](char32_t v, const Row& row) { return v < row.first; });
  return after == rows ? nullptr : after - 1;
}

template <size_t N> bool within(const Range (&ranges)[N], char32_t c) {
  const Range* range = row_before(ranges, c);
  return range && c <= range->last;
}

template <size_t N, size_t M>
void append_mapped(std::u32string& out, char32_t c, const Run (&runs)[N],
                   const Several (&several)[M]) {
  if (const Run* run = row_before(runs, c);
      run && c <= run->last && (c - run->first) % run->step == 0) {
    out += static_cast<char32_t>(static_cast<int32_t>(c) + run->delta);
    return;
  }
  if (const Several* row = row_before(several, c); row && row->first == c) {
    for (const char32_t to : row->to)
      if (to) out += to;
    return;
  }
  out += c;
}

}  // namespace

bool is_removed(char32_t c) { return within(kRemoved, c); }
bool is_space(char32_t c) { return within(kSpace, c); }
bool is_break(char32_t c) { return within(kBreak, c); }
bool is_punctuation(char32_t c) { return within(kPunctuation, c); }
bool is_ideograph(char32_t c) { return within(kIdeograph, c); }

void append_stripped(std::u32string& out, char32_t c) {
  if (c >= 0xAC00 &&
      c <= 0xD7A3) {  // Hangul syllables: leading consonant, vowel, trailing consonant
    const char32_t index = c - 0xAC00;
    out += 0x1100 + index / (21 * 28);
    out += 0x1161 + index / 28 % 21;
    if (index % 28) out += 0x11A7 + index % 28;
    return;
  }
  if (!within(kMark, c)) append_mapped(out, c, kStripped, kStrippedSeveral);
}

void append_lower(std::u32string& out, char32_t c) {
  append_mapped(out, c, kLowered, kLoweredSeveral);
}

}  // namespace loupe::unicode
