#include <fmt/core.h>
#include <loupe/lesson/chart.h>

#include <algorithm>
#include <cmath>

namespace loupe::lesson {
namespace {

const char* css(Look look) {
  constexpr const char* names[] = {"s-bn", "s-ln", "s-gn", "s-none", "s-other", "s-extra"};
  return names[static_cast<size_t>(look)];
}

const char* stroke(const Series& s) { return s.dashed ? " dashed" : s.dotted ? " dotted" : ""; }

double text_width(const std::string& s, double size) {
  return 0.6 * size * static_cast<double>(s.size());
}

// The scale of one axis: data to pixels, and its ticks.
struct Scale {
  bool log = false;
  double lo = 0, hi = 1, from = 0, to = 1;
  double operator()(double v) const {
    const double a = log ? std::log(lo) : lo, b = log ? std::log(hi) : hi;
    return from + ((log ? std::log(v) : v) - a) / (b - a) * (to - from);
  }
  std::vector<double> ticks(int wanted) const {
    std::vector<double> t;
    if (log) {
      const double decades = std::log10(hi / lo);
      const int step = std::max(1, static_cast<int>(std::ceil(decades / wanted)));
      for (int e = static_cast<int>(std::floor(std::log10(lo))); e <= std::ceil(std::log10(hi));
           e += step)
        for (double m : {1.0, 2.0, 5.0}) {
          const double v = m * std::pow(10, e);
          if ((m == 1 || decades < 2) && v >= lo * 0.999 && v <= hi * 1.001) t.push_back(v);
        }
      if (t.size() > 1) return t;
      t.clear();  // less than a decade: evenly spaced ones
    }
    const double raw = (hi - lo) / wanted, power = std::pow(10, std::floor(std::log10(raw)));
    double step = power;
    for (double m : {1.0, 2.0, 5.0, 10.0})
      if (step < raw) step = m * power;
    for (double v = std::ceil(lo / step - 1e-9) * step; v <= hi + 1e-9 * step; v += step)
      t.push_back(std::abs(v) < step / 1e6 ? 0 : v);
    return t;
  }
};

Scale fit(const Axis& axis, const std::vector<double>& data, double from, double to) {
  Scale s{axis.log, axis.lo, axis.hi, from, to};
  double lo = 1e300, hi = -1e300;
  for (double v : data)
    if (std::isfinite(v) && (!axis.log || v > 0)) lo = std::min(lo, v), hi = std::max(hi, v);
  if (lo > hi) lo = axis.log ? 0.1 : 0, hi = 1;
  if (!axis.categories.empty()) lo = -0.5, hi = static_cast<double>(axis.categories.size()) - 0.5;
  else if (axis.log) {
    const double pad = std::max(1.08, std::pow(hi / lo, 0.05));
    lo /= pad, hi *= pad;
  } else {
    const double pad = hi > lo ? 0.06 * (hi - lo) : std::max(1e-6, std::abs(hi) * 0.1);
    lo -= pad, hi += pad;
  }
  if (std::isnan(s.lo)) s.lo = lo;
  if (std::isnan(s.hi)) s.hi = hi;
  return s;
}

// A marker of about 8 pixels: circle, diamond, triangle, square, ring, bar; so that no series needs
// its colour to be known.
std::string marker(Look look, double x, double y, double r, const std::string& hover) {
  const std::string title = hover.empty() ? "" : fmt::format("<title>{}</title>", escape(hover));
  switch (look) {
    case Look::bn:
      return fmt::format(R"(<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>)", x,
                         y, r, title);
    case Look::ln:
      return fmt::format(
          R"(<path class="dot" d="M{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}l{:.1f} {:.1f}z">{}</path>)",
          x, y - 1.3 * r, 1.3 * r, 1.3 * r, -1.3 * r, 1.3 * r, -1.3 * r, -1.3 * r, title);
    case Look::gn:
      return fmt::format(R"(<path class="dot" d="M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z">{}</path>)",
                         x, y - 1.2 * r, 1.2 * r, 2.1 * r, -2.4 * r, title);
    case Look::none:
      return fmt::format(
          R"(<rect class="dot" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">{}</rect>)",
          x - .9 * r, y - .9 * r, 1.8 * r, 1.8 * r, title);
    case Look::other:
      return fmt::format(R"(<circle class="ring" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">{}</circle>)",
                         x, y, r, title);
    case Look::extra: break;
  }
  return fmt::format(R"(<path class="dot" d="M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z">{}</path>)", x,
                     y + 1.2 * r, 1.2 * r, -2.1 * r, -2.4 * r, title);
}

