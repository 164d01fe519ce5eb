// Losses.
#include <loupe/autograd/ops.h>

#include "case.h"

namespace judge {

namespace {

Reduction reduction(const Args& a) {
  const std::string word = a.text("reduction", "mean");
  if (word == "none") return Reduction::none;
  if (word == "sum") return Reduction::sum;
  if (word == "batchmean") return Reduction::batchmean;
  return Reduction::mean;
}

const Row kRows[] = {
    {"cross_entropy",
     [](const Tensors& x, const Args& a) {
       return Tensors{cross_entropy(x[0], x[1],
                                    {.weight = optional_input(x, 2),
                                     .ignore_index = a.integer("ignore_index", -100),
                                     .reduction = reduction(a),
                                     .label_smoothing = a.number("label_smoothing")})};
     }},
    {"nll_loss",
     [](const Tensors& x, const Args& a) {
       return Tensors{nll_loss(x[0], x[1],
                               {.weight = optional_input(x, 2),
                                .ignore_index = a.integer("ignore_index", -100),
                                .reduction = reduction(a)})};
     }},
    {"mse_loss",
     [](const Tensors& x, const Args& a) { return Tensors{mse_loss(x[0], x[1], {reduction(a)})}; }},
    {"l1_loss",
     [](const Tensors& x, const Args& a) { return Tensors{l1_loss(x[0], x[1], {reduction(a)})}; }},
    {"smooth_l1_loss",
     [](const Tensors& x, const Args& a) {
       return Tensors{
           smooth_l1_loss(x[0], x[1], {.beta = a.number("beta", 1), .reduction = reduction(a)})};
     }},
    {"huber_loss",
     [](const Tensors& x, const Args& a) {
       return Tensors{
           huber_loss(x[0], x[1], {.delta = a.number("delta", 1), .reduction = reduction(a)})};
     }},
    {"binary_cross_entropy",
     [](const Tensors& x, const Args& a) {
       return Tensors{binary_cross_entropy(
           x[0], x[1], {.weight = optional_input(x, 2), .reduction = reduction(a)})};
     }},
    {"kl_div",
     [](const Tensors& x, const Args& a) {
       return Tensors{
           kl_div(x[0], x[1], {.reduction = reduction(a), .log_target = a.flag("log_target")})};
     }},
    {"binary_cross_entropy_with_logits",
     [](const Tensors& x, const Args& a) {
       return Tensors{binary_cross_entropy_with_logits(x[0], x[1],
                                                       {.weight = optional_input(x, 2),
                                                        .pos_weight = optional_input(x, 3),
                                                        .reduction = reduction(a)})};
     }},
};

}  // namespace

std::span<const Row> loss_rows() { return kRows; }

}  // namespace judge
