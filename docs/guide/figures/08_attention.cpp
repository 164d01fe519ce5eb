// Where a trained model looks.
#include "../08_reverser.h"

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {

void draw_attention() {
  Rng rng(3);
  Reverser model(rng);
  const Tensor x = tensor({3, 1, 4, 1, 5, 9, 2, 6}, Shape{1, 8}, DType::i64);
  const double cell = 26, top = 70;
  Svg svg(700, 330);
  for (int trained = 0; trained < 2; ++trained) {
    if (trained) train_reverser(model, rng, 300);
    const double left = 60 + trained * 330;
    const Tensor weights = no_grad([&] { return model.attend(x).weights; })[0];
    svg.text(left + 4 * cell, 28, trained ? "after 300 steps" : "before training", "title middle");
    svg.text(left + 4 * cell, 46, "input digits (keys)", "small quiet middle");
    for (int64_t j = 0; j < 8; ++j) {
      const std::string digit = std::to_string(x[0][j].item<int64_t>());
      svg.text(left + (static_cast<double>(j) + 0.5) * cell, top - 6, digit, "middle");
    }
    for (int64_t i = 0; i < 8; ++i) {
      const double y = top + static_cast<double>(i) * cell;
      svg.text(left - 8, y + 18, std::to_string(i), "end");
      for (int64_t j = 0; j < 8; ++j) {
        const double px = left + static_cast<double>(j) * cell;
        svg.rect(px, y, cell, cell, "empty", 1);
        svg.rect(px + 1, y + 1, cell - 2, cell - 2, "cool", 1,
                 "fill-opacity:" + format("%.3f", weights[i][j].item()));
      }
    }
  }
  svg.text(52, top - 8, "output", "small quiet end");
  svg.text(60, top + 8 * cell + 26, "A full square is a weight of 1. Row i: where output i looks.",
           "small quiet");
  svg.save("08_attention.svg");
}

}  // namespace guide