std::string cross(double x, double y, const std::string& hover) {
  return fmt::format(
      R"(<path class="cross" d="M{:.1f} {:.1f}l8 8m0 -8l-8 8"><title>{}</title></path>)", x - 4,
      y - 4, escape(hover));
}

// Words of a category label, wrapped to the pixels it has.
std::vector<std::string> wrap(const std::string& text, double width, double size) {
  std::vector<std::string> lines{""};
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    if (!lines.back().empty() && text_width(lines.back() + " " + word, size) > width)
      lines.push_back("");
    lines.back() += (lines.back().empty() ? "" : " ") + word;
    at = end + 1;
  }
  return lines;
}

std::string hover_of(const Series& s, const Point& p, const Axis& x) {
  if (!p.hover.empty()) return s.name + ": " + p.hover;
  const auto i = static_cast<size_t>(std::lround(std::max(0.0, p.x)));
  const std::string where =
      x.categories.empty() ? short_number(p.x) : x.categories[std::min(i, x.categories.size() - 1)];
  return fmt::format("{}, {}: {}", s.name, where, p.dead ? "died" : short_number(p.y));
}

}  // namespace

std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

std::string short_number(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "∞" : "−∞";
  std::string s;
  if (v != 0 && (std::abs(v) >= 1e5 || std::abs(v) < 1e-3)) {
    const double e = std::floor(std::log10(std::abs(v)) + 1e-12), m = v / std::pow(10, e);
    s = std::abs(m - 1) < 0.05 ? fmt::format("1e{:.0f}", e) : fmt::format("{:.1f}e{:.0f}", m, e);
  } else {
    s = fmt::format("{:.4g}", v);
  }
  if (s[0] == '-') s = "−" + s.substr(1);
  return s;
}

