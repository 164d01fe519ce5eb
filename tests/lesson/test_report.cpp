// The structure of the four forms of the report.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include <loupe/core/error.h>

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

namespace {
Line fact_line(const char* id, double value, Holds holds, double bound) {
  return exact(fact(id, {}, holds, bound), value);
}
Line line_in(Role role, Verdict verdict, double p = 0) {
  Line l{.id = "C0", .text = "t"};
  l.role = role;
  l.verdict = verdict;
  l.p = p;
  return l;
}
}  // namespace

TEST_CASE("the terminal table fits 80 columns and gives every verdict", "[report]") {
  const Report r = synthetic_report();
  std::istringstream lines(to_terminal(r, true));
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(std::ranges::count_if(line, [](char c) { return (c & 0xC0) != 0x80; }) <= 80);
  }
  const std::string text = to_terminal(r, true);
  CHECK(count(text, "C5a") == 1);
  CHECK(text.find("+27.3 [") != std::string::npos);
  CHECK(text.find("CONTRADICTED") != std::string::npos);
}

TEST_CASE("the terminal ends with one line a claim", "[report]") {
  const Report r = synthetic_report();
  const std::string text = to_terminal(r);
  CHECK(count(text, "\n") == r.claims.size() + 1);
  CHECK(text.find("C5   in part        BN: +27.3 points; LN: not decided\n") == 0);
  CHECK(text.find("--details") != std::string::npos);
  CHECK(to_terminal(r, true).ends_with("died), 390 s of processor time.\n"));
}

TEST_CASE("each word has one right guess, or none", "[report]") {
  using enum Verdict;
  ClaimResult c{.id = "C0", .title = "t"};
  const auto guess = [&c](Verdict v) {
    c.lines = {line_in(Role::primary, v)};
    return right_guess(c);
  };
  CHECK(guess(reproduced) == 0);
  CHECK(guess(small) == 1);
  CHECK(guess(no_difference) == 2);
  CHECK(guess(contradicted) == 2);
  CHECK(guess(small_opposite) == 2);
  CHECK_FALSE(guess(inconclusive));
  c.lines = {line_in(Role::primary, reproduced), line_in(Role::limits, no_difference)};
  CHECK(right_guess(c) == 1);
}

TEST_CASE("sizes: with the digits that the interval has, bounds as such", "[report]") {
  Line l{.id = "C0", .text = "t"};
  l.effect = {-2.591, -3.18, -1.99, 8};
  CHECK(amount_text(l) == "2.59");
  CHECK(signed_text(l) == "-2.59");
  l.effect = {1.39, 1.12, 1.66, 8};
  CHECK(amount_text(l) == "1.39");
  CHECK(times_text(l) == "2.6");
  l.effect = {2.1, 2.0, INFINITY, 8};
  CHECK(times_text(l) == "at least 4.0");
  l.effect = {-2.1, -INFINITY, -2.0, 8};
  CHECK(amount_text(l) == "at least 2.0");
  l.effect = {0.3, -INFINITY, 0.5, 8};
  CHECK(amount_text(l) == "at most 0.50");
  l = fact_line("C0", 0, Holds::at_most, 0);
  CHECK(amount_text(l) == "exactly 0");
}

TEST_CASE("an undecided line says how many seeds would decide it", "[report]") {
  Line l{.id = "C0", .text = "t"};
  l.margin = 0.5;
  l.effect = {0.145, -0.369, 0.659, 12};
  CHECK(seeds_to_decide(l) == 26);  // until the interval is within the margin
  l.effect = {0.8, -0.2, 1.8, 4};
  CHECK(seeds_to_decide(l) == 7);  // until it is above 0
  l.margin = 0.05;
  l.expect = Expect::none;  // within 0.05, or not
  l.effect = {0.04, 0.016, 0.064, 12};
  CHECK(seeds_to_decide(l) == 70);
  l.gridded = true;
  CHECK_FALSE(seeds_to_decide(l));
  l.gridded = false;
  l.verdict = Verdict::small;
  CHECK_FALSE(seeds_to_decide(l));
}

