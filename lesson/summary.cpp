// "When to use which" and the interview questions, filled from the answers of one run: every
// sentence with a conclusion in it is chosen by a verdict, every number is this run's.
#include <loupe/lesson/lab.h>
#include <loupe/lesson/lesson.h>

namespace loupe::lesson {
namespace {

// The lines of the run; those of the lesson that it did not measure say so.
Facts facts_of(const std::vector<ClaimResult>& claims) {
  Facts facts;
  for (const std::string& id : claim_ids())
    for (const auto& [line, text] : Story::of(id).lines) facts.unmeasured(line);
  for (const ClaimResult& c : claims)
    for (const Line& l : c.lines) facts.line(l);
  return facts;
}

Verdict together(const std::vector<std::string>& ids, const Facts& facts) {
  std::vector<Verdict> parts;
  for (const std::string& id : ids)
    if (const Line* line = facts.find(id)) parts.push_back(line->verdict);
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

std::vector<std::string> decisions(const std::vector<ClaimResult>& claims) {
  const Facts facts = facts_of(claims);
  std::vector<std::string> all;
  for (const Section& s : embedded_sections("lesson/which.txt")) {
    if (!facts.find(s.head)) continue;
    const std::string text = fill(s.paragraphs[0], facts);
    if (!text.empty()) all.push_back(text);
  }
  return all;
}

std::vector<Answer> interview(const std::vector<ClaimResult>& claims) {
  const Facts facts = facts_of(claims);
  std::vector<Answer> all;
  for (const Section& s : embedded_sections("lesson/interview.txt"))
    all.push_back({s.head, fill(s.paragraphs[0], facts)});
  return all;
}

}  // namespace loupe::lesson
