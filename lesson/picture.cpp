// The picture of all claims: one row each, a bar for BatchNorm and one for LayerNorm, in words. As
// HTML in the page, where it bends to narrow screens, and as an SVG file for sharing.
#include <fmt/core.h>
#include <loupe/lesson/report.h>

#include <algorithm>
#include <cmath>

namespace loupe::lesson {
namespace {

using view::escape;
using view::prose;

constexpr const char* kClasses[] = {"r", "p", "n", "c", "i", "p", "c"};  // as in html.cpp
const char* word_class(Verdict v) { return kClasses[static_cast<size_t>(v)]; }

// A norm's colour is its own on the whole page.
const char* look_of(const PictureBar& bar, const std::string& own) {
  if (bar.name == own) return "s-ink";
  if (bar.name == "BatchNorm") return "s-blue";
  return bar.name == "LayerNorm" ? "s-orange" : "s-gray";
}

// Part II has words only, since what stands in a row has no common scale.
std::string bar_html(const PictureBar& bar, const Report& r) {
  if (bar.name.empty()) return "";
  const bool drawn = r.part == 1;
  const double width = bar.decided ? 50 * std::abs(bar.share) : 0;
  const std::string track =
      fmt::format(R"(<span class="track"><i style="width:{:.1f}%;{}"></i></span>)", width,
                  bar.share < 0 ? "right:50%" : "left:50%");
  return fmt::format(
      R"(<div class="bar {} {}"><span class="name">{}</span>{}<span class="what">{}</span></div>)",
      look_of(bar, r.own), bar.decided ? "sure" : "open", escape(bar.name),
      drawn ? track : "<span></span>", prose(bar.text));
}

struct Strip {
  double y, height;
};

std::string svg_bar(const PictureBar& bar, Strip at, const char* colour) {
  if (bar.name.empty()) return "";
  constexpr double zero = 620, reach = 130;
  const double width = std::max(2.0, reach * std::abs(bar.share));
  std::string out;
  if (bar.decided)
    out += fmt::format(R"(<rect x="{:.0f}" y="{:.0f}" width="{:.0f}" height="{:.0f}" fill="{}"/>)",
                       bar.share < 0 ? zero - width : zero, at.y, width, at.height, colour);
  return out +
         fmt::format(R"(<text x="770" y="{:.0f}" font-size="{:.0f}" fill="#1d2327">{}</text>)",
                     at.y + at.height - 2, at.height, prose(bar.text));
}

}  // namespace

std::string picture_html(const Report& r) {
  std::string out =
      "<div class=\"hero\" role=\"figure\" aria-label=\"The claims in one picture\">\n";
  for (const PictureRow& row : r.picture)
    out += fmt::format(
        "<div class=\"row\"><a href=\"#{0}\"><b>{0}</b> {1}</a><span class=\"v {2}\">{3}</span>"
        "<div class=\"bars\">{4}{5}{6}</div></div>\n",
        row.id, escape(row.title), word_class(row.verdict), plain(row.verdict),
        bar_html(row.batch, r), bar_html(row.layer, r), bar_html(row.own, r));
  if (r.part != 1) return out + "</div>\n";
  return out +
         "<p class=\"note\">Bars to the right: as the lesson says; to the left: the opposite. "
         "Those of a row share a scale; rows do not.</p></div>\n";
}

std::string picture_svg(const Report& r) {
  std::string out =
      R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1200 630" width="1200" height="630" font-family="system-ui,'DejaVu Sans',sans-serif">)"
      R"(<rect width="1200" height="630" fill="#fdfdfb"/><text x="30" y="44" font-size="28" font-weight="700" fill="#1d2327">BatchNorm vs LayerNorm, measured</text>)"
      R"(<rect x="620" y="28" width="16" height="15" fill="#0072b2"/><text x="642" y="42" font-size="16">BatchNorm</text>)"
      R"(<rect x="740" y="28" width="16" height="15" fill="#d55e00"/><text x="762" y="42" font-size="16">LayerNorm</text>)"
      R"(<path d="M620 58V616" stroke="#5b646b"/>)";
  if (!r.own.empty())
    out += fmt::format(
        R"(<rect x="860" y="28" width="16" height="15" fill="#1d2327"/><text x="882" y="42" font-size="16">{}</text>)",
        escape(r.own));
  double y = 62;
  for (const PictureRow& row : r.picture) {
    out += fmt::format(
        R"(<text x="30" y="{0:.0f}" font-size="18" fill="#1d2327">{1}</text><text x="480" y="{0:.0f}" font-size="16" font-weight="700" text-anchor="end" fill="#5b646b">{2}</text>)",
        y + 23, escape(row.title), plain(row.verdict));
    if (r.own.empty())
      out +=
          svg_bar(row.batch, {y + 1, 15}, "#0072b2") + svg_bar(row.layer, {y + 19, 15}, "#d55e00");
    else
      out += svg_bar(row.batch, {y, 12}, "#0072b2") + svg_bar(row.layer, {y + 14, 12}, "#d55e00") +
             svg_bar(row.own, {y + 28, 12}, "#1d2327");
    y += 47;
  }
  return out + "</svg>\n";
}

}  // namespace loupe::lesson
