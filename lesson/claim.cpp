#include <loupe/core/error.h>
#include <loupe/lesson/lab.h>

#include <iterator>
#include <map>
#include <span>

namespace loupe::lesson {
namespace {

struct Entry {
  const char* id;
  std::unique_ptr<Claim> (*make)(Lab&);
};
constexpr Entry kClaims[] = {{"C1", claim1}, {"C2", claim2},   {"C3", claim3},   {"C4", claim4},
                             {"C5", claim5}, {"C6", claim6},   {"C7", claim7},   {"C8", claim8},
                             {"C9", claim9}, {"C10", claim10}, {"C11", claim11}, {"C12", claim12}};
constexpr Entry kRivals[] = {{"P1", rival1},   {"P2", rival2},   {"P3", rival3},   {"P4", rival4},
                             {"P5", rival5},   {"P6", rival6},   {"P7", rival7},   {"P8", rival8},
                             {"P9", rival9},   {"P10", rival10}, {"P11", rival11}, {"P12", rival12},
                             {"P13", rival13}, {"P14", rival14}, {"P15", rival15}, {"P16", rival16},
                             {"P17", rival17}, {"P18", rival18}, {"P19", rival19}, {"P20", rival20},
                             {"P21", rival21}};

std::span<const Entry> entries(int part) {
  if (part == 1) return kClaims;
  if (part == 2) return kRivals;
  fail<ValueError>("lesson: no part {}; there are 1 and 2", part);
}

// Where a claim's code stands: part II has several in a file.
std::string code_of(const std::string& id) {
  if (id[0] == 'C') return "lesson/c" + id.substr(1) + ".cpp";
  const std::map<std::string, std::string> files{
      {"P2", "trained"},      {"P8", "trained"},      {"P9", "trained"},      {"P10", "trained"},
      {"P11", "transformer"}, {"P12", "transformer"}, {"P13", "images"},      {"P14", "images"},
      {"P15", "images"},      {"P16", "transformer"}, {"P17", "transformer"}, {"P18", "images"},
      {"P19", "trained"},     {"P20", "trained"},     {"P21", "images"}};
  const auto file = files.find(id);
  return fmt::format("lesson/p_{}.cpp", file == files.end() ? "exact" : file->second);
}

// "C8a-2" asks C8a of the second text: what it compares stands under C8a.
size_t text_of(const std::string& id) {
  const size_t dash = id.find('-');
  return dash == std::string::npos ? 0 : static_cast<size_t>(std::stoi(id.substr(dash + 1)) - 1);
}

// The name of the line's text, where that is not the first; empty otherwise.
std::string text_named(const Line& line, const Facts& facts) {
  const size_t text = text_of(line.id);
  return text ? facts.value(fmt::format("text {}", text)) : "";
}

void tell(Line& line, const Story& story, const Facts& facts) {
  const auto told = story.lines.find(line.id.substr(0, line.id.find('-')));
  if (told == story.lines.end())
    fail<ValueError>("lesson: the story of {} says nothing of {}", story.id, line.id);
  line.text = fill(told->second.at(0), facts);
  if (const std::string text = text_named(line, facts); !text.empty())
    line.text = text + ": " + line.text;
  else if (told->second.size() > 1) line.meaning = fill(told->second[1], facts);
}

// The claim's own names in a bar's words, whose lines may be another claim's and are filled in later.
std::string with_own(std::string text, const Facts& facts) {
  for (const std::string& name : facts.names()) {
    const std::string own = "{" + name + "}";
    for (size_t at; (at = text.find(own)) != std::string::npos;)
      text.replace(at, own.size(), facts.value(name));
  }
  return text;
}

// A number that the claim says and no text tells is a mistake.
void check_told(const Story& story, const Facts& facts) {
  std::set<std::string> told{"full", "images"};
  for (const std::string& text : story.texts())
    for (const Placeholder& p : placeholders(text)) told.insert(p.name);
  for (const std::string& name : facts.names())
    if (!told.contains(name))
      fail<ValueError>("lesson: {} says {{{}}}, which its story does not tell", story.id, name);
}

// As it stands beside the claim's own lines.
Question in_place(Question q, const Lab& lab) {
  q.id += "@" + lab.own_place();
  q.role = Role::explains;
  return q;
}

}  // namespace

std::vector<std::string> claim_ids(int part) {
  std::vector<std::string> ids;
  for (const Entry& e : entries(part)) ids.push_back(e.id);
  return ids;
}

std::unique_ptr<Claim> make_claim(const std::string& id, Lab& lab) {
  for (int part : {1, 2})
    for (const Entry& e : entries(part))
      if (id == e.id) return e.make(lab);
  fail<ValueError>("lesson: no claim '{}'; there are C1 to C{} and P1 to P{}", id,
                   std::size(kClaims), std::size(kRivals));
}

ClaimResult result_of(const std::string& id, Lab& lab) {
  const auto claim = make_claim(id, lab);
  const auto asked = [&] {
    auto all = claim->questions();
    for (Question& q : all) q.looks = static_cast<int>(lab.profile().looks.size());
    return all;
  };
  const auto claims = static_cast<int>(claim_ids(id[0] == 'P' ? 2 : 1).size());
  for (bool more = true; more;) {
    claim->run(lab);
    more = false;
    for (const Question& q : asked())
      if (!settled(answer(q), claims) && lab.look_again(q)) more = true;
  }

  ClaimResult r{.id = id, .title = ""};
  r.facts.flag("full", lab.profile().full());
  r.facts.text("images", lab.data()->images_title);
  claim->facts(r.facts);
  check_told(Story::of(id), r.facts);
  for (size_t i = 1; i < lab.data()->texts.size(); ++i)
    r.facts.text(fmt::format("text {}", i), lab.data()->texts[i].name);
  for (const Question& q : asked()) {
    r.lines.push_back(answer(q));
    r.lines.back().own = lab.asks_own(q);
    r.asked.push_back(to_json(r.lines.back().own ? in_place(q, lab) : q, id));
  }
  r.code = code_of(id);
  r.charts = claim->charts();
  r.maps = claim->maps();
  r.tables = claim->tables();
  tell(r);
  return r;
}

void tell(ClaimResult& r) {
  const Story story = Story::of(r.id);
  Facts facts = r.facts;
  for (const Line& line : r.lines) facts.line(line);
  for (Line& line : r.lines) tell(line, story, facts);
  r.title = story.title;
  r.says = story.says;
  r.experiment.clear();
  for (const std::string& text : story.experiment) r.experiment.push_back(fill(text, facts));
  r.meaning = fill(story.meaning, facts);
  r.condition = fill(story.condition, facts);
  r.guesses = story.guesses;
  r.answer = fill(story.answer, facts);
  r.finding = fill(story.finding, facts);
  r.number = {story.number[0], fill(story.number[1], facts), fill(story.number[2], facts)};
  // Filled once all claims are answered.
  const auto bar = [&](size_t i, const char* name) {
    if (i >= story.bars.size()) return Bar{};
    const auto& parts = story.bars[i];
    return Bar{parts[0], with_own(parts[1], facts), parts.size() > 2 ? parts[2] : name};
  };
  r.batch = bar(0, "BatchNorm");
  r.layer = bar(1, "LayerNorm");
  r.trap = fill(story.trap, facts);
  r.papers = story.papers;
  r.live = story.live;
  if (!r.charts.empty()) r.charts[0].title = r.finding;
}

}  // namespace loupe::lesson
