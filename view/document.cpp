#include <loupe/view/document.h>
#include <loupe/view/page.h>
#include <loupe/view/words.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace loupe {
namespace {

template <class... Fs> struct Cases : Fs... { using Fs::operator()...; };
template <class... Fs> Cases(Fs...) -> Cases<Fs...>;

constexpr size_t kWidth = 78;  // of the text

std::string wrapped(const std::string& text) {
  std::string out, line;
  size_t at = 0;
  while (at < text.size()) {
    const size_t space = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, space - at);
    if (!line.empty() && line.size() + 1 + word.size() > kWidth) {
      out += line + "\n";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
    at = space + 1;
  }
  return out + line + "\n";
}

int group_of(const NumberGrid& g, size_t row, size_t column) {
  return g.groups.empty() ? -1 : g.groups[row][column];
}

bool is_marked(const NumberGrid& g, size_t row, size_t column) {
  return static_cast<int64_t>(row) == g.marked_row &&
         static_cast<int64_t>(column) == g.marked_column;
}

// A cell in the text: the number, its group's letter behind it, the marked one in brackets.
std::string cell_text(const NumberGrid& g, size_t row, size_t column) {
  std::string text = decimal(g.cells[row][column]);
  if (is_marked(g, row, column)) text = "[" + text + "]";
  const int group = group_of(g, row, column);
  if (group >= 0) text += fmt::format(" {}", static_cast<char>('a' + group % 26));
  else if (!g.groups.empty()) text += "  ";
  return text;
}

std::string grid_text(const NumberGrid& g) {
  size_t head = 0;
  for (const std::string& row : g.rows) head = std::max(head, row.size());
  size_t width = 7;
  for (const std::string& column : g.columns) width = std::max(width, column.size());
  for (size_t i = 0; i < g.cells.size(); ++i)
    for (size_t j = 0; j < g.cells[i].size(); ++j)
      width = std::max(width, cell_text(g, i, j).size());
  std::string out = g.caption.empty() ? "" : wrapped(g.caption);
  if (!g.columns.empty()) {
    out += fmt::format("  {:<{}}", "", head);
    for (const std::string& column : g.columns) out += fmt::format("  {:>{}}", column, width);
    out += '\n';
  }
  for (size_t i = 0; i < g.cells.size(); ++i) {
    out += fmt::format("  {:<{}}", g.rows.empty() ? "" : g.rows[i], head);
    for (size_t j = 0; j < g.cells[i].size(); ++j)
      out += fmt::format("  {:>{}}", cell_text(g, i, j), width);
    out += '\n';
  }
  return out;
}

std::string grid_html(const NumberGrid& g) {
  constexpr int kColours = 6;
  std::string out = "<figure><table>";
  if (!g.columns.empty()) {
    out += "<tr><th></th>";
    for (const std::string& column : g.columns) out += "<th>" + view::escape(column) + "</th>";
    out += "</tr>";
  }
  for (size_t i = 0; i < g.cells.size(); ++i) {
    out += "<tr><th>" + view::escape(g.rows.empty() ? "" : g.rows[i]) + "</th>";
    for (size_t j = 0; j < g.cells[i].size(); ++j) {
      const int group = group_of(g, i, j);
      std::string classes = group >= 0 ? fmt::format("g{}", group % kColours) : "";
      if (is_marked(g, i, j)) classes += " marked";
      out += fmt::format("<td class=\"{}\">{}</td>", classes, decimal(g.cells[i][j]));
    }
    out += "</tr>";
  }
  return out + "</table><figcaption>" + view::escape(g.caption) + "</figcaption></figure>\n";
}

}  // namespace

std::string decimal(double value) {
  if (value == 0) return "0";  // -0 too
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (std::abs(value) < 5e-5 || std::abs(value) >= 1e7) return fmt::format("{:.1e}", value);
  std::string text = fmt::format("{:.4f}", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

void Document::heading(std::string text) { blocks_.push_back(Heading{std::move(text)}); }
void Document::paragraph(std::string text) { blocks_.push_back(Paragraph{std::move(text)}); }
void Document::lines(std::string text) { blocks_.push_back(Lines{std::move(text)}); }
void Document::grid(NumberGrid grid) { blocks_.push_back(std::move(grid)); }
void Document::beside(Document left, Document right) {
  Pair pair;
  pair.both.push_back(std::move(left));
  pair.both.push_back(std::move(right));
  blocks_.push_back(std::move(pair));
}

std::string Document::to_text() const {
  std::string out = title_ + "\n" + std::string(title_.size(), '=') + "\n";
  for (const Block& block : blocks_) {
    out += '\n';
    std::visit(
        Cases{[&](const Heading& b) {
                out += b.text + "\n" + std::string(b.text.size(), '-') + "\n";
              },
              [&](const Paragraph& b) { out += wrapped(b.text); },
              [&](const Lines& b) { out += b.text + "\n"; },
              [&](const NumberGrid& b) { out += grid_text(b); },
              [&](const Pair& b) { out += b.both[0].to_text() + "\n" + b.both[1].to_text(); }},
        block);
  }
  return out;
}

std::string Document::html_blocks() const {
  std::string out;
  for (const Block& block : blocks_)
    std::visit(Cases{[&](const Heading& b) { out += "<h2>" + view::escape(b.text) + "</h2>\n"; },
                     [&](const Paragraph& b) { out += "<p>" + view::escape(b.text) + "</p>\n"; },
                     [&](const Lines& b) { out += "<pre>" + view::escape(b.text) + "</pre>\n"; },
                     [&](const NumberGrid& b) { out += grid_html(b); },
                     [&](const Pair& b) {
                       out += "<div class=\"beside\">";
                       for (const Document& d : b.both)
                         out += "<section><h2>" + view::escape(d.title_) + "</h2>\n" +
                                d.html_blocks() + "</section>";
                       out += "</div>\n";
                     }},
               block);
  return out;
}

std::string Document::to_html() const {
  return view::to_html({.title = title_,
                        .style = std::string(view::embedded("view/document.css")),
                        .body = html_blocks()});
}

}  // namespace loupe
