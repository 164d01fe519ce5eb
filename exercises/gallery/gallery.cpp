#include <loupe/core/error.h>
#include <loupe/exercises/gallery/gallery.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace loupe::gallery {

namespace {

constexpr size_t kRows = 8;  // of the table of a curve

// The lines between the marks [name] and [/name], without the indent that they share.
std::string code_of(const char* name) {
  const std::string open = fmt::format("// [{}]\n", name), close = fmt::format("// [/{}]", name);
  for (const char* file : {"norms", "engine", "attention", "optimizers"}) {
    const std::string text(embedded(fmt::format("exercises/gallery/{}.cpp", file)));
    const size_t at = text.find(open);
    if (at == std::string::npos) continue;
    const size_t begin = at + open.size(), line = text.rfind('\n', at) + 1;
    const std::string indent = text.substr(line, at - line);
    std::string code = text.substr(begin, text.rfind('\n', text.find(close)) + 1 - begin), out;
    for (size_t from = 0; from < code.size();) {
      const size_t end = code.find('\n', from) + 1;
      std::string one = code.substr(from, end - from);
      if (one.starts_with(indent)) one = one.substr(indent.size());
      out += one;
      from = end;
    }
    return out;
  }
  fail<ValueError>("gallery: the code of {} is not marked", name);
}

std::string short_number(double v) {
  if (!std::isfinite(v)) return std::isnan(v) ? "NaN" : "Inf";
  return fmt::format("{:.3g}", v);
}

std::string verdict(const std::string& words) { return words.empty() ? "nothing" : words; }

// --- The picture ---
constexpr double kLeft = 56, kTop = 34, kWidth = 420, kHeight = 180;

struct Scale {
  double low, high;
  bool log;
  double at(double v) const {
    const double x = log ? std::log10(std::max(v, 1e-12)) : v;
    return kTop + kHeight * (1 - (x - low) / (high - low));
  }
};

Scale scale_of(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> all;
  for (const auto* curve : {&a, &b})
    for (double v : *curve)
      if (std::isfinite(v)) all.push_back(v);
  const auto [low, high] = std::minmax_element(all.begin(), all.end());
  const bool log = *low > 0 && *high / *low > 50;
  Scale s{log ? std::log10(*low) : std::min(0.0, *low), log ? std::log10(*high) : *high, log};
  if (s.high - s.low < 1e-9) s.high = s.low + 1;
  return s;
}

std::string path_of(const std::vector<double>& curve, const Scale& scale, const char* kind) {
  std::string d;
  for (size_t i = 0; i < curve.size(); ++i) {
    if (!std::isfinite(curve[i])) break;
    const double x =
        kLeft + kWidth * static_cast<double>(i) / static_cast<double>(curve.size() - 1);
    d += fmt::format("{}{:.1f} {:.1f}", i ? "L" : "M", x, scale.at(curve[i]));
  }
  return fmt::format("<path d='{}' class='{}'/>\n", d, kind);
}

constexpr const char* kStyle = R"(<style>
.ground{fill:#fff} text{font:12px sans-serif;fill:#1f2328} .end{text-anchor:end} .middle{text-anchor:middle}
.axis{stroke:#8c959f;fill:none} .right{stroke:#0b5cad;fill:none;stroke-width:2} .right-text{fill:#0b5cad}
.wrong{stroke:#c2571a;fill:none;stroke-width:2;stroke-dasharray:6 3} .wrong-text{fill:#a04100}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117} text{fill:#e6edf3} .axis{stroke:#7d8590}
.right{stroke:#79b8ff} .right-text{fill:#79b8ff} .wrong{stroke:#f0a35e} .wrong-text{fill:#f0a35e}}
</style>
)";

}  // namespace

const std::vector<Bug>& bugs() {
  static const std::vector<Bug> all = [] {
    std::vector<Bug> list;
    for (const auto* room : {&norm_bugs(), &engine_bugs(), &attention_bugs(), &optimizer_bugs()})
      list.insert(list.end(), room->begin(), room->end());
    return list;
  }();
  return all;
}

const Bug& find(const std::string& name) {
  std::string names;
  for (const Bug& bug : bugs()) {
    if (name == bug.name) return bug;
    names += (names.empty() ? "" : ", ") + std::string(bug.name);
  }
  fail<ValueError>("gallery: there is no bug \"{}\"; there are {}", name, names);
}

std::string to_text(const Bug& bug) {
  const std::vector<double> right = bug.curve(false), wrong = bug.curve(true);
  std::string text = fmt::format("{}\n{}  {}\n\n{}\n\n{:>24}  {:>10}  {:>10}\n", bug.title,
                                 bug.source, bug.url, bug.story, bug.x_label, "right", "wrong");
  for (size_t row = 0; row < kRows; ++row) {
    const size_t i = row * (right.size() - 1) / (kRows - 1);
    text +=
        fmt::format("{:>24}  {:>10}  {:>10}\n", i, short_number(right[i]), short_number(wrong[i]));
  }
  return text + fmt::format(
                    "{:>24}: {}\n\nWhat one sees: {}\n\n{}\n  of the right code: {}\n  of the "
                    "wrong code: {}\n\nThe mend: {}\n",
                    "plotted", bug.y_label, bug.symptom, bug.check_name, verdict(bug.check(false)),
                    verdict(bug.check(true)), bug.mend);
}

std::string to_svg(const Bug& bug) {
  const std::vector<double> right = bug.curve(false), wrong = bug.curve(true);
  const Scale scale = scale_of(right, wrong);
  const double bottom = kTop + kHeight, end = kLeft + kWidth;
  const auto label = [&](double v) { return scale.log ? std::pow(10, v) : v; };
  std::string svg = fmt::format(
      "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 500 258' width='500' height='258'>\n{}"
      "<rect width='500' height='258' rx='6' class='ground'/>\n",
      kStyle);
  svg += fmt::format("<path d='M{0} {1}V{2}H{3}' class='axis'/>\n", kLeft, kTop, bottom, end);
  svg += fmt::format("<text x='{}' y='18'>{}{}</text>\n", kLeft, bug.y_label,
                     scale.log ? ", logarithmic" : "");
  svg += fmt::format("<text x='{}' y='{}' class='end'>{}</text>\n", kLeft - 6, kTop + 8,
                     short_number(label(scale.high)));
  svg += fmt::format("<text x='{}' y='{}' class='end'>{}</text>\n", kLeft - 6, bottom,
                     short_number(label(scale.low)));
  svg += fmt::format("<text x='{}' y='{}' class='middle'>{}, 0 to {}</text>\n", kLeft + kWidth / 2,
                     bottom + 18, bug.x_label, right.size() - 1);
  svg += path_of(right, scale, "right") + path_of(wrong, scale, "wrong");
  svg += fmt::format("<text x='{}' y='{}' class='right-text'>right</text>\n", end - 96, kTop - 4);
  svg +=
      fmt::format("<text x='{}' y='{}' class='wrong-text'>wrong - -</text>\n", end - 52, kTop - 4);
  return svg + "</svg>\n";
}

std::string page() {
  std::string text = fmt::format(
      "# The bug gallery\n\n{} published bugs of normalization layers, engines, attention and "
      "optimizers. "
      "Each stands here as the smallest variant of right code, with what a user sees of it and "
      "with the "
      "check that catches it. Most of them train: the loss falls, and nobody looks.\n\nThis page "
      "is written "
      "by the program, and the pictures are of its runs:\n\n```sh\nloupe gallery                   "
      "     "
      "      # the list\nloupe gallery short_variance              # one of them, in seconds\n"
      "LOUPE_CPU=reference loupe gallery --write docs    # this page again\n```\n\nThe [exercises]"
      "(../exercises/README.md) have many of them among their wrong solutions: there the check "
      "names what "
      "you misunderstood.\n",
      bugs().size());
  for (const auto& [room, list] : {std::pair{"Norms", &norm_bugs()},
                                   {"Engines", &engine_bugs()},
                                   {"Attention", &attention_bugs()},
                                   {"Optimizers and losses", &optimizer_bugs()}}) {
    text += fmt::format("\n## {}\n", room);
    for (const Bug& bug : *list) {
      const std::string of_right = bug.check(false), of_wrong = bug.check(true);
      if (!of_right.empty() || of_wrong.empty())
        fail<ValueError>(
            "gallery: the check of {} says \"{}\" of the right code and \"{}\" of the wrong",
            bug.name, of_right, of_wrong);
      text += fmt::format(
          "\n### {}\n\n[{}]({}). {}\n\n```cpp\n{}```\n\n![{}: the right and the wrong curve]"
          "(gallery/{}.svg)\n\n**What one sees.** {}\n\n**What catches it: {}.** It says nothing "
          "of the "
          "right code. Of the wrong code it says\n\n```text\n{}\n```\n\n**The mend.** {}\n",
          bug.title, bug.source, bug.url, bug.story, code_of(bug.name), bug.y_label, bug.name,
          bug.symptom, bug.check_name, of_wrong, bug.mend);
    }
  }
  return text;
}

}  // namespace loupe::gallery
