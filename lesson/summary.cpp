// "When to use which" and the interview questions, filled from the answers of one run: every
// sentence with a conclusion in it is chosen by a verdict, every number is this run's.
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>

#include <cmath>
#include <sstream>

namespace loupe::lesson {
namespace {

// The lines of docs/lesson.html's run, for where a run has no word of its own.
std::map<std::string, Line> shipped_lines() {
  std::map<std::string, Line> all;
  std::istringstream in{std::string(embedded("lesson/shipped.txt"))};
  for (std::string line; std::getline(in, line);) {
    const Line l = line_from_json(line, "lesson/shipped.txt");
    if (!l.id.empty()) all[l.id] = l;
  }
  return all;
}

Verdict together(const std::vector<std::string>& ids, const Facts& facts) {
  std::vector<Verdict> parts;
  for (const std::string& id : ids)
    if (const Line* line = facts.find(id)) parts.push_back(line->word());
  return combine(parts);
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> all;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    all.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return all;
}

std::string or_empty(const std::string& paragraph) { return paragraph == "-" ? "" : paragraph; }

}  // namespace

Facts facts_of(const std::vector<ClaimResult>& claims) {
  Facts facts;
  for (int part : {1, 2})
    for (const std::string& id : claim_ids(part))
      for (const auto& [line, text] : Story::of(id).lines) facts.unmeasured(line);
  for (const ClaimResult& c : claims)
    for (const Line& l : c.lines) facts.line(l);
  return facts;
}

std::vector<Advice> when_to_use(const std::vector<ClaimResult>& claims) {
  const Facts facts = facts_of(claims);
  std::vector<Advice> all;
  for (const Section& s : embedded_sections("lesson/table.txt")) {
    const std::string &batch = s.paragraphs.at(0), &layer = s.paragraphs.at(1),
                      &measured = s.paragraphs.at(2), &from = s.paragraphs.at(3);
    all.push_back({s.head, or_empty(batch), or_empty(layer), fill(measured, facts),
                   together(words(from), facts), from});
  }
  return all;
}

std::vector<Decision> decisions(const std::vector<ClaimResult>& claims) {
  static const std::map<std::string, Line> shipped = shipped_lines();
  std::vector<Decision> all;
  for (const Section& s : embedded_sections("lesson/which.txt")) {
    Facts facts = facts_of(claims);
    bool other = false;
    for (const std::string& id : words(s.paragraphs.at(0))) {
      const Line* here = facts.find(id);
      const auto there = shipped.find(id);
      if ((here && decided(here->word())) || there == shipped.end()) continue;
      facts.line(there->second);
      other = true;
    }
    all.push_back({s.head, fill(s.paragraphs.at(1), facts), fill(s.paragraphs.at(2), facts)});
    if (other) all.back().yes += " (From the shipped run: this one does not decide it.)";
  }
  return all;
}

std::vector<Answer> surprises(const std::vector<ClaimResult>& claims) {
  const Facts facts = facts_of(claims);
  std::vector<Answer> all;
  for (const Section& s : embedded_sections("lesson/surprises.txt")) {
    const std::string text = fill(s.paragraphs[0], facts);
    if (!text.empty()) all.push_back({s.head, text});
  }
  return all;
}

namespace {

// The length of the line's effect, to the left where it is opposite to what is expected.
PictureBar with_share(PictureBar b, const Line* line) {
  b.decided = line && decided(line->word());
  if (!b.decided) return b;
  const bool opposite =
      line->kind == Kind::statistical &&
      (line->verdict == Verdict::contradicted || line->verdict == Verdict::small_opposite);
  b.share = opposite ? -std::abs(line->effect.mean) : std::abs(line->effect.mean);
  if (!std::isfinite(b.share)) b.share = 0;
  return b;
}

PictureBar bar_of(const Bar& bar, const Facts& facts) {
  return with_share({.name = bar.name, .text = fill(bar.text, facts)}, facts.find(bar.line));
}

PictureBar own_bar_of(const ClaimResult& c) {
  const auto line = std::ranges::find(c.own, c.own_bar.line, &Line::id);
  return with_share({.name = c.own_bar.name, .text = c.own_text},
                    line == c.own.end() ? nullptr : &*line);
}

}  // namespace

std::vector<PictureRow> picture(const std::vector<ClaimResult>& claims) {
  const Facts facts = facts_of(claims);
  std::vector<PictureRow> rows;
  for (const ClaimResult& c : claims) {
    rows.push_back({c.id, c.title, c.verdict(), bar_of(c.batch, facts), bar_of(c.layer, facts)});
    PictureBar &batch = rows.back().batch, &layer = rows.back().layer, &own = rows.back().own;
    own = own_bar_of(c);
    double larger = 0;
    for (const PictureBar* bar : {&batch, &layer, &own})
      larger = std::max(larger, std::abs(bar->share));
    if (!(larger > 0)) continue;
    for (PictureBar* bar : {&batch, &layer, &own}) bar->share /= larger;
  }
  return rows;
}

std::vector<Answer> interview(const std::vector<ClaimResult>& claims) {
  const Facts facts = facts_of(claims);
  std::vector<Answer> all;
  for (const Section& s : embedded_sections("lesson/interview.txt"))
    all.push_back({s.head, fill(s.paragraphs[0], facts)});
  return all;
}

}  // namespace loupe::lesson
