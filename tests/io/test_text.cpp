#include <loupe/io/text.h>
#include <loupe/io/utf8.h>

#include <algorithm>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

TEST_CASE("UTF-8: every code point round-trips, every surrogate and overlong form is refused") {
  for (char32_t c = 0; c < 0x110000; ++c) {
    std::string s;
    append_utf8(s, c);
    size_t at = 0;
    const bool surrogate = c >= 0xD800 && c < 0xE000;
    const char32_t back = decode_utf8(s, at);
    if (back != (surrogate ? kInvalidUtf8 : c) || at != (surrogate ? 0 : s.size()))
      FAIL("U+" << std::hex << uint32_t{c});
  }
  for (const char* bad : {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                          "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xc3z", "\xe2\x82z"})
    CHECK(find_invalid_utf8(std::string("ab") + bad) == 2);
}

TEST_CASE("characters are numbered in code point order, there and back") {
  const std::string text = "h\u00e9llo w\U0001F600rld\n";
  const CharVocab vocab = CharVocab::of(text);
  CHECK(vocab.size() == 10);
  CHECK(vocab.characters() == "\n dhlorw\u00e9\U0001F600");
  const auto ids = vocab.encode(text);
  CHECK(ids.size() == 12);
  CHECK(ids[0] == 3);
  CHECK(vocab.decode(ids) == text);
  const CharVocab again = CharVocab::from_characters(vocab.characters());
  CHECK(again.encode(text) == ids);
  CHECK_THAT(error_of([&] { vocab.encode("hx", "f"); }),
             Contains("f: offset 1: the character 'x' (U+0078) is not among"));
  CHECK_THAT(error_of([&] { vocab.encode("h\xff", "f"); }),
             Contains("f: offset 1: byte 0xff is not valid UTF-8"));
  CHECK_THAT(error_of([&] { CharVocab::of(""); }), Contains("is empty"));
  CHECK_THAT(error_of([&] { CharVocab::of("a\xc3"); }), Contains("offset 1: byte 0xc3"));
  CHECK_THAT(error_of([&] { CharVocab::from_characters("ba"); }),
             Contains("offset 1: the characters of a vocabulary"));
  CHECK_THAT(error_of([&] { CharVocab::from_characters("aa"); }), Contains("distinct"));
  CHECK_THAT(error_of([&] { CharVocab::from_characters(""); }), Contains("empty vocabulary"));
  const int32_t outside[] = {10};
  CHECK_THAT(error_of<IndexError>([&] { vocab.decode(outside); }),
             Contains("id 10 in a vocabulary of 10"));
}

TEST_CASE("text files and the word list") {
  TempDir dir;
  write_file(dir / "t", "a\xc3\xa9");
  const TextFile t = read_text(dir / "t");
  CHECK(t.text == "a\u00e9");
  CHECK(t.bytes == 3);
  CHECK(t.sha256 == sha256_of_file(dir / "t"));
  write_file(dir / "empty", "");
  CHECK_THAT(error_of([&] { read_text(dir / "empty"); }), Contains("empty: is empty"));
  write_file(dir / "latin1", "caf\xe9 au lait");
  CHECK_THAT(error_of([&] { read_text(dir / "latin1"); }),
             Contains("latin1: offset 3: byte 0xe9 is not valid UTF-8"));

  write_file(dir / "words", "A\napple\nit's\n\u00e9tude\nbanana\nCherry\nz\ndate");
  const TextFile w = read_words(dir / "words");
  std::string sorted = w.text;
  CHECK(w.text.size() == std::string("apple\nbanana\nz\ndate\n").size());
  for (const char* word : {"apple\n", "banana\n", "z\n", "date\n"})
    CHECK_THAT(w.text, Contains(word));
  CHECK(read_words(dir / "words").text == w.text);
  write_file(dir / "none", "A\nB\n");
  CHECK_THAT(error_of([&] { read_words(dir / "none"); }), Contains("no line is a word"));
  if (std::filesystem::exists(kWordListPath)) {
    const TextFile list = read_words();
    CHECK(std::count(list.text.begin(), list.text.end(), '\n') > 50000);
    CHECK(CharVocab::of(list.text).size() == 27);
  } else {
    CHECK_THAT(error_of([] { read_words(); }), Contains("apt-get install wamerican"));
  }
}