std::string to_svg(const Chart& c, int width) {
  const bool wide = width > 500;
  const double font = wide ? 13 : 12;
  // Direct labels at the right end of each line, where there is room for them.
  std::vector<std::pair<double, const Series*>> labels;
  double label_width = 0;
  if (wide && c.x.categories.empty())
    for (const Series& s : c.series)
      if (!s.line.empty())
        labels.emplace_back(0, &s),
            label_width = std::max(label_width, 1.08 * text_width(s.name, font) + 14);
  bool any_dead = false;
  std::vector<double> xs, ys;
  for (const Series& s : c.series) {
    for (const Point& p : s.dots) {
      any_dead |= p.dead;
      xs.push_back(p.x);
      if (!p.dead) ys.push_back(p.y);
    }
    for (const Point& p : s.line) {
      any_dead |= p.dead;
      xs.push_back(p.x);
      if (!p.dead) ys.push_back(p.y);
    }
    for (const Trace& t : s.seeds)
      for (const Point& p : t.line) xs.push_back(p.x), ys.push_back(p.y);
    for (const auto* list : {&s.band, &s.bars})
      for (const Band& b : *list) xs.push_back(b.x), ys.push_back(b.lo), ys.push_back(b.hi);
  }
  for (const Mark& m : c.marks) ys.push_back(m.y);

  const double strip = any_dead ? 24 : 0, top = font + 14 + strip;
  const size_t n_categories = c.x.categories.size();
  const auto layout = [&](double left, double right) {  // height of the x labels
    size_t lines = 1;
    const double slot = (right - left) / static_cast<double>(std::max<size_t>(1, n_categories));
    for (const auto& name : c.x.categories)
      lines = std::max(lines, wrap(name, slot - 4, font).size());
    for (const Series& s : c.series)
      lines += n_categories && s.line.size() == 1 && &s == &c.series[0];
    return static_cast<double>(lines) * (font + 3) + (c.x.label.empty() ? 6 : font + 12);
  };
  // y first with a provisional left edge, since the tick labels decide the margin.
  Scale y = fit(c.y, ys, 0, 0);
  std::vector<double> y_ticks = c.y.ticks.empty() ? y.ticks(wide ? 5 : 4) : c.y.ticks;
  std::erase_if(y_ticks, [&](double v) { return v < y.lo || v > y.hi; });
  double left = any_dead ? text_width(c.dead, font) + 10 : 20;
  for (double t : y_ticks) left = std::max(left, text_width(short_number(t), font) + 12);
  const double right = width - std::max(12.0, label_width);
  const double bottom_space = layout(left, right);
  const double height = (wide ? 250 : 200) + top + bottom_space, bottom = height - bottom_space;
  const Scale x = fit(c.x, xs, left, right);
  y.from = bottom, y.to = top;

  std::string svg = fmt::format(
      R"(<svg class="{}" viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}" role="img" aria-label="{}" font-size="{}">)",
      wide ? "wide" : "narrow", width, height, width, height, escape(c.title), font);
  const auto text = [&](double at_x, double at_y, const char* anchor, const std::string& s,
                        const char* cls = "tick") {
    svg += fmt::format(R"(<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>)", cls,
                       at_x, at_y, anchor, escape(s));
  };
  text(0, font, "start", c.y.label + (c.y.log ? " (log scale)" : ""), "axis");
  for (double t : y_ticks) {
    svg += fmt::format(R"(<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>)", left, y(t), right);
    text(left - 6, y(t) + font * 0.35, "end", short_number(t));
  }
  svg += fmt::format(R"(<path class="frame" d="M{:.1f} {:.1f}H{:.1f}"/>)", left, bottom, right);
  if (any_dead) {
    const double line = top - strip / 2;
    svg +=
        fmt::format(R"(<rect class="strip" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>)",
                    left, top - strip + 2, right - left, strip - 6);
    text(left - 6, line + font * 0.35 - 1, "end", c.dead);
  }
  // x axis
  if (n_categories) {
    const double slot = (right - left) / static_cast<double>(n_categories);
    for (size_t i = 0; i < n_categories; ++i) {
      double at = bottom + font + 4;
      for (const auto& line : wrap(c.x.categories[i], slot - 4, font)) {
        text(x(static_cast<double>(i)), at, "middle", line);
        at += font + 3;
      }
      for (const Series& s : c.series)  // the mean of the column, in words
        if (s.line.size() == 1 && s.line[0].x == static_cast<double>(i))
          svg += fmt::format(
              R"(<text class="value {}" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
              css(s.look), x(s.line[0].x), at, s.line[0].dead ? c.dead : short_number(s.line[0].y));
    }
  } else {
    double last = -1e9;
    for (double t : c.x.ticks.empty() ? x.ticks(wide ? 7 : 4) : c.x.ticks) {
      if (t < x.lo || t > x.hi) continue;
      svg += fmt::format(R"(<path class="frame" d="M{:.1f} {:.1f}v4"/>)", x(t), bottom);
      const double half = text_width(short_number(t), font) / 2;
      if (x(t) - half < last + 6) continue;
      text(x(t), bottom + font + 5, "middle", short_number(t));
      last = x(t) + half;
    }
  }
  if (!c.x.label.empty())
    text((left + right) / 2, height - 4, "middle", c.x.label + (c.x.log ? " (log scale)" : ""),
         "axis");

  double mark_edge = -1e9;
  auto marks = c.marks;
  std::ranges::sort(marks, {}, &Mark::y);
  for (const Mark& m : marks) {
    svg += fmt::format(R"(<path class="mark" d="M{:.1f} {:.1f}H{:.1f}"/>)", left, y(m.y), right);
    // Above its line, unless that leaves the plot; never on another mark's label.
    const double at = y(m.y) - 5 < top + font ? y(m.y) + font + 1 : y(m.y) - 5;
    if (std::abs(at - mark_edge) > font + 1) text(left + 6, at, "start", m.label, "marktext");
    mark_edge = at;
  }
  if (c.paired) {
    size_t n = 0;
    for (const Series& s : c.series) n = std::max(n, s.dots.size());
    for (size_t i = 0; i < n; ++i) {
      std::string d;
      for (const Series& s : c.series)
        if (i < s.dots.size() && !s.dots[i].dead)
          d +=
              fmt::format("{}{:.1f} {:.1f}", d.empty() ? "M" : "L", x(s.dots[i].x), y(s.dots[i].y));
      svg += fmt::format(R"(<path class="pair" d="{}"/>)", d);
    }
  }
  for (const Series& s : c.series) {
    svg += fmt::format(R"(<g class="{}">)", css(s.look));
    if (s.band.size() > 1) {
      std::string d;
      for (size_t i = 0; i < s.band.size(); ++i)
        d += fmt::format("{}{:.1f} {:.1f}", i ? "L" : "M", x(s.band[i].x), y(s.band[i].hi));
      for (size_t i = s.band.size(); i-- > 0;)
        d += fmt::format("L{:.1f} {:.1f}", x(s.band[i].x), y(s.band[i].lo));
      svg += fmt::format(R"(<path class="band" d="{}z"/>)", d);
    }
    for (const Band& b : s.bars) {
      const double at = x(b.x), lo = y(std::max(b.lo, y.lo)), hi = y(std::min(b.hi, y.hi));
      svg += fmt::format(
          R"(<path class="bar" d="M{:.1f} {:.1f}V{:.1f}m-5 0h10M{:.1f} {:.1f}h10"><title>{}</title></path>)",
          at, lo, hi, at - 5, lo,
          escape(fmt::format("{}: 95 % interval {} to {}", s.name, short_number(b.lo),
                             short_number(b.hi))));
    }
    const auto path = [&](const std::vector<Point>& points) {  // with a gap where a run is dead
      std::string d;
      bool pen = false;
      for (const Point& p : points) {
        if (!p.dead) d += fmt::format("{}{:.1f} {:.1f}", pen ? "L" : "M", x(p.x), y(p.y));
        pen = !p.dead;
      }
      return d;
    };
    for (const Trace& t : s.seeds)
      svg += fmt::format(R"(<path class="trace" d="{}"><title>{}, {}</title></path>)", path(t.line),
                         escape(s.name), escape(t.hover));
    const std::string d = path(s.line);
    if (!d.empty()) svg += fmt::format(R"(<path class="line{}" d="{}"/>)", stroke(s), d);
    for (const Point& p : s.dots)
      svg += p.dead ? cross(x(p.x), top - strip / 2 - 1, hover_of(s, p, c.x))
                    : marker(s.look, x(p.x), y(p.y), wide ? 3.6 : 3.2, hover_of(s, p, c.x));
    if (n_categories && !s.line.empty() && s.line.size() == 1 &&
        !s.line[0].dead) {  // the mean of a column, with its value
      const Point& p = s.line[0];
      const double half = std::min(26.0, 0.3 * (right - left) / static_cast<double>(n_categories));
      svg += fmt::format(R"(<path class="mean" d="M{:.1f} {:.1f}h{:.1f}"><title>{}</title></path>)",
                         x(p.x) - half, y(p.y), 2 * half, escape(hover_of(s, p, c.x)));
    }
    svg += "</g>";
  }
  // Direct labels, pushed apart from top to bottom and back.
  for (auto& [at, s] : labels) {
    const auto last =
        std::find_if(s->line.rbegin(), s->line.rend(), [](const Point& p) { return !p.dead; });
    at = last == s->line.rend() ? top - strip / 2 : std::clamp(y(last->y), top, bottom);
  }
  std::ranges::sort(labels, {}, &std::pair<double, const Series*>::first);
  for (size_t i = 1; i < labels.size(); ++i)
    labels[i].first = std::max(labels[i].first, labels[i - 1].first + font + 3);
  double limit = bottom;
  for (size_t i = labels.size(); i-- > 0; limit = labels[i].first - font - 3)
    labels[i].first = std::min(labels[i].first, limit);
  for (const auto& [at, s] : labels)
    svg += fmt::format(R"(<text class="label {}" x="{:.1f}" y="{:.1f}">{}</text>)", css(s->look),
                       right + 8, at + font * 0.35, escape(s->name));
  return svg + "</svg>";
}

