#include <loupe/io/unicode.h>
#include <loupe/io/wordpiece.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

const std::string kVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##a\nab\n##b\n.\n";

size_t differing(const WordPiece& tokenizer, const nlohmann::json& texts,
                 const nlohmann::json& ids) {
  size_t wrong = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    if (tokenizer.encode(text) == ids[i].get<std::vector<int64_t>>()) continue;
    if (++wrong <= 3) WARN("differs: " << text);
  }
  return wrong;
}

std::string load_error(const std::string& text) {
  return error_of(
      [&] { text[0] == '{' ? WordPiece::from_json(text, "f") : WordPiece::from_vocab(text, "f"); });
}

}  // namespace

TEST_CASE("WordPiece gives the ids of Hugging Face's tokenizer") {
  const auto cases = nlohmann::json::parse(read_file(io_fixture("wordpiece/cases.json")));
  REQUIRE(cases["texts"].size() >= 200);
  const std::string vocab = io_fixture("wordpiece/vocab.txt");
  CHECK(differing(WordPiece::load(vocab), cases["texts"], cases["uncased"]) == 0);
  CHECK(differing(WordPiece::load(io_fixture("wordpiece/tokenizer.json")), cases["texts"],
                  cases["uncased"]) == 0);
  CHECK(differing(WordPiece::load(io_fixture("wordpiece")), cases["texts"], cases["uncased"]) == 0);
  const WordPiece cased = WordPiece::from_vocab(read_file(vocab), vocab, {.lowercase = false});
  CHECK(differing(cased, cases["texts"], cases["cased"]) == 0);
}

TEST_CASE("WordPiece on a real model's vocabulary", "[.long]") {
  // LOUPE_BERT: its folder; LOUPE_BERT_CASES: {"texts": [...], "ids": [...]} as
  // tests/fixtures/make_io.py writes it.
  const char *model = std::getenv("LOUPE_BERT"), *path = std::getenv("LOUPE_BERT_CASES");
  if (!model || !path) return;
  const auto cases = nlohmann::json::parse(read_file(path));
  CHECK(differing(WordPiece::load(model), cases["texts"], cases["ids"]) == 0);
  CHECK(differing(WordPiece::load(std::string(model) + "/vocab.txt"), cases["texts"],
                  cases["ids"]) == 0);
}

TEST_CASE("WordPiece: pieces, truncation, special tokens") {
  const WordPiece w = WordPiece::from_vocab(kVocab, "f");
  CHECK(w.vocab_size() == 10);
  CHECK(w.pad_id() == 0);
  CHECK(w.tokenize("aba a.") == std::vector<std::string>{"ab", "##a", "a", "."});
  CHECK(w.tokenize("ac") == std::vector<std::string>{"[UNK]"});
  CHECK(w.encode("") == std::vector<int64_t>{2, 3});
  CHECK(w.encode("a[MASK]a", 4) == std::vector<int64_t>{2, 5, 4, 3});
  CHECK(w.tokenize(std::string(100, 'a')).size() == 100);
  CHECK(w.tokenize(std::string(101, 'a')) == std::vector<std::string>{"[UNK]"});
  CHECK(w.id("ab") == 7);
  CHECK(w.token(7) == "ab");
  CHECK_THROWS_AS(w.id("zz"), IndexError);
  CHECK_THROWS_AS(w.token(10), IndexError);
  CHECK_THROWS_AS(w.encode("a", 1), ValueError);
  CHECK_THAT(error_of([&] { w.encode("ab\xff", 512, "line 7"); }),
             Contains("line 7: offset 2: byte 0xff"));
  const WordPiece windows =
      WordPiece::from_vocab("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\n\r\n", "f");
  CHECK(windows.id("a") == 4);
}

TEST_CASE("WordPiece refuses broken vocabularies") {
  const std::string special = R"("[UNK]":0,"[CLS]":1,"[SEP]":2,"[PAD]":3)";
  const auto json = [&](const std::string& vocab, const std::string& more = "") {
    return R"({"model":{"type":"WordPiece","vocab":{)" + vocab + "}}" + more + "}";
  };
  CHECK(load_error(json(special)).empty());
  const std::pair<std::string, std::string> cases[] = {
      {"a\nb\n", "f: the vocabulary of 2 tokens lacks '[UNK]'"},
      {kVocab + "ab\n", "f: offset 46: the token 'ab' of line 11 is on line 8 too"},
      {"[PAD]\n\xff\n", "f: offset 6: byte 0xff is not valid UTF-8"},
      {"{}", "has no \"model\""},
      {R"({"model":{"type":"BPE"}})", "the model is a BPE, expected WordPiece"},
      {json(special, R"(,"normalizer":{"type":"NFC"})"), "the normalizer is a NFC"},
      {json(special, R"(,"pre_tokenizer":{"type":"ByteLevel"})"),
       "the pre_tokenizer is a ByteLevel"},
      {json(special + R"(,"a":-1)"), "the id -1 of a token"},
      {json(special + R"(,"a":1.5)"), "expected a whole number"},
      {json(special + R"(,"a":0)"), "have the same id 0"},
      {json(special + R"(,"[UNK]":7)"), "duplicate key \"[UNK]\""},
      {json(R"("a":0)"), "lacks '[UNK]'"},
      {json(special, R"(,"added_tokens":[{"content":"<x>","id":9,"lstrip":true}])"),
       "an added token with lstrip"},
      {json(special, R"(,"added_tokens":[{"content":"<x>"}])"), "needs a content and an id"},
      {json(special, R"(,"added_tokens":[{"content":"[UNK]","id":9}])"), "has id 9, but 0"},
      {R"({"model":{"unk_token":"","vocab":{"":4,"[CLS]":1,"[SEP]":2,"[PAD]":3}}})", "lacks ''"},
      {R"({"model":{"max_input_chars_per_word":0,"vocab":{)" + special + "}}}",
       "max_input_chars_per_word is 0"},
      {json(special).substr(0, 40), "does not end"},
  };
  for (const auto& [text, reason] : cases) {
    INFO(text);
    CHECK_THAT(load_error(text), Contains(reason));
  }
  TempDir dir;
  CHECK_THAT(error_of([&] { WordPiece::load(dir.path.string()); }),
             Contains("neither tokenizer.json nor vocab.txt"));
}
