// The stories: the grammar of their placeholders, and that every text fits the claims: every
// placeholder is known, every number has its words, no choice is left open.
#include <loupe/core/error.h>
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "catch.h"

using namespace loupe;
using namespace loupe::lesson;

namespace {

// Of both parts.
std::vector<std::string> all_claims() {
  auto ids = claim_ids(1);
  for (const std::string& id : claim_ids(2)) ids.push_back(id);
  return ids;
}

Line line_with(const std::string& id, Verdict verdict) {
  Line l = exact(fact(id, {}, Holds::at_most, 2, "points"), 1.5);
  l.kind = Kind::statistical;
  l.effect = {1.5, 1.0, 2.0, 3};
  l.verdict = verdict;
  return l;
}

Facts facts_with(Verdict verdict) {
  Facts f;
  f.text("rate", "0.1");
  f.flag("full", false);
  f.line(line_with("C0a", verdict));
  return f;
}

// Data without images, with as many texts as asked for: enough to know what a claim asks.
std::shared_ptr<const Data> empty_data(size_t texts) {
  auto data = std::make_shared<Data>();
  for (size_t i = 0; i < texts; ++i)
    data->texts.push_back({fmt::format("text {}", i + 1), "hash", {}, 65});
  return data;
}

// What claims say of themselves under a profile, nothing run.
struct Asked {
  std::vector<Question> questions;
  bool full;
};
Asked asked_by(const std::string& id, const std::string& profile, size_t texts = 1) {
  Scheduler scheduler({.workers = 1});
  Lab lab(id,
          {.profile = Profile::named(profile), .data = empty_data(texts), .scheduler = &scheduler});
  return {make_claim(id, lab)->questions(), profile == "full"};
}

}  // namespace

TEST_CASE("placeholders: numbers, choices by verdict and by flag, inner ones", "[story]") {
  const auto with = [](Verdict v, const char* text) { return fill(text, facts_with(v)); };
  using enum Verdict;
  CHECK(with(reproduced, "at {rate}: {C0a}") == "at 0.1: +1.50 [+1.00, +2.00] points");
  CHECK(with(reproduced, "{C0a.mean} {C0a.minus} {C0a.size} {C0a.factor}") == "+1.5 -1.5 1.5 2.8");
  CHECK(with(reproduced, "{C0a.word}") == "REPRODUCED");
  const char* choice = "It {C0a yes: wins | same: draws | no: loses by {C0a.size} | open: waits}.";
  CHECK(with(reproduced, choice) == "It wins.");
  CHECK(with(no_difference, choice) == "It draws.");
  CHECK(with(contradicted, choice) == "It loses by 1.5.");
  CHECK(with(inconclusive, choice) == "It waits.");
  CHECK(with(small, choice) == "It wins (perhaps little).");
  CHECK(with(small_opposite, choice) == "It loses by 1.5 (perhaps little).");
  CHECK(with(small, "{C0a yes: y | small: s | open: o}") == "s");
  CHECK(with(small, "{C0a open: o}").empty());
  CHECK(with(reproduced, "a {full yes: b | no: c} d {full yes: e}.") == "a c d.");
  CHECK(with(reproduced, "{C0a yes: {full no: {rate}}}") == "0.1");
  Facts f;
  f.unmeasured("C0b");
  CHECK(fill("{C0b}, {C0b yes: y | open: n}", f) == "not measured in this run, n");
  f.line(line_with("C0b", Verdict::reproduced));  // measured after all
  CHECK(fill("{C0b yes: y | open: n}", f) == "y");
}

TEST_CASE("a text with a mistake in it is refused", "[story]") {
  const Facts f = facts_with(Verdict::reproduced);
  CHECK_THROWS_WITH(fill("{nothing}", f), Catch::Matchers::Contains("nothing"));
  CHECK_THROWS_AS(fill("{C0a.colour}", f), ValueError);
  CHECK_THROWS_AS(fill("{C0a maybe: x}", f), ValueError);
  CHECK_THROWS_AS(fill("{C0a yes: x", f), ValueError);
  CHECK_THROWS_AS(fill("{C9 yes: x}", f), ValueError);
  CHECK_THROWS_AS(parse_sections("words\n== a\nb\n", "x"), ValueError);
  CHECK_THROWS_AS(parse_sections("== a\n== b\nc\n", "x"), ValueError);
  CHECK_THROWS_AS(parse_sections("== a\nb\n== a\nc\n", "x"), ValueError);
  const auto s = parse_sections("== a\none\ntwo\n\nthree\n", "x");
  REQUIRE(s.size() == 1);
  CHECK(s[0].paragraphs == std::vector<std::string>{"one two", "three"});
}

