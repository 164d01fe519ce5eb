// The structure of the four forms of the report.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "catch.h"
#include "synthetic.h"

using namespace loupe::lesson;

namespace {
size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}
}  // namespace

TEST_CASE("the terminal table fits 80 columns and gives every verdict", "[report]") {
  const Report r = synthetic_report();
  std::istringstream lines(to_terminal(r));
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(std::ranges::count_if(line, [](char c) { return (c & 0xC0) != 0x80; }) <= 80);
  }
  const std::string text = to_terminal(r);
  CHECK(count(text, "C5a") == 1);
  CHECK(text.find("+27.3 [") != std::string::npos);
  CHECK(text.find("CONTRADICTED") != std::string::npos);
}

TEST_CASE("a mostly dead arm is judged by survival and says so", "[report]") {
  const Line l = synthetic_report().claims[0].lines[3];
  CHECK(l.survival);
  CHECK(l.unit == "surviving");
  CHECK(l.dead == 2);
  CHECK(l.verdict == Verdict::inconclusive);  // three seeds: 3 of 3 against 1 of 3
}

TEST_CASE("the JSON lines parse and carry what was agreed", "[report]") {
  std::istringstream lines(to_json_lines(synthetic_report()));
  std::vector<nlohmann::json> events;
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line));
  REQUIRE(events.size() == 9);
  CHECK(events[0]["event"] == "claim");
  CHECK(events[0]["id"] == "C5");
  CHECK(events[0]["kind"] == "statistical");
  CHECK(events[0]["verdict"] == "REPRODUCED");
  CHECK(events[0]["ci"].size() == 2);
  CHECK(events[0]["margin"] == 0.5);
  CHECK(events[0]["unit"] == "points");
  CHECK(events[0]["seeds"] == 3);
  CHECK(events[2]["kind"] == "exact");
  CHECK(events[2]["ci"].is_null());
  CHECK(events[3]["dead"] == 2);
  CHECK(events[8]["event"] == "result");
  CHECK(events[8]["verdicts"] == 8);
  CHECK(events[8]["intervals"] == 5);
}

TEST_CASE("the page has every claim, chart and number, and fetches nothing", "[report]") {
  const Report r = synthetic_report();
  const std::string html = to_html(r);
  for (const auto& c : r.claims) CHECK(html.find("<section id=\"" + c.id + "\"") != std::string::npos);
  CHECK(count(html, "<figure") == 6);
  CHECK(count(html, "class=\"wide\"") == 4);
  CHECK(count(html, "class=\"narrow\"") == 4);
  CHECK(html.find("Fashion-MNIST &lt;made up&gt;") != std::string::npos);
  CHECK(html.find("prefers-color-scheme:dark") != std::string::npos);
  CHECK(html.find("@media print") != std::string::npos);
  for (const char* fetch : {"<script", "src=", "url(", "@import", "<link", "<iframe"}) CHECK(count(html, fetch) == 0);
  CHECK(html.find("0.4 would miss") == std::string::npos);
  CHECK(html.find("0.2 would miss") != std::string::npos);  // 5 intervals
  CHECK(count(html, "<title>") > 300);                      // values on hover
  CHECK(count(html, "NaN") == 0);
}

TEST_CASE("charts place dead runs in their strip and exact zeros as zeros", "[report]") {
  const Report r = synthetic_report();
  const std::string svg = to_svg(r.claims[1].charts[0], 720);
  CHECK(count(svg, "class=\"cross\"") == 15);  // none: 3 rates, scaled: 2, three seeds each
  CHECK(svg.find(">died<") != std::string::npos);
  CHECK(count(to_svg(r.claims[3].maps[0]), "exactly 0") == 240);
  CHECK(short_number(-0.25) == "−0.25");
  CHECK(short_number(2e9) == "2.0e9");
  CHECK(short_number(0.0001) == "1e-4");
}

TEST_CASE("the Markdown has one row for each verdict", "[report]") {
  const std::string md = to_markdown(synthetic_report());
  CHECK(count(md, "\n| C") == 8);
  CHECK(md.find("| BN 64 | 85.7 |") != std::string::npos);
  CHECK(md.find("died") != std::string::npos);
}

TEST_CASE("writes the synthetic page for the browser test", "[.page]") {
  const char* where = std::getenv("LOUPE_PAGE");
  REQUIRE(where);
  std::ofstream(where) << to_html(synthetic_report());
}
