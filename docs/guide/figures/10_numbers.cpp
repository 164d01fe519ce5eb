// The error of a difference quotient against its step, in f32 and in f64.
#include <loupe/loupe.h>

#include <algorithm>
#include <cmath>

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {
namespace {

double slope_error(double h, DType dtype) {
  const Tensor up = exp(scalar(1 + h, dtype)), down = exp(scalar(1 - h, dtype));
  const Tensor slope = (up - down) / (2 * h);
  return std::abs(slope.item() / 2.718281828459045 - 1);
}

}  // namespace

void draw_numbers() {
  const double left = 70, top = 40, width = 600, height = 240;
  auto x_of = [&](double exponent) { return left + width * (-exponent) / 10; };
  auto y_of = [&](double exponent) { return top + height * (-exponent) / 12; };
  Svg svg(820, 345);
  svg.text(left, 24, "Relative error of a central difference of exp at 1", "title");
  for (int e = 0; e >= -12; e -= 2) {
    svg.line(left, y_of(e), left + width, y_of(e), "faint");
    svg.text(left - 8, y_of(e) + 4, "1e" + std::to_string(e), "small end");
  }
  for (int e = 0; e >= -10; e -= 2)
    svg.text(x_of(e), top + height + 18, "1e" + std::to_string(e), "small middle");
  svg.text(left + width / 2, top + height + 38, "step h, smaller to the right", "small middle");
  struct Line {
    DType dtype;
    const char *curve, *label, *colour;
    double last;
  };
  for (const Line& line : {Line{DType::f32, "curve2", "f32", "orange", -6.5},
                           Line{DType::f64, "curve1", "f64", "blue", -10}}) {
    std::string path;
    double y = 0;
    for (double e = -0.5; e >= line.last; e -= 0.25) {
      const double error = slope_error(std::pow(10.0, e), line.dtype);
      y = y_of(std::clamp(std::log10(std::max(error, 1e-12)), -12.0, 0.0));
      path += (path.empty() ? "M" : "L") + number(x_of(e)) + " " + number(y);
    }
    svg.path(path, line.curve);
    svg.text(x_of(line.last) + 10, y + 4, line.label, std::string("title ") + line.colour);
  }
  svg.text(x_of(-1.6), y_of(-1.2), "the formula's error falls as h squared", "small quiet");
  svg.text(x_of(-7.2), y_of(-6.4), "rounding grows as 1 / h", "small quiet");
  svg.save("10_differences.svg");
}

}  // namespace guide