TEST_CASE("every line has its words and every word its line", "[story]") {
  for (const std::string& id : all_claims()) {
    CAPTURE(id);
    const Story story = Story::of(id);
    CHECK_FALSE(story.title.empty());
    CHECK_FALSE(story.says.empty());
    CHECK_FALSE(story.meaning.empty());
    CHECK_FALSE(story.trap.empty());
    CHECK_FALSE(story.papers.empty());
    CHECK(story.experiment.size() == 3);
    std::set<std::string> asked, told;
    for (const char* profile : {"tiny", "quick", "full"})
      for (const Question& q : asked_by(id, profile).questions) asked.insert(q.id);
    for (const auto& [line, text] : story.lines) told.insert(line);
    CHECK(asked == told);
    // One line decides; what limits it has its condition.
    for (const char* profile : {"tiny", "quick", "full"}) {
      const auto questions = asked_by(id, profile).questions;
      CHECK(std::ranges::count(questions, Role::primary, &Question::role) == 1);
      for (const Question& q : questions)
        if (q.role == Role::limits && q.kind == Kind::statistical && id != "C10")
          CHECK(story.condition.find("{" + q.id) != std::string::npos);
    }
    // A second text asks again, by the same words.
    for (const Question& q : asked_by(id, "full", 2).questions)
      CHECK(told.contains(q.id.substr(0, q.id.find('-'))));
  }
}

TEST_CASE("seeds are added to the arms of a line until it is settled", "[story]") {
  Scheduler scheduler({.workers = 1});
  Profile profile;
  profile.looks = {2, 3, 12};
  Lab lab("C0", {.profile = profile, .scheduler = &scheduler});
  const auto arm = [](const std::string& name, const std::vector<double>& scores) {
    Measured m{name};
    for (double score : scores) {
      Record r;
      r.config = {{"net", name}};
      r.metrics["accuracy"] = score;
      m.runs.push_back(r);
    }
    return m;
  };
  const Measured a = arm("a", {.8, .9, .7}), b = arm("b", {.8, .7});
  const Question asked = points("C0a", of(a, "accuracy"), of(b, "accuracy"));
  CHECK(asked.seeds() == 2);  // what both have
  CHECK_FALSE(settled(answer(asked)));
  CHECK(lab.seeds({{"net", "b"}}).size() == 2);
  CHECK(lab.look_again(asked));
  CHECK(lab.seeds({{"net", "a"}}).size() == 3);
  CHECK(lab.seeds({{"net", "b"}}) == std::vector<uint64_t>{1, 2, 3});
  CHECK(lab.seeds({{"net", "c"}}).size() == 2);
  // A line that explains gets 8 seeds at most; one that decides goes on to the last look.
  const Measured more = arm("b", {.8, .7, .75});
  const Question again = points("C0a", of(a, "accuracy"), of(more, "accuracy"));
  CHECK_FALSE(lab.look_again(again));
  CHECK(lab.look_again(primary(again)));
  CHECK(lab.seeds({{"net", "b"}}).size() == 12);
}

TEST_CASE("a line is settled by its word, and a primary one by its level too", "[story]") {
  Line l{.id = "C0", .text = "t"};
  l.margin = 1;
  l.effect = {2, 1.5, 2.5, 4};
  l.verdict = Verdict::reproduced;
  l.p = 0.02;
  CHECK(settled(l));
  l.role = Role::primary;
  CHECK_FALSE(settled(l));  // not beside eleven others
  l.p = 0.004;
  CHECK(settled(l));
  l.verdict = Verdict::small;
  l.effect = {1, 0.2, 1.8, 4};
  CHECK_FALSE(settled(l));  // it may be larger than the margin
  l.effect = {0.5, 0.2, 0.8, 4};
  CHECK(settled(l));
  l.verdict = Verdict::inconclusive;
  CHECK_FALSE(settled(l));
  l.kind = Kind::exact;
  CHECK(settled(l));
}

TEST_CASE("every placeholder is a line of the claim or a name that it says", "[story]") {
  for (const std::string& id : all_claims()) {
    const Story story = Story::of(id);
    std::map<std::string, Kind> kinds;
    for (const Question& q : asked_by(id, "full").questions) kinds[q.id] = q.kind;
    std::set<std::string> names{"full", "images"};
    for (const std::string& text : story.texts())
      for (const Placeholder& p : placeholders(text)) {
        CAPTURE(id, p.name);
        if (!kinds.contains(p.name)) {
          names.insert(p.name);  // said by the claim: the tiny lesson fills every text
          continue;
        }
        // A choice that has an opinion has a word for "not decided" too.
        if (p.labels.size() < 2) continue;
        if (kinds[p.name] == Kind::exact) CHECK(p.labels == std::set<std::string>{"yes", "no"});
        else CHECK(p.labels.contains("open"));
      }
    CHECK(names.size() < 12);
  }
}

