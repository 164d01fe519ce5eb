#include <fmt/core.h>
#include <loupe/view/chart_parts.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace loupe::view {

double Scale::operator()(double v) const {
  const double a = log ? std::log(lo) : lo;
  const double b = log ? std::log(hi) : hi;
  return from + ((log ? std::log(v) : v) - a) / (b - a) * (to - from);
}

std::vector<double> Scale::ticks(int wanted) const {
  const std::vector<double> powers = log ? log_ticks(wanted) : std::vector<double>{};
  return powers.size() > 1 ? powers : even_ticks(wanted);  // less than a decade: evenly spaced
}

std::vector<double> Scale::log_ticks(int wanted) const {
  std::vector<double> t;
  const double decades = std::log10(hi / lo);
  const int step = std::max(1, static_cast<int>(std::ceil(decades / wanted)));
  const int last = static_cast<int>(std::ceil(std::log10(hi)));
  for (int e = static_cast<int>(std::floor(std::log10(lo))); e <= last; e += step)
    for (double m : {1.0, 2.0, 5.0}) {
      const double v = m * std::pow(10, e);
      const bool wished = m == 1 || decades < 2;
      if (wished && v >= lo * 0.999 && v <= hi * 1.001) t.push_back(v);
    }
  return t;
}

std::vector<double> Scale::even_ticks(int wanted) const {
  std::vector<double> t;
  const double raw = (hi - lo) / wanted;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = power;
  for (double m : {1.0, 2.0, 5.0, 10.0})
    if (step < raw) step = m * power;
  for (double v = std::ceil(lo / step - 1e-9) * step; v <= hi + 1e-9 * step; v += step)
    t.push_back(std::abs(v) < step / 1e6 ? 0 : v);
  return t;
}

Scale fit(const Axis& axis, const std::vector<double>& data, double from, double to) {
  Scale s{axis.log, axis.lo, axis.hi, from, to};
  double lo = 1e300, hi = -1e300;
  for (double v : data) {
    if (!std::isfinite(v) || (axis.log && v <= 0)) continue;
    lo = std::min(lo, v);
    hi = std::max(hi, v);
  }
  if (lo > hi) {
    lo = axis.log ? 0.1 : 0;
    hi = 1;
  }
  if (!axis.categories.empty()) {
    lo = -0.5;
    hi = static_cast<double>(axis.categories.size()) - 0.5;
  } else if (axis.log) {
    const double pad = std::max(1.08, std::pow(hi / lo, 0.05));
    lo /= pad;
    hi *= pad;
  } else {
    const double pad = hi > lo ? 0.06 * (hi - lo) : std::max(1e-6, std::abs(hi) * 0.1);
    lo -= pad;
    hi += pad;
  }
  if (std::isnan(s.lo)) s.lo = lo;
  if (std::isnan(s.hi)) s.hi = hi;
  return s;
}

double text_width(const std::string& s, double size) {
  return 0.6 * size * static_cast<double>(s.size());
}

namespace {

// A word in parts that fit: cut where a capital follows a small letter, "Batch-Norm".
std::vector<std::string> parts_of(const std::string& word, double width, double size) {
  std::vector<std::string> parts{""};
  const bool fits = text_width(word, size) <= width;
  for (size_t i = 0; i < word.size(); ++i) {
    const bool capital = std::isupper(static_cast<unsigned char>(word[i])) != 0;
    if (!fits && i > 0 && capital && std::islower(static_cast<unsigned char>(word[i - 1]))) {
      parts.back() += "-";
      parts.push_back("");
    }
    parts.back() += word[i];
  }
  return parts;
}

}  // namespace

std::vector<std::string> wrap(const std::string& text, double width, double size) {
  std::vector<std::string> lines{""};
  size_t at = 0;
  while (at <= text.size()) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::vector<std::string> parts = parts_of(text.substr(at, end - at), width, size);
    if (!lines.back().empty() && text_width(lines.back() + " " + parts[0], size) > width)
      lines.push_back("");
    lines.back() += (lines.back().empty() ? "" : " ") + parts[0];
    lines.insert(lines.end(), parts.begin() + 1, parts.end());
    at = end + 1;
  }
  return lines;
}

namespace {

std::string with_minus(const std::string& s) { return s[0] == '-' ? "−" + s.substr(1) : s; }

}  // namespace

std::string number_in(double v, double largest, double width, double size) {
  std::string text = short_number(v);
  if (largest >= 1e-3 && largest < 1e5) {
    const int decimals = 3 - static_cast<int>(std::floor(std::log10(largest)));
    text = with_minus(fmt::format("{:.{}f}", v, std::max(0, decimals)));
  }
  return text_width(text, size) <= width ? text : fmt::format("{:.2g}", v);
}

std::optional<Box> place_beside(double line, const Box& plot, double width, double size,
                                const std::vector<Point>& drawn, const std::vector<Box>& texts) {
  constexpr double kStep = 8, kGap = 2;
  const double height = size + 2, first = plot.left + 6;
  const double last = std::max(first, plot.right - width);
  std::optional<Box> best;
  size_t fewest = drawn.size() + 1;
  for (const double top : {line - kGap - height, line + kGap})
    for (double left = first; left <= last; left += kStep) {
      const Box box{left, left + width, top, top + height};
      const auto meets = [&box](const Box& text) { return box.meets(text); };
      if (box.top < plot.top || box.bottom > plot.bottom || std::ranges::any_of(texts, meets))
        continue;
      const auto hidden = static_cast<size_t>(
          std::ranges::count_if(drawn, [&box](const Point& p) { return box.holds(p); }));
      if (hidden >= fewest) continue;
      fewest = hidden;
      best = box;
    }
  return best;
}

void trace(const Point& from, const Point& to, std::vector<Point>& points) {
  constexpr double kApart = 4;
  const double length = std::hypot(to.x - from.x, to.y - from.y);
  if (!std::isfinite(length)) return;  // an end is off the axis
  const int steps = std::max(1, static_cast<int>(length / kApart));
  for (int i = 0; i <= steps; ++i) {
    const double part = static_cast<double>(i) / steps;
    points.push_back({from.x + part * (to.x - from.x), from.y + part * (to.y - from.y)});
  }
}

std::string short_number(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "∞" : "−∞";
  std::string s;
  if (v != 0 && (std::abs(v) >= 1e5 || std::abs(v) < 1e-3)) {
    const double e = std::floor(std::log10(std::abs(v)) + 1e-12);
    const double m = v / std::pow(10, e);
    s = std::abs(m - 1) < 0.05 ? fmt::format("1e{:.0f}", e) : fmt::format("{:.1f}e{:.0f}", m, e);
  } else {
    const bool whole = std::abs(v) >= 9999.5;  // where "{:.4g}" writes 1e+04
    s = whole ? fmt::format("{:.0f}", v) : fmt::format("{:.4g}", v);
  }
  return with_minus(s);
}

std::string note_of(const std::string& note) {
  return note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", escape(note));
}

}  // namespace loupe::view
