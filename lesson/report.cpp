#include <loupe/io/json.h>
#include <loupe/lesson/report.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace loupe::lesson {
namespace {

// Decimals that show the width of the interval: two digits of it, at most four decimals.
int decimals(const Line& l) {
  const double width = std::isfinite(l.effect.hi - l.effect.lo) ? l.effect.hi - l.effect.lo
                                                                : std::abs(l.effect.mean);
  if (!(width > 0) || !std::isfinite(width)) return 1;
  return std::clamp(static_cast<int>(std::ceil(-std::log10(width / 2))) + 1, 1, 4);
}

// Characters of UTF-8, not bytes.
size_t columns_of(const std::string& s) {
  return static_cast<size_t>(std::ranges::count_if(s, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::vector<std::string> wrapped(const std::string& text, size_t width) {
  std::vector<std::string> lines{""};
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!lines.back().empty() && columns_of(lines.back()) + 1 + columns_of(word) > width)
      lines.push_back("");
    lines.back() += (lines.back().empty() ? "" : " ") + word;
    at = end + 1;
  }
  return lines;
}

std::string json_number(double v) { return std::isfinite(v) ? fmt::format("{}", v) : "null"; }

// Of an interval; null where there is none, or where an end is open.
std::string ends(const Line& l) {
  const bool none = !std::isfinite(l.effect.lo) && !std::isfinite(l.effect.hi);
  if (l.kind == Kind::exact || none) return "null";
  return fmt::format("[{},{}]", json_number(l.effect.lo), json_number(l.effect.hi));
}

int count(const Report& r, bool intervals_only) {
  int n = 0;
  for (const auto& c : r.claims)
    for (const auto& l : c.lines) n += !intervals_only || l.kind == Kind::statistical;
  return n;
}

}  // namespace

size_t ClaimResult::primary_at() const {
  const auto line = std::ranges::find(lines, Role::primary, &Line::role);
  return line == lines.end() ? 0 : static_cast<size_t>(line - lines.begin());
}

Verdict ClaimResult::verdict() const {
  const auto limited = [](const Line& l) {
    return l.role == Role::limits && l.verdict != Verdict::reproduced;
  };
  const Verdict word = primary().word();
  const bool partly = word == Verdict::reproduced && std::ranges::any_of(lines, limited);
  return partly ? Verdict::partly : word;
}

const char* plain(Verdict v) {
  constexpr const char* words[] = {"yes",         "in part",  "no difference", "no",
                                   "not decided", "a little", "rather not"};
  return words[static_cast<size_t>(v)];
}

std::optional<size_t> right_guess(const ClaimResult& c) {
  switch (c.verdict()) {
    case Verdict::reproduced: return 0;
    case Verdict::partly:
    case Verdict::small: return 1;
    case Verdict::inconclusive: return std::nullopt;
    default: return 2;
  }
}

std::string word_text(const ClaimResult& c) {
  const Verdict v = c.verdict();
  return v == Verdict::partly ? fmt::format("{}: {}", name(v), c.condition) : name(v);
}

void correct(std::vector<ClaimResult>& claims) {
  std::vector<ClaimResult*> family;
  std::vector<double> levels;
  for (ClaimResult& c : claims) {
    if (c.primary().kind == Kind::exact) continue;
    family.push_back(&c);
    levels.push_back(c.primary().p);
  }
  const std::vector<bool> stand = holm(levels);
  for (size_t i = 0; i < family.size(); ++i) family[i]->primary().stands = stand[i];
}

std::vector<std::string> seed_row(const std::string& arm, const Records& runs,
                                  const std::string& metric, double scale, int digits) {
  std::vector<std::string> row{arm};
  double sum = 0;
  int alive = 0;
  for (const Record& r : runs) {
    row.push_back(r.dead ? "died" : fmt::format("{:.{}f}", scale * r[metric], digits));
    if (!r.dead) sum += scale * r[metric], ++alive;
  }
  row.push_back(alive ? fmt::format("{:.{}f}", sum / alive, digits) : "-");
  return row;
}

std::string effect_text(const Line& l) {
  if (l.kind == Kind::exact) {
    std::string value = short_number(l.effect.mean);
    if (value.starts_with("−")) value = "-" + value.substr(std::string("−").size());
    if (!l.unit.empty()) value += " " + l.unit;
    return value + " (exact)";
  }
  const int d = decimals(l);
  const std::string unit = l.unit.empty() ? "" : " " + l.unit;
  const bool above = std::isfinite(l.effect.lo), below = std::isfinite(l.effect.hi);
  if (!std::isfinite(l.effect.mean)) return "no number: every run of an arm died";
  if (!above && !below)
    return fmt::format("{:+.{}f} ({}){}", l.effect.mean, d,
                       l.effect.n < 2 ? "one seed" : "no spread", unit);
  if (!below) return fmt::format("at least {:+.{}f}{}", l.effect.lo, d, unit);
  if (!above) return fmt::format("at most {:+.{}f}{}", l.effect.hi, d, unit);
  return fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}]{}", l.effect.mean, d, l.effect.lo, d,
                     l.effect.hi, d, unit);
}

