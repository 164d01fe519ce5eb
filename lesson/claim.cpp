#include <loupe/core/error.h>
#include <loupe/lesson/lab.h>

#include <iterator>

namespace loupe::lesson {
namespace {

struct Entry {
  const char* id;
  std::unique_ptr<Claim> (*make)(Lab&);
};
constexpr Entry kClaims[] = {{"C1", claim1}, {"C2", claim2},   {"C3", claim3},   {"C4", claim4},
                             {"C5", claim5}, {"C6", claim6},   {"C7", claim7},   {"C8", claim8},
                             {"C9", claim9}, {"C10", claim10}, {"C11", claim11}, {"C12", claim12}};

// "C8a-2" asks C8a of the second text: what it compares stands under C8a.
size_t text_of(const std::string& id) {
  const size_t dash = id.find('-');
  return dash == std::string::npos ? 0 : static_cast<size_t>(std::stoi(id.substr(dash + 1)) - 1);
}

void tell(Line& line, const Story& story, const Facts& facts, const Lab& lab) {
  const auto told = story.lines.find(line.id.substr(0, line.id.find('-')));
  if (told == story.lines.end())
    fail<ValueError>("lesson: the story of {} says nothing of {}", story.id, line.id);
  line.text = fill(told->second.at(0), facts);
  if (const size_t text = text_of(line.id))
    line.text = lab.data()->texts[text].name + ": " + line.text;
  else if (told->second.size() > 1) line.meaning = fill(told->second[1], facts);
}

// A number that the claim says and no text tells is a mistake.
void check_told(const Story& story, const Facts& facts) {
  std::set<std::string> told{"full"};
  for (const std::string& text : story.texts())
    for (const Placeholder& p : placeholders(text)) told.insert(p.name);
  for (const std::string& name : facts.names())
    if (!told.contains(name))
      fail<ValueError>("lesson: {} says {{{}}}, which its story does not tell", story.id, name);
}

}  // namespace

std::vector<std::string> claim_ids() {
  std::vector<std::string> ids;
  for (const Entry& e : kClaims) ids.push_back(e.id);
  return ids;
}

std::unique_ptr<Claim> make_claim(const std::string& id, Lab& lab) {
  for (const Entry& e : kClaims)
    if (id == e.id) return e.make(lab);
  fail<ValueError>("lesson: no claim '{}'; there are C1 to C{}", id, std::size(kClaims));
}

ClaimResult result_of(const std::string& id, Lab& lab) {
  const Story story = Story::of(id);
  const auto claim = make_claim(id, lab);
  const auto asked = [&] {
    auto all = claim->questions();
    for (Question& q : all) q.looks = static_cast<int>(lab.profile().looks.size());
    return all;
  };
  for (bool more = true; more;) {
    claim->run(lab);
    more = false;
    for (const Question& q : asked())
      if (!settled(answer(q)) && lab.look_again(q)) more = true;
  }

  ClaimResult r{.id = id, .title = story.title, .says = story.says};
  Facts facts;
  facts.flag("full", lab.profile().full());
  claim->facts(facts);
  check_told(story, facts);
  for (const Question& q : asked()) {
    r.lines.push_back(answer(q));
    r.asked.push_back(to_json(q, id));
    facts.line(r.lines.back());
  }
  for (Line& line : r.lines) tell(line, story, facts, lab);
  for (const std::string& text : story.experiment) r.experiment.push_back(fill(text, facts));
  r.meaning = fill(story.meaning, facts);
  r.condition = fill(story.condition, facts);
  r.guesses = story.guesses;
  r.answer = fill(story.answer, facts);
  r.finding = fill(story.finding, facts);
  r.number = {story.number[0], fill(story.number[1], facts), fill(story.number[2], facts)};
  r.batch = {story.bars.at(0)[0], story.bars[0][1]};  // filled once all claims are answered
  r.layer = {story.bars.at(1)[0], story.bars[1][1]};
  r.trap = fill(story.trap, facts);
  r.papers = story.papers;
  r.code = "lesson/c" + id.substr(1) + ".cpp";
  r.charts = claim->charts();
  r.maps = claim->maps();
  if (!r.charts.empty()) r.charts[0].title = r.finding;
  r.tables = claim->tables();
  return r;
}

}  // namespace loupe::lesson
