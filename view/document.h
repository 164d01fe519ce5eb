#pragma once
// A short document of pictures, formulas and numbers, written once and shown twice: as text on a
// terminal of 80 columns and as an HTML page without scripts or requests.
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace loupe {

/// A table of numbers. Cells of one group have one colour on the page and one letter in the text.
struct NumberGrid {
  std::string caption;
  std::vector<std::string> columns, rows;  // headings; empty for none
  std::vector<std::vector<double>> cells;
  std::vector<std::vector<int>> groups;         // of the same shape; empty: none. -1: no group
  int64_t marked_row = -1, marked_column = -1;  // the cell that the text follows
};

class Document {
 public:
  explicit Document(std::string title) : title_(std::move(title)) {}
  void heading(std::string text);
  void paragraph(std::string text);
  /// Lines that keep their form: formulas and calculations.
  void lines(std::string text);
  void grid(NumberGrid grid);
  /// Two documents side by side on a wide page, one after the other elsewhere.
  void beside(Document left, Document right);

  const std::string& title() const { return title_; }
  std::string to_text() const;
  /// A whole page.
  std::string to_html() const;

 private:
  struct Heading {
    std::string text;
  };
  struct Paragraph {
    std::string text;
  };
  struct Lines {
    std::string text;
  };
  struct Pair {
    std::vector<Document> both;
  };
  using Block = std::variant<Heading, Paragraph, Lines, NumberGrid, Pair>;
  std::string html_blocks() const;

  std::string title_;
  std::vector<Block> blocks_;
};

/// A number as these pages show it: up to four digits behind the point, without trailing zeros;
/// "3.2e-07" where that would be 0, "1.5e+09" from ten million on.
std::string decimal(double value);

}  // namespace loupe
