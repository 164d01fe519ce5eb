#include <loupe/core/error.h>
#include <loupe/lesson/own.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

namespace loupe::lesson {
namespace {

// "BatchNorm minus no norm" with one's own in BatchNorm's place.
std::string renamed(std::string text, const std::string& place, const std::string& own) {
  bool found = false;
  for (const std::string& name : {place + "1d", place + "2d", place})
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += own.size()) {
      text.replace(at, name.size(), own);
      found = true;
    }
  return found ? text : own + ": " + text;
}

// The same comparison, met in the other place: by its words, or by all of its numbers.
bool said(const std::vector<Line>& lines, const Line& line) {
  return std::ranges::any_of(lines, [&](const Line& l) {
    const Interval &a = l.effect, &b = line.effect;
    const bool numbers = l.kind == Kind::statistical && a.lo == b.lo && a.hi == b.hi;
    return a.mean == b.mean && (l.text == line.text || numbers);
  });
}

void add_lines(ClaimResult& claim, const ClaimResult& measured, const std::string& place,
               const std::string& own) {
  for (size_t i = 0; i < measured.lines.size(); ++i) {
    Line line = measured.lines[i];
    if (!line.own) continue;
    line.id += "@" + place;
    line.text = renamed(line.text, place, own);
    line.meaning.clear();
    line.role = Role::explains;
    if (said(claim.own, line)) continue;
    claim.own.push_back(line);
    claim.asked.push_back(measured.asked[i]);
  }
}

// A series keeps its x but where x stands for a category: there it gets a category of its own.
void add_series(Chart& chart, const Chart& from, Series s) {
  if (!from.x.categories.empty() && !s.line.empty()) {
    const auto old = static_cast<size_t>(std::lround(s.line[0].x));
    const double shift = static_cast<double>(chart.x.categories.size()) - s.line[0].x;
    chart.x.categories.push_back(from.x.categories.at(old));
    for (auto* points : {&s.line, &s.dots})
      for (view::Point& p : *points) p.x += shift;
  }
  chart.series.push_back(std::move(s));
}

bool has(const Chart& chart, const Series& s) {
  return std::ranges::any_of(chart.series, [&](const Series& other) {
    return other.name == s.name && other.look == s.look;
  });
}

void add_charts(ClaimResult& claim, const ClaimResult& measured, const std::string& own) {
  for (size_t i = 0; i < std::min(claim.charts.size(), measured.charts.size()); ++i)
    for (const Series& s : measured.charts[i].series)
      if (s.look == kOwnLook && !has(claim.charts[i], s))
        add_series(claim.charts[i], measured.charts[i], s);
  for (const Heatmap& map : measured.maps) {
    const bool there = std::ranges::count(claim.maps, map.title, &Heatmap::title) > 0;
    if (map.title.starts_with(own) && !there) claim.maps.push_back(map);
  }
}

// Rows of arms whose name begins with one's own. Arms may have different numbers of seeds: the last
// column is the mean.
void add_rows(Table& table, const Table& from, const std::string& own) {
  for (const std::vector<std::string>& row : from.rows) {
    const bool mine = !row.empty() && (row[0] == own || row[0].starts_with(own + " ") ||
                                       row[0].ends_with(": " + own));
    if (mine && std::ranges::count(table.rows, row) == 0) table.rows.push_back(row);
  }
  if (from.head.size() > table.head.size()) table.head = from.head;
  for (auto& row : table.rows)
    if (row.size() < table.head.size())
      row.insert(row.end() - 1, table.head.size() - row.size(), "");
}

void add_tables(ClaimResult& claim, const ClaimResult& measured, const std::string& own) {
  for (size_t i = 0; i < std::min(claim.tables.size(), measured.tables.size()); ++i)
    add_rows(claim.tables[i], measured.tables[i], own);
}

// The bar of the place where the claim's own word comes from; else of the other.
void add_bar(ClaimResult& claim, const ClaimResult& measured, const std::string& place,
             const Facts& facts, const std::string& own) {
  const Bar& bar = place == "BatchNorm" ? measured.batch : measured.layer;
  const Line* line = facts.find(bar.line);
  if (!line || !line->own) return;
  const bool primary = bar.line == claim.primary().id;
  if (!claim.own_bar.name.empty() && !primary) return;
  claim.own_bar = {bar.line + "@" + place, "", own};
  claim.own_text = fill(bar.text, facts) + " (as " + place + ")";
}

}  // namespace

void check_own(const Norm& own) {
  constexpr std::array kTaken{"none", "batch", "layer", "group", "masked batch", "noisy batch"};
  if (!own.name.empty() && std::ranges::find(kTaken, own.name) == kTaken.end()) return;
  fail<ValueError>("lesson: one's own norm needs a name that no norm of the lesson has, got \"{}\"",
                   own.name);
}

void add_own(std::vector<ClaimResult>& claims, const std::vector<InPlace>& places,
             const std::string& own) {
  for (const InPlace& in : places) {
    const Facts facts = facts_of(in.claims);
    for (size_t i = 0; i < claims.size(); ++i) {
      const ClaimResult& measured = in.claims.at(i);
      add_lines(claims[i], measured, in.place, own);
      add_charts(claims[i], measured, own);
      add_tables(claims[i], measured, own);
      add_bar(claims[i], measured, in.place, facts, own);
    }
  }
}

}  // namespace loupe::lesson
