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

std::string number_in(double v, double width, double size) {
  const std::string text = short_number(v);
  return text_width(text, size) <= width ? text : fmt::format("{:.2g}", v);
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
    s = fmt::format("{:.4g}", v);
  }
  if (s[0] == '-') s = "−" + s.substr(1);
  return s;
}

std::string note_of(const std::string& note) {
  return note.empty() ? "" : fmt::format("<p class=\"note\">{}</p>", escape(note));
}

}  // namespace loupe::view
