#include <fmt/core.h>
#include <loupe/view/page.h>

#include <cctype>

namespace loupe::view {
namespace {

// "-3" becomes "−3" where the hyphen stands before a number and behind nothing or a bracket.
std::string with_minus_signs(std::string s) {
  const std::string minus = "−";
  for (size_t i = 0; (i = s.find('-', i)) != std::string::npos; ++i) {
    const bool begins = i == 0 || s[i - 1] == ' ' || s[i - 1] == '[' || s[i - 1] == '(';
    const bool number = i + 1 < s.size() && std::isdigit(static_cast<unsigned char>(s[i + 1]));
    if (!begins || !number) continue;
    s.replace(i, 1, minus);
    i += minus.size() - 1;
  }
  return s;
}

std::string with_code(const std::string& s) {
  std::string out;
  bool inside = false;
  for (char c : s) {
    if (c != '`') {
      out += c;
      continue;
    }
    out += inside ? "</code>" : "<code>";
    inside = !inside;
  }
  return out;
}

std::string side_contents(const Page& page) {
  std::string out;
  for (const Entry& e : page.contents)
    out += fmt::format("<a href=\"#{}\"><b>{}</b><span>{}</span>{}</a>", e.id, e.number,
                       escape(e.title), e.badge);
  return "<aside>" + out + "</aside>";
}

std::string top_contents(const Page& page) {
  std::string out;
  for (const Entry& e : page.contents)
    out +=
        fmt::format("<a href=\"#{}\">{}</a>", e.id, e.number.empty() ? escape(e.title) : e.number);
  return "<nav>" + out + "</nav>\n";
}

}  // namespace

std::string prose(const std::string& text) { return with_code(with_minus_signs(escape(text))); }

std::string folded(const std::string& summary, const std::string& html) {
  return fmt::format("<details><summary>{}</summary>{}</details>\n", escape(summary), html);
}

std::string to_html(const Table& t) {
  std::string out =
      fmt::format("<div class=\"scroll\"><table><caption class=\"note\">{}</caption><thead><tr>",
                  escape(t.title));
  for (const auto& h : t.head) out += "<th>" + escape(h) + "</th>";
  out += "</tr></thead><tbody>";
  for (const auto& row : t.rows) {
    out += "<tr>";
    for (const auto& cell : row) out += "<td>" + escape(cell) + "</td>";
    out += "</tr>";
  }
  return out + "</tbody></table></div>";
}

std::string to_html(const Page& page) {
  std::string out = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light "
      "dark\"><title>{}</title>{}\n<style>{}{}</style></head><body>\n",
      escape(page.title), page.head, embedded("view/page.css"), page.style);
  if (!page.contents.empty()) out += side_contents(page);
  out += fmt::format("<main>\n<h1>{}</h1>\n", escape(page.title));
  if (!page.lead.empty()) out += fmt::format("<p class=\"lead\">{}</p>\n", prose(page.lead));
  if (!page.contents.empty()) out += top_contents(page);
  out += page.before + page.body;
  return out + "</main></body></html>\n";
}

}  // namespace loupe::view
