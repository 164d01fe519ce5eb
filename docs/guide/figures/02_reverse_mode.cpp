// The graph of one neuron, with the values of the forward pass and the gradients of the backward pass.
#include <loupe/loupe.h>

#include "figures.h"
#include "svg.h"

using namespace loupe;

namespace guide {
namespace {

struct Box {
  const char* name;
  const char* formula;
  Tensor value;
  double x, y;
};

const Box& box_of(const std::vector<Box>& boxes, const GradMeta* meta) {
  for (const Box& box : boxes)
    if (box.value.grad_meta().get() == meta) return box;
  fail<ValueError>("figure: an edge leads to no box");
}

}  // namespace

void draw_reverse_mode() {
  const Tensor w = scalar(0.8, DType::f64).requires_grad_();
  const Tensor x = scalar(1.5, DType::f64).requires_grad_();
  const Tensor b = scalar(-0.4, DType::f64).requires_grad_();
  const Tensor p = w * x;
  const Tensor s = p + b;
  const Tensor y = tanh(s);
  const Tensor e = y - 1;
  const Tensor loss = e * e;
  const std::vector<Box> boxes = {{"w", "", w, 20, 60},        {"x", "", x, 20, 160},
                                  {"p", "w x", p, 150, 110},   {"b", "", b, 150, 210},
                                  {"s", "p + b", s, 290, 110}, {"y", "tanh(s)", y, 430, 110},
                                  {"e", "y - 1", e, 570, 110}, {"loss", "e e", loss, 710, 110}};
  Tensors values;
  for (const Box& box : boxes) values.push_back(box.value);
  const Tensors grads = grad({loss}, values, {.retain_graph = true});

  const double width = 100, height = 70;
  Svg svg(830, 310);
  svg.text(20, 28, "Forward: values, left to right", "title blue");
  svg.text(810, 28, "Backward: gradients of the loss, right to left", "title orange end");
  for (const Box& box : boxes) {
    const Node* node = box.value.grad_meta()->fn.get();
    for (size_t i = 0; node != nullptr && i < node->input_count(); ++i) {
      if (!node->needs(i)) continue;
      const Box& from = box_of(boxes, node->edge(i).get());
      const double shift = box.value.is_same(loss) ? (i == 0 ? -12 : 12) : 0;  // e enters twice
      const bool below = from.y > box.y;
      const double y1 = from.y + height / 2 + shift;
      svg.arrow(from.x + width, y1, box.x,
                box.y + height / 2 + shift +
                    (below            ? 12
                     : from.y < box.y ? -12
                                      : 0));
    }
  }
  for (size_t i = 0; i < boxes.size(); ++i) {
    const Box& box = boxes[i];
    svg.rect(box.x, box.y, width, height, box.value.is_leaf() ? "leaf" : "box");
    const std::string formula = box.formula;
    svg.text(box.x + width / 2, box.y + 20,
             formula.empty() ? box.name : std::string(box.name) + " = " + formula, "title middle");
    svg.text(box.x + width / 2, box.y + 40, format("%.4f", box.value.item()), "middle blue");
    svg.text(box.x + width / 2, box.y + 58, format("%.4f", grads[i].item()), "middle orange");
  }
  svg.text(710, 205, "e enters twice:", "small quiet");
  svg.text(710, 221, "its gradients add up", "small quiet");
  svg.rect(20, 282, 14, 14, "leaf", 2);
  svg.text(40, 294, "leaf", "small");
  svg.rect(90, 282, 14, 14, "box", 2);
  svg.text(110, 294, "recorded op", "small");
  svg.save("02_graph.svg");
}

}  // namespace guide
