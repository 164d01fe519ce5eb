#pragma once
// Charts as inline SVG: drawn from numbers, without scripts or outside resources. Colours are
// classes (s-blue, s-orange ...) that the page's style sheet (page.css) defines for light and dark.
// Each colour has a marker shape of its own, so that no series needs its colour to be known.
#include <loupe/view/words.h>

#include <limits>
#include <string>
#include <vector>

namespace loupe::view {

/// How a series looks: a colour and its marker. Blue: disc, orange: diamond, green: triangle, gray:
/// square, purple: ring, yellow: triangle downwards, ink (the text's colour): plus.
enum class Look { blue, orange, green, gray, purple, yellow, ink };
/// The class of a colour: "s-blue".
const char* css(Look look);

struct Point {
  double x = 0, y = 0;
  std::string hover{};  // shown on hover; made from x and y if empty
  bool dead = false;    // drawn as a cross in the strip above the plot
};
struct Band {
  double x = 0, lo = 0, hi = 0;
};
/// A seed's whole curve.
struct Trace {
  std::string hover{};
  std::vector<Point> line{};
};

/// One arm: its line (mean or median), its single seeds as dots or as thin lines, and intervals or
/// a band.
struct Series {
  std::string name;
  Look look = Look::purple;
  std::vector<Point> line{};
  std::vector<Point> dots{};
  std::vector<Trace> seeds{};
  std::vector<Band> band{};  // shaded region around the line
  std::vector<Band> bars{};  // error bars
  bool dashed = false, dotted = false;
};

struct Axis {
  std::string label;
  bool log = false;
  std::vector<std::string> categories{};                 // position i is x = i
  std::vector<double> ticks{};                           // chosen automatically if empty
  double lo = std::numeric_limits<double>::quiet_NaN();  // from the data if NaN
  double hi = std::numeric_limits<double>::quiet_NaN();
};

/// A horizontal line that means something: chance, ln 2, zero.
struct Mark {
  double y = 0;
  std::string label;
};

struct Chart {
  std::string title;
  Axis x, y;
  std::vector<Series> series{};
  std::vector<Mark> marks{};
  std::string note{};         // one line under the chart
  bool paired = false;        // thin lines join the dots of one seed from series to series
  std::string dead = "died";  // what the strip above the plot is called
};

/// A matrix of magnitudes, rows downwards: depth of the colour by log10, exact zeros left white and
/// marked.
struct Heatmap {
  std::string title, x_label, y_label;
  std::vector<std::vector<double>> cells{};
  std::string note{};
  Look look = Look::gray;
};

/// The chart for a page of the given width (in CSS pixels): 720 for a screen or paper, 352 for a
/// phone.
std::string to_svg(const Chart& chart, int width);
std::string to_svg(const Heatmap& map);
/// <figure> with title, legend, both widths and the note.
std::string to_figure(const Chart& chart);
std::string to_figure(const Heatmap& map);

/// A number as a person writes it: four digits, no trailing zeros, 10^k for the very large and
/// small.
std::string short_number(double v);

}  // namespace loupe::view
