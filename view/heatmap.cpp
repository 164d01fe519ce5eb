#include <fmt/core.h>
#include <loupe/view/chart_parts.h>

#include <algorithm>
#include <cmath>

namespace loupe::view {
namespace {

// One cell of a heat map. Six decades from faint to full; an exact zero has no colour and a dot.
std::string cell_of(double v, double largest, double x, double y, double size,
                    const std::string& hover) {
  const double depth = v > 0 ? std::clamp(1 + std::log10(v / largest) / 6, 0.08, 1.0) : 0;
  std::string svg = fmt::format(
      R"(<rect class="cell" x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill-opacity="{:.2f}"><title>{}: {}</title></rect>)",
      x, y, size - 1, size - 1, depth, hover, v == 0 ? "exactly 0" : short_number(v));
  if (v == 0)
    svg += fmt::format(R"(<circle class="zero" cx="{:.1f}" cy="{:.1f}" r="1"/>)", x + size / 2,
                       y + size / 2);
  return svg;
}

}  // namespace

std::string to_svg(const Heatmap& m) {
  const double font = 12, left = 34, top = font + 12, size = 290;
  const size_t rows = m.cells.size(), columns = rows ? m.cells[0].size() : 0;
  const double cell = size / static_cast<double>(std::max<size_t>(1, std::max(rows, columns)));
  const double width = left + cell * static_cast<double>(columns) + 4;
  const double height = top + cell * static_cast<double>(rows) + 40;
  double largest = 0;
  for (const auto& row : m.cells)
    for (double v : row) largest = std::max(largest, std::abs(v));
  std::string svg = fmt::format(
      R"(<svg class="heat {4}" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}" role="img" aria-label="{2}" font-size="{3}">)",
      width, height, escape(m.title), font, css(m.look));
  svg += fmt::format(R"(<text class="axis" x="0" y="{}">{}</text>)", font, escape(m.y_label));
  for (size_t i = 0; i < rows; ++i) {
    const double at = top + cell * static_cast<double>(i);
    if (rows <= 12 || i % 4 == 0)
      svg += fmt::format(R"(<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="end">{}</text>)",
                         left - 6, at + cell / 2 + font * 0.35, i + 1);
    for (size_t j = 0; j < columns; ++j)
      svg += cell_of(std::abs(m.cells[i][j]), largest, left + cell * static_cast<double>(j), at,
                     cell, fmt::format("output {}, input {}", i + 1, j + 1));
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

std::string to_figure(const Heatmap& m) {
  return fmt::format("<figure class=\"chart map\"><figcaption>{}</figcaption>{}{}</figure>\n",
                     escape(m.title), to_svg(m), note_of(m.note));
}

}  // namespace loupe::view
