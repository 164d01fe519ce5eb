#pragma once
// What a BERT tokenizer needs to know about Unicode, from a generated table: equal to Hugging
// Face's normalizer for every code point (tests/fixtures/make_unicode.py asks it about each).
#include <string>

namespace loupe::unicode {

/// Control, format and private-use characters, U+0000 and U+FFFD: clean_text drops them.
bool is_removed(char32_t c);
/// White space that clean_text turns into a blank.
bool is_space(char32_t c);
/// White space that separates words (without clean_text more is left of it).
bool is_break(char32_t c);
/// Each of these is a word of its own: Unicode's P categories and all ASCII symbols.
bool is_punctuation(char32_t c);
/// CJK ideographs: blanks are put around them.
bool is_ideograph(char32_t c);
/// Appends the canonical decomposition of c without nonspacing marks.
void append_stripped(std::u32string& out, char32_t c);
/// Appends the lower-case form of c.
void append_lower(std::u32string& out, char32_t c);

}  // namespace loupe::unicode
