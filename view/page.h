#pragma once
// The frame of an HTML page of charts and prose: one self-contained file, light, dark and on paper,
// from phones to wide screens. No scripts, no fonts, no images, nothing fetched.
#include <loupe/view/chart.h>

#include <string>
#include <string_view>
#include <vector>

namespace loupe::view {

/// One entry of the contents: a link to the element with this id.
struct Entry {
  std::string id;
  std::string number{};  // "C5", in front of the title; alone where there is little room
  std::string title{};
  std::string badge{};  // HTML behind the title
};

struct Page {
  std::string title;
  std::string lead{};    // one sentence under the title
  std::string head{};    // HTML in the head: what others show of the page
  std::string style{};   // style sheet of the page's own, behind the frame's
  std::string before{};  // HTML between the contents and the first section
  std::vector<Entry> contents{};
  std::string body{};  // HTML: the sections
};

/// The whole document.
std::string to_html(const Page& page);
/// The text of a file of this folder as it was built ("view/page.css"); empty for another name.
std::string_view embedded(std::string_view file);

/// A table. Cells are text; every column on one line, scrolled sideways where it does not fit.
struct Table {
  std::string title;
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows{};
};
std::string to_html(const Table& table);
/// A block that opens on a click.
std::string folded(const std::string& summary, const std::string& html);
/// Text as HTML: escaped, a true minus sign in front of numbers, `code` in backticks.
std::string prose(const std::string& text);

}  // namespace loupe::view
