#include "exercise.h"

#include <loupe/exercises/check.h>

#include <fmt/format.h>

#include <loupe/loupe.h>

namespace loupe::exercises {

namespace {

// Whether every element of y is 0 or `factor` times that of x.
bool zero_or(const Tensor& y, const Tensor& x, double factor) {
  const Tensor scaled = x * factor;
  return max(minimum(abs(y), abs(y - scaled))).item() < 1e-12;
}

double share_of_zeros(const Tensor& y) { return eq(y, 0).to(DType::f64).mean().item(); }

void scale(Check& c, const Tensor& y, const Tensor& x, double p) {
  c.expect(!zero_or(y, x, 1),
           "the elements that stay are not scaled: without 1/(1 - p) training and eval mode differ "
           "in their mean");
  c.expect(!zero_or(y, x, 1 / p),
           "the scale is 1/p: it is 1/(1 - p), with 1 - p the share that "
           "stays");
  c.expect(!zero_or(y, x, 1 - p), "you multiplied by 1 - p: divide by it, so that the mean stays");
  c.expect(zero_or(y, x, 1 / (1 - p)), "an element must be 0, or x/(1 - p)");
}

void training(Check& c, double p) {
  const int64_t rows = 100, columns = 200;
  c.trying(fmt::format("training, p {:.2f}, x ({}, {})", p, rows, columns));
  const Tensor x = c.normal({rows, columns}, 1, 3).requires_grad_();
  const Tensor y = mine::dropout(x, p, true, c.rng), again = mine::dropout(x, p, true, c.rng);
  c.expect(y.shape() == x.shape(), "the shape must stay");
  const double zeros = share_of_zeros(y);
  c.expect(zeros > 0, "nothing is set to 0 in training");
  c.expect(std::abs(zeros - (1 - p)) > 0.03 || std::abs(1 - 2 * p) < 0.1,
           fmt::format("{:.0f} % of the elements are 0: p is the probability to drop, not to keep",
                       100 * zeros));
  scale(c, y.detach(), x.detach(), p);
  const Tensor row_zeros = eq(y, 0).to(DType::f64).mean({1}).detach();
  const Tensor column_zeros = eq(y, 0).to(DType::f64).mean({0}).detach();
  c.expect(max(row_zeros).item() < 1 && max(column_zeros).item() < 1,
           "whole rows or columns are 0: each element is drawn on its own");
  c.expect(std::abs(zeros - p) < 0.03,
           fmt::format("{:.1f} % of the elements are 0, not {:.1f} %", 100 * zeros, 100 * p));
  c.expect(!equal(y, again), "two calls dropped the same elements: draw anew at each call");
  c.expect(y.requires_grad(), "no gradient arrives at x: the result has no past");
  y.sum().backward();
  c.equal("the gradient of the sum", x.grad(), ne(y, 0).to(DType::f64) / (1 - p));
}

void evaluation(Check& c, double p) {
  c.trying(fmt::format("eval mode, p {:.2f}", p));
  const Tensor x = c.normal({20, 30}, 1, 3);
  const Tensor y = mine::dropout(x, p, false, c.rng);
  c.expect(share_of_zeros(y) == 0, "elements are dropped in eval mode: dropout does nothing there");
  c.equal("y", y, x,
          {{"you scaled in eval mode: the scale belongs to training, eval mode does nothing",
            [&] { return x * (1 - p); }},
           {"you scaled in eval mode: the scale belongs to training, eval mode does nothing",
            [&] { return x / (1 - p); }}});
}

}  // namespace

void run(Check& c) {
  const double p = c.uniform(0.2, 0.4);
  training(c, p);
  evaluation(c, p);
  training(c, 0.7);
  c.trying("training, p = 1");
  const Tensor all = mine::dropout(c.normal({3, 4}), 1, true, c.rng);
  c.equal("y", all, zeros({3, 4}, DType::f64),
          {{"0/0: with p = 1 nothing stays, and the result is 0, not NaN", [&] { return all; }}});
  c.trying("training, p = 0");
  const Tensor x = c.normal({3, 4});
  c.equal("y", mine::dropout(x, 0, true, c.rng), x);
}

}  // namespace loupe::exercises