TEST_CASE("the summaries speak of lines that exist", "[story]") {
  std::set<std::string> lines;
  for (const std::string& id : all_claims())
    for (const auto& [line, text] : Story::of(id).lines) lines.insert(line);
  for (const char* file :
       {"lesson/which.txt", "lesson/interview.txt", "lesson/table.txt", "lesson/surprises.txt"})
    for (const Section& s : embedded_sections(file))
      for (const std::string& text : s.paragraphs)
        for (const Placeholder& p : placeholders(text)) {
          CAPTURE(file, s.head, p.name);
          CHECK(lines.contains(p.name));
        }
  for (const Section& s : embedded_sections("lesson/which.txt")) REQUIRE(s.paragraphs.size() == 3);
}

namespace {
// A claim's facts where every line has one verdict.
Facts all_with(Verdict v) {
  Facts f;
  f.flag("full", false);
  for (const char* own : {"saved", "factor"}) f.text(own, "12");  // what claims of part II say
  for (const std::string& other : all_claims())
    for (const auto& [line, text] : Story::of(other).lines) {
      Line l = line_with(line, v);
      const bool exact_word = v == Verdict::reproduced || v == Verdict::contradicted;
      for (const Question& q : asked_by(other, "full").questions)
        if (q.id == line && q.kind == Kind::exact) {
          l.kind = Kind::exact;
          if (!exact_word) l.verdict = Verdict::contradicted;
        }
      f.line(l);
    }
  return f;
}
size_t words_in(const std::string& text) {
  std::istringstream in(text);
  size_t n = 0;
  for (std::string word; in >> word;) ++n;
  return n;
}
}  // namespace

TEST_CASE("every claim has its guesses, an answer of 25 words, a finding, a number and two bars",
          "[story]") {
  using enum Verdict;
  for (Verdict v : {reproduced, no_difference, contradicted, small, small_opposite, inconclusive}) {
    const Facts facts = all_with(v);
    for (const std::string& id : all_claims()) {
      const Story story = Story::of(id);
      CAPTURE(id, name(v));
      CHECK(story.guesses.size() == 3);
      REQUIRE(story.number.size() == 3);
      CHECK(story.bars.size() == (id == "P9" || id == "P10" ? 1 : 2));
      CHECK(facts.find(story.number[0]));
      const std::string answer = fill(story.answer, facts), finding = fill(story.finding, facts);
      INFO(answer);
      CHECK(words_in(answer) <= 25);
      CHECK(answer.ends_with("."));
      CHECK(answer.find("  ") == std::string::npos);
      CHECK(words_in(finding) >= 3);
      for (const auto& bar : story.bars) {
        CHECK(facts.find(bar[0]));
        CHECK(bar[1].size() > 5);
      }
    }
    for (const Answer& a : interview({})) CHECK(words_in(a.answer) <= 70);
  }
}

TEST_CASE("what a run does not decide is taken from the shipped one, and marked", "[story]") {
  const char* mark = "(From the shipped run: this one does not decide it.)";
  const auto none = decisions({});
  REQUIRE(none.size() == 6);
  for (const Decision& d : none) CHECK(d.yes.find(mark) != std::string::npos);
  CHECK(none[2].yes.find("points over no norm") != std::string::npos);
  // C6a and C6b of its own: those numbers, and no mark.
  ClaimResult c6{.id = "C6", .title = "t"};
  for (const char* id : {"C6a", "C6b"}) c6.lines.push_back(line_with(id, Verdict::reproduced));
  const auto own = decisions({c6});
  CHECK(own[2].yes == "BatchNorm: 1.50 points over no norm, 1.50 over LayerNorm.");
  CHECK(own[1].yes.find(mark) != std::string::npos);
}

TEST_CASE("learning rates come from the table where it knows the configuration", "[story]") {
  RateTable table("0.03 net=F1;norm=batch\n");
  const Config known{{"net", "F1"}, {"norm", "batch"}, {"lr", "9"}, {"role", "tuning"}};
  CHECK(table.find(known) == 0.03);
  Config other = known;
  other["data"] = "one's own images";
  CHECK_FALSE(table.find(other));
  table.add(other, 0.5);
  CHECK(RateTable(table.text()).find(other) == 0.5);
  CHECK_THROWS_AS(RateTable("no rate"), ValueError);
  CHECK(RateTable::committed().text().size() > 1000);
}

TEST_CASE("the texts are in the program as they stand in the tree", "[story]") {
  const std::filesystem::path root = LOUPE_SOURCE_ROOT;
  int texts = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root / "lesson")) {
    const std::string name = entry.path().filename().string();
    const std::string extension = entry.path().extension().string();
    if (extension != ".txt" && extension != ".css") continue;
    std::ifstream in(entry.path());
    std::stringstream text;
    text << in.rdbuf();
    CAPTURE(name);
    CHECK(embedded("lesson/" + name) == text.str());
    ++texts;
  }
  CHECK(texts >= 18);
  CHECK(embedded("lesson/nothing.txt").empty());
  CHECK_FALSE(view::embedded("view/page.css").empty());
}