namespace {

constexpr const char* kNoNumber = "—";  // every run of an arm died

// The size of a number: its mean, or the end of its interval beyond which nothing is known.
struct Size {
  double value;
  const char* bound;  // "at least ", "at most ", ""
};
Size size_of(const Line& l) {
  const bool above = std::isfinite(l.effect.lo), below = std::isfinite(l.effect.hi);
  if (l.kind == Kind::exact || above == below) return {std::abs(l.effect.mean), ""};
  const double end = above ? l.effect.lo : l.effect.hi;
  return {std::abs(end), (end > 0) == above ? "at least " : "at most "};
}

}  // namespace

std::string amount_text(const Line& l) {
  const Size s = size_of(l);
  if (l.kind == Kind::exact) return s.value == 0 ? "exactly 0" : short_number(s.value);
  return std::isfinite(s.value) ? fmt::format("{}{:.{}f}", s.bound, s.value, decimals(l))
                                : kNoNumber;
}

std::string signed_text(const Line& l) {
  return std::isfinite(l.effect.mean) ? fmt::format("{:+.{}f}", l.effect.mean, decimals(l))
                                      : kNoNumber;
}

std::string times_text(const Line& l) {
  const Size s = size_of(l);
  if (!std::isfinite(s.value)) return kNoNumber;
  const double factor = std::exp2(s.value);
  return fmt::format("{}{:.{}f}", s.bound, factor, factor < 20 ? 1 : 0);
}

std::string number_text(const Line& l) {
  if (l.kind == Kind::statistical) return effect_text(l);
  const std::string value = l.effect.mean == 0 ? "exactly 0" : short_number(l.effect.mean);
  return l.unit.empty() ? value : value + " " + l.unit;
}

std::string margin_text(const Line& l) {
  if (l.kind == Kind::statistical && l.expect == Expect::at_most)
    return "≤ " + short_number(std::round(1000 * l.margin) / 1000);
  if (l.kind == Kind::statistical) return "±" + short_number(std::round(1000 * l.margin) / 1000);
  return (l.holds == Holds::above ? "> " : l.margin == 0 ? "= " : "≤ ") + short_number(l.margin);
}

std::string verdict_text(const Line& l) {
  return l.role == Role::explains ? fmt::format("({})", name(l.verdict)) : name(l.verdict);
}

std::string seeds_text(const Report& r) {
  if (r.looks.empty()) return "no seeds";
  if (r.looks.size() == 1) return fmt::format("{} seeds", r.looks[0]);
  return fmt::format("{} to {} seeds", r.looks.front(), r.looks.back());
}

std::string chance_text(const Report& r) {
  const int all = count(r, false), intervals = count(r, true);
  return fmt::format(
      "{} lines stand here: {} exact facts and {} with a 95 % interval. A claim's word comes from "
      "one of them, its primary line, corrected for the number of claims (Holm): the chance that "
      "any of the words errs is at most 5 %.",
      all, all - intervals, intervals);
}

namespace {

// One line of the terminal's table, wrapped into its columns.
std::string row_of(const std::string& id, const std::string& what, const std::string& effect,
                   const std::string& verdict) {
  const auto left = wrapped(what, 29), right = wrapped(effect, 28);
  std::string out;
  for (size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    std::string row =
        fmt::format("{:<5} {:<29} {:>28} {:>15}", i == 0 ? id : "", i < left.size() ? left[i] : "",
                    i < right.size() ? right[i] : "", i == 0 ? verdict : "");
    row.erase(row.find_last_not_of(' ') + 1);
    out += row + "\n";
  }
  return out;
}

std::string paragraph(const std::string& text) {
  std::string out;
  for (const auto& line : wrapped(text, 80)) out += line + "\n";
  return out;
}

std::string run_text(const Report& r) {
  return fmt::format("{} profile, {}, {} runs ({} died), {:.0f} s of processor time. {}. {}.",
                     r.profile, seeds_text(r), r.runs, r.dead, r.processor, r.machine, r.data);
}

// How to read the table.
std::string legend(const Report& r) {
  std::string text = chance_text(r);
  if (r.dead) text += " n+: n of the runs compared died.";
  text += " (WORD): a line that explains and does not count in the claim's word.";
  return text;
}

}  // namespace

