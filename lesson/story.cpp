#include <loupe/core/error.h>
#include <loupe/lesson/report.h>
#include <loupe/lesson/story.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace loupe::lesson {
namespace {

const std::set<std::string> kLabels{"yes", "small", "same", "less", "no", "open"};

std::string trimmed(std::string_view s) {
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.front()))) s.remove_prefix(1);
  while (!s.empty() && std::isspace(static_cast<unsigned char>(s.back()))) s.remove_suffix(1);
  return std::string(s);
}

// Of a choice that left nothing behind: two spaces, or one in front of a full stop.
std::string tidy(const std::string& s) {
  std::string out;
  for (char c : s) {
    const bool after_space = !out.empty() && out.back() == ' ';
    if (c == ' ' && (out.empty() || after_space)) continue;
    if (after_space && (c == '.' || c == ',' || c == ';')) out.pop_back();
    out += c;
  }
  return trimmed(out);
}

// A placeholder taken apart: its name, and its choices if it has some.
struct Parsed {
  std::string name;
  std::vector<std::pair<std::string, std::string_view>> choices{};
};

// Where the placeholder that opens at `open` closes.
size_t closing(std::string_view text, size_t open) {
  int depth = 0;
  for (size_t i = open; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i;
  }
  fail<ValueError>("story: a brace is not closed in \"{}\"", text.substr(open, 60));
}

// The parts between bars that stand in no inner braces.
std::vector<std::string_view> alternatives(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}') --depth;
    if (text[i] != '|' || depth > 0) continue;
    parts.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  parts.push_back(text.substr(begin));
  return parts;
}

Parsed parse(std::string_view inside) {
  const size_t space = inside.find(' ');
  Parsed p{.name = std::string(inside.substr(0, space))};
  if (space == std::string_view::npos) return p;
  for (std::string_view part : alternatives(inside.substr(space + 1))) {
    const size_t colon = part.find(':');
    const std::string label = trimmed(part.substr(0, colon));
    if (colon == std::string_view::npos || !kLabels.contains(label))
      fail<ValueError>(
          "story: \"{}\" in {{{}}} starts with no label; there are yes, small, same, less, no, "
          "open",
          part, inside);
    p.choices.emplace_back(label, part.substr(colon + 1));
  }
  return p;
}

// "C5a" of "C5a.mean".
std::string base(const std::string& name) { return name.substr(0, name.find('.')); }

std::string value_of(const Line& l, const std::string& part) {
  if (part.empty()) return number_text(l);
  if (part == "word") return name(l.verdict);
  if (part == "found") return number_text(l) + ", " + name(l.verdict);
  if (part == "mean") return fmt::format("{:+.1f}", l.effect.mean);
  if (part == "minus") return fmt::format("{:+.1f}", -l.effect.mean);
  if (part == "size") return fmt::format("{:.1f}", std::abs(l.effect.mean));
  if (part == "amount") return amount_text(l);
  if (part == "signed") return signed_text(l);
  if (part == "times") return times_text(l);
  if (part == "factor") return fmt::format("{:.1f}", std::exp2(l.effect.mean));
  fail<ValueError>(
      "story: {}.{}: a line has mean, minus, size, factor, amount, signed, times, word and found",
      l.id, part);
}

std::string expand(std::string_view text, const Facts& facts);

std::string chosen(const Parsed& p, const Facts& facts) {
  std::string label = facts.label(p.name), suffix;
  const auto has = [&p](const std::string& l) {
    return std::ranges::any_of(p.choices, [&l](const auto& c) { return c.first == l; });
  };
  if ((label == "small" || label == "less") && !has(label)) {
    label = label == "small" ? "yes" : "no";
    suffix = has(label) ? " (perhaps little)" : "";
  }
  for (const auto& [when, then] : p.choices)
    if (when == label) return trimmed(expand(then, facts)) + suffix;
  return "";
}

std::string expand(std::string_view text, const Facts& facts) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{') {
      out += text[i];
      continue;
    }
    const size_t close = closing(text, i);
    const Parsed p = parse(text.substr(i + 1, close - i - 1));
    i = close;
    if (p.choices.empty()) {
      out += facts.value(p.name);
      continue;
    }
    out += chosen(p, facts);
  }
  return out;
}

void collect(std::string_view text, std::vector<Placeholder>& all) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '{') continue;
    const size_t close = closing(text, i);
    const Parsed p = parse(text.substr(i + 1, close - i - 1));
    all.push_back({base(p.name)});
    for (const auto& [label, then] : p.choices) {
      all.back().labels.insert(label);
      // `all` may move while the inner ones are added.
      std::vector<Placeholder> inner;
      collect(then, inner);
      const size_t at = all.size() - 1;
      all.insert(all.begin() + static_cast<std::ptrdiff_t>(at), inner.begin(), inner.end());
    }
    i = close;
  }
}

}  // namespace

