#include <loupe/lesson/report.h>

#include <algorithm>
#include <cmath>

namespace loupe::lesson {
namespace {

// Decimals that show the width of the interval: two digits of it, at most four decimals.
int decimals(const Line& l) {
  const double width = std::isfinite(l.effect.hi - l.effect.lo) ? l.effect.hi - l.effect.lo : std::abs(l.effect.mean);
  if (!(width > 0)) return 1;
  return std::clamp(static_cast<int>(std::ceil(-std::log10(width / 2))) + 1, l.survival ? 2 : 1, 4);
}

std::vector<std::string> wrapped(const std::string& text, size_t width) {
  std::vector<std::string> lines{""};
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!lines.back().empty() && lines.back().size() + 1 + word.size() > width) lines.push_back("");
    lines.back() += (lines.back().empty() ? "" : " ") + word;
    at = end + 1;
  }
  return lines;
}

std::string json_string(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (c == '\n') out += "\\n";
    else if (static_cast<unsigned char>(c) < 0x20) out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else out += c;
  }
  return out + '"';
}

std::string json_number(double v) { return std::isfinite(v) ? fmt::format("{}", v) : "null"; }

int count(const Report& r, bool intervals_only) {
  int n = 0;
  for (const auto& c : r.claims)
    for (const auto& l : c.lines) n += !intervals_only || l.kind == Kind::statistical;
  return n;
}

}  // namespace

Verdict ClaimResult::verdict() const {
  std::vector<Verdict> parts;
  for (const Line& l : lines) parts.push_back(l.verdict);
  return combine(parts);
}

Line statistical(std::string id, std::string text, const Comparison& c, double margin, Expect expect, std::string unit,
                 double scale) {
  Line l{.id = std::move(id), .text = std::move(text)};
  l.effect = c.effect;
  l.seeds = c.effect.n;
  l.dead = c.dead;
  l.survival = c.survival;
  if (c.survival) {
    l.margin = 0.1;  // ten points of survival
    l.unit = "surviving";
  } else {
    l.effect = {scale * c.effect.mean, scale * c.effect.lo, scale * c.effect.hi, c.effect.n};
    l.margin = margin;
    l.unit = std::move(unit);
  }
  // Surviving is good wherever a larger or a smaller number is: a dead arm a of "a below b" is the opposite of it.
  const Expect sign = c.survival && expect == Expect::negative ? Expect::positive : expect;
  l.verdict = judge(l.effect, l.margin, sign);
  return l;
}

Line exact(std::string id, std::string text, bool holds, double value, std::string unit) {
  Line l{.id = std::move(id), .text = std::move(text), .kind = Kind::exact};
  l.verdict = holds ? Verdict::reproduced : Verdict::contradicted;
  l.effect = {value, value, value, 1};
  l.unit = std::move(unit);
  return l;
}

std::vector<std::string> seed_row(const std::string& arm, const Records& runs, const std::string& metric, double scale,
                                  int digits) {
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
    if (value.rfind("−", 0) == 0) value = "-" + value.substr(std::string("−").size());
    return l.unit.empty() ? value : value + " " + l.unit;
  }
  const int d = decimals(l);
  if (!std::isfinite(l.effect.hi - l.effect.lo)) return fmt::format("{:+.{}f} (one seed) {}", l.effect.mean, d, l.unit);
  return fmt::format("{:+.{}f} [{:+.{}f}, {:+.{}f}] {}", l.effect.mean, d, l.effect.lo, d, l.effect.hi, d, l.unit);
}

std::string chance_text(const Report& r) {
  const int all = count(r, false), intervals = count(r, true);
  return fmt::format(
      "{} verdicts stand here: {} exact facts and {} that rest on a 95 % interval. Of such intervals, {:.1f} would miss "
      "their true value by chance alone.",
      all, all - intervals, intervals, expected_misses(intervals));
}

std::string to_terminal(const Report& r) {
  std::string out;
  const std::string rule = fmt::format("{:-<80}\n", "");
  out += fmt::format("{:<34} {:>31} {:>13}\n", "BatchNorm vs LayerNorm, measured", "effect [95 % interval]", "verdict");
  for (const ClaimResult& c : r.claims) {
    out += rule;
    out += fmt::format("{:<4} {:<61} {:>13}\n", c.id, c.title.substr(0, 61), name(c.verdict()));
    for (const Line& l : c.lines) {
      const auto text = wrapped(l.text, 30);
      const std::string effect = effect_text(l) + (l.dead ? fmt::format(" {}+", l.dead) : "");
      const auto right = wrapped(effect, 30);
      for (size_t i = 0; i < std::max(text.size(), right.size()); ++i) {
        std::string row = fmt::format("{:<4} {:<30} {:>30} {:>13}", i == 0 ? l.id : "", i < text.size() ? text[i] : "",
                                      i < right.size() ? right[i] : "", i == 0 ? name(l.verdict) : "");
        row.erase(row.find_last_not_of(' ') + 1);
        out += row + "\n";
      }
    }
  }
  out += rule;
  for (const auto& line : wrapped(chance_text(r) + (r.dead ? " n+: n of the runs compared died." : ""), 80))
    out += line + "\n";
  for (const auto& line : wrapped(fmt::format("{} profile, {} seeds, {} runs ({} died), {:.0f} s. {}. {}.", r.profile, r.seeds,
                                              r.runs, r.dead, r.seconds, r.machine, r.data), 80))
    out += line + "\n";
  return out;
}

