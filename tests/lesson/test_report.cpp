// The structure of the four forms of the report.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "catch.h"
#include "synthetic.h"

using namespace loupe::lesson;
using loupe::view::to_svg;

namespace {
size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size()))
    ++n;
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
  REQUIRE(events.size() == 4 + 9 + 1);  // the claims, their lines, the result
  const std::set<std::string> agreed{"event", "id",     "kind", "verdict", "effect",
                                     "ci",    "margin", "unit", "seeds",   "dead"};
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    std::set<std::string> keys;
    for (const auto& [key, value] : events[i].items()) keys.insert(key);
    CHECK(keys == agreed);
  }
  CHECK(events[0]["event"] == "claim");
  CHECK(events[0]["id"] == "C5");
  CHECK(events[0]["verdict"] == "PARTLY");
  CHECK(events[0]["effect"] == events[1]["effect"]);
  CHECK(events[1]["id"] == "C5a");
  CHECK(events[1]["kind"] == "statistical");
  CHECK(events[1]["verdict"] == "REPRODUCED");
  CHECK(events[1]["ci"].size() == 2);
  CHECK(events[1]["margin"] == 0.5);
  CHECK(events[1]["unit"] == "points");
  CHECK(events[1]["seeds"] == 3);
  CHECK(events[3]["kind"] == "exact");
  CHECK(events[3]["ci"].is_null());
  CHECK(events[3]["margin"] == 0);
  CHECK(events[4]["dead"] == 2);
  CHECK(events[13]["event"] == "result");
  CHECK(events[13]["verdicts"] == 9);
  CHECK(events[13]["intervals"] == 5);
}

TEST_CASE("a line beside the claim does not count in its word", "[report]") {
  ClaimResult c{.id = "C0", .title = "t"};
  c.lines = {exact("C0a", "holds", 0, Holds::at_most, 0),
             exact("C0b", "does not", 1, Holds::at_most, 1e-3),
             exact("C0c", "is not small", 1, Holds::above, 1e-3)};
  CHECK(c.verdict() == Verdict::partly);
  c.lines[1].beside = true;
  CHECK(c.verdict() == Verdict::reproduced);
  CHECK(verdict_text(c.lines[1]) == "(CONTRADICTED)");
  CHECK(margin_text(c.lines[0]) == "= 0");
  CHECK(margin_text(c.lines[1]) == "≤ 0.001");
  CHECK(margin_text(c.lines[2]) == "> 0.001");
  CHECK(exact("", "", 1e-3, Holds::above, 1e-3).verdict == Verdict::contradicted);
  CHECK(exact("", "", NAN, Holds::at_most, 1).verdict == Verdict::contradicted);
}

TEST_CASE("mostly dead rivals: survival decides in the direction of the value", "[report]") {
  const std::vector<Outcome> lives{{1.1}, {1.2}, {1.1}},
      dies{{NAN, true}, {NAN, true}, {NAN, true}};
  // A loss: "the dying arm minus the living one is positive" holds, "the living one minus the dying
  // one is negative" too.
  CHECK(statistical("", "", compare(dies, lives, 2.3, Better::less), .02, Expect::positive, "nats")
            .verdict == Verdict::reproduced);
  CHECK(statistical("", "", compare(lives, dies, 2.3, Better::less), .02, Expect::negative, "nats")
            .verdict == Verdict::reproduced);
  CHECK(statistical("", "", compare_log2(lives, dies, 200, Better::less), .3, Expect::positive,
                    "doublings")
            .verdict == Verdict::contradicted);
  // An accuracy: the living arm is ahead.
  CHECK(statistical("", "", compare(lives, dies, .1, Better::more), .5, Expect::positive, "points")
            .verdict == Verdict::reproduced);
  CHECK(statistical("", "", compare(dies, lives, .1, Better::more), .5, Expect::positive, "points")
            .verdict == Verdict::contradicted);
}

TEST_CASE("the page has every claim, chart and number, and fetches nothing", "[report]") {
  const Report r = synthetic_report();
  const std::string html = to_html(r);
  for (const auto& c : r.claims)
    CHECK(html.find("<section id=\"" + c.id + "\"") != std::string::npos);
  CHECK(count(html, "<figure") == 9);  // and the lesson's two grids
  CHECK(count(html, "class=\"wide\"") == 5);
  CHECK(count(html, "class=\"narrow\"") == 5);
  CHECK(count(html, "class=\"trace\"") == 12);  // every seed's curve, twice
  CHECK(count(html, "<svg class=\"ci ") == 5);  // every interval beside its margin
  for (const char* part :
       {"x_norm = (x - mean_batch) / std_batch", "x_norm = (x - mean_features) / std_features",
        "BatchNorm1d(128)", "LayerNorm(128)"})
    CHECK(count(html, part) >= 1);
  CHECK(html.find("A CNN: BatchNorm (+2.3 points).") != std::string::npos);
  CHECK(html.find("Of 4 claims: ") != std::string::npos);
  CHECK(html.find("class Claim5 : public Claim") != std::string::npos);  // the code, in the page
  CHECK(html.find("Fashion-MNIST &lt;made up&gt;") != std::string::npos);
  CHECK(html.find("prefers-color-scheme:dark") != std::string::npos);
  CHECK(html.find("@media print") != std::string::npos);
  for (const char* fetch : {"<script", "src=", "url(", "@import", "<link", "<iframe"})
    CHECK(count(html, fetch) == 0);
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
  CHECK(count(md, "\n| C") == 9);
  CHECK(md.find("BatchNorm mixes \\|tokens\\|") != std::string::npos);
  CHECK(md.find("| Needs a batch | yes | no |") != std::string::npos);
  CHECK(md.find("| BN 64 | 85.7 |") != std::string::npos);
  CHECK(md.find("died") != std::string::npos);
}

TEST_CASE("writes the synthetic page for the browser test", "[.page]") {
  const char* where = std::getenv("LOUPE_PAGE");
  REQUIRE(where);
  std::ofstream(where) << to_html(synthetic_report());
}