std::string to_svg(const Heatmap& m) {
  const double font = 12, left = 34, top = font + 12, size = 290;
  const size_t rows = m.cells.size(), columns = rows ? m.cells[0].size() : 0;
  const double cell = size / static_cast<double>(std::max<size_t>(1, std::max(rows, columns)));
  double largest = 0;
  for (const auto& row : m.cells)
    for (double v : row) largest = std::max(largest, std::abs(v));
  const double width = left + cell * static_cast<double>(columns) + 4,
               height = top + cell * static_cast<double>(rows) + 40;
  std::string svg = fmt::format(
      R"(<svg class="heat" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}" role="img" aria-label="{2}" font-size="{3}">)",
      width, height, escape(m.title), font);
  svg += fmt::format(R"(<text class="axis" x="0" y="{}">{}</text>)", font, escape(m.y_label));
  for (size_t i = 0; i < rows; ++i) {
    const double at = top + cell * static_cast<double>(i);
    if (rows <= 12 || i % 4 == 0)
      svg += fmt::format(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>)",
                         left - 6, at + cell / 2 + font * 0.35, i + 1);
    for (size_t j = 0; j < columns; ++j) {
      const double v = std::abs(m.cells[i][j]), x = left + cell * static_cast<double>(j);
      // Six decades from faint to full; an exact zero has no colour and a dot.
      const double depth = v > 0 ? std::clamp(1 + std::log10(v / largest) / 6, 0.08, 1.0) : 0;
      svg += fmt::format(
          R"(<rect class="cell" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill-opacity="{:.2f}"><title>{}</title></rect>)",
          x, at, cell - 1, cell - 1, depth,
          fmt::format("output {}, input {}: {}", i + 1, j + 1,
                      v == 0 ? "exactly 0" : short_number(v)));
      if (v == 0)
        svg += fmt::format(R"(<circle class="zero" cx="{:.1f}" cy="{:.1f}" r="1"/>)", x + cell / 2,
                           at + cell / 2);
    }
  }
  for (size_t j = 0; j < columns; ++j)
    if (columns <= 12 || j % 4 == 0)
      svg +=
          fmt::format(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
                      left + cell * (static_cast<double>(j) + 0.5), height - 24, j + 1);
  svg += fmt::format(R"(<text class="axis" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
                     left + cell * static_cast<double>(columns) / 2, height - 5, escape(m.x_label));
  return svg + "</svg>";
}

