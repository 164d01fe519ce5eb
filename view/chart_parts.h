#pragma once
// What the charts are made of: the scale of an axis, and texts that fit their place.
#include <loupe/view/chart.h>

#include <optional>

namespace loupe::view {

// The scale of one axis: data to pixels, and its ticks.
struct Scale {
  bool log = false;
  double lo = 0, hi = 1;    // data
  double from = 0, to = 1;  // pixels

  double operator()(double v) const;
  std::vector<double> ticks(int wanted) const;

 private:
  std::vector<double> log_ticks(int wanted) const;
  std::vector<double> even_ticks(int wanted) const;
};
// The scale of an axis whose data these are, drawn between two pixels. What the axis does not fix
// comes from the data, with some room around it.
Scale fit(const Axis& axis, const std::vector<double>& data, double from, double to);

// The width of a text in pixels, about: letters of the page's font are 0.6 of their size wide.
double text_width(const std::string& s, double size);
// Words of a category label, wrapped to the pixels it has.
std::vector<std::string> wrap(const std::string& text, double width, double size);
// A number with the decimals that give the largest of its row four digits: "83.50" beside "85.48";
// with two digits where that is wider than the pixels it has.
std::string number_in(double v, double largest, double width, double size);

// A rectangle in pixels, y downwards.
struct Box {
  double left = 0, right = 0, top = 0, bottom = 0;

  bool holds(const Point& p) const {
    return p.x >= left && p.x <= right && p.y >= top && p.y <= bottom;
  }
  bool meets(const Box& b) const {
    return left < b.right && b.left < right && top < b.bottom && b.top < bottom;
  }
};
// Where a text stands beside a horizontal line of the plot: above the line or below it, wherever it
// hides the fewest of the points that are drawn; the first such place from the left, above before
// below. It meets no other text: nothing if there is no such place.
std::optional<Box> place_beside(double line, const Box& plot, double width, double size,
                                const std::vector<Point>& drawn, const std::vector<Box>& texts);
// The points of a line between two of its points, a few pixels apart.
void trace(const Point& from, const Point& to, std::vector<Point>& points);
// The line under a figure; nothing where there is none.
std::string note_of(const std::string& note);

}  // namespace loupe::view