namespace {

std::string detail_of(const Line& l) {
  return row_of(l.id.substr(0, l.id.find('@')), l.text,
                effect_text(l) + (l.dead() ? fmt::format(" {}+", l.dead()) : ""), verdict_text(l));
}

// Every line of every claim, and what to take from them.
std::string details_of(const Report& r) {
  const std::string rule = fmt::format("{:-<80}\n", "");
  std::string out = row_of("", "BatchNorm vs LayerNorm", "effect [95 % interval]", "verdict");
  for (const ClaimResult& c : r.claims) {
    out +=
        rule + fmt::format("{:<5} {:<58} {:>15}\n", c.id, c.title.substr(0, 58), name(c.verdict()));
    if (c.verdict() == Verdict::partly) out += paragraph("      Partly: " + c.condition);
    for (const Line& l : c.lines) out += detail_of(l);
    for (const Line& l : c.own) out += detail_of(l);
  }
  out += rule + paragraph(legend(r));
  for (const Decision& d : r.decisions)
    out += paragraph(fmt::format("- {} Yes: {} No: {}", d.question, d.yes, d.no));
  return out + paragraph(run_text(r)) + rule;
}

// One line: the claim, its word, and what it says of the two norms.
std::string claim_line(const PictureRow& row) {
  std::string said;
  for (const PictureBar* bar : {&row.batch, &row.layer, &row.own}) {
    if (bar->name.empty()) continue;
    std::string name = bar->name;
    if (name == "BatchNorm") name = "BN";
    if (name == "LayerNorm") name = "LN";
    said += fmt::format("{}{}: {}", said.empty() ? "" : "; ", name, bar->text);
  }
  std::string out;
  for (const std::string& line : wrapped(said, 60))
    out += fmt::format("{:<4} {:<14} {}\n", out.empty() ? row.id : "",
                       out.empty() ? plain(row.verdict) : "", line);
  return out;
}

}  // namespace

std::string to_terminal(const Report& r, bool details) {
  std::string out = details ? details_of(r) : "";
  for (const PictureRow& row : r.picture) out += claim_line(row);
  return out + fmt::format("{} profile, {}, {} runs ({} died), {:.0f} s of processor time{}\n",
                           r.profile, seeds_text(r), r.runs, r.dead, r.processor,
                           details ? "." : "; --details: every line.");
}

namespace {

std::string cell(std::string s) {  // a bar would end the cell
  for (size_t i = 0; (i = s.find('|', i)) != std::string::npos; i += 2) s.insert(i, "\\");
  return s;
}

std::string markdown_row(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const auto& text : cells) out += " " + cell(text) + " |";
  return out + "\n";
}

std::string markdown(const Table& t) {
  std::string out = "\n" + t.title + "\n\n" + markdown_row(t.head);
  out += markdown_row(std::vector<std::string>(t.head.size(), "---"));
  for (const auto& cells : t.rows) out += markdown_row(cells);
  return out;
}

std::string markdown_lines(const Report& r) {
  std::string out = markdown_row({"", "what is compared", "effect [95 % interval]",
                                  "margin or bound", "seeds (dead)", "verdict"});
  out += "|---|---|---|---|---|---|\n";
  for (const ClaimResult& c : r.claims) {
    out += fmt::format("| **{}** | **{}** | | | | **{}** |\n", c.id, c.title, name(c.verdict()));
    for (const auto* lines : {&c.lines, &c.own})
      for (const Line& l : *lines)
        out += markdown_row({l.id, l.text, effect_text(l), margin_text(l),
                             l.kind == Kind::exact ? "" : fmt::format("{} ({})", l.seeds, l.dead()),
                             verdict_text(l)});
  }
  return out + "\nIn brackets: a line that explains and does not count in the claim's word.\n";
}

std::string markdown_advice(const Report& r) {
  std::string out = "\n## When to use which\n\n";
  out += markdown_row(
      {"the lesson's table", "BatchNorm", "LayerNorm", "measured here", "verdict", "from"});
  out += "|---|---|---|---|---|---|\n";
  for (const Advice& a : r.advice)
    out += markdown_row({a.topic, a.batch, a.layer, a.measured, name(a.verdict), a.from});
  out += "\n";
  for (const Decision& d : r.decisions)
    out += fmt::format("- **{}** Yes: {} No: {}\n", d.question, d.yes, d.no);
  return out;
}

