// Three optimizers walk down a valley.
#include <loupe/loupe.h>

#include <cmath>
#include <memory>

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {

void draw_optimizers() {
  Svg svg(820, 330);
  const double left = 30, width = 600, middle = 175, unit_x = width / 5.2, unit_y = 105;
  auto x_of = [&](double x) { return left + (x + 0.8) * unit_x; };
  auto y_of = [&](double y) { return middle - y * unit_y; };
  for (double level : {0.1, 0.5, 1.5, 4.0, 8.0, 16.0, 26.0}) {
    // x^2 + 50 y^2 = 2 level, where it is inside of the picture
    std::string path;
    for (int i = 0; i <= 180; ++i) {
      const double angle = 2 * 3.14159265358979 * i / 180;
      const double x = std::sqrt(2 * level) * std::cos(angle);
      const double y = std::sqrt(2 * level / 50) * std::sin(angle);
      if (x < -0.8 || x > 4.4) {
        if (!path.empty() && path.back() != ' ') path += " ";
        continue;
      }
      path += (path.empty() || path.back() == ' ' ? "M" : "L") + number(x_of(x)) + " " +
              number(y_of(y));
    }
    svg.path(path, "faint");
  }
  struct Walk {
    const char *curve, *label, *colour;
    int kind;
  };
  int row = 0;
  for (const Walk& walk : {Walk{"curve2", "SGD, lr 0.036", "orange", 0},
                           Walk{"curve3", "momentum 0.75, lr 0.01", "good", 1},
                           Walk{"curve1", "Adam, lr 0.1", "blue", 2}}) {
    const Tensor p = tensor({4, 1}, {}, DType::f64).requires_grad_();
    const std::vector<ParamGroup> group = {{.params = {{"p", p}}}};
    std::unique_ptr<Optimizer> optimizer;
    if (walk.kind == 0) optimizer = std::make_unique<SGD>(group, SGD::Options{.lr = 0.036});
    if (walk.kind == 1)
      optimizer = std::make_unique<SGD>(group, SGD::Options{.lr = 0.01, .momentum = 0.75});
    if (walk.kind == 2) optimizer = std::make_unique<Adam>(group, Adam::Options{.lr = 0.1});
    std::string path = "M" + number(x_of(4)) + " " + number(y_of(1));
    for (int step = 0; step < 40; ++step) {
      optimizer->zero_grad();
      ((tensor({1, 50}, {}, DType::f64) * square(p)).sum() * 0.5).backward();
      optimizer->step();
      path += "L" + number(x_of(p[0].item())) + " " + number(y_of(p[1].item()));
    }
    svg.path(path, walk.curve);
    const double value = (tensor({1, 50}, {}, DType::f64) * square(p)).sum().item() / 2;
    svg.text(650, 120 + 44 * row, walk.label, std::string("title small ") + walk.colour);
    svg.text(650, 136 + 44 * row, "after 40 steps: " + format("%.1e", value), "small quiet");
    ++row;
  }
  svg.text(left, 26, "40 steps from (4, 1), on the right, to the minimum", "title");
  svg.circle(x_of(0), y_of(0), 4, "leaf");
  svg.save("05_valley.svg");
}

}  // namespace guide
