#include <loupe/io/json.h>

#include "helpers.h"

using namespace loupe;
using Catch::Matchers::Contains;

namespace {

std::string skip_error(const std::string& text) {
  return error_of([&] {
    JsonReader r(text, "f");
    r.skip();
    r.end();
  });
}

}  // namespace

TEST_CASE("JsonReader walks values") {
  JsonReader r(
      R"( {"a" : [1, -2, 3.5e-1], "b\n\u00e9\ud83d\ude00": "x\"\\\/", "c": true, "d": null, "e": {}, "f": []} )",
      "f");
  std::vector<double> numbers;
  std::string keys;
  r.object([&](const std::string& key) {
    keys += key + ";";
    if (key == "a") r.array([&] { numbers.push_back(r.number()); });
    else if (key == "c") CHECK(r.boolean());
    else if (key == "d") CHECK(r.null());
    else if (key[0] == 'b') CHECK(r.string() == "x\"\\/");
    else r.skip();
  });
  r.end();
  CHECK(numbers == std::vector<double>{1, -2, 0.35});
  CHECK(keys == "a;b\n\u00e9\U0001F600;c;d;e;f;");
  CHECK(JsonReader("-9223372036854775808", "f").integer() == INT64_MIN);
  CHECK_FALSE(JsonReader(" false", "f").boolean());
}

TEST_CASE("JsonReader refuses what is not JSON, with offset and reason") {
  for (const char* good :
       {"0", "-0.5E+3", "[]", "{}", "\"\"", "[1,[2],{\"a\":3}]", " null ", "\"\xc3\xa9\""})
    CHECK(skip_error(good).empty());
  const std::pair<std::string, std::string> cases[] = {
      {"", "offset 0: the JSON ends too early"},
      {"[1", "the JSON ends too early"},
      {"[1 2]", "offset 3: expected ',' or ']', found '2'"},
      {"[1,]", "expected a JSON value, found ']'"},
      {"{\"a\":1,}", "expected '\"', found '}'"},
      {"{\"a\" 1}", "expected ':'"},
      {"{a:1}", "expected '\"'"},
      {"{\"a\":1,\"b\":2,\"a\":3}", "offset 13: duplicate key \"a\""},
      {"{\"a\":1,\"\\u0061\":3}", "duplicate key \"a\""},
      {"01", "text after the end"},
      {"+1", "expected a JSON value"},
      {"1.", "expected a digit"},
      {".5", "expected a JSON value"},
      {"1e", "expected a digit"},
      {"-", "expected a digit"},
      {"tru", "expected true or false"},
      {"nul", "expected null"},
      {"NaN", "expected a JSON value"},
      {"\"abc", "offset 0: a JSON string that does not end"},
      {"\"a\\", "does not end"},
      {"\"a\nb\"", "offset 2: a control character"},
      {"\"\\x\"", "unknown JSON escape 'x'"},
      {"\"\\u12g4\"", "four hex digits"},
      {"\"\\u12", "ends inside"},
      {"\"\\ud800\"", "lone surrogate"},
      {"\"\\ud800\\u0041\"", "lone surrogate"},
      {"\"\\udc00\"", "lone surrogate"},
      {"\"\xff\"", "offset 1: invalid UTF-8"},
      {"\"\xed\xa0\x80\"", "invalid UTF-8"},
      {"\"\xc0\x80\"", "invalid UTF-8"},
      {"1 x", "text after the end"},
  };
  for (const auto& [text, reason] : cases) {
    INFO(text);
    CHECK_THAT(skip_error(text), Contains(reason));
  }
  CHECK_THAT(skip_error(std::string(100000, '[')), Contains("nested deeper"));
  CHECK(skip_error(std::string(64, '[') + std::string(64, ']')).empty());
  CHECK_THAT(error_of([] { JsonReader("9223372036854775808", "f").integer(); }),
             Contains("does not fit 64 bits"));
  CHECK_THAT(error_of([] { JsonReader("1.5", "f").integer(); }),
             Contains("expected a whole number"));
  CHECK_THAT(error_of([] { JsonReader("1e999", "f").number(); }), Contains("out of range"));
  CHECK_THAT(error_of([] { JsonReader("[", "file.json", 8).skip(); }),
             Contains("file.json: offset 9"));
}

TEST_CASE("json_quote") {
  CHECK(json_quote("a\"\\\n\r\t\b\f\x01\x1f/\x7f\u00e9") ==
        "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u001f/\x7f\u00e9\"");
}