TEST_CASE("a line read again from the report has its number and word", "[report]") {
  const Report r = synthetic_report();
  std::istringstream in(to_json_lines(r));
  std::vector<Line> again;
  for (std::string line; std::getline(in, line);) {
    again.push_back(line_from_json(line, "report"));
    if (again.back().id.empty()) again.pop_back();
  }
  REQUIRE(again.size() == 9);
  CHECK(again[0].id == "C5a");
  CHECK(effect_text(again[0]) == effect_text(r.claims[0].lines[0]));
  CHECK(again[0].verdict == Verdict::reproduced);
  CHECK(effect_text(again[2]) == "0 logits (exact)");
  CHECK_THROWS_AS(line_from_json("{", "report"), loupe::IoError);
}

TEST_CASE("an arm that died whole enters as knowing nothing, and says how many died", "[report]") {
  const Line l = synthetic_report().claims[0].lines[3];
  CHECK(l.against_nothing);
  CHECK(l.unit == "points");
  CHECK(l.dead_a == 0);
  CHECK(l.dead_b == 3);
  CHECK(l.verdict == Verdict::reproduced);  // far above chance on every seed
  CHECK(l.effect.mean == Approx(75.9).margin(0.1));
}

TEST_CASE("the JSON lines parse and carry what was agreed", "[report]") {
  std::istringstream lines(to_json_lines(synthetic_report()));
  std::vector<nlohmann::json> events;
  for (std::string line; std::getline(lines, line);) events.push_back(nlohmann::json::parse(line));
  REQUIRE(events.size() == 4 + 9 + 1);  // the claims, their lines, the result
  const std::set<std::string> agreed{"event", "id",     "role", "kind",  "verdict", "effect",
                                     "ci",    "margin", "unit", "seeds", "dead",    "p"};
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    std::set<std::string> keys;
    for (const auto& [key, value] : events[i].items()) keys.insert(key);
    CHECK(keys == agreed);
  }
  CHECK(events[0]["event"] == "claim");
  CHECK(events[0]["id"] == "C5");
  CHECK(events[0]["verdict"] == "PARTLY");  // C5b limits it
  CHECK(events[0]["role"] == "claim");
  CHECK(events[1]["role"] == "primary");
  CHECK(events[2]["role"] == "limits");
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
  CHECK(events[4]["dead"] == 3);
  CHECK(events[13]["event"] == "result");
  CHECK(events[13]["verdicts"] == 9);
  CHECK(events[13]["intervals"] == 5);
}

TEST_CASE("a claim's word: its primary line, limited by others", "[report]") {
  using enum Verdict;
  ClaimResult c{.id = "C0", .title = "t"};
  c.condition = "only on Sundays";
  const auto word = [&c](Verdict primary, Verdict limit) {
    c.lines = {line_in(Role::explains, contradicted), line_in(Role::limits, limit),
               line_in(Role::primary, primary)};
    return c.verdict();
  };
  CHECK(word(reproduced, reproduced) == reproduced);
  // What is not shown of a claim limits it, decided or not.
  for (Verdict v : {contradicted, no_difference, small, small_opposite, inconclusive}) {
    CHECK(word(reproduced, v) == partly);
    CHECK(word_text(c) == "PARTLY: only on Sundays");
    CHECK(word(contradicted, v) == contradicted);
  }
  CHECK(word(small, reproduced) == small);
  CHECK(word(inconclusive, reproduced) == inconclusive);
  CHECK(word_text(c) == "INCONCLUSIVE");
}

TEST_CASE("the words are corrected for their number", "[report]") {
  std::vector<ClaimResult> claims(3, ClaimResult{.id = "C0", .title = "t"});
  claims[0].lines = {line_in(Role::primary, Verdict::reproduced, 0.03)};
  claims[1].lines = {line_in(Role::primary, Verdict::reproduced, 0.001)};
  claims[2].lines = {fact_line("C2", 0, Holds::at_most, 0)};  // exact: not of the family
  correct(claims);
  CHECK(claims[0].verdict() == Verdict::reproduced);  // 0.001 <= 0.05 / 2, then 0.03 <= 0.05
  claims[1].lines[0].p = 0.04;
  correct(claims);
  CHECK(claims[0].verdict() == Verdict::inconclusive);  // 0.03 > 0.05 / 2
  CHECK(claims[1].verdict() == Verdict::inconclusive);
  CHECK(claims[2].verdict() == Verdict::reproduced);
  Facts facts;  // a text must not tell as decided what does not stand
  facts.line(claims[0].lines[0]);
  facts.line(claims[2].lines[0]);
  CHECK(fill("{C0 yes: it does | open: not decided}", facts) == "not decided");
  CHECK(fill("{C2 yes: it does | open: not decided}", facts) == "it does");
}