std::string to_markdown(const Report& r) {
  std::string out = "# BatchNorm vs LayerNorm, measured\n\n";
  out += fmt::format("{} profile, {} seeds, {} runs ({} died), {:.0f} s. {}. {}. Command: `{}`\n\n{}\n\n", r.profile, r.seeds,
                     r.runs, r.dead, r.seconds, r.machine, r.data, r.command, chance_text(r));
  out += "| | what is compared | effect [95 % interval] | margin | seeds (dead) | verdict |\n|---|---|---|---|---|---|\n";
  for (const ClaimResult& c : r.claims) {
    out += fmt::format("| **{}** | **{}** | | | | **{}** |\n", c.id, c.title, name(c.verdict()));
    for (const Line& l : c.lines)
      out += fmt::format("| {} | {} | {} | {} | {} | {} |\n", l.id, l.text, effect_text(l),
                         l.kind == Kind::exact ? "exact" : short_number(l.margin),
                         l.kind == Kind::exact ? "" : fmt::format("{} ({})", l.seeds, l.dead), name(l.verdict));
  }
  out += "\n## When to use which\n\n| | the lesson | measured here | verdicts |\n|---|---|---|---|\n";
  for (const Advice& a : r.advice) out += fmt::format("| {} | {} | {} | {} |\n", a.topic, a.lesson, a.measured, a.verdicts);
  out += "\n## Claim by claim\n";
  for (const ClaimResult& c : r.claims) {
    out += fmt::format("\n### {} {}: {}\n\n> {}\n\n", c.id, c.title, name(c.verdict()), c.says);
    for (const auto& e : c.experiment) out += "- " + e + "\n";
    out += "\n" + c.meaning + "\n";
    for (const Line& l : c.lines)
      if (!l.meaning.empty()) out += fmt::format("\n{}: {}\n", l.id, l.meaning);
    out += "\nTrap: " + c.trap + "\n";
    for (const Table& t : c.tables) {
      out += "\n" + t.title + "\n\n";
      const auto row = [&out](const std::vector<std::string>& cells) {
        out += "|";
        for (const auto& cell : cells) out += " " + cell + " |";
        out += "\n";
      };
      row(t.head);
      row(std::vector<std::string>(t.head.size(), "---"));
      for (const auto& cells : t.rows) row(cells);
    }
  }
  if (!r.interview.empty()) out += "\n## Interview questions\n";
  for (const Answer& a : r.interview) out += fmt::format("\n**{}** {}\n", a.question, a.answer);
  return out;
}

std::string to_json(const ClaimResult& c, const Line& l) {
  const bool interval = l.kind == Kind::statistical && std::isfinite(l.effect.hi - l.effect.lo);
  return fmt::format(
      R"({{"event":"claim","id":{},"part":{},"kind":"{}","text":{},"verdict":"{}","effect":{},"ci":{},"margin":{},"unit":{},"seeds":{},"dead":{}}})",
      json_string(c.id), json_string(l.id), l.kind == Kind::exact ? "exact" : "statistical", json_string(l.text),
      name(l.verdict), json_number(l.effect.mean),
      interval ? fmt::format("[{},{}]", json_number(l.effect.lo), json_number(l.effect.hi)) : "null",
      l.kind == Kind::exact ? "null" : json_number(l.margin), json_string(l.unit), l.seeds, l.dead);
}

std::string to_json_lines(const Report& r) {
  std::string out;
  for (const auto& c : r.claims)
    for (const auto& l : c.lines) out += to_json(c, l) + "\n";
  return out + fmt::format(R"({{"event":"result","profile":{},"seeds":{},"runs":{},"dead":{},"verdicts":{},"intervals":{},"seconds":{:.1f},"machine":{},"data":{}}})",
                           json_string(r.profile), r.seeds, r.runs, r.dead, count(r, false), count(r, true), r.seconds,
                           json_string(r.machine), json_string(r.data)) + "\n";
}

}  // namespace loupe::lesson