std::string to_figure(const Chart& c) {
  // Lines carry their name at their right end on a wide page; the legend serves the rest.
  const bool labelled =
      c.x.categories.empty() &&
      std::ranges::all_of(c.series, [](const Series& s) { return !s.line.empty(); });
  const bool needed = c.x.categories.empty() || c.x.categories.size() != c.series.size();
  std::string legend;
  if (needed) {
    for (const Series& s : c.series)
      legend += fmt::format(
          R"(<span class="{}"><svg width="22" height="12" aria-hidden="true">{}{}</svg>{}</span>)",
          css(s.look),
          s.line.empty() ? "" : fmt::format(R"(<path class="line{}" d="M0 6H22"/>)", stroke(s)),
          marker(s.look, 11, 6, 3.6, ""), escape(s.name));
    legend = fmt::format(R"(<div class="legend{}">{}</div>)", labelled ? " labelled" : "", legend);
  }
  return fmt::format("<figure class=\"chart\"><figcaption>{}</figcaption>{}{}{}{}</figure>\n",
                     escape(c.title), legend, to_svg(c, 720), to_svg(c, 352),
                     c.note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", escape(c.note)));
}

std::string to_figure(const Heatmap& m) {
  return fmt::format("<figure class=\"chart map\"><figcaption>{}</figcaption>{}{}</figure>\n",
                     escape(m.title), to_svg(m),
                     m.note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", escape(m.note)));
}

}  // namespace loupe::lesson
