// One block of memory, and four views of it: which numbers each view reads.
#include <loupe/loupe.h>

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {
namespace {

const char* colour(int64_t row) {
  const char* colours[] = {"cool", "warm", "third", "fourth"};
  return colours[row % 4];
}

// A grid of a matrix' elements, each in the colour of its row in memory.
void draw_view(Svg& svg, double left, double top, const char* name, const Tensor& t) {
  const double cell = 30;
  svg.text(left, top - 26, name, "title");
  svg.text(left, top - 9, "strides " + to_string(t.strides()), "small quiet");
  for (int64_t i = 0; i < t.size(0); ++i)
    for (int64_t j = 0; j < t.size(1); ++j) {
      const int64_t value = t[i][j].item<int64_t>();
      const double x = left + static_cast<double>(j) * cell,
                   y = top + static_cast<double>(i) * cell;
      svg.rect(x, y, cell, cell, colour(value / 4), 2);
      svg.text(x + cell / 2, y + 20, std::to_string(value), "middle");
    }
}

}  // namespace

void draw_tensors() {
  const Tensor x = arange(0, 12, 1, DType::f32).reshape({3, 4});
  Svg svg(820, 270);
  svg.text(20, 26, "Memory: twelve numbers in a row. No view below copies them.", "title");
  for (int64_t i = 0; i < 12; ++i) {
    const double left = 20 + static_cast<double>(i) * 30;
    svg.rect(left, 40, 30, 30, colour(i / 4), 2);
    svg.text(left + 15, 60, std::to_string(i), "middle");
  }
  draw_view(svg, 20, 136, "x", x);
  draw_view(svg, 180, 136, "x.t()", x.t());
  draw_view(svg, 310, 136, "x.slice(0, 1, 3)", x.slice(0, 1, 3));
  draw_view(svg, 470, 136, "x.slice(1, 0, 4, 2)", x.slice(1, 0, 4, 2));
  draw_view(svg, 640, 136, "x[1].expand({3, 4})", x[1].expand({3, 4}));
  svg.save("01_views.svg");
}

}  // namespace guide