namespace {

// The parts of "a :: b :: c".
std::vector<std::string> parts_of(const std::string& text, std::set<size_t> wanted,
                                  const std::string& file) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(" :: ", at), text.size());
    parts.push_back(trimmed(text.substr(at, end - at)));
    at = end + 4;
  }
  if (!wanted.contains(parts.size()))
    fail<ValueError>("{}: \"{}\" has {} parts, wanted {} or more", file, text, parts.size(),
                     *wanted.begin());
  return parts;
}

}  // namespace

std::vector<Section> parse_sections(std::string_view text, const std::string& name) {
  std::vector<Section> sections;
  std::set<std::string> heads;
  bool paragraph = false;  // one is open
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = trimmed(text.substr(at, end - at));
    at = end + 1;
    if (line.starts_with("== ")) {
      sections.push_back({line.substr(3)});
      if (!heads.insert(sections.back().head).second)
        fail<ValueError>("{}: the section \"{}\" is there twice", name, line.substr(3));
      paragraph = false;
    } else if (line.empty()) {
      paragraph = false;
    } else if (sections.empty()) {
      fail<ValueError>("{}: \"{}\" stands before the first section", name, line);
    } else if (paragraph) {
      sections.back().paragraphs.back() += " " + line;
    } else {
      sections.back().paragraphs.push_back(line);
      paragraph = true;
    }
  }
  for (const Section& s : sections)
    if (s.paragraphs.empty()) fail<ValueError>("{}: the section \"{}\" is empty", name, s.head);
  return sections;
}

std::vector<Section> embedded_sections(const std::string& file) {
  const std::string_view text = embedded(file);
  if (text.empty()) fail<ValueError>("lesson: no text {} in this program", file);
  return parse_sections(text, file);
}

const Line* Facts::find(const std::string& id) const {
  const auto it = lines_.find(id);
  return it == lines_.end() ? nullptr : &it->second;
}

std::string Facts::value(const std::string& name) const {
  if (const auto it = texts_.find(name); it != texts_.end()) return it->second;
  const std::string id = base(name);
  if (const Line* line = find(id))
    return value_of(*line, name.size() > id.size() ? name.substr(id.size() + 1) : "");
  if (missing_.contains(id)) return "not measured in this run";
  fail<ValueError>("story: nothing is called {{{}}}", name);
}

std::string Facts::label(const std::string& name) const {
  if (const auto it = flags_.find(name); it != flags_.end()) return it->second ? "yes" : "no";
  if (missing_.contains(name)) return "open";
  const Line* line = find(name);
  if (!line) fail<ValueError>("story: no choice by {{{}}}", name);
  switch (line->word()) {
    case Verdict::reproduced: return "yes";
    case Verdict::no_difference: return "same";
    case Verdict::contradicted: return "no";
    case Verdict::small: return "small";
    case Verdict::small_opposite: return "less";
    default: return "open";
  }
}

std::set<std::string> Facts::names() const {
  std::set<std::string> all;
  for (const auto& [name, value] : texts_) all.insert(name);
  for (const auto& [name, on] : flags_) all.insert(name);
  return all;
}

std::string fill(std::string_view text, const Facts& facts) { return tidy(expand(text, facts)); }

std::vector<Placeholder> placeholders(std::string_view text) {
  std::vector<Placeholder> all;
  collect(text, all);
  return all;
}

Story Story::of(const std::string& id) {
  std::string file = "lesson/" + id + ".txt";
  file[7] = static_cast<char>(std::tolower(static_cast<unsigned char>(file[7])));
  Story s;
  s.id = id;
  for (const Section& section : embedded_sections(file)) {
    const std::string& first = section.paragraphs[0];
    if (section.head == "title") s.title = first;
    else if (section.head == "says") s.says = first;
    else if (section.head == "condition") s.condition = first;
    else if (section.head == "meaning") s.meaning = first;
    else if (section.head == "trap") s.trap = first;
    else if (section.head == "live") s.live = first;
    else if (section.head == "answer") s.answer = first;
    else if (section.head == "finding") s.finding = first;
    else if (section.head == "guess") s.guesses = section.paragraphs;
    else if (section.head == "number") s.number = parts_of(first, {3}, file);
    else if (section.head == "bars")
      for (const std::string& p : section.paragraphs) s.bars.push_back(parts_of(p, {2, 3}, file));
    else if (section.head == "experiment") s.experiment = section.paragraphs;
    else if (section.head == "papers")
      for (const std::string& p : section.paragraphs)
        s.papers.push_back({trimmed(p.substr(0, p.rfind(' '))), p.substr(p.rfind(' ') + 1)});
    else s.lines[section.head] = section.paragraphs;
  }
  return s;
}

std::vector<std::string> Story::texts() const {
  std::vector<std::string> all{meaning, trap, condition, answer, finding};
  all.insert(all.end(), number.begin() + 1, number.end());
  all.insert(all.end(), experiment.begin(), experiment.end());
  for (const auto& [line, paragraphs] : lines)
    all.insert(all.end(), paragraphs.begin(), paragraphs.end());
  return all;
}

}  // namespace loupe::lesson
