// Which numbers share a mean and a variance; and running statistics on their way.
#include <loupe/loupe.h>

#include <algorithm>

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {
namespace {

const Tensor none;

// The statistics' number of each cell, read from the ops themselves: cells share statistics if the
// gradient of one's output reaches the other.
Tensor sharing(const std::function<Tensor(const Tensor&)>& norm, int64_t n, int64_t c) {
  Rng rng(7);
  const Tensor x = randn(rng, {n, c, 2, 2}, DType::f64).requires_grad_();
  const Tensor group = full({n, c}, -1, DType::i64);
  int64_t next = 0;
  for (int64_t i = 0; i < n * c; ++i) {
    if (group[i / c][i % c].item<int64_t>() >= 0) continue;
    const Tensor y = norm(x);
    const Tensor reached = max(abs(grad({y[i / c][i % c][0][0]}, {x})[0]), {2, 3});
    for (int64_t k = 0; k < n * c; ++k)
      if (reached[k / c][k % c].item() > 0) group[k / c][k % c].fill_(next);
    ++next;
  }
  return group;
}

void draw_axes() {
  const int64_t n = 4, c = 6;
  struct Panel {
    const char *name, *words;
    Tensor group;
  };
  const Panel panels[] = {
      {"BatchNorm", "a channel, over all samples",
       sharing([](const Tensor& x) { return batch_norm(x, none, none, {}); }, n, c)},
      {"LayerNorm", "a sample, over all channels",
       sharing(
           [](const Tensor& x) {
             return layer_norm(x, {6, 2, 2}, none, none);
           },
           n, c)},
      {"GroupNorm", "a sample and two channels",
       sharing([](const Tensor& x) { return group_norm(x, 3, none, none); }, n, c)},
      {"InstanceNorm", "a sample and one channel",
       sharing([](const Tensor& x) { return instance_norm(x, none, none, {}); }, n, c)}};
  const char* colours[] = {"cool", "warm", "third", "fourth"};
  const double cell = 28, width = 205;
  Svg svg(4 * width + 30, 215);
  for (size_t p = 0; p < 4; ++p) {
    const double left = 35 + static_cast<double>(p) * width;
    svg.text(left + 3 * cell, 28, panels[p].name, "title middle");
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < c; ++j) {
        const auto group = panels[p].group[i][j].item<int64_t>();
        // Cells that touch and do not share look different.
        const int64_t a_row = p == 2 ? 3 : 6;
        const int64_t colour = p < 2 ? group : group % a_row + i;
        svg.rect(left + static_cast<double>(j) * cell, 42 + static_cast<double>(i) * cell, cell,
                 cell, colours[colour % 4], 2);
      }
    svg.text(left + 3 * cell, 176, panels[p].words, "small middle");
  }
  svg.text(12, 104, "N", "title");
  svg.text(35 + 3 * cell, 200, "C", "title middle");
  svg.text(
      235, 200,
      "Cells of one colour that touch share one mean and one variance; each holds H x W pixels.",
      "small quiet");
  svg.save("07_axes.svg");
}

void draw_running() {
  Rng rng(4);
  BatchNorm1d bn(1);
  const double left = 50, bottom = 250, width = 600, height = 200, most = 8;
  auto x_of = [&](int step) { return left + width * step / 60; };
  auto y_of = [&](double v) { return bottom - height * std::min(v, most) / most; };
  Svg svg(820, 300);
  for (int v = 0; v <= 8; v += 2) {
    svg.line(left, y_of(v), left + width, y_of(v), "faint");
    svg.text(left - 8, y_of(v) + 4, number(v), "small end");
  }
  for (int step = 0; step <= 60; step += 10)
    svg.text(x_of(step), bottom + 18, number(step), "small middle");
  svg.text(left + width / 2, bottom + 38, "batches of 8", "small middle");
  std::string mean = "M" + number(x_of(0)) + " " + number(y_of(0));
  std::string variance = "M" + number(x_of(0)) + " " + number(y_of(1));
  for (int step = 1; step <= 60; ++step) {
    const Tensor batch = randn(rng, {8, 1}) * 2 + 5;
    bn(batch);
    svg.circle(x_of(step), y_of(batch.mean().item()), 2.5, "cool");
    svg.circle(x_of(step), y_of(var(batch).item()), 2.5, "warm");
    mean += "L" + number(x_of(step)) + " " + number(y_of(bn.running_mean.item()));
    variance += "L" + number(x_of(step)) + " " + number(y_of(bn.running_var.item()));
  }
  svg.path(mean, "curve1");
  svg.path(variance, "curve2");
  svg.text(left, 28, "Points: the mean and the variance of each batch. Lines: the running ones.",
           "small");
  svg.text(left + width + 10, y_of(bn.running_mean.item()) + 4, "running_mean (5)", "blue small");
  svg.text(left + width + 10, y_of(bn.running_var.item()) + 4, "running_var (4)", "orange small");
  svg.save("07_running.svg");
}

}  // namespace

void draw_norms() {
  draw_axes();
  draw_running();
}

}  // namespace guide
