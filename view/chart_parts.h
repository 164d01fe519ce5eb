#pragma once
// What the charts are made of: the scale of an axis, and texts that fit their place.
#include <loupe/view/chart.h>

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
// A number in the pixels it has: with fewer digits where four are too wide.
std::string number_in(double v, double width, double size);
// The line under a figure; nothing where there is none.
std::string note_of(const std::string& note);

}  // namespace loupe::view