std::string markdown(const ClaimResult& c) {
  std::string out = fmt::format("\n### {} {}: {}\n\n> {}\n\n{}\n\n", c.id, c.title, word_text(c),
                                c.says, c.answer);
  for (const auto& e : c.experiment) out += "- " + e + "\n";
  out += "\n" + c.meaning + "\n";
  for (const Line& l : c.lines)
    if (!l.meaning.empty()) out += fmt::format("\n{}: {}\n", l.id, l.meaning);
  out += "\nTrap: " + c.trap + "\n\nCode: `" + c.code + "`.";
  for (const Link& l : c.papers) out += fmt::format(" [{}]({}).", l.text, l.url);
  out += "\n";
  for (const Table& t : c.tables) out += markdown(t);
  return out;
}

}  // namespace

std::string to_markdown(const Report& r) {
  std::string out = "# BatchNorm vs LayerNorm, measured\n\n";
  out += fmt::format("{} Command: `{}`\n\n{}\n\n", run_text(r), r.command, chance_text(r));
  out += markdown_lines(r) + markdown_advice(r);
  out += "\n## Claim by claim\n";
  for (const ClaimResult& c : r.claims) out += markdown(c);
  if (!r.interview.empty()) out += "\n## Interview questions\n";
  for (const Answer& a : r.interview) out += fmt::format("\n**{}** {}\n", a.question, a.answer);
  return out;
}

std::string to_json_lines(const ClaimResult& c) {
  constexpr const char* roles[] = {"primary", "limits", "explains"};
  const auto event = [](const std::string& id, const std::string& role, Verdict verdict,
                        const Line& l) {
    const char* of = role == "own" ? "own" : "claim";
    return fmt::format(
        "{{\"event\":\"{}\",\"id\":{},\"role\":\"{}\",\"kind\":\"{}\",\"verdict\":\"{}\","
        "\"effect\":{},\"ci\":{},\"margin\":{},\"unit\":{},\"seeds\":{},\"dead\":{},\"p\":{}}}\n",
        of, json_quote(id), role, l.kind == Kind::exact ? "exact" : "statistical", name(verdict),
        json_number(l.effect.mean), ends(l), json_number(l.margin), json_quote(l.unit), l.seeds,
        l.dead(), json_number(l.p));
  };
  if (c.lines.empty()) return "";
  std::string out = event(c.id, "claim", c.verdict(), c.primary());
  for (const auto& l : c.lines)
    out += event(l.id, roles[static_cast<size_t>(l.role)], l.verdict, l);
  for (const auto& l : c.own) out += event(l.id, "own", l.verdict, l);
  return out;
}

Line line_from_json(const std::string& text, const std::string& name) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  JsonReader json(text, name);
  Line l{.id = "", .text = ""};
  std::string event, role;
  const auto number = [&json](double otherwise) { return json.null() ? otherwise : json.number(); };
  json.object([&](const std::string& key) {
    if (key == "event") event = json.string();
    else if (key == "id") l.id = json.string();
    else if (key == "role") role = json.string();
    else if (key == "kind") l.kind = json.string() == "exact" ? Kind::exact : Kind::statistical;
    else if (key == "verdict") l.verdict = verdict_from(json.string());
    else if (key == "effect") l.effect.mean = number(inf);
    else if (key == "margin") l.margin = number(0);
    else if (key == "unit") l.unit = json.string();
    else if (key == "ci") {
      l.effect.lo = -inf;
      l.effect.hi = inf;
      if (json.null()) return;
      bool first = true;
      json.array([&] {
        if (first) l.effect.lo = number(-inf);
        else l.effect.hi = number(inf);
        first = false;
      });
    } else json.skip();
  });
  json.end();
  if (event != "claim" || role == "claim") l.id.clear();
  if (l.kind == Kind::exact) l.effect.lo = l.effect.hi = l.effect.mean;
  return l;
}

std::string result_json(const Report& r) {
  return fmt::format(
             R"({{"event":"result","profile":{},"seeds":{},"runs":{},"dead":{},"verdicts":{},"intervals":{},"seconds":{:.1f},"machine":{},"data":{}}})",
             json_quote(r.profile), r.looks.empty() ? 0 : r.looks.back(), r.runs, r.dead,
             count(r, false), count(r, true), r.seconds, json_quote(r.machine),
             json_quote(r.data)) +
         "\n";
}

std::string to_json_lines(const Report& r) {
  std::string out;
  for (const auto& c : r.claims) out += to_json_lines(c);
  return out + result_json(r);
}

}  // namespace loupe::lesson
