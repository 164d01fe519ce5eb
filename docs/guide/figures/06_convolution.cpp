// A small image, a filter that finds edges, and the result.
#include <loupe/loupe.h>

#include <algorithm>
#include <cmath>

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {
namespace {

// Positive numbers blue, negative ones orange, the larger the stronger.
void grid(Svg& svg, double left, double top, double cell, const Tensor& t, double strongest) {
  for (int64_t i = 0; i < t.size(0); ++i)
    for (int64_t j = 0; j < t.size(1); ++j) {
      const double v = t[i][j].item();
      const double x = left + static_cast<double>(j) * cell,
                   y = top + static_cast<double>(i) * cell;
      svg.rect(x, y, cell, cell, "empty", 1);
      svg.rect(x + 1, y + 1, cell - 2, cell - 2, v < 0 ? "warm" : "cool", 1,
               "fill-opacity:" + format("%.3f", std::min(1.0, std::abs(v) / strongest)));
      svg.text(x + cell / 2, y + cell / 2 + 4, format("%g", v), "small middle");
    }
}

}  // namespace

void draw_convolution() {
  const Tensor image = zeros({8, 8});
  for (int64_t i = 1; i < 7; ++i) image[i].slice(0, 3, 5).fill_(1);
  image[1].slice(0, 1, 7).fill_(1);
  const Tensor filter = tensor({-1, 0, 1, -2, 0, 2, -1, 0, 1}, Shape{3, 3});
  const Tensor y =
      conv2d(image.reshape({1, 1, 8, 8}), filter.reshape({1, 1, 3, 3})).reshape({6, 6});
  Svg svg(760, 320);
  svg.text(30, 28, "Image, 8 x 8", "title");
  svg.text(326, 28, "Filter, 3 x 3", "title");
  svg.text(486, 28, "Result, 6 x 6", "title");
  grid(svg, 30, 46, 30, image, 1.5);
  grid(svg, 330, 106, 30, filter, 3);
  grid(svg, 490, 76, 40, y, 4);
  // One window and its result.
  svg.rect(30 + 4 * 30, 46 + 3 * 30, 90, 90, "dashed", 2);
  svg.rect(490 + 4 * 40, 76 + 3 * 40, 40, 40, "dashed", 2);
  svg.text(30, 306, "The dashed window gives the dashed result: nine products and their sum.",
           "small quiet");
  svg.save("06_edges.svg");
}

}  // namespace guide