TEST_CASE("bounds and open ends are told as such", "[report]") {
  Line l = fact_line("C0b", 1, Holds::at_most, 1e-3);
  CHECK(margin_text(fact_line("C0a", 0, Holds::at_most, 0)) == "= 0");
  CHECK(margin_text(l) == "≤ 0.001");
  CHECK(margin_text(fact_line("C0c", 1, Holds::above, 1e-3)) == "> 0.001");
  CHECK(fact_line("", 1e-3, Holds::above, 1e-3).verdict == Verdict::contradicted);
  CHECK(fact_line("", NAN, Holds::at_most, 1).verdict == Verdict::contradicted);
  CHECK(verdict_text(l) == "CONTRADICTED");
  l.role = Role::explains;
  CHECK(verdict_text(l) == "(CONTRADICTED)");
  l.kind = Kind::statistical;
  l.unit = "doublings";
  l.effect = {1.2, 1.0, INFINITY, 3};
  CHECK(effect_text(l) == "at least +1.00 doublings");
  l.effect = {-1.2, -INFINITY, -1.5, 3};
  CHECK(effect_text(l) == "at most -1.50 doublings");
  l.effect = {1.2, -INFINITY, INFINITY, 1};
  CHECK(effect_text(l) == "+1.20 (one seed) doublings");
  l.effect = {INFINITY, -INFINITY, INFINITY, 2};  // every run of an arm died, and few were planned
  for (const std::string& text : {amount_text(l), signed_text(l), times_text(l)})
    CHECK(text == "—");
  CHECK(effect_text(l) == "no number: every run of an arm died");
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
  CHECK(html.find("<b>A CNN?</b>") != std::string::npos);
  CHECK(html.find("BatchNorm (+2.3 points).") != std::string::npos);
  CHECK(html.find("Of 4 claims: ") != std::string::npos);
  CHECK(count(html, "<details name=\"guess-C5\">") == 3);
  CHECK(count(html, "<p>Right.</p>") == 4);
  CHECK(html.find("<figcaption>What was found of C5") == std::string::npos);  // set by result_of
  CHECK(count(html, "class=\"row\"") == 4);
  CHECK(count(html, "property=\"og:") == 3);
  CHECK(html.find("class Claim5 : public Claim") != std::string::npos);  // the code, in the page
  CHECK(html.find("Fashion-MNIST &lt;made up&gt;") != std::string::npos);
  CHECK(html.find("prefers-color-scheme:dark") != std::string::npos);
  CHECK(html.find("@media print") != std::string::npos);
  for (const char* fetch : {"<script", "src=", "url(", "@import", "<link", "<iframe"})
    CHECK(count(html, fetch) == 0);
  CHECK(html.find("4 exact facts and 5 with a 95 % interval") != std::string::npos);
  CHECK(html.find("<span class=\"condition\">only where a statistic averages few values.") !=
        std::string::npos);
  CHECK(count(html, "<title>") > 300);  // values on hover
  CHECK(count(html, "NaN") == 0);
}

TEST_CASE("labels and numbers of columns fit the pixels they have", "[report]") {
  Chart chart;
  for (double at = 0; at < 7; ++at) {
    chart.x.categories.push_back("BatchNorm");
    chart.series.push_back({.name = "a", .line = {{at, 0.025384}}});
  }
  const std::string narrow = to_svg(chart, 352), wide = to_svg(chart, 720);
  CHECK(count(narrow, ">Batch-<") == 7);
  CHECK(count(narrow, ">Norm<") == 7);
  CHECK(count(narrow, ">0.025<") == 7);
  CHECK(count(wide, ">BatchNorm<") == 7);
  CHECK(count(wide, ">0.02538<") == 7);
  // A word that no break makes fit is written smaller.
  chart.x.categories[0] = "convolving";
  const std::string small = to_svg(chart, 352), before = "font-size=\"";
  const size_t at = small.rfind(before, small.find(">convolving<"));
  const double size = std::stod(small.substr(at + before.size()));
  CHECK(size > 4);
  CHECK(size < 9);
  CHECK(count(to_svg(chart, 720), before) == 1);  // there it fits: the chart's own alone
}

TEST_CASE("the numbers of a row of columns have as many decimals each", "[report]") {
  Chart chart;
  chart.x.categories = {"a", "b", "c"};
  for (const auto& [at, mean] : {std::pair{0, 83.5}, {1, 85.481}, {2, -3.0}})
    chart.series.push_back({.name = "s", .line = {{static_cast<double>(at), mean}}});
  const std::string svg = to_svg(chart, 720);
  for (const char* number : {">83.50<", ">85.48<", ">−3.00<"}) CHECK(count(svg, number) == 1);
}

// Where the text of a chart's mark starts, and its baseline.
std::pair<double, double> mark_text(const std::string& svg) {
  const std::string before = "<text class=\"marktext\" x=\"";
  const size_t at = svg.find(before);
  REQUIRE(at != std::string::npos);
  std::istringstream in(svg.substr(at + before.size()));
  double x = 0, y = 0;
  in >> x;
  in.ignore(5);  // " y="
  in >> y;
  return {x, y};
}

TEST_CASE("a mark's text stands where it hides nothing", "[report]") {
  Chart chart;
  chart.x.lo = chart.y.lo = 0;
  chart.x.hi = chart.y.hi = 10;
  chart.series = {{.name = "a", .line = {{0, 0}, {10, 0}}}};
  chart.marks = {{5, "a threshold"}};
  const auto [free_x, free_y] = mark_text(to_svg(chart, 352));
  // Above the line at the left, unless dots stand there: then further right, or below.
  chart.series[0].dots = {{0.5, 5.3}, {1.5, 5.3}};
  const auto [right_x, right_y] = mark_text(to_svg(chart, 352));
  CHECK(right_x > free_x + 40);
  CHECK(right_y == free_y);
  for (double x = 0; x <= 10; x += 0.5) chart.series[0].dots.push_back({x, 5.3});
  const auto [below_x, below_y] = mark_text(to_svg(chart, 352));
  CHECK(below_x == free_x);
  CHECK(below_y > free_y + 12);
  // At the upper end of the data the axis leaves room above.
  Chart high;
  high.series = {{.name = "a", .line = {{0, 0}, {1, 1}}}};
  high.marks = {{1, "the best"}};
  const std::string svg = to_svg(high, 352);
  const size_t line = svg.find("class=\"mark\" d=\"M");
  std::istringstream in(svg.substr(svg.find(' ', line + 17)));
  double y = 0;
  in >> y;
  CHECK(mark_text(svg).second < y);
}

TEST_CASE("the page of one's own images names them", "[report]") {
  Report r = synthetic_report();
  CHECK(to_html(r).find("The images of this run") == std::string::npos);
  r.images = "the images of <mine>";
  for (int part : {1, 2}) {
    r.part = part;
    CHECK(to_html(r).find("The images of this run: the images of &lt;mine&gt;.") !=
          std::string::npos);
  }
}

TEST_CASE("charts place dead runs in their strip and exact zeros as zeros", "[report]") {
  const Report r = synthetic_report();
  const std::string svg = to_svg(r.claims[1].charts[0], 720);
  CHECK(count(svg, "class=\"cross\"") == 15);  // none: 3 rates, scaled: 2, three seeds each
  CHECK(svg.find(">died<") != std::string::npos);
  CHECK(count(to_svg(r.claims[3].maps[0]), "exactly 0") == 240);
  Heatmap map = r.claims[3].maps[0];
  map.look = Look::orange;  // a norm's map has the norm's colour
  CHECK(count(to_svg(map), "class=\"heat s-orange\"") == 1);
  CHECK(short_number(-0.25) == "−0.25");
  CHECK(short_number(2e9) == "2.0e9");
  CHECK(short_number(1e4) == "10000");
  CHECK(short_number(9999.7) == "10000");
  CHECK(short_number(12345.6) == "12346");
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
